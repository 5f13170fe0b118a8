"""What changed baselines mean: compared by their views as a run would, with results and pictures like a run's.

Both sides are untrusted: what is allowed is what the stricter of the two says of the device and the precision.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pytest_modelviz.compare.output_effect import with_output_effect
from pytest_modelviz.compare.precision import finest_precision
from pytest_modelviz.compare.sketched_changes import with_sketched_changes
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.errors import ModelvizError, UnreadableBaselineError
from pytest_modelviz.pictures.composite import sheet
from pytest_modelviz.pictures.exhibits import Exhibit, pictures_of
from pytest_modelviz.pictures.files import quick_png_bytes
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.check_result import CheckResult, Status
from pytest_modelviz.records.findings import FormerSketchFinding, UnrecordedPartsFinding, UnstatedFinding
from pytest_modelviz.records.trace_arrays import are_sketched_alike, stated_version, unpack_trace
from pytest_modelviz.records.verdict import Verdict
from pytest_modelviz.reports.terminal import amount, explain
from pytest_modelviz.review.baseline_diff import Change, Entry, Pair
from pytest_modelviz.review.sides import Side, is_same_file
from pytest_modelviz.run.stored_comparison import compared, environment_changes, pictured
from pytest_modelviz.storage.baseline_files import Stored
from pytest_modelviz.storage.names import safe
from pytest_modelviz.text.printable import as_one_word, printable, printable_lines
from pytest_modelviz.text.side_by_side import cut_short, without_middle
from pytest_modelviz.views.stored import StoredView, stored_view

# letters of an error, of all that is said, of a view
_LONGEST_REASON, _LONGEST_SENTENCE, _LONGEST_NAME = 200, 1000, 100
_DEVICES = re.compile(r"[a-z]{1,20}(:\d{1,4})?(,[a-z]{1,20}(:\d{1,4})?){0,16}")  # as environments state them
_EARLIER = (UnstatedFinding, FormerSketchFinding, UnrecordedPartsFinding)  # what they match with
_OF_TWO_VERSIONS = (
    "not compared, the two were recorded by different versions of pytest-modelviz, which do not record the same: run "
    "the test with the baseline in"
)
_EXCHANGED = (
    "the newer baseline allows what the older does not: the two were compared the other way round, and in the evidence "
    "the older one stands after the newer"
)
_STATUSES = {
    Change.DRIFT: Status.DRIFT,
    Change.WITHIN_TOLERANCE: Status.MATCH,
    Change.UNREADABLE: Status.UNREADABLE,
    Change.NOT_COMPARED: Status.UNREADABLE,  # it has to be looked at, and what was not compared by a run has not
    Change.ADDED: Status.MISSING,
    Change.REMOVED: Status.MISSING,
    Change.RENAMED: Status.MATCH,
}


@dataclass(frozen=True)
class BaselineChange:
    """A baseline that changed, the result as if its check had been made, and pictures by their file names."""

    change: Change
    result: CheckResult
    pictures: Mapping[str, bytes] = field(default_factory=dict)


class _OtherVersionError(Exception):
    """Two baselines cannot be compared, or agree only one way, since an earlier version has recorded one of them."""


class _DamagedSideError(Exception):
    """A baseline of one side cannot be compared."""

    def __init__(self, side: Side, reason: str) -> None:
        super().__init__(f"the baseline in {side.label} cannot be read: {reason}")


@dataclass(frozen=True)
class ChangeEvaluator:
    """Evaluates pairs of baselines. `tolerances` are the project's; long lists are cut unless the `whole` is wanted."""

    before: Side
    after: Side
    tolerances: Tolerances
    whole: bool = False

    def changes(self, pairs: Sequence[Pair]) -> Iterator[BaselineChange]:
        """What has become of each, without those that are the same after all."""
        known = set()
        for pair in pairs:
            try:
                change = self._change(pair)
            except _DamagedSideError as damage:
                change = self._plain(pair, Change.UNREADABLE, str(damage))
            if change is not None:
                result = change.result
                if (result.nodeid, result.name) in known:  # whoever wrote a baseline has chosen its name
                    result = replace(result, name=str(pair.current.stem))
                known.add((result.nodeid, result.name))
                yield replace(change, result=result)

    def _change(self, pair: Pair) -> BaselineChange | None:
        if pair.after is None:
            return self._plain(pair, Change.REMOVED, f"removed, {self.after.label} has no such baseline")
        new = _loaded(pair.after)
        if pair.before is None:
            change = self._plain(pair, Change.ADDED, f"added, {self.before.label} has no such baseline", new.capture)
            return replace(change, pictures=_picture_alone(new.capture))
        old = _loaded(pair.before)
        if pair.is_renamed:
            former = pair.before.nodeid
            was = f"{as_one_word(former)} {as_one_word(_label(pair.before))}"
            change = self._plain(pair, Change.RENAMED, f"renamed, it was {was}", new.capture)
            changes = environment_changes(old.capture.environment, new.capture.environment)
            message = "\n".join([change.result.message, *_changed_lines(changes)])
            result = replace(change.result, former_nodeid=former, environment_changes=changes, message=message)
            return replace(change, result=result)
        if old.digest == new.digest:
            name = f"{pair.current.stem}.png"
            same = is_same_file(name, self.before, self.after)
            return None if same else self._plain(pair, Change.WITHIN_TOLERANCE, "only its picture differs", new.capture)
        if old.capture.view != new.capture.view:
            views = f"{old.capture.view!r} in {self.before.label} and {new.capture.view!r} in {self.after.label}"
            return self._plain(pair, Change.UNREADABLE, f"it was recorded by other views, {views}", new.capture)
        view = stored_view(new.capture.view)
        if view is None:
            reason = f"not compared, its view {new.capture.view!r} is another plugin's: run its test to compare it"
            return self._plain(pair, Change.NOT_COMPARED, reason, new.capture)
        return self._compared(pair, view, old, new)

    def _compared(self, pair: Pair, view: StoredView, old: Stored, new: Stored) -> BaselineChange:
        """A pair whose content differs: the verdict, and the message of a run that had found it."""
        before, after = old.capture, new.capture
        try:
            verdict, notes = self._verdict(view, before, after)
        except _OtherVersionError:
            return self._plain(pair, Change.NOT_COMPARED, f"{_OF_TWO_VERSIONS} {self.before.label}", after)
        change = Change.WITHIN_TOLERANCE if verdict.matched else Change.DRIFT
        result = replace(self._result(pair, change, after), baseline_sha256=old.digest).with_verdict(verdict)
        pictures: dict[str, bytes] = {}
        if not verdict.matched:
            try:
                pictures = _picture_files(pictured(view, before, after, verdict))
            except Exception as error:  # whatever a view raises about captures that it could compare
                notes.append(f"its pictures could not be made ({_reason(error)})")
        message = explain(
            replace(result, name=as_one_word(result.name)),
            verdict.findings,
            notes=notes,
            cause_text="" if result.cause is None else view.cause_texts.get(result.cause, ""),
            whole=self.whole,
        )
        if verdict.matched:
            within = f"changed within tolerance, error {amount(result.error, result.tolerance)}"
            lines = [
                f"{as_one_word(result.name)}: {within if result.error else 'changed, but not in what is compared'}"
            ]
            message = "\n".join(
                [*map(printable, lines), *_changed_lines(result.environment_changes), *message.split("\n")[1:]]
            )
        return BaselineChange(change, replace(result, message=message), pictures)

    def _verdict(self, view: StoredView, before: Capture, after: Capture) -> tuple[Verdict, list[str]]:
        """The stricter of the verdicts of both directions, of two drifts that on the newer one.

        What is allowed follows from the actual side, which may be forged here, and only of the other one is the text
        compared with the arrays. Raises _DamagedSideError and _OtherVersionError.
        """
        if not _are_sketched_alike(before, after):
            raise _OtherVersionError
        tolerances = self._strictest(before, after)
        forward = self._one_way(view, before, after, tolerances, self.before)
        backward = self._one_way(view, after, before, tolerances, self.after)
        if not forward.matched:
            return _with_value_changes(forward, before, after), []
        if backward.matched:
            return forward, []
        if any(isinstance(finding, _EARLIER) for finding in forward.findings):
            raise _OtherVersionError
        backward = replace(backward, environment_changes=forward.environment_changes)
        return with_output_effect(backward, before, after, tolerances), [_EXCHANGED]

    def _one_way(
        self, view: StoredView, baseline: Capture, actual: Capture, tolerances: Tolerances, side: Side
    ) -> Verdict:
        """The verdict on `actual` with the capture of a side as its baseline."""
        try:
            return compared(view, baseline, actual, tolerances)
        except Exception as error:  # a view may raise anything about what it has never recorded
            cause = error
            try:
                view.compare(actual, actual, tolerances)
            except Exception as own:
                cause, side = own, self.before if side is self.after else self.after
            raise _DamagedSideError(side, _reason(cause)) from cause

    def _strictest(self, before: Capture, after: Capture) -> Tolerances:
        """Neither side can say of itself that more is allowed."""
        environments = (before.environment, after.environment)
        devices = [environment.get("device", "cpu") for environment in environments]
        strictest = min(devices, key=lambda device: Tolerances(device=device).device_factor("float64"))
        return replace(self.tolerances, device=strictest, precision=finest_precision(*environments))

    def _plain(self, pair: Pair, change: Change, text: str, capture: Capture | None = None) -> BaselineChange:
        """A change of which there is one sentence to say."""
        said = without_middle(text, _LONGEST_SENTENCE)
        message = printable_lines(printable(f"{as_one_word(_label(pair.current))}: {said}"))
        return BaselineChange(change, replace(self._result(pair, change, capture), message=message))

    def _result(self, pair: Pair, change: Change, capture: Capture | None) -> CheckResult:
        current = pair.current
        device = "cpu" if capture is None else capture.environment.get("device", "cpu")
        return CheckResult(
            nodeid=current.nodeid,
            view=cut_short(current.view, _LONGEST_NAME),
            name=_label(current),
            status=_STATUSES[change],
            device=device if _DEVICES.fullmatch(device) else "unknown",
            baseline=self.before.display_path((pair.before or current).stem),
            compared_with=self.after.display_path((pair.after or current).stem),
        )


def _with_value_changes(verdict: Verdict, before: Capture, after: Capture) -> Verdict:
    if None in (stated_version(before.arrays), stated_version(after.arrays)):
        return verdict  # of a view without a trace
    return with_sketched_changes(verdict, *(unpack_trace(each.arrays).structure for each in (before, after)))


def _are_sketched_alike(before: Capture, after: Capture) -> bool:
    try:
        return are_sketched_alike(before.arrays, after.arrays)
    except UnreadableBaselineError:  # which is found again when they are compared, and of which side it is
        return True


def _loaded(entry: Entry) -> Stored:
    """The baseline of an entry; raises _DamagedSideError."""
    try:
        return entry.stored()
    except UnreadableBaselineError as error:
        raise _DamagedSideError(entry.side, str(error)) from error


def _changed_lines(changes: Mapping[str, tuple[str, str]]) -> list[str]:
    """What is different about the environments that two baselines name."""
    return [printable(f"  changed   {key}: {was} -> {now}") for key, (was, now) in changes.items()]


def _label(entry: Entry) -> str:
    """A check's name, with that of a variant, which is a baseline of its own."""
    return entry.name if entry.variant is None else f"{entry.name}@{entry.variant}"


def _picture_alone(capture: Capture) -> dict[str, bytes]:
    """What the baseline's own picture shows, made anew: anything can be in that."""
    view = stored_view(capture.view)
    try:
        image = None if view is None else sheet(pictures_of(view.picture(capture)))
    except Exception:  # as above; it is no baseline that anything matches, and a run will say so
        image = None
    return {} if image is None else {f"{safe(capture.view)}.png": quick_png_bytes(image)}


def _picture_files(exhibits: Sequence[Exhibit]) -> dict[str, bytes]:
    pictures = pictures_of(exhibits)
    return {f"{at:03}-{safe(picture.label)}.png": quick_png_bytes(picture.image) for at, picture in enumerate(pictures)}


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())[:_LONGEST_REASON]
    return text if isinstance(error, (UnreadableBaselineError, ModelvizError)) else f"{type(error).__name__}: {text}"
