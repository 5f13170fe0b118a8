"""What becomes of one capture: its baseline is found, compared and recorded as the policy says, its result made.

What was captured of a check that differs is kept among the candidates, its pictures beside them.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_modelviz.errors import ForeignBaselineError, ModelvizError, OversizedBaselineError, UnreadableBaselineError
from pytest_modelviz.pictures.exhibits import Exhibit, pictures_of
from pytest_modelviz.pictures.files import is_png_as_large, png_bytes
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.check_result import CheckResult, Status
from pytest_modelviz.records.limits import SMALL
from pytest_modelviz.records.verdict import Verdict
from pytest_modelviz.reports.terminal import accept_command, explain
from pytest_modelviz.run.check import Check
from pytest_modelviz.run.comparison import Comparison
from pytest_modelviz.run.details import Details
from pytest_modelviz.run.elsewhere import baseline_elsewhere, earlier_version_note, former_note
from pytest_modelviz.run.kept_pictures import KeptPicture, named_files
from pytest_modelviz.run.policy import BaselineState, intended_status
from pytest_modelviz.run.settings import Mode
from pytest_modelviz.storage.baseline_files import Stored, encode_files
from pytest_modelviz.storage.definitions import is_defined
from pytest_modelviz.storage.files import lies_in
from pytest_modelviz.storage.formats import has_metadata, text_sha256, unknown_keys
from pytest_modelviz.storage.limits import TIMES, limits_for
from pytest_modelviz.storage.names import Location, display_path, file_folder
from pytest_modelviz.storage.renaming import foreign_reason
from pytest_modelviz.storage.store import ChangedMeanwhileError, Store
from pytest_modelviz.text.printable import quoted
from pytest_modelviz.views.base import cause_text

if TYPE_CHECKING:
    from pytest_modelviz.run.session import Session


class CheckEvaluator:
    """Evaluates one capture of one check."""

    def __init__(self, session: Session, check: Check, capture: Capture) -> None:
        self._session, self._check, self._capture = session, check, capture
        self._settings = check.settings
        self._comparison = Comparison(check.view, capture, check.settings)
        self._baselines = session.baselines(check.settings)
        self._results = check.settings.results_folder()
        self._candidates = Store(self._results.candidates, kind="candidate", option="--modelviz-results-dir")
        self._location = self._compared_with = Location.of(check.nodeid, check.name, check.settings.variant)
        self._ids = {"nodeid": check.nodeid, "name": check.name}
        self._former: str | None = None
        self._notes: list[str] = []
        self._expected_digest: str | None = None  # of what an update would replace
        self._details: Details | None = None
        self._pictures: list[KeptPicture] = []

    def result(self) -> CheckResult:
        """Compare and record, as the mode of the run says; returns what results.json says of it."""
        result = self._outcome()
        if not result.status.fails or self._details is None:
            return result
        return self._details.kept(result, self._results, self._location, self._check)

    def _outcome(self) -> CheckResult:
        if self._settings.mode is Mode.OFF:
            return self._result(Status.NOT_COMPARED)
        if self._settings.mode.records:
            self._expected_digest = self._baselines.digest(self._location)
        try:
            stored = self._find_baseline()
            return self._without_baseline() if stored is None else self._compared(stored)
        except UnreadableBaselineError as error:
            return self._unreadable(error)

    def _find_baseline(self) -> Stored | None:
        """The baseline to compare with: the check's own, else the common one of a variant, else a former id's."""
        stored = self._find_baseline_of(self._check.nodeid)
        former = self._check.former_nodeid
        if stored is None and former is not None:
            if self._check.is_former:
                stored = self._find_baseline_of(former)
                self._former = None if stored is None else former
            may_be = not (self._check.is_former or self._check.is_former_taken)
            if self._former or (may_be and self._holds(former)):
                self._notes.append(former_note(former, self._check))
        return stored

    def _find_baseline_of(self, nodeid: str) -> Stored | None:
        for location in self._locations(nodeid):
            stored = self._load(location, nodeid)
            if stored is not None:
                self._compared_with = location
                return stored
        return None

    def _load(self, location: Location, nodeid: str) -> Stored | None:
        """A baseline no larger than this capture allows; a small one is read without asking."""
        ids = {"nodeid": nodeid, "name": self._check.name}
        with contextlib.suppress(OversizedBaselineError):
            return self._baselines.load(location, **ids, limits=SMALL)
        try:
            return self._baselines.load(location, **ids, limits=limits_for(self._capture))
        except OversizedBaselineError as error:
            raise UnreadableBaselineError(
                f"{error}: more than {TIMES} times what this check captures now, and more than a small model needs. If "
                f"the model used to be that much larger, record it anew"
            ) from error

    def _holds(self, nodeid: str) -> bool:
        return any(self._baselines.digest(location) is not None for location in self._locations(nodeid))

    def _locations(self, nodeid: str) -> list[Location]:
        own = Location.of(nodeid, self._check.name, self._settings.variant)
        return list(dict.fromkeys((own, own.common)))

    def _without_baseline(self) -> CheckResult:
        elsewhere = baseline_elsewhere(self._check)
        if elsewhere is not None:
            self._notes.append(elsewhere)
        if intended_status(self._settings.mode, BaselineState.MISSING) is Status.RECORDED:
            return self._unstable() or self._record()
        return self._result(Status.MISSING, candidate=self._keep_candidate())

    def _unreadable(self, error: UnreadableBaselineError) -> CheckResult:
        if intended_status(self._settings.mode, BaselineState.UNREADABLE) is Status.RECORDED:
            return self._unstable() or self._record()
        reason = self._foreign(error) if isinstance(error, ForeignBaselineError) else str(error)
        return self._result(Status.UNREADABLE, reason=reason, candidate=self._keep_candidate())

    def _foreign(self, error: ForeignBaselineError) -> str:
        """The reason with a command for here: for the whole file if all of it seems to have been moved."""
        file, folder = error.owner.partition("::")[0], self._settings.baseline_dir
        try:
            whole = isinstance(folder, Path) and not (folder / file_folder(error.owner)).exists()
            whole = whole and not (self._settings.rootdir / file).exists()
        except (OSError, ValueError):  # a name that no file can have
            return str(error)
        options = self._check.review
        own = [self._results.root, *([folder] if isinstance(folder, Path) else [])]
        is_test = not lies_in(self._settings.rootdir / file, own)  # else a baseline could name a file to be parsed
        is_there = is_test and is_defined(self._settings.rootdir, error.owner)
        return foreign_reason(error.owner, self._check.nodeid, whole_file=whole, is_there=is_there, options=options)

    def _compared(self, stored: Stored) -> CheckResult:
        baseline, mode = stored.capture, self._settings.mode
        comparison = self._comparison.sketched_as(baseline)
        verdict = comparison.with_baseline(baseline)
        is_decided = self._location in self._session.decided
        state = BaselineState.DECIDED_NOW if is_decided else BaselineState.RECORDED_BEFORE
        status = intended_status(mode, state, matched=verdict.matched)
        if status is Status.RECORDED and mode is Mode.UPDATE_ALL:
            return self._unstable() or self._record(keeps_files=self._comparison.is_noise(baseline, verdict))
        earlier = [] if comparison is self._comparison else [earlier_version_note(self._check)]
        if status is Status.MATCH:
            unstable = self._unstable(comparison) if earlier else None  # the test has captured something else
            if unstable is not None:
                return unstable
            others = [note for note in comparison.capture.notes if note not in self._capture.notes]
            self._notes += [*earlier, *others]
            self._session.decided.add(self._location)
            if mode.records:
                self._baselines.complete_interrupted_write(self._compared_with)
            elif stored.is_cut_off:
                self._notes.append(
                    f"the last write of this baseline was cut off: commit none of it before pytest "
                    f"--modelviz-update-missing {self._check.arguments} has completed it"
                )
            return self._result(Status.MATCH, verdict, digest=stored.digest)
        unstable = self._unstable()
        if unstable is not None:
            return unstable
        if status is Status.RECORDED:
            return self._record()
        self._notes += filter(None, [*earlier, comparison.precision_note(baseline)])
        if is_decided and mode.records:
            self._notes.append("nothing was recorded: earlier in this run the test recorded or matched its baseline")
        verdict = comparison.explained(baseline, verdict)
        tags = self._show(comparison.pictures(baseline, verdict), verdict)
        candidate = self._keep_candidate()
        return self._result(Status.DRIFT, verdict, digest=stored.digest, candidate=candidate, tags=tags)

    def _unstable(self, compared: Comparison | None = None) -> CheckResult | None:
        """The result where the model merely differs from itself; then nothing is recorded, and no drift reported."""
        own = self._comparison
        instability = own.instability() if compared is None else own.instability_beside(compared)
        return None if instability is None else self._result(Status.UNSTABLE, instability[0], reason=instability[1])

    def _record(self, *, keeps_files: bool = False) -> CheckResult:
        """Store the capture, or the check's own files anew where there are such.

        That changes no byte of them but those of a damaged picture, and completes a write that was cut off.
        """
        self._compared_with = self._location
        self._session.decided.add(self._location)
        files = self._baselines.files(self._location, **self._ids) if keeps_files else None
        if files is None or unknown_keys(files.text) or (files.arrays is not None and has_metadata(files.arrays)):
            files = encode_files(self._location, self._recordable(), **self._ids)
        files = replace(files, picture=self._picture(files.picture))
        try:
            self._baselines.replace_if_unchanged(self._location, files, expected_digest=self._expected_digest)
        except ChangedMeanwhileError:  # another process has recorded it: what this one captured is compared with that
            return self._outcome()
        return self._result(Status.RECORDED, digest=text_sha256(files.text))

    def _recordable(self) -> Capture:
        """What is stored; what is to be said of it is noted, as that noise could not be measured."""
        recordable = self._comparison.recordable
        self._notes += [n for n in recordable.notes if n not in self._capture.notes and n not in self._notes]
        return recordable

    def _keep_candidate(self) -> str | None:
        """Keep what was captured; where that cannot be written, the report says so and stands all the same."""
        picture = self._picture()
        try:
            self._results.prepare()
            path = self._candidates.save(self._location, self._recordable(), **self._ids, picture=picture)
        except ModelvizError as error:
            self._notes.append(f"the capture could not be kept and cannot be accepted: {error}")
            return None
        return display_path(path, self._settings.rootdir)

    def _picture(self, stored: bytes | None = None) -> bytes | None:
        """The capture as a PNG; the one that is stored, where that is a picture of the same size."""
        image = self._comparison.picture()
        if image is None:
            return None
        return stored if stored is not None and is_png_as_large(stored, image) else png_bytes(image)

    def _show(self, exhibits: Sequence[Exhibit], verdict: Verdict) -> list[str]:
        """Put the pictures of a drift into TensorBoard and into files; returns their tags."""
        text = (
            f"{self._result(Status.DRIFT, verdict, whole=True).message}\n\n{self._check.view.describe(self._capture)}"
        )
        try:
            events = self._session.events(self._settings)
            events.text(self._tag, text)
            kept = [KeptPicture.of(number, picture) for number, picture in enumerate(pictures_of(exhibits))]
            pngs = {id(picture.picture): picture.files["composite"] for picture in kept}
            tags = [events.show(self._tag, exhibit, pngs.get(id(exhibit))) for exhibit in exhibits]
            self._results.keep_pictures(self._location.path, named_files(kept))
            self._pictures = kept
        except ModelvizError as error:
            self._notes.append(f"its pictures could not be kept: {error}")
            return []
        return tags

    @property
    def _tag(self) -> str:
        return f"{self._check.title}/{self._check.name}"

    def _result(
        self,
        status: Status,
        verdict: Verdict | None = None,
        *,
        reason: str = "",
        digest: str | None = None,
        candidate: str | None = None,
        tags: Sequence[str] = (),
        whole: bool = False,
    ) -> CheckResult:
        options = f"--run {self._session.run_id} {self._check.review}".rstrip()
        accept = f"{options} {quoted(self._check.nodeid)}"
        result = CheckResult(
            nodeid=self._check.nodeid,
            view=self._capture.view,
            name=self._check.name,
            variant=self._settings.variant,
            status=status,
            device=self._capture.environment.get("device", "cpu"),
            baseline=display_path(self._baselines.display_path(self._compared_with), self._settings.rootdir),
            candidate=candidate,
            candidate_sha256=None if candidate is None else self._candidates.digest(self._location),
            baseline_sha256=digest,
            tensorboard_tags=tuple(tags),
            accept_command=accept_command(accept) if candidate is not None and status.is_acceptable else None,
            former_nodeid=self._former,
            location=self._check.location,
        )
        if verdict is not None:
            result = result.with_verdict(verdict)
        text = functools.partial(
            explain,
            result,
            () if verdict is None else verdict.findings,
            reason=reason,
            commands=(self._check.arguments, accept),
            notes=(*self._capture.notes, *self._notes),
            cause_text=cause_text(self._check.view, result.cause),
        )
        description = functools.partial(self._check.view.describe, self._capture)
        self._details = Details(verdict, text(whole=True), description, self._pictures)
        return replace(result, message=self._details.message if whole else text())
