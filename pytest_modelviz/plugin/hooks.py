"""The hook through which other plugins, and a project's conftest.py, add views of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_modelviz.views.base import View


@pytest.hookspec(historic=True)
def pytest_modelviz_views() -> Sequence[type[View]]:  # type: ignore[empty-body]  # a specification
    """Return the classes of views. Each becomes a fixture of the name in its attribute `view`.

    The fixture's arguments are those of the class, and name=, rtol= and atol= for the check.
    """
