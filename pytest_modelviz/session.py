"""One run in one process: takes checks, applies the update policy, keeps verdicts. Knows no pytest item.

A check flows: view captures, store loads, view compares, session records. What the rest of the world needs to know of
it is one small plain dict, the same that stands in results.json.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Any

from pytest_modelviz.baselines.formats import plain_number
from pytest_modelviz.baselines.names import Location, safe
from pytest_modelviz.baselines.store import Store, Stored
from pytest_modelviz.capture import Capture
from pytest_modelviz.compare.tolerance import Tolerances, coarsest_precision
from pytest_modelviz.errors import ModelvizError, UnreadableBaselineError
from pytest_modelviz.pictures.composite import sheet
from pytest_modelviz.pictures.exhibits import pictures_of
from pytest_modelviz.pictures.files import png_bytes
from pytest_modelviz.reports.results import ResultsFolder
from pytest_modelviz.reports.tensorboard import EventFiles
from pytest_modelviz.reports.terminal import explain, quoted
from pytest_modelviz.settings import Mode, Settings
from pytest_modelviz.verdict import Verdict
from pytest_modelviz.views import View, capture_with_other_randomness

Entry = dict[str, Any]

FAILING = ("drift", "missing", "unreadable", "unstable")
# An update leaves a baseline alone that differs by less than this part of the tolerance: that is the machine, not
# the model. Nothing creeps, because what is compared with stays the baseline that was recorded.
_NOISE = 0.1
_RANDOM = "it draws random numbers, also in eval mode (functional dropout, noise, sampling)"
_RESTLESS = "it differs from call to call with the same random state (state kept outside of it, data-dependent code)"


@dataclass(frozen=True)
class Commands:
    """How to go on from a report: what selects the test for pytest, and what `modelviz` needs to find its files."""

    argument: str
    review: str = ""


@dataclass(frozen=True)
class Check:
    """One check of one test: which test, under what name, with which view and settings.

    `title` stands for the test in TensorBoard.
    """

    nodeid: str
    title: str
    commands: Commands
    name: str
    view: View
    settings: Settings


@dataclass
class Session:
    """The checks of one process. `run_id` names the run, `worker` the process within it."""

    run_id: str
    worker: str = "main"
    _events: EventFiles | None = field(default=None, init=False)
    _baselines: dict[str, Store] = field(default_factory=dict, init=False)

    def check(self, check: Check) -> tuple[Capture, Entry]:
        """Make one check; return what was captured and the entry for results.json."""
        started = time.perf_counter()
        capture = check.view.capture()
        entry = _Judgement(self, check, capture).entry()
        entry["seconds"] = round(time.perf_counter() - started, 4)
        return capture, entry

    def baselines(self, place: Any) -> Store:
        """The store at a folder or URL; what it has read from a URL is kept for the run."""
        if str(place) not in self._baselines:
            self._baselines[str(place)] = Store(place)
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


class _Judgement:
    """What becomes of one capture."""

    def __init__(self, session: Session, check: Check, capture: Capture) -> None:
        self._session, self._check, self._capture = session, check, capture
        self._settings = check.settings
        self._baselines = session.baselines(check.settings.baseline_dir)
        self._results = ResultsFolder(check.settings.results_dir)
        self._candidates = Store(self._results.candidates, what="candidate", option="--modelviz-results-dir")
        self._location = self._compared_with = Location.of(check.nodeid, check.name, check.settings.variant)
        self._ids = {"nodeid": check.nodeid, "name": check.name}

    def entry(self) -> Entry:
        entry = self._judged()
        if entry["candidate"] is None and self._settings.mode is not Mode.OFF:
            self._candidates.discard(self._location)  # of an earlier attempt at this test
        return entry

    def _judged(self) -> Entry:
        if self._settings.mode is Mode.OFF:
            return self._entry("not_compared")
        try:
            stored = self._baselines.load(self._location, **self._ids)
            if stored is None and self._location.variant is not None:
                stored = self._baselines.load(self._location.common, **self._ids)
                self._compared_with = self._location if stored is None else self._location.common
            if stored is None:
                return self._missing()
            return self._compared(stored)
        except UnreadableBaselineError as error:
            return self._unreadable(error)

    def _missing(self) -> Entry:
        if self._settings.mode.records:
            return self._unstable() or self._record()
        return self._entry("missing", candidate=self._keep_candidate())

    def _unreadable(self, error: UnreadableBaselineError) -> Entry:
        if self._settings.mode is Mode.UPDATE_ALL:
            return self._unstable() or self._record()
        return self._entry("unreadable", reason=str(error), candidate=self._keep_candidate())

    def _compared(self, stored: Stored) -> Entry:
        baseline = stored.capture
        if baseline.view != self._capture.view:
            raise UnreadableBaselineError(f"it was recorded by the view {baseline.view!r}, not {self._capture.view!r}")
        verdict = self._verdict(baseline, 1.0)
        if self._settings.mode is Mode.UPDATE_ALL:
            own = self._compared_with == self._location
            return self._unstable() or self._record(baseline if own and self._is_noise(baseline, verdict) else None)
        self._chart(verdict)
        if verdict.matched:
            if self._settings.mode.records:
                self._baselines.finish(self._compared_with)
            return self._entry("match", verdict, digest=stored.digest)
        unstable = self._unstable()
        if unstable is not None:
            return unstable
        if self._settings.mode is Mode.UPDATE:
            return self._record()
        tags = self._show(baseline, verdict)
        return self._entry("drift", verdict, digest=stored.digest, candidate=self._keep_candidate(), tags=tags)

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
            precision=coarsest_precision(around),
        )

    def _verdict(self, baseline: Capture, scale: float) -> Verdict:
        before, after = baseline.environment, self._capture.environment
        tolerances = replace(self._tolerances, scale=scale, precision=coarsest_precision(before, after))
        verdict = self._check.view.compare(baseline, self._capture, tolerances)
        changes = {
            key: (before.get(key, "-"), after.get(key, "-"))
            for key in sorted({*before, *after})
            if before.get(key) != after.get(key)
        }
        return replace(verdict, environment_changes=changes)

    def _is_noise(self, baseline: Capture, verdict: Verdict) -> bool:
        """Whether recording would change nothing but the last digits."""
        same_pictures = set(baseline.arrays) == set(self._capture.arrays)
        return verdict.matched and same_pictures and self._verdict(baseline, _NOISE).matched

    def _record(self, known: Capture | None = None) -> Entry:
        """Store the capture, or anew what is `known`: that changes no byte, and mends what a cut-off write left."""
        picture = None if known is None else self._baselines.picture(self._location)
        picture = picture or _png(self._check.view, self._capture)
        self._baselines.save(self._location, known or self._capture, **self._ids, picture=picture)
        return self._entry("recorded")

    def _keep_candidate(self) -> str:
        self._results.prepare()
        picture = _png(self._check.view, self._capture)
        return self._settings.shown(self._candidates.save(self._location, self._capture, **self._ids, picture=picture))

    def _show(self, baseline: Capture, verdict: Verdict) -> list[str]:
        """Put the pictures of a drift into TensorBoard and into files; returns their tags."""
        exhibits = self._check.view.picture(self._capture, baseline, verdict)
        events = self._session.events(self._settings)
        text = self._entry("drift", verdict, whole=True)["message"]
        events.text(self._tag, f"{text}\n\n{self._check.view.describe(self._capture)}")
        tags = [events.show(self._tag, exhibit) for exhibit in exhibits]
        pictures = enumerate(pictures_of(exhibits))
        files = {f"{at:03}-{safe(one.label)}.png": png_bytes(one.image) for at, one in pictures}
        self._results.keep_pictures(self._location.path, files)
        return tags

    def _chart(self, verdict: Verdict) -> None:
        """The error, to be followed over runs. A match is a match even where it cannot be charted."""
        try:
            self._session.events(self._settings).scalar(f"errors/{self._tag}", verdict.error)
        except ModelvizError:
            if not verdict.matched:
                raise

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
            "baseline": self._settings.shown(self._baselines.shown(self._compared_with)),
            "candidate": candidate,
            "baseline_sha256": digest,
            "tensorboard_tags": tags or [],
        }
        findings: list[dict[str, Any]] = []
        if verdict is not None:
            entry.update(_told(verdict))
            findings = [vars(finding) for finding in verdict.findings]
        record = f"{self._settings.repeated} {quoted(self._check.commands.argument)}".lstrip()
        accept = f"{self._check.commands.review} {quoted(self._check.nodeid)}".lstrip()
        entry["message"] = explain(
            entry, findings, reason=reason, commands=(record, accept), notes=self._capture.notes, whole=whole
        )
        return entry


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
