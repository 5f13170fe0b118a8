"""A buffer that nobody saves and the first pass makes is a cache: whether the model ran before makes no difference."""

import pytest
import torch
from torch import nn
from zoo import vectors

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.records.findings import ShapeFinding, UncomparedFinding
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView
from pytest_modelviz.views.model_summary.capture import ModelSummaryView

VIEWS = {"feature_maps": FeatureMapsView, "model_summary": lambda model, x: ModelSummaryView(model, input_data=x)}


class Positions(nn.Module):
    """It adds a table that it makes when it has none, or a shorter one."""

    def __init__(self, declared: bool = False, persistent: bool = False, factor: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear, self.persistent, self.factor = nn.Linear(8, 8), persistent, factor
        if declared:
            self.register_buffer("table", None, persistent=persistent)

    def forward(self, x):
        table = getattr(self, "table", None)
        if table is None or len(table) < len(x):
            self.register_buffer("table", torch.arange(float(len(x))) * self.factor, persistent=self.persistent)
        return self.linear(x) + self.table[: len(x), None]


def used(model):
    model(torch.ones(9, 8))
    return model


def compared(view, before, after):
    return view(after, vectors()).compare(
        view(before, vectors()).capture(), view(after, vectors()).capture(), Tolerances()
    )


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_it_is_no_weight(view, declared):
    assert compared(view, used(Positions(declared)), Positions(declared)).matched
    verdict = compared(view, Positions(declared), used(Positions(declared)))
    assert verdict.matched
    assert verdict.findings == (UncomparedFinding("", "buffer table"),)  # which only the baseline calls so


@pytest.mark.parametrize("declared", [True, False])
def test_what_is_computed_from_it_is_compared(declared):
    for before, after in (
        (Positions(declared), used(Positions(declared, factor=1.1))),
        (used(Positions(declared)), Positions(declared, factor=1.1)),
    ):
        assert not compared(FeatureMapsView, before, after).matched


def test_one_that_is_saved_is_a_weight():
    verdict = compared(FeatureMapsView, used(Positions(persistent=True)), Positions(persistent=True))
    assert (verdict.cause, verdict.matched) == ("architecture", False)
    assert ShapeFinding("", "table", "float32[9]", "") in verdict.findings


def test_one_that_a_module_no_longer_makes_is_a_weight():
    class Without(Positions):
        def forward(self, x):
            return self.linear(x) + torch.arange(float(len(x)))[:, None]

    assert not compared(FeatureMapsView, used(Positions()), Without()).matched


def test_a_weight_that_is_now_made_by_the_pass_is_gone():
    verdict = compared(FeatureMapsView, used(Positions(persistent=True)), Positions(persistent=False))
    assert (verdict.cause, verdict.matched) == ("architecture", False)
    assert ShapeFinding("", "table", "float32[9]", "") in verdict.findings
