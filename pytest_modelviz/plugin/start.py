"""Starting the run when it is needed. A pytest run that makes no check loads next to nothing of this package.

What a run must know from its beginning is kept here: what pytest collects. Everything else of a run (its hooks, the
checks, their results and reports) is imported when the run starts: at once where an option says that there is something
to compare or to require, otherwise when a test first requests a fixture.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_modelviz.plugin.data_folders import default_data_folders, is_same, named_paths, unnamed

if TYPE_CHECKING:
    from pytest_modelviz.plugin.run_hooks import ModelvizPlugin
    from pytest_modelviz.plugin.third_party_views import ThirdPartyViews
    from pytest_modelviz.run.settings import Settings
    from pytest_modelviz.views.base import View

NODEID = pytest.StashKey[str]()  # a test's id as it was collected: xdist changes some afterwards
RESULTS = "modelviz_checks"  # the attribute of a report that carries the results of a test's checks


class HookSpecifications:
    """The hook through which other plugins, and a project's conftest.py, add views of their own, and their fixtures."""

    @pytest.hookspec(historic=True)
    def pytest_modelviz_views(self) -> Sequence[type[View]]:  # type: ignore[empty-body]  # a specification
        """Return the classes of views. Each becomes a fixture of the name in its attribute `view`.

        The fixture's arguments are those of the class, and name=, rtol= and atol= for the check.
        """


class RunStarter:
    """What pytest collects, and the run, once it has started. `settings` is None where nothing has been set."""

    def __init__(self, config: pytest.Config, settings: Settings | None) -> None:
        self._config, self._settings = config, settings
        self._items: list[pytest.Item] = []
        self._folders: list[Path] | None = None
        self._run: ModelvizPlugin | None = None
        self._views: ThirdPartyViews | None = None

    def run(self) -> ModelvizPlugin:
        """The run, which starts when it is first asked for."""
        if self._run is None:
            from pytest_modelviz.plugin.run_hooks import ModelvizPlugin
            from pytest_modelviz.run.settings import read_settings

            settings = self._settings or read_settings({}, {}, self._config.rootpath)
            self._run = ModelvizPlugin(self._config, settings, self._items)
            self._config.pluginmanager.register(self._run, "modelviz-run")
        return self._run

    def add_views(self, views: object) -> None:
        """Make fixtures for the views that a plugin or a conftest.py has returned; raises pytest.UsageError."""
        if self._views is None:
            from pytest_modelviz.plugin.fixtures import NAMES
            from pytest_modelviz.plugin.third_party_views import ThirdPartyViews

            self._views = ThirdPartyViews(self._config, NAMES)
        self._views.add(views)

    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        """Baselines and results hold no tests. None leaves the answer to others."""
        if self._folders is None:
            root = self._config.rootpath
            folders = default_data_folders(root) if self._settings is None else self._settings.data_folders()
            self._folders = unnamed(folders, named_paths(self._config, self._config.args))
        return True if any(is_same(collection_path, folder) for folder in self._folders) else None

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        item.stash[NODEID] = item.nodeid

    @pytest.hookimpl(tryfirst=True)  # before tests are deselected: a title must not depend on -k
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        self._items[:] = items

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_setupnodes(self) -> None:
        """Workers get the run's id from the process that controls them."""
        self.run()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Checks can have been made in another process, such as pytest-forked's."""
        if self._run is None and hasattr(report, RESULTS):
            self.run().pytest_runtest_logreport(report)
