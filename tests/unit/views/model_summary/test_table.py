"""torchinfo's table: made when it is asked for, of the model as it stands then, which is left as it was."""

import copy
import dataclasses
import pickle
import sys

import pytest
import torch
import torchinfo
from observable_state import state_of_model as state
from torch import nn
from zoo import ZOO, SmallNet, images, vectors

from pytest_modelviz.views.combined.capture import CombinedCapture
from pytest_modelviz.views.model_summary.capture import ModelSummaryView


class Counting(nn.Linear):
    """Counts its passes."""

    passes = 0

    def forward(self, x):
        type(self).passes += 1
        return super().forward(x)


@pytest.fixture
def passes(monkeypatch):
    monkeypatch.setattr(Counting, "passes", 0)
    return lambda: Counting.passes


def summary_of(model, data):
    return ModelSummaryView(model, input_data=data).capture().result


def plain_table(model, data):
    """What torchinfo says by itself."""
    given = {} if data is None else {"input_data": data, "device": torch.device("cpu")}
    model = copy.deepcopy(model).eval()
    return str(torchinfo.summary(model, verbose=0, depth=4, row_settings=("depth", "var_names"), mode="eval", **given))


class TestPasses:
    def test_a_capture_makes_one_and_the_table_another(self, passes):
        summary = summary_of(Counting(8, 4), vectors())
        assert passes() == 1
        assert "Counting" in summary.table
        assert passes() == 2
        assert "Counting" in str(summary)
        assert passes() == 2

    def test_nothing_but_reading_the_table_makes_it(self, passes):
        view = ModelSummaryView(Counting(8, 4), vectors())
        capture = view.capture()
        repr(capture.result)
        capture.result.to_facts()
        view.picture(capture, capture)
        assert passes() == 1
        assert "Counting" in view.describe(capture)
        assert passes() == 2

    def test_torchinfo_is_imported_for_the_table_alone(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "torchinfo", None)
        summary = summary_of(nn.Linear(8, 4), vectors())
        assert summary.total_params == 36
        monkeypatch.undo()
        assert "Linear" in summary.table

    def test_several_views_of_one_pass_have_a_table_without_shapes(self, passes):
        model = Counting(8, 4)
        summary = CombinedCapture(model, vectors()).summary.capture().result
        before = passes()
        assert summary.table == plain_table(model, None)
        assert passes() == before


@pytest.mark.parametrize(
    "name", ["small_net", "shared", "keywords", "attention", "tied", "frozen", "none", "positional"]
)
def test_it_says_what_torchinfo_says(name):
    model, data = ZOO[name].build(), ZOO[name].input()
    assert summary_of(model, data).table == plain_table(model, data)


@pytest.mark.parametrize("mode", ["inference", "grad", "train"])
def test_whenever_it_is_made_the_model_is_left_as_it_was(mode):
    model, data = SmallNet().train(mode == "train"), images()
    model.bn1.eval()
    summary = summary_of(model, data)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    handle = model.conv1.register_forward_hook(lambda module, args, output: output * 2)
    before = state(model)
    with torch.inference_mode(mode == "inference"), torch.set_grad_enabled(mode == "grad"):
        text = summary.table
        assert torch.is_grad_enabled() == (mode == "grad")
    assert state(model) == before
    handle.remove()
    assert text == plain_table(model, data)


class TestOfAChangedModel:
    def test_it_is_of_the_model_as_it_stands_when_it_is_first_asked_for(self):
        model = SmallNet()
        summary, early = summary_of(model, images()), summary_of(model, images())
        first = early.table
        with torch.no_grad():
            model.conv1.weight.mul_(2)  # values are not in it
        model.head = nn.Linear(12, 7)
        assert "[2, 7]" in summary.table
        assert summary.table != first
        assert early.table == first
        assert summary.layers["head"].outputs == "float32[2, 5]"  # all else is of the capture

    def test_of_one_that_cannot_run_any_more_it_has_no_shapes(self):
        model = SmallNet()
        summary = summary_of(model, images())
        model.head = nn.Linear(3, 3)
        assert summary.table == plain_table(model, None)

    def test_nor_of_one_that_was_moved_away_from_its_input(self):
        model = SmallNet()
        summary = summary_of(model, images())
        model.to("meta")
        assert summary.table == plain_table(model, None)


def test_copies_hold_the_table_and_not_the_model(passes):
    summary = summary_of(Counting(8, 4), vectors())
    copied, pickled = copy.deepcopy(summary), pickle.loads(pickle.dumps(summary))
    assert passes() == 2
    assert copied.table == pickled.table == summary.table == dataclasses.asdict(summary)["table"]
    assert copied == pickled == summary
    assert passes() == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        summary.table = "another"
