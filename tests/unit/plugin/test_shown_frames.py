"""Where a test fails whose check cannot be made: at its call of the fixture, with no frame of the plugin below."""

import inspect
from pathlib import Path

import pytest
import torch
from torch import nn

import pytest_modelviz
from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.views.combined.fixture import ModelvizFixture
from pytest_modelviz.views.fixture import CheckFixture, ViewFixture

HOME = Path(pytest_modelviz.__file__).parent


def refuse(*arguments, **options):
    __tracebackhide__ = True
    raise ModelvizError("no check today")


def arguments(fixture):
    if isinstance(fixture, ModelvizFixture):  # the only one that makes its views before it asks for a check
        return [nn.Identity(), torch.zeros(1, 2)]
    parameters = inspect.signature(fixture).parameters.values()
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [None for parameter in parameters if parameter.kind in kinds and parameter.default is parameter.empty]


FIXTURES = [*(fixture(refuse) for fixture in CheckFixture.__subclasses__()), ViewFixture(refuse, object, "norms")]


@pytest.mark.parametrize("fixture", FIXTURES, ids=lambda fixture: type(fixture).__name__)
def test_an_error_is_shown_at_the_test_s_own_line(fixture):
    given = arguments(fixture)
    with pytest.raises(ModelvizError, match="no check today") as caught:
        fixture(*given)
    frames = caught.traceback
    assert any(Path(entry.path).is_relative_to(HOME) for entry in frames)
    assert [Path(entry.path) for entry in frames if not entry.ishidden(caught)] == [Path(__file__)]
