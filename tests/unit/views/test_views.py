"""Every view on every awkward model: it captures, matches itself, and survives the store's formats."""

import copy

import pytest
import torch
from torch import nn
from zoo import ZOO, Keywords, SmallNet, images, vectors

from pytest_modelviz.compare.stored import stored_trace
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.records.findings import ModuleFinding, OrderFinding, WeightFinding
from pytest_modelviz.views.cam_map.capture import CamMapView
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView
from pytest_modelviz.views.model_summary.capture import ModelSummaryView


def compared(view, other=None):
    first = view.capture()
    return view.compare(first, (other or view).capture(), Tolerances())


@pytest.mark.parametrize("name", ZOO)
def test_feature_maps_match_themselves_and_a_copy(name):
    model, data = ZOO[name].build(), ZOO[name].input()
    view = FeatureMapsView(model, data)
    assert compared(view).matched
    if name not in ("lazy", "scripted", "traced_child"):
        assert compared(view, FeatureMapsView(copy.deepcopy(model), data)).matched
    capture = view.capture()
    trace = stored_trace(dict(capture.arrays))
    assert [(c.layer, c.index, c.depth) for c in trace.calls] == [
        (c.layer, c.index, c.depth) for c in capture.result.trace.calls
    ]


@pytest.mark.parametrize("name", ZOO)
def test_model_summary_matches_itself_with_and_without_input(name):
    model, data = ZOO[name].build(), ZOO[name].input()
    view = ModelSummaryView(model, input_data=data)
    assert compared(view).matched
    assert compared(ModelSummaryView(model)).matched
    assert str(view.capture().result)


SCALABLE = sorted(set(ZOO) - {"no_parameters", "complex", "none", "empty", "scripted", "traced_child", "lazy"})


@pytest.mark.parametrize("name", SCALABLE)
def test_a_scaled_weight_is_named_by_its_module_and_parameter(name):
    model, data = ZOO[name].build(), ZOO[name].input()
    changed = copy.deepcopy(model)
    weight_name, weight = next((n, p) for n, p in changed.named_parameters() if p.dim() > 1)
    with torch.no_grad():
        weight.mul_(1.05)
    verdict = compared(FeatureMapsView(model, data), FeatureMapsView(changed, data))
    owner = weight_name.removeprefix("_orig_mod.").removeprefix("module.").rpartition(".")[0]
    assert not verdict.matched
    assert verdict.cause == "weights"
    assert verdict.first is not None
    assert verdict.first.layer == owner
    assert any(isinstance(finding, WeightFinding) and finding.layer == owner for finding in verdict.findings)


def test_a_changed_input_is_named_as_such():
    model = SmallNet()
    verdict = compared(FeatureMapsView(model, images()), FeatureMapsView(model, images().flip(1)))
    assert (verdict.cause, verdict.first.layer) == ("input", "")
    assert verdict.drifted == verdict.compared == 8


def test_a_literal_argument_is_input_too():
    model = Keywords()
    verdict = compared(
        FeatureMapsView(model, {"x": vectors(), "scale": 1.0}), FeatureMapsView(model, {"x": vectors(), "scale": 1.5})
    )
    assert verdict.cause == "input"
    assert verdict.findings[0].path == "scale"


def test_a_renamed_parameter_of_forward_is_no_other_input():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(8, 8)

        def forward(self, x):
            return self.inner(x)

    class Renamed(Net):
        def forward(self, hidden):
            return self.inner(hidden)

    Renamed.__name__ = "Net"
    model, renamed = Net(), Renamed()
    renamed.load_state_dict(model.state_dict())
    assert compared(FeatureMapsView(model, vectors()), FeatureMapsView(renamed, vectors())).matched


class ByName(nn.Module):
    """Gives its only child the input and one more value by name."""

    def __init__(self, child, keyword):
        super().__init__()
        self.child, self.keyword = child, [keyword]  # no configuration: hidden in the name of a function

    def forward(self, x):
        return self.child(x, **{self.keyword[0].__name__: x})


def named(name):
    def function():
        raise NotImplementedError

    function.__name__ = name
    return function


class QueryAndKey(nn.Module):
    def forward(self, x, query=1.0, key=1.0):
        return x * query + key


class RenamedKey(nn.Module):
    def forward(self, x, query=1.0, memory=1.0):
        return x * query + memory


class AnyKeyword(nn.Module):
    def forward(self, x, **rest):
        return x + sum(rest.values())


RenamedKey.__name__ = "QueryAndKey"


@pytest.mark.parametrize("view", [FeatureMapsView, ModelSummaryView])
@pytest.mark.parametrize(
    ("before", "after", "matched"),
    [
        ((QueryAndKey, "query"), (QueryAndKey, "query"), True),
        ((QueryAndKey, "query"), (QueryAndKey, "key"), False),
        ((QueryAndKey, "key"), (QueryAndKey, "query"), False),
        ((QueryAndKey, "key"), (RenamedKey, "memory"), True),
        ((QueryAndKey, "query"), (RenamedKey, "memory"), False),
        ((AnyKeyword, "query"), (AnyKeyword, "key"), False),
    ],
)
def test_a_value_handed_to_another_argument_is_the_caller_s_doing(view, before, after, matched):
    models = [ByName(child(), named(keyword)) for child, keyword in (before, after)]
    verdict = compared(*(view(model, input_data=vectors()) for model in models))
    assert verdict.matched == matched
    assert matched or verdict.first.layer == ""


def test_a_changed_eps_is_named_by_model_summary_and_feature_maps():
    model = SmallNet()
    changed = copy.deepcopy(model)
    changed.bn2.eps = 1e-2
    summary = compared(ModelSummaryView(model, input_data=images()), ModelSummaryView(changed, input_data=images()))
    assert (summary.first.layer, summary.cause, summary.drifted) == ("bn2", "architecture", 1)
    maps = compared(FeatureMapsView(model, images()), FeatureMapsView(changed, images()))
    assert (maps.first.layer, maps.cause) == ("bn2", "architecture")


def test_a_functional_change_names_the_module_whose_code_it_is():
    class Block(nn.Module):
        def __init__(self, residual=True, act=torch.relu):
            super().__init__()
            self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 8)
            self.residual, self.act = residual, act

        def forward(self, x):
            y = self.b(self.act(self.a(x)))
            return x + y if self.residual else y

    class Net(nn.Module):
        def __init__(self, **changed):
            super().__init__()
            self.first, self.second, self.head = Block(), Block(**changed), nn.Linear(8, 3)

        def forward(self, x):
            return self.head(self.second(self.first(x)))

    def verdict(hidden, **changed):
        model = Net()
        other = Net(**changed)
        other.load_state_dict(model.state_dict())
        if hidden:  # code that no attribute tells of
            other.second.residual, other.second.act = True, torch.relu
            if "residual" in changed:
                other.second.forward = lambda x: other.second.b(torch.relu(other.second.a(x)))
            else:
                other.second.forward = lambda x: x + other.second.b(nn.functional.gelu(other.second.a(x)))
        return compared(FeatureMapsView(model, vectors()), FeatureMapsView(other, vectors()))

    for changed in ({"residual": False}, {"act": nn.functional.gelu}):
        seen = verdict(False, **changed)
        assert (seen.first.layer, seen.cause) == ("second", "architecture")
        unseen = verdict(True, **changed)
        assert (unseen.first.layer, unseen.cause) == ("second", "computation")


def test_a_module_called_in_another_order_names_its_caller():
    class Net(nn.Module):
        def __init__(self, swapped):
            super().__init__()
            self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 8)
            self.order = lambda: (self.b, self.a) if swapped else (self.a, self.b)

        def forward(self, x):
            one, two = self.order()
            return two(one(x))

    verdict = compared(FeatureMapsView(Net(False), vectors()), FeatureMapsView(Net(True), vectors()))
    assert (verdict.first.layer, verdict.cause) == ("", "computation")
    assert any(isinstance(f, OrderFinding) and f.before == ("enter", "a") for f in verdict.findings)


def test_an_added_module_is_architecture_and_named():
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    longer = nn.Sequential(model[0], nn.ReLU(), model[1])
    verdict = compared(FeatureMapsView(model, vectors()), FeatureMapsView(longer, vectors()))
    assert verdict.cause == "architecture"
    assert any(isinstance(f, ModuleFinding) and (f.layer, f.change) == ("2", "added") for f in verdict.findings)


def test_a_weight_that_no_output_shows_is_drift_all_the_same():
    model = ZOO["shared"].build()
    changed = copy.deepcopy(model)
    with torch.no_grad():
        changed.unused.weight.mul_(1.5)
    verdict = compared(FeatureMapsView(model, vectors()), FeatureMapsView(changed, vectors()))
    assert not verdict.matched
    assert (verdict.first.layer, verdict.cause) == ("unused", "weights")
    assert verdict.error == pytest.approx(0.5, rel=0.01)


def test_random_weights_that_differ_by_rounding_match():
    model = SmallNet()
    changed = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in changed.parameters():
            parameter.mul_(1 + 1e-7 * torch.randn_like(parameter))  # a float32 has no smaller steps
    assert compared(FeatureMapsView(model, images()), FeatureMapsView(changed, images())).matched


def test_feature_maps_return_the_output_and_the_pictures_asked_for():
    model = SmallNet()
    result = FeatureMapsView(model, images(), layers=["conv*", "head"]).capture().result
    model.eval()
    with torch.no_grad():
        assert torch.equal(result.output, model(images()))
        assert result.pictures["conv1"] == pytest.approx(model.conv1(images())[0].numpy(), rel=1e-6)
    assert list(result.pictures) == ["conv1", "conv2", "head"]
    assert result.pictures["head"].shape == (1, 2, 3)  # five features, folded


def test_by_default_the_last_layer_of_each_resolution_is_shown():
    assert list(FeatureMapsView(SmallNet(), images()).capture().result.pictures) == ["relu", "bn2"]


def test_layers_that_do_not_exist_are_an_error_with_a_suggestion():
    with pytest.raises(ModelvizError, match=r"no layer 'conv3'; did you mean 'conv"):
        FeatureMapsView(SmallNet(), images(), layers=["conv3"]).capture()
    with pytest.raises(ModelvizError, match=r"top-level layers are 'conv1'[^?]* \(names as in"):
        FeatureMapsView(SmallNet(), images(), layers=["xyz*"]).capture()


def test_a_device_mismatch_is_named():
    with pytest.raises(
        ModelvizError, match=r"input is on meta but the model is on cpu \(its parameter 'conv1.weight'\)"
    ):
        FeatureMapsView(SmallNet(), images().to("meta")).capture()


def test_what_is_no_model_is_named():
    with pytest.raises(ModelvizError, match=r"torch.nn.Module, not function"):
        FeatureMapsView(lambda x: x, images())
    with pytest.raises(ModelvizError, match=r"torch.nn.Module, not str"):
        CamMapView("resnet18", images())


def test_buffers_that_share_memory_are_no_ties():
    class Buffers(nn.Module):
        def __init__(self, shared):
            super().__init__()
            table = torch.ones(8)
            self.register_buffer("a", table)
            self.register_buffer("b", table if shared else table.clone())

        def forward(self, x):
            return x * self.a * self.b

    one, two = (FeatureMapsView(Buffers(shared), vectors()) for shared in (True, False))
    assert one.compare(one.capture(), two.capture(), Tolerances()).matched
