"""Making what was captured the baseline, or forgetting it: only the candidate of a test file of this project, whole.

A results folder may come from anybody. JSON and safetensors prove by their digests that they belong together; a picture
is proved by nothing, so that only its colours are taken over.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from pytest_modelviz.errors import ForeignBaselineError, ModelvizError, UnreadableBaselineError
from pytest_modelviz.records.check_result import CheckResult, Status
from pytest_modelviz.review.project_files import require_test_file
from pytest_modelviz.review.review import Decision, Review, ReviewedCheck, ReviewedRun, State
from pytest_modelviz.storage.baseline_files import Files
from pytest_modelviz.storage.formats import text_sha256, unknown_keys
from pytest_modelviz.storage.names import Location, display_path
from pytest_modelviz.storage.store import ChangedMeanwhileError, Store
from pytest_modelviz.text.printable import as_one_word

_REPLACED = "its candidate was replaced since these results were read: look at it again"
_CHANGED = "its baseline has changed since it was compared: run pytest --modelviz again"
_MOST_PICTURE_BYTES = 64 * 2**20


def accept_all(review: Review, chosen: Sequence[ReviewedCheck], *, named: bool = False) -> list[Decision]:
    """Accept each of the checks, as `acceptor` does."""
    accept = acceptor(review, chosen, named=named)
    return [accept(item) for item in chosen]


def acceptor(
    review: Review, chosen: Sequence[ReviewedCheck], *, named: bool = False
) -> Callable[[ReviewedCheck], Decision]:
    """What accepts one of the chosen checks; of one that several runs have captured otherwise, it accepts none.

    Which of those is meant is not guessed. Beside own results those of other projects are left alone, and refused where
    only they are `named`. So are drifts of tests that are expected to fail, unless they are named.
    """
    conflicts = _conflicting_captures(chosen)
    matching: dict[object, list[ReviewedRun]] = {}
    for run, check in review.checks:
        if check.status is Status.MATCH:
            matching.setdefault(_compared(check), []).append(run)
    leaves_foreign = bool(review.own_runs) and not (named and all(item.state is State.FOREIGN for item in chosen))

    def accept(item: ReviewedCheck) -> Decision:
        captures, is_waiting = conflicts.get(item.location.path), item.state is State.WAITING
        if item.state is State.FOREIGN and leaves_foreign:
            return _left_alone(review, item)
        if is_waiting and item.check.expected_failure and not named:
            reason = "its test is expected to fail (xfail), and may pass with it: name the test to accept it"
            return _decision(review, item, "left", reason)
        others = [run for run in matching.get(_compared(item.check), ()) if run.id != item.run.id]
        if is_waiting and others:
            own, other = item.run.label, others[0].label
            reason = f"run {other} found that it matches: use --run {own} to accept that run's capture"
            return _decision(review, item, "refused", reason)
        if captures is not None and (is_waiting or item.state is State.REPLACED):
            return _decision(review, item, "refused", _conflict_reason(captures))
        return _decision(review, item, *_accept(review, item))

    return accept


def _decision(review: Review, item: ReviewedCheck, done: str, reason: str = "") -> Decision:
    return Decision(item.nodeid, item.check.name, done, reason, review.baselines.display_path(item.location))


def _compared(check: CheckResult) -> tuple[str, str, str | None, str | None]:
    """The same for all runs that compared a check with the same baseline."""
    return check.nodeid, check.name, check.variant, check.baseline_sha256


def _conflicting_captures(chosen: Sequence[ReviewedCheck]) -> dict[PurePosixPath, list[ReviewedCheck]]:
    """Where several runs have captured one check differently: the baseline's path -> a check of each capture.

    Of folders that were copied over each other only one of the captures is left, and it is no better for that.
    """
    by_path: dict[PurePosixPath, dict[str | None, ReviewedCheck]] = {}
    for item in chosen:
        if item.state in (State.WAITING, State.REPLACED):
            captured = item.check.candidate_sha256 or item.run.candidates.digest(item.location)
            by_path.setdefault(item.location.path, {}).setdefault(captured, item)
    return {path: list(captures.values()) for path, captures in by_path.items() if len(captures) > 1}


def _conflict_reason(captures: Sequence[ReviewedCheck]) -> str:
    """Why none of several captures of one check is accepted, and how to choose one."""
    differently = f"runs {' and '.join(item.run.label for item in captures)} captured it differently"
    present = [item.run.label for item in captures if item.state is State.WAITING]
    if len(present) == len(captures):
        return f"{differently}: choose one with --run"
    where = "name each run's own folder with --from"
    if not present:
        return f"{differently}, and none of their captures is here: {where}"
    return f"{differently}, and only the capture of {present[0]} is here: take it with --run, or {where}"


def _left_alone(review: Review, item: ReviewedCheck) -> Decision:
    reason = f"it belongs to the project in {review.foreign_project(item.run)!r}: choose that with --rootdir"
    return Decision(item.nodeid, item.check.name, "left", reason, item.run.candidates.display_path(item.location))


def _accept(review: Review, item: ReviewedCheck) -> tuple[str, str]:
    """Make a candidate the baseline, unless that has changed since it was compared; what was done, and why not."""
    check, location, baselines = item.check, item.location, review.baselines
    try:
        if not check.status.is_acceptable:
            raise ModelvizError(
                f"its baseline is {check.status}; pytest --modelviz-update-all replaces such a one (and records all "
                f"checks of the tests that it runs)"
            )
        if item.state is State.ACCEPTED and not item.run.holds(check):
            return "already accepted", ""
        if item.state is State.REPLACED:
            other = f"run {item.superseded_by}" if item.superseded_by else "another run"
            raise ModelvizError(f"its candidate was captured by {other}: run pytest --modelviz again")
        if item.superseded_by:
            raise ModelvizError(f"it was {item.fate}, and nothing of it is kept: run pytest --modelviz again")
        _require_project(review, item.run, check, location)
        files = candidate_files(item.run.candidates, location, nodeid=check.nodeid, name=check.name)
        if text_sha256(files.text) != item.digest:
            raise ModelvizError(_REPLACED)
        if _is_accepted(review, item):
            baselines.load(location, nodeid=check.nodeid, name=check.name)
            if baselines.is_complete(location, files):
                return "already accepted", ""
        # an accept that was cut off after the JSON file was replaced is finished
        expected = text_sha256(files.text) if _is_accepted(review, item) else _expected_digest(review, check, location)
        baselines.replace_if_unchanged(location, files, expected_digest=expected)
    except ChangedMeanwhileError:
        by_others = _is_accepted(review, item)  # at the same time
        return ("already accepted", "") if by_others else ("refused", _CHANGED)
    except UnreadableBaselineError as error:
        return "refused", f"its baseline cannot be read: {error}"
    except ModelvizError as error:
        return "refused", str(error)
    return "accepted", ""


def _is_accepted(review: Review, item: ReviewedCheck) -> bool:
    """Whether its baseline is what was captured: accepted before, or another shard has captured the same."""
    return item.run.candidates.digest(item.location) == review.baselines.digest(item.location)


def _require_project(review: Review, run: ReviewedRun, check: CheckResult, location: Location) -> None:
    """The results must be of this project, and the baselines where they were, or where the user says they are."""
    theirs = review.foreign_project(run)
    if theirs is not None:
        raise ModelvizError(
            f"run {run.label} is of the project in {theirs!r}, not of the one in {review.project!r} (folders of the "
            f"repository): name that one with --rootdir"
        )
    require_test_file(check.nodeid, review.rootdir, review.own_folders())
    compared = _compared_with(check, location).paths
    paths = [display_path(review.baselines.at(path), review.rootdir) for path in compared]
    if not review.named and check.baseline not in paths:
        raise ModelvizError(
            f"it was compared with {as_one_word(check.baseline)}, not with {paths[0]}: name the folder with "
            f"--baseline-dir"
        )


def _compared_with(check: CheckResult, location: Location) -> Location:
    """A variant without a baseline of its own was compared with the common one, or a test with a former id's."""
    compared, former = check.baseline.replace("\\", "/"), check.former_nodeid
    others = [] if former is None else [Location.of(former, check.name, location.variant)]
    for other in (location, *(variant for own in others for variant in (own, own.common))):
        if compared.endswith(tuple(f"{path}.json" for path in other.paths)):
            return other
    return location.common


def _expected_digest(review: Review, check: CheckResult, location: Location) -> str | None:
    """The digest that the baseline to be replaced must have; None where there must be none."""
    common = _compared_with(check, location)
    if common == location:
        return check.baseline_sha256
    if review.baselines.digest(common) != check.baseline_sha256:
        raise ChangedMeanwhileError(review.baselines.display_path(common))
    return None


def reject(review: Review, item: ReviewedCheck) -> Decision:
    """Forget a candidate; the baseline stays as it is."""
    path = item.run.candidates.display_path(item.location)
    decided = functools.partial(Decision, item.nodeid, item.check.name, path=path)
    if item.state is State.REJECTED:
        return decided("already rejected")
    if item.state is State.FOREIGN:
        return _left_alone(review, item)
    try:
        if item.run.candidates.digest(item.location) not in (None, item.digest):
            raise ModelvizError(_REPLACED)
        item.run.folder.discard_candidate(item.location, "rejected", captured=item.check.candidate_sha256)
    except ChangedMeanwhileError:
        return decided("refused", _REPLACED)
    except ModelvizError as error:
        return decided("refused", str(error))
    return decided("rejected")


def candidate_files(candidates: Store, location: Location, *, nodeid: str, name: str) -> Files:
    """The files of a candidate as they may be stored: complete, no links, the picture encoded again.

    Raises ModelvizError.
    """
    linked = candidates.linked(location)
    if linked is not None:
        raise ModelvizError(
            f"the candidate's {linked} is a link, and links are not followed: copy the results folder with "
            f"'cp -rL', and name the copy with --from"
        )
    try:
        picture = candidates.stored_picture(location, _MOST_PICTURE_BYTES)
        files = candidates.files(location, nodeid=nodeid, name=name)
    except ForeignBaselineError as error:  # whose reason ends in a command, made of what the candidate says
        raise ModelvizError(
            f"the candidate {candidates.display_path(location)} belongs to another test, {as_one_word(error.owner)}: "
            f"run pytest --modelviz again"
        ) from error
    except UnreadableBaselineError as error:
        raise ModelvizError(f"the candidate {candidates.display_path(location)} cannot be read: {error}") from error
    if files is None:
        raise ModelvizError("its candidate is gone: it was rejected, or its file was removed")
    unknown = unknown_keys(files.text)
    if unknown:
        raise ModelvizError(
            f"the candidate has keys that this version does not know ({', '.join(map(repr, unknown))}) and "
            f"cannot compare: accept it with the version that captured it, or run pytest --modelviz again"
        )
    return replace(files, picture=None if picture is None else _encoded_again(picture, f"{location.stem}.png"))


def _encoded_again(picture: bytes, name: str) -> bytes:
    from pytest_modelviz.pictures.files import encoded_anew

    try:
        return encoded_anew(picture)
    except ValueError as error:
        raise ModelvizError(
            f"the candidate's {name} is not a picture of a capture ({error}): run pytest again"
        ) from error
