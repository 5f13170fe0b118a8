"""After any check, also one that raised, everything is as it was."""

import random
import sys

import numpy as np
import pytest
import torch
from observable_state import bits, state_of_model, state_of_process
from torch import nn
from zoo import ZOO, SmallNet, images, vectors

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.probe.nested_values import leaves, tensors
from pytest_modelviz.probe.process import seeded
from pytest_modelviz.probe.purity import untouched
from pytest_modelviz.views.cam_map.capture import CamMapView
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView
from pytest_modelviz.views.model_graph.capture import ModelGraphView
from pytest_modelviz.views.model_summary.capture import ModelSummaryView

VIEWS = {
    "model_summary": lambda model, data: ModelSummaryView(model, input_data=data),
    "feature_maps": FeatureMapsView,
    "cam_map": CamMapView,
    "model_graph": ModelGraphView,
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", ZOO)
def test_every_view_leaves_every_model_and_the_process_as_they_were(name, view):
    model, data = ZOO[name].build(), ZOO[name].input()
    for number, parameter in enumerate(model.parameters()):
        if number == 0 and parameter.is_floating_point() and not torch.nn.parameter.is_lazy(parameter):
            parameter.grad = torch.ones_like(parameter)
    before, process = state_of_model(model), state_of_process()
    inputs = [bits(tensor) for tensor in tensors(data)]
    try:
        VIEWS[view](model, data).capture()
    except ModelvizError:
        assert view == "cam_map"  # not every model has a map; it must be left alone all the same
    assert state_of_model(model) == before
    assert state_of_process() == process
    assert [bits(tensor) for tensor in tensors(data)] == inputs


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", sorted(set(ZOO) - {"lazy", "compiled", "scripted", "traced_child"}))
def test_a_model_that_raises_is_left_as_it_was(name, view):
    class Broken(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = ZOO[name].build()
            self.dropout = nn.Dropout()

        def forward(self, *args, **kwargs):
            torch.rand(3), random.random(), np.random.rand()
            torch.set_num_threads(torch.get_num_threads() + 1)
            torch.set_grad_enabled(not torch.is_grad_enabled())
            self.model(*args, **kwargs)
            raise IndexError("from the model's own code")

    model, data = Broken(), ZOO[name].input()
    before, process = state_of_model(model), state_of_process()
    with pytest.raises(IndexError, match="own code"):
        VIEWS[view](model, data).capture()
    assert state_of_model(model) == before
    assert state_of_process() == process


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode, torch.enable_grad])
@pytest.mark.parametrize("view", VIEWS)
def test_the_caller_s_grad_mode_neither_matters_nor_changes(view, context):
    model = SmallNet()
    reference = VIEWS[view](model, images()).capture()
    with context():
        process = state_of_process()
        capture = VIEWS[view](model, images()).capture()
        assert state_of_process() == process
    assert capture.facts == reference.facts


def test_the_model_gives_the_same_result_before_and_after():
    for name in ("small_net", "attention", "recurrent", "encoder", "replaces_weights"):
        model, data = ZOO[name].build().eval(), ZOO[name].input()
        FeatureMapsView(model, data).capture()
        fresh = ZOO[name].build().eval()
        fresh.load_state_dict(model.state_dict())
        with torch.no_grad():
            assert torch.equal(model(data), fresh(data)), name


def test_weights_that_a_view_of_them_overwrites_come_back():
    layer = nn.Linear(4, 4)
    alias = layer.weight.view(2, 8)
    before = layer.weight.detach().clone()
    with untouched(layer), torch.no_grad():
        alias.zero_()
        layer.weight[0].fill_(7)
    assert torch.equal(layer.weight, before)


def test_a_replaced_parameter_and_hook_come_back():
    layer = nn.Linear(4, 4)
    weight, hooks = layer.weight, dict(layer._forward_hooks)
    with untouched(layer):
        layer.weight = nn.Parameter(torch.zeros(4, 4))
        layer.register_forward_hook(lambda *args: None)
        layer.extra = 3
        del layer.bias
    assert layer.weight is weight
    assert dict(layer._forward_hooks) == hooks
    assert not hasattr(layer, "extra")
    assert layer.bias is not None


def test_a_batch_norm_that_ignores_eval_mode_keeps_its_statistics():
    class Stubborn(nn.Module):
        def __init__(self):
            super().__init__()
            self.bn = nn.BatchNorm1d(8)

        def forward(self, x):
            return nn.functional.batch_norm(x, self.bn.running_mean, self.bn.running_var, training=True)

    model = Stubborn()
    FeatureMapsView(model, vectors()).capture()
    assert torch.equal(model.bn.running_mean, torch.zeros(8))
    assert torch.equal(model.bn.running_var, torch.ones(8))


def test_gradients_of_an_earlier_step_survive_a_cam():
    model = SmallNet()
    model(images()).sum().backward()
    grads = {name: (p.grad, p.grad.clone()) for name, p in model.named_parameters()}
    CamMapView(model, images()).capture()
    for name, parameter in model.named_parameters():
        assert parameter.grad is grads[name][0]
        assert torch.equal(parameter.grad, grads[name][1])


def test_numpy_need_not_be_imported(monkeypatch):
    modules = {name: module for name, module in sys.modules.items() if name != "numpy"}
    monkeypatch.setattr(sys, "modules", modules)
    with untouched(nn.Linear(2, 2)):
        pass


def test_no_seed_waits_for_a_device_that_is_not_in_use_yet(monkeypatch):
    tracker = torch.cuda._lazy_seed_tracker
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    torch.manual_seed(3)
    before = dict(vars(tracker))
    with seeded(7):
        assert tracker.call_order[-1] not in before["call_order"]  # for a device that the block puts to use
        assert torch.initial_seed() == 7
    assert vars(tracker) == before


def test_a_device_put_to_use_meanwhile_gets_the_seed_that_waited(monkeypatch):
    used, called = [], []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: bool(used))
    monkeypatch.setattr(torch.cuda, "manual_seed_all", called.append)
    tracker = torch.cuda._lazy_seed_tracker
    monkeypatch.setattr(tracker, "call_order", [None, (lambda: called.append("waited"), [])])
    with seeded(7):
        used.append(1)
    assert called[0] == 7
    assert called[-1] == "waited"


def test_leaves_of_nested_values_have_stable_paths():
    value = {"b": (1, torch.zeros(1)), "a": [None, {"c": torch.ones(2)}]}
    assert [path for path, _ in leaves(value)] == [".a[0]", ".a[1].c", ".b[0]", ".b[1]"]
