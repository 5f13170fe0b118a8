"""A forward with other names for its parameters is given the same; an argument for another parameter is not."""

import pytest
import torch
from forging_by_hand import matches
from torch import nn

from pytest_modelviz.views.feature_maps.capture import FeatureMapsView
from pytest_modelviz.views.model_summary.capture import ModelSummaryView

VIEWS = [FeatureMapsView, ModelSummaryView]


class Calls(nn.Module):
    """Calls its only child, whose forward takes the parameters given and returns a constant."""

    def __init__(self, parameters, call):
        super().__init__()
        names = {"torch": torch}
        code = f"class Inner(torch.nn.Module):\n    def forward(self, {parameters}):\n        return torch.ones(1)"
        exec(code, names)
        self.inner, self.call = names["Inner"](), [call]  # no configuration

    def forward(self, x):
        return self.call[0](self.inner, x)


def by_position(inner, x):
    return inner(x, x * 2)


def captured(view, parameters, call):
    return view(Calls(parameters, call), input_data=torch.ones(1, 4))


def agrees(view, before, after):
    old, new = (captured(view, *which) for which in (before, after))
    return matches(new, old.capture(), new.capture())


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("x, m, **kw", "image, m, **kw"),
        ("x, m, **kw", "image, mask, **others"),
        ("x, m, **kw", "x, mask, scale=1.0, **kw"),
        ("x, m", "image, mask, **kw"),
        ("x, m, **kw", "image, mask"),
        ("x, m", "image, mask, scale=1.0"),
        ("x, *a", "x, m"),
        ("x, m", "x, *a"),
        ("x, *a", "image, m=None"),
        ("x, *a", "image, *rest"),
        ("x, *a, **kw", "x, m, **kw"),
        ("x, *a, **kw", "x, m"),
        ("x, m=None", "x, mask=None"),
    ],
)
def test_parameters_of_forward_with_other_names_are_given_the_same(view, old, new):
    assert agrees(view, (old, by_position), (new, by_position))


@pytest.mark.parametrize("view", VIEWS)
def test_the_order_of_forward_s_parameters_is_its_own_affair(view):
    assert agrees(view, ("x, m", by_position), ("m, x", lambda inner, x: inner(x * 2, x)))
    assert agrees(view, ("x, m, **kw", by_position), ("image, *, m, **kw", lambda inner, x: inner(x, m=x * 2)))


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize(
    ("old", "given", "new", "given_now"),
    [
        ("x, m=None, q=None", "m", "x, m=None, q=None", "q"),
        ("x, m=None, q=None", "m", "y, q=None, m=None", "q"),
        ("x, m=None, q=None, **kw", "m", "y, m=None, q=None, **kw", "q"),
        ("x, m=None, q=None", "q", "y, *, m=None, q=None, **kw", "m"),
        ("x, q=None, **kw", "m", "x, q=None, **kw", "q"),
        ("x, m=None, **kw", "m", "x, q=None, **kw", "q"),  # which takes m, too
        ("x, **kw", "m", "y, q=None, **kw", "q"),
        ("x, m, **kw", "m", "y, *, q=None, **kw", "q"),
        ("x, **kw", "m", "y, **kw", "q"),
        ("x, **m", "m", "y, **q", "q"),
    ],
)
def test_an_argument_for_another_parameter_is_another(view, old, given, new, given_now):
    before, after = (lambda inner, x, to=name: inner(x, **{to: x * 2}) for name in (given, given_now))
    assert not agrees(view, (old, before), (new, after))
