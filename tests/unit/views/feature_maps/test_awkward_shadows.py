"""Every awkward model in lower precision: it matches itself, is judged by its shadow, and is left as it was."""

import contextlib

import pytest
import torch
from zoo import ZOO

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.probe.containers import rebuild
from pytest_modelviz.views.base import measured
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView

NOT_CONVERTED = {"lazy", "scripted", "complex"}  # torch converts none of them to bfloat16
NOTHING_LOW = {"packed", "no_parameters", "complex", "encoder"}  # autocast changes nothing in these


def low(item: object) -> object:
    return item.bfloat16() if isinstance(item, torch.Tensor) and item.is_floating_point() else item


@pytest.mark.parametrize("name", sorted(ZOO))
@pytest.mark.parametrize("is_autocast", [False, True], ids=["bfloat16", "autocast"])
def test_awkward_models_in_lower_precision(name, is_autocast):
    model, data = ZOO[name].build(), ZOO[name].input()
    if not is_autocast:
        if name in NOT_CONVERTED:
            pytest.skip("torch cannot convert it")
        model, data = model.bfloat16(), rebuild(data, low)
    before = {key: value for key, value in model.state_dict().items() if not torch.nn.parameter.is_lazy(value)}
    values = {key: value.clone() for key, value in before.items()}
    with torch.autocast("cpu", dtype=torch.bfloat16) if is_autocast else contextlib.nullcontext():
        view = FeatureMapsView(model, data)
        baseline = measured(view, view.capture())
        verdict = view.compare(baseline, view.capture(), Tolerances())
    assert verdict.matched
    assert not verdict.findings
    assert ("shadow.structure" in baseline.arrays) is not (is_autocast and name in NOTHING_LOW)
    for key, value in before.items():
        assert value.dtype == values[key].dtype
        assert torch.equal(value, values[key])
