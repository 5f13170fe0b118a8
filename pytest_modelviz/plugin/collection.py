"""Which tests exist, as far as this run knows: for each test file that was collected whole, the ids of its tests.

Deselected tests exist. A file of which `--lf` or an id on the command line left out tests was not collected whole.
"""

import os
import sys
import types
from collections.abc import Generator
from pathlib import Path

import pytest

from pytest_modelviz.plugin.identity import former_identity, identity, relative_file, unrequested_parameters
from pytest_modelviz.storage.orphans import any_parameters

_INSTALLED = frozenset({"site-packages", "dist-packages"})


class CollectionRecorder:
    """Watches the collection of test files. Registered only in runs that compare."""

    def __init__(self) -> None:
        self._modules: list[pytest.Module] = []
        self._opened: set[pytest.Collector] = set()
        self._children: dict[pytest.Collector, list[pytest.Collector | str]] = {}
        self._former: set[str] = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_pycollect_makemodule(self) -> Generator[None, pytest.Module | None, pytest.Module | None]:
        module = yield
        if module is not None:  # not doctests, which are collected from the same files
            self._modules.append(module)
        return module

    @pytest.hookimpl(tryfirst=True)
    def pytest_pycollect_makeitem(self, collector: pytest.Module | pytest.Class) -> None:
        """Called for each name in a file: this file was really looked into, and not answered for by a plugin."""
        self._opened.add(collector)

    @pytest.hookimpl(wrapper=True, trylast=True)  # the innermost: what others take away exists all the same
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        report = yield
        if report.passed:
            items = [node for node in report.result if isinstance(node, pytest.Item)]
            self._former.update(former for item in items if (former := former_identity(item)) is not None)
            self._children[collector] = [
                text for node in report.result for text in (_ids_of(node) if isinstance(node, pytest.Item) else [node])
            ]
        return report

    def files(self, config: pytest.Config) -> dict[str, list[str]]:
        """Test file -> ids of all its tests, of files that were collected whole."""
        partly = _named_in_part(config)
        files: dict[str, list[str]] = {}
        for module in self._modules:
            ids = self._ids(module) if module in self._opened or _is_empty(module) else None
            if ids is not None and partly is not None and module.path not in partly:
                files.setdefault(relative_file(module.path, config.rootpath), []).extend(ids)
        for former in self._former:  # what a test was called before may look like another file's
            file = former.partition("::")[0]
            if file in files:
                files[file].append(former)
        return {file: sorted(set(ids)) for file, ids in sorted(files.items())}

    def _ids(self, collector: pytest.Collector) -> list[str] | None:
        if collector not in self._children:
            return None
        ids: list[str] = []
        for node in self._children[collector]:
            inner = [node] if isinstance(node, str) else self._ids(node)
            if inner is None:
                return None
            ids += inner
        return ids


def sources(root: Path) -> list[str]:
    """The project's own modules that are loaded: what its tests are called may depend on any of them."""
    files = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    above = os.path.normcase(root)  # of thousands of modules only these few become paths
    inside = [file for file in files if isinstance(file, str) and os.path.normcase(file).startswith(above)]
    paths = [Path(file) for file in inside if file.endswith(".py")]
    own = [path.relative_to(root) for path in paths if path.is_relative_to(root)]
    return sorted(path.as_posix() for path in own if not _INSTALLED & set(path.parts))


def _is_empty(module: pytest.Module) -> bool:
    """Whether a file was imported and has no name in it that could be a test's: all its tests are gone."""
    namespace = vars(getattr(module, "_obj", None) or types.SimpleNamespace(unknown=True))
    return not any(name.isidentifier() and not name.startswith("__") for name in namespace)


def _named_in_part(config: pytest.Config) -> set[Path] | None:
    """Files of which the command line names single tests; None where that is unknown."""
    named = [argument.partition("::")[0] for argument in config.args if "::" in argument]
    paths = {(config.invocation_params.dir / file).resolve() for file in named}
    return paths if all(path.exists() for path in paths) else None


def _ids_of(item: pytest.Item) -> list[str]:
    """A test's id. Where a plugin has added parameters to it, its baselines may have ids with and without them."""
    name = identity(item)
    return [name, any_parameters(name)] if unrequested_parameters(item) else [name]
