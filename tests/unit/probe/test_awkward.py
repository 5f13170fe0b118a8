"""What was found by trying many models: each test is one that once crashed, was misjudged or was left changed."""

import copy
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from zoo import SmallNet, data_parallel, images, vectors

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.probe.sketch import WEIGHT_WIDTH, record_tensor
from pytest_modelviz.records.findings import AttributeFinding, WeightFinding
from pytest_modelviz.views.cam_map.capture import CamMapView
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView
from pytest_modelviz.views.model_summary.capture import ModelSummaryView


def compared(one, two, data=None):
    first = FeatureMapsView(one, vectors() if data is None else data)
    second = FeatureMapsView(two, vectors() if data is None else data)
    return first.compare(first.capture(), second.capture(), Tolerances())


class Around(nn.Module):
    """Any function of an input and a linear layer, as a model."""

    def __init__(self, function):
        super().__init__()
        self.linear = nn.Linear(8, 8)
        self.run = lambda x: function(self, x)

    def forward(self, x):
        return self.run(x)


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
def test_classes_with_a_call_of_their_own_are_seen_once(kind):
    model = kind(torch.relu)
    other = kind(torch.neg)
    other.load_state_dict(model.state_dict())
    assert [call.layer for call in FeatureMapsView(model, vectors()).capture().result.trace.calls] == ["", "inner"]
    assert kind.__call__ is vars(kind)["__call__"]
    verdict = compared(model, other)
    assert (verdict.matched, verdict.first.layer) == (False, "")


def test_a_pass_of_which_nothing_is_seen_is_an_error_and_no_match():
    class Thread(nn.Module):
        def forward(self, x):
            return x

    model = Thread()
    view = FeatureMapsView(model, vectors())
    view._model = Around(lambda self, x: x)
    wrapped = data_parallel(view._model)
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


def test_the_order_of_keyword_arguments_is_the_caller_s_own_affair():
    class Scaled(nn.Module):
        def forward(self, x, *, scale, shift):
            return x * scale + shift

    class Net(nn.Module):
        def __init__(self, turned):
            super().__init__()
            self.inner, self.turned = Scaled(), [turned, lambda: None]

        def forward(self, x):
            if self.turned[0]:
                return self.inner(x, shift=1.0, scale=2.0)
            return self.inner(x, scale=2.0, shift=1.0)

    assert compared(Net(False), Net(True)).matched


class Attend(nn.Module):
    def forward(self, query, key, mask=None, *rest, scale=1.0, causal=False):
        return query * key.mean() * scale + (0 if mask is None else mask)


@pytest.mark.parametrize(
    "call",
    [
        lambda f, x: f(x, x + 1, None, scale=1.0),
        lambda f, x: f(query=x, key=x + 1),
        lambda f, x: f(key=x + 1, query=x, causal=False, mask=None),
        lambda f, x: f(x, scale=1.0, key=x + 1),
    ],
)
def test_arguments_may_be_given_by_place_or_name_and_defaults_spelled_out(call):
    model = nn.Module.__new__(Around)
    Around.__init__(model, lambda self, x: self.attend(x, x + 1))
    model.attend = Attend()
    other = copy.copy(model)
    other.run = lambda x: call(other.attend, x)
    assert compared(model, other).matched


def test_a_forward_that_takes_anything_is_compared_with_one_that_names_its_parameters():
    class Anything(Attend):
        def forward(self, *args, **kwargs):
            return super().forward(*args, **kwargs) * 1.5

    Anything.__name__ = "Attend"
    model = Around(lambda self, x: self.attend(x, mask=None, key=x + 1))
    model.attend = Attend()
    other = copy.copy(model)
    other._modules = {**model._modules, "attend": Anything()}
    other.run = lambda x: other.attend(x, mask=None, key=x + 1)
    verdict = compared(model, other)
    assert (verdict.first.layer, verdict.cause) == ("attend", "computation")
    model.run, other.run = lambda x: model.attend(x, x + 1, None), lambda x: other.attend(x, x + 1, None)
    for one, two in ((model, other), (other, model)):
        verdict = compared(one, two)
        assert (verdict.first.layer, verdict.cause) == ("attend", "computation")


def test_another_default_value_is_the_callee_s_code_and_another_value_the_caller_s():
    def model(default, *given):
        class Scales(nn.Module):
            def forward(self, x, factor=default):
                return x * factor

        torch.manual_seed(0)
        net = Around(lambda self, x: self.scales(x, *given))
        net.scales = Scales()
        return net

    verdict = compared(model(1.0), model(2.0))
    assert (verdict.first.layer, verdict.cause) == ("scales", "computation")
    verdict = compared(model(1.0), model(1.0, 2.0))
    assert (verdict.first.layer, verdict.cause) == ("", "computation")
    assert compared(model(3.0, 1), model(3.0, 1.0)).matched
    assert compared(model(1.0), model(1.0, 1)).matched
    verdict = compared(model(1.0), model(5.0, 1.0))  # no text says what the default was: whoever wrote the file does
    assert (verdict.matched, verdict.first.layer, verdict.cause) == (False, "", "computation")
    assert compared(model(5.0, 0.5), model(0.5)).matched
    assert not compared(model(3.0, 1), model(3.0, 1.5)).matched


class Options:
    def __init__(self, factor):
        self.factor, self.inner, self._hidden = factor, {"a": 1}, 0


class Reads(nn.Module):
    def __init__(self, options, read=lambda self, x: x * self.options.factor):
        super().__init__()
        self.options, self.read = options, read

    def forward(self, x):
        return self.read(self, x)


def test_a_shared_configuration_object_is_written_out_once_and_is_evidence_about_whoever_reads_it():
    def model(factor):
        options = Options(factor)
        net = nn.Sequential(nn.Linear(8, 8), Reads(options, lambda self, x: x + 1), Reads(options))
        torch.manual_seed(0)
        net[0].reset_parameters()
        return net

    verdict = compared(model(2.0), model(3.0))
    assert (verdict.first.layer, verdict.cause) == ("2", "architecture")  # whose code reads it
    found = [finding for finding in verdict.findings if isinstance(finding, AttributeFinding)]
    assert found == [AttributeFinding("1", "options.factor", "2.0", "3.0")]
    records = FeatureMapsView(model(2.0), vectors()).capture().result.trace.modules
    assert records["1"].config["options.factor"] == "2.0"
    assert "options.factor" not in records["2"].config
    assert records["1"].config["options"] == records["2"].config["options"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (np.float32(2), np.float32(3)),
        ([1.0] * 100, [1.0] * 99 + [2.0]),
        ({str(n): 1.0 for n in range(100)}, {**{str(n): 1.0 for n in range(99)}, "99": 3.0}),
    ],
)
def test_numpy_numbers_and_long_lists_are_configuration(before, after):
    def total(self, x):
        held = self.options
        return x * float(sum(held.values()) if isinstance(held, dict) else np.sum(held))

    verdict = compared(nn.Sequential(Reads(before, total)), nn.Sequential(Reads(after, total)))
    assert (verdict.first.layer, verdict.cause) == ("0", "architecture")


def test_a_tensor_in_a_plain_attribute_is_weights_and_mere_state_is_no_drift():
    def model(*factors, spare=0.0):
        net = Reads({"f": torch.tensor(factors)}, lambda self, x: x * self.options["f"].sum())
        net.spare = [torch.full((3,), spare)]
        return nn.Sequential(net)

    verdict = compared(model(1.0, 2.0), model(1.0, 3.0))
    assert (verdict.first.layer, verdict.cause) == ("0", "weights")
    assert [f.name for f in verdict.findings if isinstance(f, WeightFinding)] == ["options['f'] (attribute)"]
    assert compared(model(1.0), model(1.0, spare=5.0)).matched


def test_an_attribute_that_the_pass_itself_changes_is_no_evidence():
    class Counts(nn.Module):
        def __init__(self, factor):
            super().__init__()
            self.calls, self.last, self.factor = 0, None, [lambda x: x * factor]

        def forward(self, x):
            self.calls, self.last = self.calls + 1, x
            return self.factor[0](x)

    used = Counts(2.0)
    used(vectors())
    assert compared(Counts(2.0), used).matched
    changed = Counts(3.0)
    changed(vectors())
    verdict = compared(Counts(2.0), changed)
    assert (verdict.first.layer, verdict.cause) == ("", "computation")


def test_numpy_arrays_and_the_numbers_of_objects_are_input():
    class Takes(nn.Module):
        def forward(self, x, options):
            return torch.as_tensor(x) * options.factor

    array = vectors().numpy()
    verdict = compared(Takes(), Takes(), (array, Options(2)))
    assert verdict.matched
    view = FeatureMapsView(Takes(), (array, Options(2)))
    for data in ((array * 1.1, Options(2)), (array, Options(3))):
        verdict = view.compare(view.capture(), FeatureMapsView(Takes(), data).capture(), Tolerances())
        assert (verdict.first.layer, verdict.cause) == ("", "input")


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


def test_a_renamed_parameter_of_forward_is_no_evidence_against_its_code():
    class Old(nn.Module):
        def forward(self, x):
            return x * 2

    class New(nn.Module):
        def forward(self, image):
            return image * 3

    New.__name__ = "Old"
    verdict = compared(nn.Sequential(Old()), nn.Sequential(New()))
    assert (verdict.first.layer, verdict.cause) == ("0", "computation")


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
        expected = record_tensor(tensor, WEIGHT_WIDTH, statistics=False)
        assert np.allclose(weights[name].sketch, expected.sketch), name
        assert torch.equal(model.state_dict()[name], tensor), name


def test_float_literals_are_compared_within_a_tolerance():
    def returning(value):
        torch.manual_seed(0)
        return Around(lambda self, x: (x, value, 3))

    assert compared(returning(0.1), returning(0.1 + 1e-7)).matched
    assert not compared(returning(0.1), returning(0.11)).matched
    assert compared(returning(float("nan")), returning(float("nan"))).matched
    assert compared(returning(1j), returning(1j)).matched


def test_addresses_in_texts_are_no_configuration():
    class Addressed(nn.Linear):
        def extra_repr(self):
            return f"{object()}"

    first, second = (ModelSummaryView(Addressed(8, 8)).capture() for _ in range(2))
    assert " at 0x" not in str(first.facts)
    assert first.facts == second.facts


def test_the_numbers_of_a_tensor_in_a_text_are_no_configuration():
    class Shows(nn.Linear):
        def extra_repr(self):
            return f"weight={self.weight}, eps={1e-5}, {self.bias.data!r}"

    torch.manual_seed(0)
    model = Shows(8, 2)
    changed = copy.deepcopy(model)
    with torch.no_grad():
        changed.weight[0, 0] += 1
    verdict = compared(model, changed)
    assert (verdict.first.layer, verdict.cause) == ("", "weights")
    config = FeatureMapsView(model, vectors()).capture().result.trace.modules[""].config
    assert "tensor(...)" in config["extra_repr"]
    assert "eps=1e-05" in config["extra_repr"]


def test_text_that_cannot_be_encoded_is_kept_in_another_way():
    class Texts(nn.Module):
        def forward(self, x, word):
            return x

    capture = FeatureMapsView(Texts(), (vectors(), "a\udc80")).capture()
    assert str(capture.facts).encode()


def test_a_plain_attribute_is_weaker_evidence_than_a_weight():
    model, other = Around(lambda self, x: self.linear(x)), Around(lambda self, x: self.linear(x))
    other.load_state_dict(model.state_dict())
    model.linear.path, other.linear.path = "a", "b"
    assert compared(model, other).matched
    with torch.no_grad():
        other.linear.weight.mul_(1.1)
    verdict = compared(model, other)
    assert (verdict.first.layer, verdict.cause) == ("linear", "weights")


def test_a_sixteen_bit_weight_that_changed_is_drift_though_activations_agree():
    model = nn.Sequential(*[nn.Linear(8, 8) for _ in range(3)]).to(torch.bfloat16)
    other = copy.deepcopy(model)
    with torch.no_grad():
        other[1].weight.mul_(1.0156)  # the smallest step that changes every number
    verdict = compared(model, other, vectors().to(torch.bfloat16))
    assert (verdict.matched, verdict.first.layer, verdict.cause) == (False, "1", "weights")


class TestPutBack:
    def test_shapes_and_strides_of_weights_and_buffers(self):
        class Turns(nn.Module):
            def __init__(self):
                super().__init__()
                self.linear = nn.Linear(8, 8)
                self.register_buffer("table", torch.rand(2, 3))

            def forward(self, x):
                self.linear.weight.data = self.linear.weight.data.t()
                self.table.t_()
                self.table.mul_(2)
                return self.linear(x)

        model = Turns()
        weight, table = model.linear.weight.detach().clone(), model.table.clone()
        first = FeatureMapsView(model, vectors())
        assert first.compare(first.capture(), first.capture(), Tolerances()).matched
        assert torch.equal(model.linear.weight, weight)
        assert model.linear.weight.stride() == (8, 1)
        assert torch.equal(model.table, table)

    def test_conjugate_buffers(self):
        model = Around(lambda self, x: self.linear(x))
        model.register_buffer("b", torch.rand(3, dtype=torch.complex64).conj())
        FeatureMapsView(model, vectors()).capture()

    def test_the_caller_s_own_objects(self):
        class Cache:
            def __init__(self):
                self.keys = [torch.ones(2)]

        class Grows(nn.Module):
            def forward(self, x, cache, options):
                x.unsqueeze_(0)
                cache.keys.append(x)
                options["seen"] = True
                return x

        data = (vectors(), Cache(), {"seen": False})
        view = FeatureMapsView(Grows(), data)
        assert view.compare(view.capture(), view.capture(), Tolerances()).matched
        assert data[0].shape == (2, 8)
        assert len(data[1].keys) == 1
        assert data[2] == {"seen": False}

    def test_tensors_in_plain_attributes(self):
        model = Around(lambda self, x: self.linear(x) + self.cache[0].add_(1) + self.table.add_(1))
        model.cache, model.table = [torch.zeros(8)], torch.zeros(8)
        FeatureMapsView(model, vectors()).capture()
        assert model.cache[0].sum() == 0
        assert model.table.sum() == 0

    def test_containers_and_objects_inside_of_attributes(self):
        class Config:
            def __init__(self):
                self.calls, self.history = 0, {"seen": [[1]]}

        config = Config()

        class Remembers(nn.Module):
            def __init__(self):
                super().__init__()
                self.config, self.tables = config, {"a": [1, 2], "b": ({"c": {3}},)}

            def forward(self, x):
                self.config.calls += 1
                self.config.history["seen"].append(x)
                self.config.extra = True
                self.tables["a"].append(3)
                self.tables["b"][0]["c"].add(4)
                return x * self.config.calls

        model = nn.Sequential(Remembers(), Remembers())
        view = FeatureMapsView(model, vectors())
        assert view.compare(view.capture(), view.capture(), Tolerances()).matched
        assert vars(config) == {"calls": 0, "history": {"seen": [[1]]}}
        assert model[0].tables == {"a": [1, 2], "b": ({"c": {3}},)}

    def test_tensors_modules_and_generators_that_hide_in_attributes(self):
        class Cache:
            def __init__(self):
                self.keys, self.layers = torch.zeros(8), [torch.zeros(8)]

        class Hides(nn.Module):
            def __init__(self):
                super().__init__()
                self.cache, self.hidden = Cache(), [nn.BatchNorm1d(8)]
                self.draws = [torch.Generator(), random.Random(1), np.random.default_rng(1), np.random.RandomState(1)]

            def forward(self, x):
                self.cache.keys[:] = x[0]
                self.cache.layers[0] += 1
                torch.rand(1, generator=self.draws[0])
                self.draws[1].random(), self.draws[2].random(), self.draws[3].rand()
                return self.hidden[0](x) + self.cache.layers[0]

        model = Hides()
        before = [str(draw.get_state()) for draw in (model.draws[0], model.draws[3])]
        before += [str(model.draws[1].getstate()), str(model.draws[2].bit_generator.state)]
        view = FeatureMapsView(model, vectors())
        assert view.compare(view.capture(), view.capture(), Tolerances()).matched
        assert model.cache.keys.sum() == model.cache.layers[0].sum() == 0
        assert model.hidden[0].num_batches_tracked == 0
        assert model.hidden[0].running_mean.abs().sum() == 0
        after = [str(draw.get_state()) for draw in (model.draws[0], model.draws[3])]
        assert [*after, str(model.draws[1].getstate()), str(model.draws[2].bit_generator.state)] == before

    def test_a_step_that_fails_does_not_keep_the_others_from_being_put_back(self):
        class Fragile(nn.Module):
            def __init__(self):
                super().__init__()
                self.register_buffer("table", torch.zeros(3))
                self.linear = nn.Linear(8, 8)

            def forward(self, x):
                self.linear.weight.data.zero_()
                self.table.set_(torch.zeros(3).untyped_storage(), 0, (1,))
                return x

        model = Fragile().train()
        weight = model.linear.weight.detach().clone()
        FeatureMapsView(model, vectors()).capture()
        assert torch.equal(model.linear.weight, weight)
        assert model.training
        assert model.table.shape == (3,)

    def test_precisions_set_backend_by_backend(self):
        if not hasattr(torch.backends.cuda.matmul, "fp32_precision"):
            pytest.skip("this torch has no precision by backend")
        before = torch.backends.cuda.matmul.fp32_precision
        torch.backends.cuda.matmul.fp32_precision = "tf32"
        try:
            FeatureMapsView(nn.Linear(8, 8), vectors()).capture()
            assert torch.backends.cuda.matmul.fp32_precision == "tf32"
        finally:
            torch.backends.cuda.matmul.fp32_precision = before


class TestCamLayers:
    def test_a_head_that_the_score_does_not_depend_on_is_passed_over(self):
        class Auxiliary(nn.Module):
            def __init__(self):
                super().__init__()
                self.net, self.aux = SmallNet(), nn.Conv2d(3, 2, 1)

            def forward(self, x):
                return {"logits": self.net(x), "aux": self.aux(x)}

        assert CamMapView(Auxiliary(), images(), target=0).capture().facts["layer"] == "net.bn2"

    def test_tokens_by_heads_are_no_image(self):
        class Heads(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv, self.norm = nn.Conv2d(3, 4, 4, stride=4), nn.LayerNorm(8)

            def forward(self, x):
                y = self.conv(x)
                return self.norm(y.reshape(2, 2, 4, 8)).mean((1, 2)) + y.mean()

        assert CamMapView(Heads(), images(), target=0).capture().facts["layer"] == "conv"

    def test_a_layer_given_as_a_module_is_answered_with_its_name(self):
        model = SmallNet()
        with pytest.raises(ModelvizError, match="takes a layer's name, here 'conv2', not the layer itself"):
            CamMapView(model, images(), target_layer=model.conv2)

    @pytest.mark.parametrize("target", ["cat", 1.5, True, [1, None], [0.5]])
    def test_a_target_that_is_no_class_is_named(self, target):
        with pytest.raises(ModelvizError, match="target takes a class"):
            CamMapView(SmallNet(), images(), target=target)


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
