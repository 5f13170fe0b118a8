"""A few giants among a weight's numbers hide no change of the others, however small the weight is."""

import dataclasses

import pytest
import torch
from forging_by_hand import retraced
from torch import nn
from zoo import vectors

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.records.findings import UnstatedFinding, WeightFinding
from pytest_modelviz.records.tensors import is_of_giants
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView
from pytest_modelviz.views.training_curve.capture import TrainingCurveView

GIANT = -1e9


class Masked(nn.Module):
    """A layer that never chooses its first class, and a table that this input does not read."""

    def __init__(self, size: int = 50, table: float = 1.0, bias: float = 1.0, giant: float = GIANT) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(8, 100)
        numbers = torch.randn(size)
        with torch.no_grad():
            self.linear.bias.mul_(bias)[0] = GIANT
        self.register_buffer("table", numbers * table)
        self.table[0] = giant

    def forward(self, x):
        return self.linear(x)


def view(**changed):
    return FeatureMapsView(Masked(**changed), vectors())


def compared(before, after):
    return after.compare(before.capture(), after.capture(), Tolerances())


@pytest.mark.parametrize("size", [50, 100, 1000, 2**14, 2**14 + 1])
def test_a_weight_that_no_output_shows(size):
    assert compared(view(size=size), view(size=size)).matched
    verdict = compared(view(size=size), view(size=size, table=1.5))
    assert (verdict.cause, verdict.matched) == ("weights", False)
    (finding,) = (finding for finding in verdict.findings if isinstance(finding, WeightFinding))
    assert (finding.layer, finding.name, finding.error) == ("", "table", pytest.approx(0.5, rel=0.3))


def test_a_weight_that_an_output_shows_is_its_cause():
    verdict = compared(view(), view(bias=1.5))
    assert (verdict.first.layer, verdict.cause) == ("linear", "weights")


def test_what_a_training_begins_with():
    def training(**changed):
        model = Masked(**changed)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

        def step(number):
            optimizer.zero_grad()
            loss = model(vectors())[:, 1:].square().mean()
            loss.backward()
            optimizer.step()
            return loss

        return TrainingCurveView(step, steps=2, model=model, optimizer=optimizer)

    def verdict(**changed):
        after = training(**changed)
        return after.compare(training().capture(), after.capture(), Tolerances())

    assert verdict().matched
    assert (verdict(table=1.5).cause, verdict(table=1.5).matched) == ("weights", False)


def earlier(trace):
    """A trace as earlier versions recorded it, which saw no giants in weights."""
    for key, record in trace.weights.items():
        others = {kind: own for kind, own in record.value_fingerprints.items() if not is_of_giants(kind)}
        trace.weights[key] = dataclasses.replace(record, value_fingerprints=others, sketch_without_giants=None)


def test_a_baseline_of_an_earlier_version_matches_and_the_match_says_what_was_not_compared():
    baseline = retraced(view(), view().capture(), earlier)

    def verdict(**changed):
        return view(**changed).compare(baseline, view(**changed).capture(), Tolerances())

    note = UnstatedFinding("what a weight holds beside a few numbers that are far larger")
    assert verdict().matched
    assert verdict().findings == (note,)
    assert verdict(table=1.5).findings == (note,)
    assert not verdict(giant=2 * GIANT).matched
    assert not verdict(giant=1.0).matched


def test_no_version_has_recorded_a_large_weight_so():
    large = view(size=2**14 + 1)
    assert not large.compare(retraced(large, large.capture(), earlier), large.capture(), Tolerances()).matched
