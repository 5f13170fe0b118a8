"""One run in one process: takes checks, applies the update policy, keeps verdicts. Knows no pytest item.

A check flows: view captures, store loads, view compares, session records. What the rest of the world needs to know of
it is one small plain dict, the same that stands in results.json.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pytest_modelviz.compare.precision import coarsest_precision
from pytest_modelviz.compare.readable import is_same_but_for_rounding
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.errors import ForeignBaselineError, ModelvizError, OversizedBaselineError, UnreadableBaselineError
from pytest_modelviz.pictures.composite import sheet
from pytest_modelviz.pictures.exhibits import pictures_of
from pytest_modelviz.pictures.files import png_bytes, quick_png_bytes
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.limits import SMALL
from pytest_modelviz.records.verdict import Verdict
from pytest_modelviz.reports.tensorboard import EventFiles
from pytest_modelviz.reports.terminal import accept_command, explain
from pytest_modelviz.run.elsewhere import baseline_elsewhere, former_note
from pytest_modelviz.run.settings import Mode, Settings
from pytest_modelviz.storage.baseline_files import Stored, encode_files
from pytest_modelviz.storage.definitions import is_defined
from pytest_modelviz.storage.formats import plain_number, text_sha256
from pytest_modelviz.storage.limits import TIMES, limits_for
from pytest_modelviz.storage.names import Location, file_folder, safe
from pytest_modelviz.storage.renaming import foreign_reason
from pytest_modelviz.storage.results import ResultsFolder
from pytest_modelviz.storage.store import ChangedMeanwhileError, Store
from pytest_modelviz.text.printable import quoted
from pytest_modelviz.views.base import View, capture_with_other_randomness

Entry = dict[str, Any]

FAILING = ("drift", "missing", "unreadable", "unstable")
# An update leaves a baseline alone that differs by less than this part of the tolerance: that is the machine, not
# the model. Nothing creeps, because what is compared with stays the baseline that was recorded.
_NOISE = 0.1
_LONGEST_REASON = 200  # letters of an error that a damaged baseline has led to
_RANDOM = "it draws random numbers, also in eval mode (functional dropout, noise, sampling)"
_DECISIVE = ("device", "dtype", "autocast", "float32_precision")  # of the environment: what numbers mean
_RESTLESS = "it differs from call to call with the same random state (state kept outside of it, data-dependent code)"


@dataclass(frozen=True)
class Commands:
    """How to go on from a report.

    `options` are what pytest needs to record the test where it was compared, `argument` selects it; `review` are the
    options with which the command `modelviz` finds the files of this run.
    """

    options: str
    argument: str
    review: str = ""


@dataclass(frozen=True)
class Check:
    """One check of one test: which test, under what name, with which view and settings.

    `title` stands for the test in TensorBoard, `former_nodeid` is the id under which earlier versions recorded it,
    where that was another one, `is_former` that no other test can be meant by it, `is_former_taken` that a test of
    this run has it now, or may have. Above `folders` lie the roots of projects that may have a baseline of it as well.
    """

    nodeid: str
    title: str
    commands: Commands
    name: str
    view: View
    settings: Settings
    former_nodeid: str | None = None
    is_former: bool = False
    is_former_taken: bool = False
    folders: Callable[[], Sequence[Path]] = tuple


@dataclass
class Session:
    """The checks of one process. `run_id` names the run, `worker` the process within it."""

    run_id: str
    worker: str = "main"
    _events: EventFiles | None = field(default=None, init=False)
    _baselines: dict[str, Store] = field(default_factory=dict, init=False)
    _owners: dict[str, str] = field(default_factory=dict, init=False)
    recorded: set[Location] = field(default_factory=set, init=False)

    def check(self, check: Check) -> tuple[Capture, Entry]:
        """Make one check; return what was captured and the entry for results.json."""
        started = time.perf_counter()
        if check.settings.mode is not Mode.OFF:
            self._claim(check)
        capture = check.view.capture()
        entry = CheckEvaluator(self, check, capture).entry()
        entry["seconds"] = round(time.perf_counter() - started, 4)
        return capture, entry

    def _claim(self, check: Check) -> None:
        """Two tests must not share a baseline, also where a file system does not tell upper from lower case."""
        path = Location.of(check.nodeid, check.name, check.settings.variant).path
        owner = self._owners.setdefault(f"{check.settings.baseline_dir}/{path}".casefold(), check.nodeid)
        if owner != check.nodeid:
            raise ModelvizError(
                f"{check.nodeid} and {owner} would share the baseline {path} where a file system does not tell upper "
                f"from lower case: rename one of the tests, their classes or their files"
            )

    def baselines(self, settings: Settings) -> Store:
        """The store at the settings' folder or URL; what it has read from a URL is kept for the run."""
        place = settings.baseline_dir
        if str(place) not in self._baselines:
            self._baselines[str(place)] = Store(place, configured=settings.baseline_dir_is_configured)
        return self._baselines[str(place)]

    def events(self, settings: Settings) -> EventFiles:
        """The event files of this process, opened when the first drift is shown."""
        if self._events is None:
            self._events = EventFiles(ResultsFolder(settings.results_dir).event_folder(self.run_id, self.worker))
        return self._events

    def close(self) -> None:
        """Raises ModelvizError where event files cannot be written; all results stand."""
        if self._events is not None:
            events, self._events = self._events, None
            events.close()


class CheckEvaluator:
    """What becomes of one capture."""

    def __init__(self, session: Session, check: Check, capture: Capture) -> None:
        self._session, self._check, self._capture = session, check, capture
        self._settings = check.settings
        self._baselines = session.baselines(check.settings)
        self._results = ResultsFolder(check.settings.results_dir)
        self._candidates = Store(self._results.candidates, kind="candidate", option="--modelviz-results-dir")
        self._location = self._compared_with = Location.of(check.nodeid, check.name, check.settings.variant)
        self._ids = {"nodeid": check.nodeid, "name": check.name}
        self._former: str | None = None
        self._notes: list[str] = []
        self._found: str | None = None  # the digest of what lay there when it was compared

    def entry(self) -> Entry:
        if self._settings.mode is Mode.OFF:
            return self._entry("not_compared")
        if self._settings.mode.records:
            self._found = self._baselines.digest(self._location)
        try:
            stored = self._stored()
            return self._missing() if stored is None else self._compared(stored)
        except UnreadableBaselineError as error:
            return self._unreadable(error)

    def _stored(self) -> Stored | None:
        """The baseline to compare with: the check's own, else the common one of a variant, else a former id's."""
        stored = self._stored_as(self._check.nodeid)
        former = self._check.former_nodeid
        if stored is None and former is not None:
            if self._check.is_former:
                stored = self._stored_as(former)
                self._former = None if stored is None else former
            may_be = not (self._check.is_former or self._check.is_former_taken)
            if self._former or (may_be and self._holds(former)):
                self._notes.append(former_note(former, self._check))
        return stored

    def _stored_as(self, nodeid: str) -> Stored | None:
        for location in self._locations(nodeid):
            stored = self._loaded(location, nodeid)
            if stored is not None:
                self._compared_with = location
                return stored
        return None

    def _loaded(self, location: Location, nodeid: str) -> Stored | None:
        """A baseline no larger than this capture allows; a small one is read without asking."""
        ids = {"nodeid": nodeid, "name": self._check.name}
        with contextlib.suppress(OversizedBaselineError):
            return self._baselines.load(location, **ids, limits=SMALL)
        try:
            return self._baselines.load(location, **ids, limits=limits_for(self._capture))
        except OversizedBaselineError as error:
            raise UnreadableBaselineError(
                f"{error}: more than {TIMES} times what this check captures now, and than any small model needs. If "
                f"the model was that much larger, record it anew"
            ) from error

    def _holds(self, nodeid: str) -> bool:
        return any(self._baselines.digest(location) is not None for location in self._locations(nodeid))

    def _locations(self, nodeid: str) -> list[Location]:
        own = Location.of(nodeid, self._check.name, self._settings.variant)
        return list(dict.fromkeys((own, own.common)))

    def _missing(self) -> Entry:
        elsewhere = baseline_elsewhere(self._check)
        if elsewhere is not None:
            self._notes.append(elsewhere)
        if self._settings.mode.records:
            return self._unstable() or self._record()
        return self._entry("missing", candidate=self._keep_candidate())

    def _unreadable(self, error: UnreadableBaselineError) -> Entry:
        if self._settings.mode is Mode.UPDATE_ALL:
            return self._unstable() or self._record()
        reason = str(error)
        if isinstance(error, ForeignBaselineError):
            reason = self._foreign(error)
        return self._entry("unreadable", reason=reason, candidate=self._keep_candidate())

    def _foreign(self, error: ForeignBaselineError) -> str:
        """The same with a command for here: for the whole file if all of it seems to have been moved."""
        file, place = error.owner.partition("::")[0], self._settings.baseline_dir
        whole = isinstance(place, Path) and not (place / file_folder(error.owner)).exists()
        whole = whole and not (self._settings.rootdir / file).exists()
        options = self._check.commands.review
        is_there = is_defined(self._settings.rootdir, error.owner) is True
        return foreign_reason(error.owner, self._check.nodeid, whole_file=whole, is_there=is_there, options=options)

    def _compared(self, stored: Stored) -> Entry:
        baseline = stored.capture
        if baseline.view != self._capture.view:
            raise UnreadableBaselineError(f"it was recorded by the view {baseline.view!r}, not {self._capture.view!r}")
        verdict = self._verdict(baseline, 1.0)
        if self._settings.mode is Mode.UPDATE_ALL and self._location not in self._session.recorded:
            own = self._compared_with == self._location
            return self._unstable() or self._record(baseline if own and self._is_noise(baseline, verdict) else None)
        self._chart(verdict)
        if verdict.matched:
            if self._settings.mode.records:
                self._baselines.complete_interrupted_write(self._compared_with)
            return self._entry("match", verdict, digest=stored.digest)
        unstable = self._unstable()
        if unstable is not None:
            return unstable
        if self._settings.mode is Mode.UPDATE and self._location not in self._session.recorded:
            return self._record()  # what this very run has recorded, another go at the same test does not replace
        self._note_precision(baseline)
        tags = self._show(baseline, verdict)
        candidate = self._keep_candidate()
        return self._entry("drift", verdict, digest=stored.digest, candidate=candidate, tags=tags)

    def _unstable(self) -> Entry | None:
        """Whether the model merely differs from itself; then nothing is recorded and no drift is reported."""
        view = self._check.view
        if not self._capture.repeatable:
            return None
        verdict = view.compare(self._capture, capture_with_other_randomness(view), self._tolerances)
        if verdict.matched:
            return None
        drawn = view.compare(self._capture, view.capture(), self._tolerances).matched
        reason = _RANDOM if drawn else _RESTLESS
        return self._entry("unstable", replace(verdict, cause=None), reason=reason)

    @property
    def _tolerances(self) -> Tolerances:
        around = self._capture.environment
        return Tolerances(
            self._settings.rtol,
            self._settings.atol,
            around.get("device", "cpu"),
            layers=self._settings.layers,
            ignored=self._settings.ignored,
            precision=coarsest_precision(around),
        )

    def _verdict(self, baseline: Capture, scale: float) -> Verdict:
        before, after = baseline.environment, self._capture.environment
        tolerances = replace(self._tolerances, scale=scale)
        view, actual = self._check.view, self._capture
        with _blaming(baseline, lambda: view.compare(actual, actual, tolerances)):
            verdict = view.compare(baseline, actual, tolerances)
        changes = {
            key: (before.get(key, "-"), after.get(key, "-"))
            for key in sorted({*before, *after})
            if before.get(key) != after.get(key)
        }
        return replace(verdict, environment_changes=changes)

    def _note_precision(self, baseline: Capture) -> None:
        """Say so where a drift is no more than the baseline's own precision, which a file cannot ask for."""
        own, coarsest = self._tolerances.precision, coarsest_precision(baseline.environment, self._capture.environment)
        tolerances = replace(self._tolerances, precision=coarsest)
        if coarsest != own and self._check.view.compare(baseline, self._capture, tolerances).matched:
            self._notes.append(
                f"the difference is no more than {coarsest.upper()} makes, which the baseline says it was recorded in. "
                f"What is allowed follows from this run, which computes in full precision: record the baseline in "
                f"full precision too, keep one for each precision (--modelviz-variant), or say with rtol= what is "
                f"allowed"
            )

    def _is_noise(self, baseline: Capture, verdict: Verdict) -> bool:
        """Whether recording would change nothing but the last digits."""
        same_pictures = set(baseline.arrays) == set(self._capture.arrays)
        same_text = is_same_but_for_rounding(baseline.facts, self._capture.facts)
        around = baseline.environment, self._capture.environment
        same_place = all(around[0].get(key) == around[1].get(key) for key in _DECISIVE)
        same = verdict.matched and same_pictures and same_text and same_place and not verdict.findings
        return same and self._verdict(baseline, _NOISE).matched

    def _record(self, known: Capture | None = None) -> Entry:
        """Store the capture, or anew what is `known`: that changes no byte, and mends what a cut-off write left."""
        self._compared_with = self._location
        self._session.recorded.add(self._location)
        files = None if known is None else self._baselines.files(self._location, **self._ids)
        if files is None:
            files = encode_files(self._location, self._capture, **self._ids)
        files = replace(files, picture=files.picture or _png(self._check.view, self._capture))
        try:
            self._baselines.replace_if_unchanged(self._location, files, expected_digest=self._found)
        except ChangedMeanwhileError:  # another process has recorded it: what this one captured is compared with that
            return self.entry()
        return self._entry("recorded", digest=text_sha256(files.text))

    def _keep_candidate(self) -> str | None:
        """Keep what was captured; where that cannot be written, the report says so and stands all the same."""
        try:
            self._results.prepare()
            picture = _png(self._check.view, self._capture)
            path = self._candidates.save(self._location, self._capture, **self._ids, picture=picture)
        except ModelvizError as error:
            self._notes.append(f"what was captured could not be kept, so that it cannot be accepted: {error}")
            return None
        return self._settings.display_path(path)

    def _show(self, baseline: Capture, verdict: Verdict) -> list[str]:
        """Put the pictures of a drift into TensorBoard and into files; returns their tags."""
        view, actual = self._check.view, self._capture
        with _blaming(baseline, lambda: view.picture(actual, actual, verdict)):
            exhibits = view.picture(actual, baseline, verdict)
        try:
            events = self._session.events(self._settings)
            text = self._entry("drift", verdict, whole=True)["message"]
            events.text(self._tag, f"{text}\n\n{self._check.view.describe(self._capture)}")
            encoded = [(one, quick_png_bytes(one.image)) for one in pictures_of(exhibits)]
            pngs = {id(one): png for one, png in encoded}
            tags = [events.show(self._tag, exhibit, pngs.get(id(exhibit))) for exhibit in exhibits]
            files = {f"{at:03}-{safe(one.label)}.png": png for at, (one, png) in enumerate(encoded)}
            self._results.keep_pictures(self._location.path, files)
        except ModelvizError as error:
            self._notes.append(f"its pictures could not be kept: {error}")
            return []
        return tags

    def _chart(self, verdict: Verdict) -> None:
        """The error, to be followed over runs. A verdict is a verdict even where it cannot be charted."""
        with contextlib.suppress(ModelvizError):
            self._session.events(self._settings).scalar(f"errors/{self._tag}", verdict.error)

    @property
    def _tag(self) -> str:
        return f"{self._check.title}/{self._check.name}"

    def _entry(
        self,
        status: str,
        verdict: Verdict | None = None,
        *,
        reason: str = "",
        digest: str | None = None,
        candidate: str | None = None,
        tags: list[str] | None = None,
        whole: bool = False,
    ) -> Entry:
        entry: Entry = {
            "nodeid": self._check.nodeid,
            "view": self._capture.view,
            "name": self._check.name,
            "variant": self._settings.variant,
            "status": status,
            "seconds": 0.0,
            "message": "",
            "layers": {"compared": 0, "drifted": 0},
            "error": None,
            "tolerance": None,
            "first_divergence": None,
            "cause": None,
            "environment_changes": {},
            "device": self._capture.environment.get("device", "cpu"),
            "baseline": self._settings.display_path(self._baselines.display_path(self._compared_with)),
            "candidate": candidate,
            "candidate_sha256": None if candidate is None else self._candidates.digest(self._location),
            "baseline_sha256": digest,
            "tensorboard_tags": tags or [],
            "commands": {},
            **({} if self._former is None else {"former_nodeid": self._former}),
        }
        findings: list[dict[str, Any]] = []
        if verdict is not None:
            entry.update(_told(verdict))
            findings = [vars(finding) for finding in verdict.findings]
        commands = self._check.commands
        record = f"{commands.options} {quoted(commands.argument)}".lstrip()
        options = f"--run {self._session.run_id} {commands.review}".rstrip()
        accept = f"{options} {quoted(self._check.nodeid)}"
        entry["message"] = explain(
            entry,
            findings,
            reason=reason,
            commands=(record, accept),
            notes=(*self._capture.notes, *self._notes),
            whole=whole,
        )
        if candidate is not None and status in ("drift", "missing"):
            entry["commands"] = {"accept": accept_command(accept)}
        return entry


@contextlib.contextmanager
def _blaming(baseline: Capture, without_it: Callable[[], object]) -> Iterator[None]:
    """What a view raises about a baseline, and not about a capture beside itself, is damage of the baseline.

    Its file is whole, but somebody wrote into it what no view records: no reader can think of all of that.
    """
    try:
        yield
    except (UnreadableBaselineError, ModelvizError):
        raise
    except Exception as error:
        without_it()  # raises what is the view's own doing
        kind, text = type(error).__name__, " ".join(str(error).split())[:_LONGEST_REASON]
        raise UnreadableBaselineError(
            f"it holds what the view {baseline.view!r} never records, and cannot be compared ({kind}: {text}): restore "
            f"it from version control, or record it anew"
        ) from error


def _told(verdict: Verdict) -> dict[str, Any]:
    first = verdict.first
    return {
        "layers": {"compared": verdict.compared, "drifted": verdict.drifted},
        "error": plain_number(verdict.error),
        "tolerance": plain_number(verdict.tolerance),
        "first_divergence": None
        if first is None
        else {
            "layer": first.layer,
            "class": first.class_name,
            "call": first.call,
            "error": plain_number(first.error),
            "tolerance": plain_number(first.tolerance),
        },
        "cause": verdict.cause,
        "environment_changes": {key: list(pair) for key, pair in verdict.environment_changes.items()},
    }


def _png(view: View, capture: Capture) -> bytes | None:
    image = sheet(pictures_of(view.picture(capture)))
    return None if image is None else png_bytes(image)
