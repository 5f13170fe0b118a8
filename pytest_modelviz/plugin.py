"""pytest's door: options, markers, fixtures and hooks. The only room that knows pytest; it imports nothing heavy."""

from __future__ import annotations

import collections
import datetime
import os
import platform
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.settings import OPTIONS, InvalidSettingError, Settings, read_settings

if TYPE_CHECKING:
    from pytest_modelviz.session import Session
    from pytest_modelviz.views import View

_PLUGIN = pytest.StashKey["ModelvizPlugin"]()
_CHECKS = pytest.StashKey["TestChecks"]()
_ENTRIES = "modelviz_checks"  # the attribute of a report that carries the entries to the controlling process


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("modelviz", "model visual regression testing")
    for option in OPTIONS:
        if option.is_flag:
            group.addoption(option.name, action="store_true", default=None, help=option.help)
            parser.addini(option.ini, option.help, type="bool", default=False)
        else:
            group.addoption(option.name, default=None, metavar=option.metavar, help=option.help)
            parser.addini(option.ini, option.help, type="string", default="")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "modelviz(rtol=, atol=, compare=True): tolerances of the model checks of a test, or compare=False for none",
    )
    command_line = {option.name: config.getoption(option.name) for option in OPTIONS}
    ini = {option.name: config.getini(option.ini) for option in OPTIONS}
    try:
        settings = read_settings(command_line, ini, config.rootpath)
    except InvalidSettingError as error:
        raise pytest.UsageError(f"modelviz: {error}") from None
    plugin = ModelvizPlugin(config, settings)
    config.stash[_PLUGIN] = plugin
    config.pluginmanager.register(plugin, "modelviz-run")


class ModelvizPlugin:
    """The run: hands checks to the session, collects what every process reports, writes the results at the end."""

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        self.settings = settings
        self._worker = getattr(config, "workerinput", None)
        now = datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
        self.run_id: str = self._worker["modelviz_run_id"] if self._worker else f"{now}_{os.getpid()}"
        self._session: Session | None = None
        self._entries: dict[tuple[str, str], dict[str, Any]] = {}
        self._ambiguous: set[str] = set()
        self._totals: dict[str, int] | None = None
        self._error: str | None = None
        self._workers = 1

    @property
    def session(self) -> Session:
        """Made when the first check runs: this is where torch, numpy and pillow come in."""
        if self._session is None:
            from pytest_modelviz.session import Session

            self._session = Session(self.run_id, self._worker["workerid"] if self._worker else "main")
        return self._session

    def title(self, nodeid: str) -> str:
        """How a test is called in TensorBoard: without its file, unless another file has a test of that name."""
        test = nodeid.partition("::")[2]
        return nodeid if not test or test in self._ambiguous else test

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        counts = collections.Counter(item.nodeid.partition("::")[2] for item in items)
        self._ambiguous = {name for name, count in counts.items() if count > 1}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Report all drifts of a test when its body ends; an error of the body itself goes first."""
        try:
            result = yield
        except BaseException:
            self._attach(item)
            raise
        checks = item.stash.get(_CHECKS, None)
        message = checks.take_failures() if checks is not None else ""
        if message:
            pytest.fail(message, pytrace=False)
        return result

    def _attach(self, item: pytest.Item) -> None:
        checks = item.stash.get(_CHECKS, None)
        message = checks.take_failures() if checks is not None else ""
        if message:
            item.add_report_section("call", "modelviz", message)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        checks = item.stash.get(_CHECKS, None)
        if checks is not None and checks.unreported:
            setattr(report, _ENTRIES, checks.unreported)
            checks.unreported = []
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for entry in getattr(report, _ENTRIES, ()):
            self._entries[(entry["nodeid"], entry["name"])] = entry

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        node.workerinput["modelviz_run_id"] = self.run_id
        self._workers = max(self._workers, len(node.config.getoption("tx", None) or ()))

    def pytest_sessionfinish(self) -> None:
        if self._session is not None:
            self._session.close()
        if self._entries and not self._worker:
            self._write()

    def _write(self) -> None:
        from pytest_modelviz.reports.results import ResultsFolder

        try:
            self._totals = ResultsFolder(self.settings.results_dir).write(self._run_facts(), self._entries.values())
        except ModelvizError as error:
            self._error = str(error)

    def _run_facts(self) -> dict[str, Any]:
        import importlib.metadata

        devices = {device for entry in self._entries.values() for device in entry["device"].split(",")}
        return {
            "id": self.run_id,
            "torch": importlib.metadata.version("torch"),
            "python": platform.python_version(),
            "platform": f"{platform.system()}-{platform.machine()}".lower(),
            "device": ",".join(sorted(devices)),
            "workers": self._workers,
        }

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._totals is None and self._error is None:
            return
        from pytest_modelviz.reports.terminal import summary_lines

        root, results = self.settings.rootdir, self.settings.results_dir
        shown = results.relative_to(root) if results.is_relative_to(root) else results
        terminalreporter.section("modelviz")
        if self._error is not None:
            terminalreporter.write_line(self._error, red=True)
        elif self._totals is not None:
            pictures = any(entry["tensorboard_tags"] for entry in self._entries.values())
            folder = str(shown / "tensorboard") if pictures else None
            for line in summary_lines(self._totals, str(shown / "results.json"), folder):
                terminalreporter.write_line(line)


class TestChecks:
    """The checks of one test, in the order in which they were made."""

    __test__ = False  # not a test class, whatever its name

    def __init__(self, plugin: ModelvizPlugin, item: pytest.Item) -> None:
        self._plugin, self._item = plugin, item
        self._settings = self._marked(item)
        self._names: set[str] = set()
        self._failures: list[str] = []
        self.unreported: list[dict[str, Any]] = []

    def _marked(self, item: pytest.Item) -> Settings:
        markers = list(item.iter_markers("modelviz"))
        try:
            if any(marker.args for marker in markers):
                raise InvalidSettingError("the marker modelviz takes keywords only, such as rtol=1e-3")
            return self._plugin.settings.marked([marker.kwargs for marker in markers])
        except InvalidSettingError as error:
            pytest.fail(f"modelviz: {error}", pytrace=False)

    def run(
        self,
        view: Callable[[], View],
        name: str | None,
        default: str,
        *,
        rtol: float | None = None,
        atol: float | None = None,
    ) -> Any:
        """Make one check; returns what the view captured. A drift is kept until the test's body ends."""
        __tracebackhide__ = True
        from pytest_modelviz.session import FAILING, Check

        name = default if name is None else name
        if not isinstance(name, str) or not name:
            raise ModelvizError(f"name= takes a text that is not empty, not {name!r}")
        if name in self._names:
            raise ModelvizError(f"this test has two checks named {name!r}: pass name= to tell them apart")
        nodeid = self._item.nodeid
        try:
            settings = self._settings.called(rtol=rtol, atol=atol)
            check = Check(nodeid, self._plugin.title(nodeid), name, view(), settings)
            capture, entry = self._plugin.session.check(check)
        except (ModelvizError, InvalidSettingError) as error:
            raise ModelvizError(str(error)) from None  # the way here says nothing that the message does not
        self._names.add(name)
        self.unreported.append(entry)
        if entry["status"] in FAILING:
            self._failures.append(entry["message"])
        return capture.result

    def take_failures(self) -> str:
        """All that is to be reported, once."""
        message = "\n\n".join(self._failures)
        self._failures = []
        return message


@pytest.fixture
def _modelviz_checks(request: pytest.FixtureRequest) -> Generator[TestChecks, None, None]:
    item = request.node
    item.stash[_CHECKS] = checks = TestChecks(request.config.stash[_PLUGIN], item)  # anew when a test is run again
    yield checks
    message = checks.take_failures()  # of checks made by other fixtures while they were torn down
    if message:
        pytest.fail(message, pytrace=False)


@pytest.fixture
def model_summary(_modelviz_checks: TestChecks) -> Callable[..., Any]:
    """Compare a model's module tree: names, classes, configuration, shapes, parameters, buffers, ties, mult-adds."""

    def check(
        model: Any, input_size: Sequence[Any] | None = None, *, input_data: Any = None, name: str | None = None
    ) -> Any:
        __tracebackhide__ = True
        from pytest_modelviz.views.model_summary import ModelSummaryView

        return _modelviz_checks.run(
            lambda: ModelSummaryView(model, input_size, input_data=input_data), name, "model_summary"
        )

    return check


@pytest.fixture
def feature_maps(_modelviz_checks: TestChecks) -> Callable[..., Any]:
    """Compare the inputs and outputs of every module call; keep pictures of `layers` (names or globs)."""

    def check(
        model: Any,
        input_data: Any,
        *,
        layers: Sequence[str] | str | None = None,
        name: str | None = None,
        rtol: float | None = None,
    ) -> Any:
        __tracebackhide__ = True
        from pytest_modelviz.views.feature_maps import FeatureMapsView

        return _modelviz_checks.run(
            lambda: FeatureMapsView(model, input_data, layers=layers), name, "feature_maps", rtol=rtol
        )

    return check


@pytest.fixture
def cam_map(_modelviz_checks: TestChecks) -> Callable[..., Any]:
    """Compare a class activation map by any method of pytorch-grad-cam that is not random."""

    def check(
        model: Any,
        input_data: Any,
        *,
        target_layer: str | None = None,
        target: Any = None,
        method: str = "gradcam",
        reshape_transform: Callable[[Any], Any] | None = None,
        name: str | None = None,
        atol: float | None = None,
    ) -> Any:
        __tracebackhide__ = True
        from pytest_modelviz.views.cam_map import CamMapView

        def view() -> View:
            return CamMapView(
                model,
                input_data,
                target_layer=target_layer,
                target=target,
                method=method,
                reshape_transform=reshape_transform,
            )

        return _modelviz_checks.run(view, name, "cam_map", atol=atol)

    return check
