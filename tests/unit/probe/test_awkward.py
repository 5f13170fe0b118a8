"""What was found by trying many models: each test is one that once crashed, was misjudged or was left changed."""

import copy

import numpy as np
import pytest
import torch
from awkward_models import Around, compared
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from zoo import SmallNet, data_parallel, images, vectors

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.probe.sketch import record_tensor
from pytest_modelviz.records.tensors import WEIGHT_WIDTH
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView
from pytest_modelviz.views.model_summary.capture import ModelSummaryView


class OwnCall(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.inner = nn.Linear(8, 8)
        self.run = [function]

    def __call__(self, x):
        return self.forward(x)

    def forward(self, x):
        return self.run[0](self.inner(x))


class PassesOn(OwnCall):
    def __call__(self, x):
        return nn.Module.__call__(self, x)


@pytest.mark.parametrize("kind", [OwnCall, PassesOn])
def test_classes_with_a_call_of_their_own_are_recorded_once(kind):
    model = kind(torch.relu)
    other = kind(torch.neg)
    other.load_state_dict(model.state_dict())
    assert [call.layer for call in FeatureMapsView(model, vectors()).capture().result.trace.calls] == ["", "inner"]
    assert kind.__call__ is vars(kind)["__call__"]
    verdict = compared(model, other)
    assert (verdict.matched, verdict.first.layer) == (False, "")


def test_a_pass_without_an_observed_call_is_an_error_and_no_match():
    class Thread(nn.Module):
        def forward(self, x):
            return x

    model = Thread()
    view = FeatureMapsView(model, vectors())
    view.model = Around(lambda self, x: x)
    wrapped = data_parallel(view.model)
    wrapped.forward = lambda x: x  # never calls what it wraps
    with pytest.raises(ModelvizError, match="no module call of Around could be observed"):
        FeatureMapsView(wrapped, vectors()).capture()


@pytest.mark.parametrize(
    "function",
    [
        lambda self, x: torch.vmap(self.linear)(x),
        lambda self, x: torch.func.jvp(self.linear, (x,), (x,))[0],
        pytest.param(
            lambda self, x: torch.cond(x.sum() > 0, lambda y: y * 2, lambda y: y, (x,)),
            marks=pytest.mark.skipif(
                not hasattr(TorchDispatchMode, "supports_higher_order_operators"),
                reason="this torch lets no mode see higher-order operators",
            ),
        ),
        lambda self, x: self.linear(self.linear.weight.expand(8, 8)),
    ],
    ids=["vmap", "jvp", "cond", "view of a parameter"],
)
@pytest.mark.parametrize("view", [FeatureMapsView, lambda model, x: ModelSummaryView(model, input_data=x)])
def test_transforms_and_higher_order_operators(function, view):
    view(Around(function), vectors()).capture()


@pytest.mark.parametrize(
    "data",
    [torch.rand(0, 3, 16, 16), torch.rand(1, 3, 16, 16).to_sparse(), torch.rand(1, 3, 16, 16, dtype=torch.cdouble)],
)
def test_odd_images_have_no_picture_and_do_no_harm(data):
    FeatureMapsView(nn.Identity(), data).capture()


def test_writes_behind_the_version_counter_are_blamed_on_the_writer():
    class Net(nn.Module):
        def __init__(self, factor):
            super().__init__()
            self.block, self.head = Block(factor), nn.Linear(8, 3)

        def forward(self, x):
            return self.head(self.block(x))

    class Block(nn.Module):
        def __init__(self, factor):
            super().__init__()
            self.inner, self.factor = nn.Linear(8, 8), [lambda y: y.data.mul_(factor)]

        def forward(self, x):
            y = self.inner(x)
            self.factor[0](y)
            return y

    model, other = Net(1.0), Net(1.05)
    other.load_state_dict(model.state_dict())
    assert compared(model, other).first.layer == "block"


class Stages(nn.Module):
    """Calls its Sequential, or walks over it, with or without code in between."""

    def __init__(self, walk, between=lambda x: x):
        super().__init__()
        torch.manual_seed(0)
        self.stages, self.last = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8)), nn.Linear(8, 2)
        self.run = lambda: (walk, between)

    def forward(self, x):
        walk, between = self.run()
        if not walk:
            return self.last(self.stages(x))
        for stage in self.stages:
            x = between(stage(x))
        return self.last(x)


def test_a_sequential_may_be_called_or_walked_over():
    assert compared(Stages(False), Stages(True)).matched
    assert compared(Stages(True), Stages(False)).matched
    for one, other in ((Stages(False), Stages(True, torch.abs)), (Stages(True, torch.abs), Stages(False))):
        verdict = compared(one, other)
        assert (verdict.first.layer, verdict.cause) == ("", "computation")
    changed = Stages(True)
    with torch.no_grad():
        changed.stages[2].weight.mul_(1.1)
    verdict = compared(Stages(False), changed)
    assert (verdict.first.layer, verdict.cause) == ("stages.2", "weights")
    assert (verdict.drifted, verdict.compared) == (3, 5)


def test_autocast_inside_of_a_forward_is_that_forward_s_doing():
    def model(on):
        def run(self, x):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=on):
                return self.linear(x)

        return Around(run)

    one, two = model(False), model(True)
    two.load_state_dict(one.state_dict())
    verdict = compared(one, two)
    assert (verdict.matched, verdict.first.layer, verdict.cause) == (False, "", "computation")
    three = model(True)
    three.load_state_dict(one.state_dict())
    assert compared(two, three).matched


def test_another_memory_behind_a_tensor_is_blamed_on_who_put_it_there():
    def model(factor):
        def run(self, x):
            y = self.linear(x)
            y.data = y.data * factor
            return self.last(y)

        net = Around(run)
        net.last = nn.Linear(8, 2)
        return net

    one, two = model(1.0), model(2.0)
    two.load_state_dict(one.state_dict())
    verdict = compared(one, two)
    assert (verdict.first.layer, verdict.cause) == ("", "computation")


def test_large_parameters_and_buffers_are_recorded_as_they_were_before_the_pass():
    class Writes(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(200, 200)
            self.norm = Trains(20_000)

        def forward(self, x):
            self.linear.weight.data.mul_(0.5)
            y = self.linear(x)
            self.linear.weight.data = torch.zeros(200, 200)
            self.norm(y.repeat(1, 100))
            return y

    class Trains(nn.BatchNorm1d):
        def forward(self, x):
            return torch.nn.functional.batch_norm(x, self.running_mean, self.running_var, training=True)

    model = Writes()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    weights = FeatureMapsView(model, torch.rand(3, 200)).capture().result.trace.weights
    for name, tensor in before.items():
        expected = record_tensor(tensor, WEIGHT_WIDTH)
        assert np.allclose(weights[name].sketch, expected.sketch), name
        assert torch.equal(model.state_dict()[name], tensor), name


def test_a_sixteen_bit_weight_that_changed_is_drift_though_activations_agree():
    model = nn.Sequential(*[nn.Linear(8, 8) for _ in range(3)]).to(torch.bfloat16)
    other = copy.deepcopy(model)
    with torch.no_grad():
        other[1].weight.mul_(1.0156)  # the smallest step that changes every number
    verdict = compared(model, other, vectors().to(torch.bfloat16))
    assert (verdict.matched, verdict.first.layer, verdict.cause) == (False, "1", "weights")


def test_layers_must_be_names():
    with pytest.raises(ModelvizError, match="layers takes names of layers or globs"):
        FeatureMapsView(SmallNet(), images(), layers=[3])


def test_a_model_of_many_uncalled_modules_is_compared_quickly():
    """A quadratic walk would take a minute."""

    class Experts(nn.Module):
        def __init__(self):
            super().__init__()
            self.experts = nn.ModuleList(nn.Sequential(nn.Identity()) for _ in range(4000))
            self.scale = nn.Parameter(torch.ones(8))

        def forward(self, x):
            return self.experts[0](x) * self.scale

    model, other = Experts(), Experts()
    with torch.no_grad():
        other.scale.mul_(1.1)
    assert compared(model, other).first.layer == ""


class Rectified(nn.Module):
    """What enters the ReLU is almost wholly negative."""

    def __init__(self, change=lambda x: x, after=lambda x: x, factor=1.0):
        super().__init__()
        torch.manual_seed(0)
        self.start, self.relu, self.head = nn.Identity(), nn.ReLU(), nn.Linear(16, 4)
        self.run = lambda x: self.head(after(self.relu(self.start(change(x)))) * factor)

    def forward(self, x):
        return self.run(x)


def rectified(value):
    x = -torch.ones(2, 16)
    x[0, 0] = value
    return x


@pytest.mark.parametrize("after", [lambda x: x, lambda x: x.flatten(1) * 1.0], ids=["as it is", "computed with"])
@pytest.mark.parametrize("tolerances", [Tolerances(), Tolerances(rtol=1e-2)], ids=["default", "wide"])
def test_zeros_that_become_as_much_as_the_inputs_differ_are_no_changed_code(after, tolerances):
    baseline = FeatureMapsView(Rectified(after=after), rectified(-1e-5))
    other = FeatureMapsView(Rectified(after=after), rectified(1e-4))
    verdict = baseline.compare(baseline.capture(), other.capture(), tolerances)
    assert verdict.matched


def test_zeros_that_become_more_than_the_inputs_differ_are_drift():
    tolerances = Tolerances(rtol=1e-2)
    baseline = FeatureMapsView(Rectified(), rectified(-1e-5))
    # the same input to the last bit: nothing explains what a leaky ReLU lets through
    leaky = Rectified()
    leaky.relu.forward = lambda x: nn.functional.leaky_relu(x, 1e-4)
    verdict = baseline.compare(baseline.capture(), FeatureMapsView(leaky, rectified(-1e-5)).capture(), tolerances)
    assert (verdict.matched, verdict.first.layer, verdict.cause) == (False, "relu", "computation")
    # the inputs differ by less than what comes out
    verdict = baseline.compare(baseline.capture(), FeatureMapsView(leaky, rectified(-1.1e-5)).capture(), tolerances)
    assert (verdict.matched, verdict.first.layer) == (False, "relu")
    # and what is made of the excused result is no further excused than by its size
    loud = FeatureMapsView(Rectified(factor=1e3), rectified(-1e-5))
    other = FeatureMapsView(Rectified(factor=1e3), rectified(1e-4))
    assert not loud.compare(loud.capture(), other.capture(), tolerances).matched
