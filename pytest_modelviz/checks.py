"""What stands behind the fixtures: the checks of one test.

With `fixtures`, `plugin` and `collected` all that knows pytest.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from pytest_modelviz.collected import NODEID, rooted
from pytest_modelviz.compare.tolerance import unmatched
from pytest_modelviz.errors import ModelvizError, ModelvizWarning
from pytest_modelviz.options import InvalidSettingError
from pytest_modelviz.settings import Settings
from pytest_modelviz.tracebacks import hide_own_frames

if TYPE_CHECKING:
    from pytest_modelviz.session import Session
    from pytest_modelviz.views import View


class Run(Protocol):
    """What a test's checks need of the run they belong to."""

    settings: Settings

    def session(self) -> Session:
        """The session of this process."""

    def title(self, nodeid: str) -> str:
        """How a test is called in TensorBoard."""

    def review(self) -> str:
        """The options that the command `modelviz` needs to find what is written."""

    def opened(self, checks: TestChecks) -> None:
        """A test has begun to make checks."""


RUN = pytest.StashKey[Run]()
CHECKS = pytest.StashKey["TestChecks"]()


class TestChecks:
    """The checks of one test, in the order in which they were made."""

    __test__ = False  # not a test class, whatever its name

    def __init__(self, run: Run, item: pytest.Item) -> None:
        self._run, self._item = run, item
        self._settings = self._marked(item)
        self._names: set[str] = set()
        self._failures: list[str] = []
        self._patterns: dict[str, bool] = {}
        self.unreported: list[dict[str, Any]] = []
        run.opened(self)

    @property
    def nodeid(self) -> str:
        """pytest's id, as the test was collected and with its file."""
        return rooted(self._item.stash.get(NODEID, self._item.nodeid), self._item.path, self._run.settings.rootdir)

    @property
    def _argument(self) -> str:
        """What selects the test on a command line in the folder in which pytest was started."""
        file, separator, test = self.nodeid.partition("::")
        folder = self._item.config.invocation_params.dir
        path = os.path.relpath(self._run.settings.rootdir / file, folder).replace(os.sep, "/")
        return f"{path}{separator}{test}"

    def _marked(self, item: pytest.Item) -> Settings:
        markers = list(item.iter_markers("modelviz"))
        try:
            if any(len(marker.args) > 1 or "layers" in marker.kwargs for marker in markers):
                raise InvalidSettingError(
                    "the marker modelviz takes keywords such as rtol=1e-3, and one mapping of layer globs to tolerances"
                )
            given = [{**({"layers": one.args[0]} if one.args else {}), **one.kwargs} for one in markers]
            return self._run.settings.marked(given)
        except InvalidSettingError as error:
            pytest.fail(f"modelviz: {error}", pytrace=False)

    def run(
        self,
        view: Callable[[], View],
        name: str | None,
        default: str,
        *,
        rtol: Any = None,
        atol: Any = None,
    ) -> Any:
        """Make one check; returns what the view captured. A drift is kept until the test's body ends."""
        __tracebackhide__ = True
        from pytest_modelviz.session import FAILING, Check, Commands

        name = default if name is None else name
        if not isinstance(name, str) or not name or not name.isprintable():
            raise ModelvizError(f"name= takes a printable text that is not empty, not {name!r}")
        if name in self._names:
            raise ModelvizError(f"this test has two checks named {name!r}: pass name= to tell them apart")
        try:
            settings = self._settings.called(rtol=rtol, atol=atol)
            commands = Commands(self._argument, self._run.review())
            check = Check(self.nodeid, self._run.title(self.nodeid), commands, name, view(), settings)
            capture, entry = self._run.session().check(check)
        except (ModelvizError, InvalidSettingError) as error:
            raise ModelvizError(str(error)) from None  # the way here says nothing that the message does not
        except Exception as error:  # the model's own
            if not self._item.config.getoption("fulltrace"):
                hide_own_frames(error)
            raise
        self._names.add(name)
        self._match_patterns(settings, capture.layers)
        self.unreported.append(entry)
        if entry["status"] in FAILING:
            self._failures.append(entry["message"])
        return capture.result

    def _match_patterns(self, settings: Settings, layers: Sequence[str]) -> None:
        """Note which layer globs have matched; a check whose view knows no layers says nothing about them."""
        if layers:
            missed = set(unmatched(settings.layers, layers))
            for one in settings.layers:
                self._patterns[one.pattern] = self._patterns.get(one.pattern, False) or one.pattern not in missed

    def warn(self) -> None:
        """Warn of layer globs that no check of this test could use."""
        for pattern, matched in self._patterns.items():
            if not matched:
                warnings.warn(
                    ModelvizWarning(f"the layer glob {pattern!r} of {self.nodeid} matches no layer of its models"),
                    stacklevel=1,
                )

    def take_failures(self) -> str:
        """All that is to be reported, once."""
        message = "\n\n".join(self._failures)
        self._failures = []
        return message


@pytest.fixture
def _modelviz_checks(request: pytest.FixtureRequest) -> Generator[TestChecks, None, None]:
    item = request.node
    item.stash[CHECKS] = checks = TestChecks(request.config.stash[RUN], item)  # anew when a test is run again
    yield checks
    checks.warn()
    message = checks.take_failures()  # of checks made by other fixtures while they were torn down
    if message:
        pytest.fail(message, pytrace=False)
