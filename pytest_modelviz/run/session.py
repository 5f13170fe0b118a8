"""One run in one process: takes checks, captures their views and has each capture evaluated. Knows no pytest item."""

import time
from dataclasses import dataclass, field, replace

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.probe.threads import sharing_cores
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.check_result import CheckResult
from pytest_modelviz.reports.tensorboard import EventFiles
from pytest_modelviz.run.check import Check
from pytest_modelviz.run.checked_view import CheckedView
from pytest_modelviz.run.evaluation import CheckEvaluator
from pytest_modelviz.run.settings import Mode, Settings
from pytest_modelviz.storage.names import Location
from pytest_modelviz.storage.store import Store


@dataclass
class Session:
    """The checks of one process. `run_id` names the run, `worker` the process within it, `folder` its event files.

    `workers` is how many processes of the run check models at the same time, and share the cores of the machine.
    `decided` are the baselines that this process has recorded or found to match.
    """

    run_id: str
    worker: str = "main"
    folder: str = ""
    workers: int = 1
    _events: EventFiles | None = field(default=None, init=False)
    _baselines: dict[str, Store] = field(default_factory=dict, init=False)
    _owners: dict[str, str] = field(default_factory=dict, init=False)
    decided: set[Location] = field(default_factory=set, init=False)

    def check(self, check: Check) -> tuple[Capture, CheckResult]:
        """Make one check; return what was captured and what has become of it."""
        with sharing_cores(self.workers):
            return self._check(check)

    def _check(self, check: Check) -> tuple[Capture, CheckResult]:
        started = time.perf_counter()
        if check.settings.mode is not Mode.OFF:
            self._claim(check)
        view = CheckedView(check.view)
        view.set_shadow(check.settings.shadow)
        if self._will_record(check):
            view.expect_storing()
        check = replace(check, view=view)
        capture = check.view.capture()
        result = CheckEvaluator(self, check, capture).result()
        return capture, replace(result, seconds=round(time.perf_counter() - started, 4))

    def _will_record(self, check: Check) -> bool:
        """Whether the capture of a check that is to be made will become a baseline, unless the model is unstable."""
        settings = check.settings
        if not settings.mode.records or settings.mode is Mode.UPDATE_ALL:
            return settings.mode is Mode.UPDATE_ALL
        return self.baselines(settings).digest(Location.of(check.nodeid, check.name, settings.variant)) is None

    def _claim(self, check: Check) -> None:
        """Two tests must not share a baseline, also where a file system does not tell upper from lower case."""
        path = Location.of(check.nodeid, check.name, check.settings.variant).path
        owner = self._owners.setdefault(f"{check.settings.baseline_dir}/{path}".casefold(), check.nodeid)
        if owner != check.nodeid:
            raise ModelvizError(
                f"{check.nodeid} and {owner} would share the baseline {path} on a file system that "
                f"ignores case: rename one of the tests, their classes or their files"
            )

    def baselines(self, settings: Settings) -> Store:
        """The store at the settings' folder or URL; what it has read from a URL is kept for the run."""
        root = settings.baseline_dir
        if str(root) not in self._baselines:
            self._baselines[str(root)] = Store(root, configured=settings.baseline_dir_is_configured)
        return self._baselines[str(root)]

    def events(self, settings: Settings) -> EventFiles:
        """The event files of this process, opened when the first drift is shown."""
        if self._events is None:
            folder = settings.results_folder().event_folder(self.folder or self.run_id, self.worker)
            self._events = EventFiles(folder)
        return self._events

    def close(self) -> None:
        """Raises ModelvizError where event files cannot be written; all results stand."""
        if self._events is not None:
            events, self._events = self._events, None
            events.close()
