"""What recording a baseline takes: how many passes of which precision, and nothing that the first has found already."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from forgery_subjects import image, net
from torch import nn

from pytest_modelviz.compare.sameness import holds_same
from pytest_modelviz.records.check_result import Status
from pytest_modelviz.run.check import Check
from pytest_modelviz.run.comparison import Comparison
from pytest_modelviz.run.session import Session
from pytest_modelviz.run.settings import Mode, Settings
from pytest_modelviz.storage.names import Location
from pytest_modelviz.storage.store import Store
from pytest_modelviz.views.base import measured
from pytest_modelviz.views.cam_map.capture import CamMapView
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView

SINGLE, LOW = torch.float32, torch.bfloat16


def status(view, folder, mode):
    """Make one check in a run of its own; returns what has become of it."""
    settings = Settings(mode, folder, folder / "baselines", folder / "results")
    own = Check(nodeid="t.py::test", title="test", arguments="t.py::test", name="check", view=view, settings=settings)
    return Session("run").check(own)[1].status


def stored(folder):
    store = Store(folder / "baselines")
    return store.load(Location.of("t.py::test", "check", None), nodeid="t.py::test", name="check").capture


def model_of(dtype):
    """A small network, and the dtype of the input of each pass that is made of it."""
    model, passes = net().to(dtype), []
    model.register_forward_pre_hook(lambda _, args: passes.append(args[0].dtype))
    return model, passes


class TestPasses:
    # the pass, once more, and rounded otherwise; of one in lower precision the latter two of its shadow
    EXPECTED = {SINGLE: [SINGLE] * 3, LOW: [LOW, *[SINGLE] * 3]}  # noqa: RUF012  # a table

    @pytest.mark.parametrize("mode", [Mode.UPDATE, Mode.UPDATE_MISSING, Mode.UPDATE_ALL])
    @pytest.mark.parametrize("dtype", EXPECTED, ids=str)
    def test_of_feature_maps(self, tmp_path, dtype, mode):
        model, passes = model_of(dtype)
        assert status(FeatureMapsView(model, image().to(dtype)), tmp_path, mode) is Status.RECORDED
        assert passes == self.EXPECTED[dtype]

    # the first looks for layers; then the explanation, once more, and two rounded otherwise, of a shadow a single one
    @pytest.mark.parametrize(("dtype", "expected"), [(SINGLE, [SINGLE] * 5), (LOW, [LOW] * 2 + [SINGLE] * 3)], ids=str)
    def test_of_a_map(self, tmp_path, dtype, expected):
        model, passes = model_of(dtype)
        assert status(CamMapView(model, image().to(dtype)), tmp_path, Mode.UPDATE) is Status.RECORDED
        assert passes == expected

    def test_of_a_map_once_its_model_has_changed(self):
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
        view = CamMapView(model, image())
        assert view.capture().facts["layer"] == "1"
        model.insert(2, nn.GELU())
        assert view.capture().facts["layer"] == "2"

    @pytest.mark.parametrize(("dtype", "expected"), [(SINGLE, [SINGLE]), (LOW, [LOW, SINGLE])], ids=str)
    def test_of_a_match_in_an_update(self, tmp_path, dtype, expected):
        model, passes = model_of(dtype)
        status(FeatureMapsView(model, image().to(dtype)), tmp_path, Mode.UPDATE)
        passes.clear()
        assert status(FeatureMapsView(model, image().to(dtype)), tmp_path, Mode.UPDATE) is Status.MATCH
        assert passes == expected

    def test_of_a_drift_that_is_recorded(self, tmp_path):
        model, passes = model_of(LOW)
        status(FeatureMapsView(model, image().to(LOW)), tmp_path, Mode.UPDATE)
        with torch.no_grad():
            next(model.parameters()).mul_(1.5)
        passes.clear()
        assert status(FeatureMapsView(model, image().to(LOW)), tmp_path, Mode.UPDATE) is Status.RECORDED
        assert passes == [*self.EXPECTED[LOW], LOW]  # the last for what people look at


@pytest.mark.parametrize("dtype", [SINGLE, LOW], ids=str)
def test_what_is_recorded_does_not_depend_on_when_it_was_taken(tmp_path, dtype):
    status(FeatureMapsView(net().to(dtype), image().to(dtype)), tmp_path, Mode.UPDATE)
    view = FeatureMapsView(net().to(dtype), image().to(dtype))
    expected, actual = measured(view, view.capture()), stored(tmp_path)
    assert expected.facts == actual.facts
    assert expected.arrays.keys() == actual.arrays.keys()
    assert all(np.array_equal(expected.arrays[name], actual.arrays[name]) for name in actual.arrays)


class TestSameness:
    @pytest.mark.parametrize("dtype", [SINGLE, LOW], ids=str)
    def test_a_pass_that_is_repeated_number_by_number_need_not_be_compared(self, monkeypatch, tmp_path, dtype):
        view = FeatureMapsView(net().to(dtype), image().to(dtype))
        monkeypatch.setattr(view, "compare", None)
        settings = Settings(Mode.UPDATE, tmp_path, tmp_path / "b", tmp_path / "r")
        assert Comparison(view, view.capture(), settings).instability() is None

    @pytest.mark.parametrize("dtype", [SINGLE, LOW], ids=str)
    def test_one_that_differs_is_compared(self, tmp_path, dtype):
        class Restless(nn.Module):
            def __init__(self):
                super().__init__()
                self.net = net()

            def forward(self, x):
                return self.net(x) * next(count)

        count = itertools.count(1)  # which nothing puts back

        view = FeatureMapsView(Restless().to(dtype), image().to(dtype))
        assert status(view, tmp_path, Mode.UPDATE) is Status.UNSTABLE

    def test_whatever_is_compared_counts(self):
        trace = FeatureMapsView(net().bfloat16(), image().bfloat16()).capture().result.trace
        again = FeatureMapsView(net().bfloat16(), image().bfloat16()).capture().result.trace
        assert holds_same(trace, again)
        assert holds_same(trace, replace(again, notes=("another note",)))
        key, weight = next(iter(trace.tensors)), next(iter(trace.weights))
        record = trace.tensors[key]
        other_records = [
            replace(record, dtype="float64"),
            replace(record, shape=(*record.shape, 1)),
            replace(record, sketch=np.nextafter(record.sketch, np.float32(np.inf))),
            replace(record, value_fingerprints={"nan": (1, 2)}),
            replace(record, sketch_without_giants=record.sketch),
            replace(record, value_count=3),
            replace(record, step=0.5),
            replace(record, former=record),
            replace(record, is_of_earlier_version=True),
        ]
        structure = trace.structure
        weights = {**structure.weights, weight: replace(structure.weights[weight], dtype="float64")}
        modules = {name: replace(module, class_name="Other") for name, module in structure.modules.items()}
        others = [
            *(replace(trace, tensors={**trace.tensors, key: other}) for other in other_records),
            replace(trace, tensors=dict(reversed(trace.tensors.items()))),
            replace(trace, gradients={"(gradient)": record}),
            replace(trace, calls=trace.calls[:-1]),
            replace(trace, structure=replace(structure, weights=weights)),
            replace(trace, structure=replace(structure, modules=modules)),
            replace(trace, structure=replace(structure, ties=(("a", "b"),))),
            replace(trace, shadow=None),
            replace(trace, shadow=replace(trace.shadow, tensors=trace.tensors)),
        ]
        for other in others:
            assert not holds_same(trace, other)
            assert not holds_same(other, trace)
