"""The checks of one test, which every fixture makes through `ItemChecks`, with what its markers say."""

from __future__ import annotations

import mmap
import os
import warnings
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, TypeVar, cast

import pytest

from pytest_modelviz.compare.tolerance import unmatched
from pytest_modelviz.errors import ModelvizError, ModelvizWarning
from pytest_modelviz.plugin.call_site import call_site
from pytest_modelviz.plugin.identity import former_identity, identity, relative_file
from pytest_modelviz.plugin.repetition import repeated_options
from pytest_modelviz.plugin.tracebacks import hide_own_frames
from pytest_modelviz.run.options import IGNORE, InvalidSettingError
from pytest_modelviz.run.settings import Settings
from pytest_modelviz.text.printable import printable, quoted
from pytest_modelviz.views.fixture import require_name

if TYPE_CHECKING:
    from pytest_modelviz.plugin.run_hooks import ModelvizPlugin
    from pytest_modelviz.records.capture import Capture
    from pytest_modelviz.records.check_result import CheckResult
    from pytest_modelviz.run.check import Check
    from pytest_modelviz.views.base import View
    from pytest_modelviz.views.fixture import ToleranceArgument

ResultT = TypeVar("ResultT")


class ForkedChecks:
    """The test that has made a check in a forked process: memory that such a process shares is its only way back."""

    def __init__(self) -> None:
        self._memory: mmap.mmap | None = None

    def prepare(self) -> None:
        """Make room for its id, before there can be a fork."""
        if self._memory is None:
            self._memory = mmap.mmap(-1, mmap.PAGESIZE)

    def note(self, nodeid: str) -> None:
        """In the forked process: say which test it was."""
        if self._memory is not None:
            self._memory.seek(0)
            self._memory.write(nodeid.encode("utf-8", "replace")[: mmap.PAGESIZE])

    def nodeid(self) -> str:
        """In the process of the run: the test's id, empty where there was none."""
        return "" if self._memory is None else self._memory[:].rstrip(b"\0").decode("utf-8", "replace")


CHECKS = pytest.StashKey["ItemChecks"]()


class ItemChecks:
    """The checks of one test, in the order in which they were made."""

    def __init__(self, run: ModelvizPlugin, item: pytest.Item) -> None:
        self._run, self.item = run, item
        self._settings = self._marked(item)
        self._names: set[str] = set()
        self._failures: list[str] = []
        self._patterns: dict[str, bool] = {}
        self._ignored = dict.fromkeys(self._settings.ignored[len(run.settings.ignored) :], False)
        self.unreported: list[CheckResult] = []
        self._ended = False
        self._process = os.getpid()
        run.opened(self)

    @property
    def nodeid(self) -> str:
        """What the test is called, whatever arguments pytest was given."""
        return identity(self.item)

    @property
    def _selection(self) -> str:
        """What selects the test on a command line in the folder in which pytest was started."""
        file, separator, test = self.nodeid.partition("::")
        folder = self.item.config.invocation_params.dir
        return quoted(f"{relative_file(self._run.settings.rootdir / file, folder)}{separator}{test}")

    def _marked(self, item: pytest.Item) -> Settings:
        markers = list(item.iter_markers("modelviz"))
        try:
            if any(len(marker.args) > 1 or "layers" in marker.kwargs for marker in markers):
                raise InvalidSettingError(
                    "the marker modelviz takes keywords such as rtol=1e-3, and one mapping of layer globs to tolerances"
                )
            given = [{**({"layers": marker.args[0]} if marker.args else {}), **marker.kwargs} for marker in markers]
            given += [{"ignore": marker.args, **marker.kwargs} for marker in item.iter_markers(IGNORE)]
            return self._run.settings.marked(given)
        except InvalidSettingError as error:
            trouble = f"modelviz: {error}"
        pytest.fail(trouble, pytrace=False)  # outside the handler: else pytest prints the same error twice

    def run(
        self,
        view: Callable[[], View[ResultT]],
        name: str | None,
        default: str,
        *,
        rtol: ToleranceArgument = None,
        atol: ToleranceArgument = None,
    ) -> ResultT:
        """Make one check; returns what the view captured. A drift is kept until the test's body ends."""
        __tracebackhide__ = True
        self._refuse_when_ended()
        self._refuse_in_fork()
        name = default if name is None else name
        require_name(name)
        if name in self._names:
            raise ModelvizError(f"this test has two checks named {name!r}: pass name= to tell them apart")
        if self._run.tests().is_shared(self.nodeid):
            raise ModelvizError(
                f"two different tests of this run are called {printable(self.nodeid)}, and would share a baseline: "
                f"rename one of them"
            )
        try:
            settings = self._settings.called(rtol=rtol, atol=atol)
            check = self._check(name, view(), settings)
            with self._run.progress.of(name):
                capture, result = self._run.session().check(check)
        except (ModelvizError, InvalidSettingError) as error:
            raise ModelvizError(printable(str(error))) from None  # the way here says nothing that the message does not
        except Exception as error:  # the model's own
            if not self.item.config.getoption("fulltrace"):
                hide_own_frames(error)
            raise
        self._names.add(name)
        self._match_patterns(settings, capture.layers)
        self._match_ignored(check.view, capture)
        self._refuse_when_ended()  # in another thread, while the test went on without it
        self.unreported.append(result)
        if result.status.fails:
            self._failures.append(result.message)
        return cast("ResultT", capture.result)  # of the view's own capture

    def end(self) -> None:
        """From here on a check could no longer fail the test."""
        self._ended = True

    def _refuse_when_ended(self) -> None:
        """A drift found after the test would go unreported: the test has passed already."""
        if self._ended:
            error = (
                f"a check of {self.nodeid} was made after that test had ended, and could not fail it: make it in the "
                f"test itself, or in a fixture that requests the check's fixture"
            )
            self._run.fail(error)  # a thread, or what swallows errors, must not hide it
            raise ModelvizError(error)

    def _refuse_in_fork(self) -> None:
        """Neither results nor recordings of a forked process reach this one."""
        if os.getpid() != self._process:
            self._run.forks.note(self.nodeid)
            raise ModelvizError(
                f"a check of {self.nodeid} was made in a forked process, where its result would be lost: "
                f"return what is to be checked, and make the check in the test's own process"
            )

    def _check(self, name: str, view: View, settings: Settings) -> Check:
        from pytest_modelviz.run.check import Check

        item, tests, former = self.item, self._run.tests(), former_identity(self.item)
        return Check(
            nodeid=self.nodeid,
            title=tests.title(self.nodeid),
            arguments=f"{repeated_options(item.config, self._run.settings, item.path)} {self._selection}".lstrip(),
            review=self._run.review(),
            name=name,
            view=view,
            settings=settings,
            former_nodeid=former,
            is_former=former is not None and tests.is_former(former, item),
            location=call_site(item.path, self._run.settings.rootdir),
            is_former_taken=former is not None and tests.is_taken(former, item.config.rootpath),
            folders=lambda: [item.path.parent, *self._run.arguments()],
        )

    def _match_patterns(self, settings: Settings, layers: Sequence[str]) -> None:
        """Note which layer globs have matched; a check whose view knows no layers says nothing about them."""
        if layers:
            missed = set(unmatched(settings.layers, layers))
            for pattern in (layer.pattern for layer in settings.layers):
                self._patterns[pattern] = self._patterns.get(pattern, False) or pattern not in missed

    def _match_ignored(self, view: View, capture: Capture) -> None:
        """Note which globs have matched attributes of a view's model, or options that it has recorded beside it.

        Those of the configuration file are meant for any model.
        """
        model = getattr(view, "model", None)
        is_module = hasattr(model, "named_modules")  # a third party's view may call anything its model
        if model is not None and is_module and not all(self._ignored.values()):
            from pytest_modelviz.compare.ignored import matches
            from pytest_modelviz.probe.configuration import attribute_names

            names = list(attribute_names(model))
            if hasattr(view, "option_names"):
                names += view.option_names(capture)
            for pattern, matched in self._ignored.items():
                self._ignored[pattern] = matched or any(matches(pattern, *name) for name in names)

    def warn(self) -> None:
        """Warn of globs that no check of this test could use."""
        for pattern, matched in self._ignored.items():
            if not matched and self._names:
                text = f"the glob {pattern!r} that {self.nodeid} ignores matches no attribute of its models"
                warnings.warn(ModelvizWarning(printable(text)), stacklevel=1)
        for pattern, matched in self._patterns.items():
            if not matched:
                text = f"the layer glob {pattern!r} of {self.nodeid} matches no layer of its models"
                warnings.warn(ModelvizWarning(printable(text)), stacklevel=1)

    def take_failures(self) -> str:
        """All that is to be reported, once."""
        message = "\n\n".join(self._failures)
        self._failures = []
        return message


def item_checks(run: ModelvizPlugin, item: pytest.Item) -> Generator[ItemChecks, None, None]:
    """The checks of one test, while its fixtures last."""
    item.stash[CHECKS] = checks = ItemChecks(run, item)  # anew when a test is run again
    yield checks
    checks.warn()
    checks.end()
    message = checks.take_failures()  # of checks made by other fixtures while they were torn down
    if message:
        pytest.fail(message, pytrace=False)
