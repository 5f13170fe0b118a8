"""The views of other plugins and of a project's conftest.py, and their fixtures."""

from __future__ import annotations

import functools
import types
from collections.abc import Iterable

import pytest

from pytest_modelviz.plugin.fixtures import fixture_function
from pytest_modelviz.views.fixture import ViewFixture


class ThirdPartyViews:
    """The views of other plugins, by name."""

    def __init__(self, config: pytest.Config, taken: Iterable[str]) -> None:
        self._config, self._taken = config, dict.fromkeys(taken, "pytest-modelviz")

    def add(self, views: object) -> None:
        """Make a fixture for each; raises pytest.UsageError for what is no view, or has a name that is taken."""
        if not isinstance(views, (list, tuple)):
            raise pytest.UsageError(f"modelviz: pytest_modelviz_views must return a list of classes, not {views!r}")
        for view in views:
            name = getattr(view, "view", None)
            words = ("capture", "compare", "picture", "describe")
            if not isinstance(view, type) or not isinstance(name, str) or not name.isidentifier():
                raise pytest.UsageError(
                    f"modelviz: pytest_modelviz_views returned {view!r}: a view is a class whose attribute `view` "
                    f"is its name, which can be a fixture's"
                )
            missing = [word for word in words if not callable(getattr(view, word, None))]
            if missing:
                raise pytest.UsageError(f"modelviz: the view {name!r} has no {', '.join(missing)}")
            owner = f"{view.__module__}.{view.__qualname__}"
            if name in self._taken:
                raise pytest.UsageError(
                    f"modelviz: the view {name!r} of {owner} is already registered: {self._taken[name]}"
                )
            self._taken[name] = owner
            module = types.ModuleType(f"modelviz_view_{name}")  # pytest looks for fixtures in plugins' attributes
            function = fixture_function(functools.partial(ViewFixture, view=view, name=name))
            function.__doc__ = view.__doc__
            setattr(module, name, pytest.fixture(name=name)(function))
            self._config.pluginmanager.register(module, module.__name__)
