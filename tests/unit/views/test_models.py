"""Models as people have them: each matches itself, is left as it was, and shows a seeded fault where it is."""

import contextlib
import copy
import sys
import warnings

import pytest
import torch
from torch import nn
from zoo import Complex, Empty, Packed, SmallNet, data_parallel, encoder, images, sequences, vectors

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.records.findings import WeightFinding
from pytest_modelviz.records.shadow import Shadow
from pytest_modelviz.views.cam_map.capture import CamMapView
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView
from pytest_modelviz.views.model_graph.capture import ModelGraphView
from pytest_modelviz.views.model_summary.capture import ModelSummaryView


def judged(model, other, data, context=contextlib.nullcontext):
    """The verdict on `other` against `model`, after `model` matched itself."""
    view = FeatureMapsView(model, data)
    with context():
        baseline = view.capture()
        assert view.compare(baseline, view.capture(), Tolerances()).matched
        return view.compare(baseline, FeatureMapsView(other, data).capture(), Tolerances())


def changed(model, name, factor=1.2):
    """A copy of the model with one scaled weight."""
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.get_parameter(name).mul_(factor)
    return other


def named(verdict):
    return (verdict.matched, verdict.first.layer, verdict.cause)


def out(capture):
    return capture.result.output


class TestCompiled:
    def test_the_module_first_called_compiled_is_still_observed(self):
        # hooks added after the first compiled call never fire
        model = torch.compile(SmallNet().eval(), backend="eager")
        with torch.no_grad():
            model(images())
        layers = [call.layer for call in FeatureMapsView(model, images()).capture().result.trace.calls]
        assert layers == ["", "conv1", "bn1", "relu", "pool", "conv2", "bn2", "head"]

    def test_compiled_in_place_and_compiled_children(self):
        plain = SmallNet().eval()
        whole, part = copy.deepcopy(plain), copy.deepcopy(plain)
        whole.compile(backend="eager")
        part.conv2 = torch.compile(part.conv2, backend="eager")
        for other in (whole, part):
            with torch.no_grad():
                other(images())
            assert judged(plain, other, images()).matched

    def test_compiled_children_that_have_children(self):
        torch.manual_seed(0)
        plain = nn.Sequential(nn.Linear(8, 8), nn.Sequential(nn.Linear(8, 8), nn.ReLU()), nn.Linear(8, 3)).eval()
        compiled = copy.deepcopy(plain)
        compiled[1] = torch.compile(compiled[1], backend="eager")
        assert judged(plain, compiled, vectors()).matched
        assert judged(compiled, plain, vectors()).matched
        other = changed(plain, "1.0.weight")
        other[1] = torch.compile(other[1], backend="eager")
        assert named(judged(compiled, other, vectors())) == (False, "1.0", "weights")

    def test_a_fault_is_named_without_the_wrapper(self):
        model = SmallNet().eval()
        other = torch.compile(changed(model, "conv2.weight"), backend="eager")
        assert named(judged(model, other, images())) == (False, "conv2", "weights")


VIEWS = {
    "feature_maps": FeatureMapsView,
    "model_summary": lambda model, data: ModelSummaryView(model, input_data=data),
    "model_graph": ModelGraphView,
}


@pytest.mark.parametrize("view", VIEWS)
class TestDeeplyNested:
    @staticmethod
    def nested(depth):
        torch.manual_seed(0)
        model = nn.Linear(8, 8)
        for _ in range(depth):
            model = nn.Sequential(model)
        return model

    def calls(self, view, depth):
        """How many calls of functions a capture and a comparison make: all of them, and those of the package."""
        files = []
        looking = VIEWS[view](self.nested(depth), vectors())
        sys.setprofile(lambda frame, event, _: files.append(frame.f_code.co_filename) if event == "call" else None)
        try:
            looking.compare(capture := looking.capture(), capture, Tolerances())
        finally:
            sys.setprofile(None)
        return len(files), sum("pytest_modelviz" in file for file in files)

    def test_each_level_costs_as_much_as_the_one_before(self, view):
        self.calls(view, 2)  # which imports what is needed
        total, shallow = self.calls(view, 20)
        assert total < 100_000  # some of torchinfo's and torch's own calls grow with the square
        assert self.calls(view, 80)[1] < 6 * shallow

    def test_a_model_as_deep_as_python_can_run_is_compared(self, view):
        model = self.nested(200)
        model(vectors())
        looking = VIEWS[view](model, vectors())
        capture = looking.capture()
        assert looking.compare(capture, looking.capture(), Tolerances()).matched
        assert not looking.compare(capture, VIEWS[view](self.nested(199), vectors()).capture(), Tolerances()).matched


def test_data_parallel_and_nested_wrappers_keep_the_plain_names():
    model = SmallNet().eval()
    for wrapped in (
        data_parallel(copy.deepcopy(model)),
        torch.compile(data_parallel(copy.deepcopy(model)), backend="eager"),
    ):
        assert judged(model, wrapped, images()).matched
    other = data_parallel(changed(model, "conv1.weight"))
    assert named(judged(model, other, images())) == (False, "conv1", "weights")


class Renamed(SmallNet):
    def __init__(self):
        super().__init__()
        self.stem = self.conv1
        del self.conv1

    def forward(self, x):
        x = self.pool(self.relu(self.bn1(self.stem(x))))
        x = torch.relu(self.bn2(self.conv2(x)))
        return self.head(x.mean((2, 3)))


def test_a_renamed_layer_is_compared_under_its_old_name():
    model = SmallNet().eval()
    renamed = Renamed().eval()
    renamed.load_state_dict({k.replace("conv1", "stem"): v for k, v in model.state_dict().items()})
    Renamed.__name__ = "SmallNet"
    verdict = judged(model, renamed, images())
    assert (verdict.matched, verdict.first.layer, verdict.cause, verdict.error) == (False, "stem", "architecture", 0.0)
    assert named(judged(model, changed(renamed, "stem.weight"), images())) == (False, "conv1", "weights")
    assert named(judged(model, changed(renamed, "head.weight"), images())) == (False, "head", "weights")


def test_weights_that_show_nowhere_are_told_by_their_owners():
    class Spare(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.spare = nn.Linear(8, 3), nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))

        def forward(self, x):
            return self.used(x).relu() * 0 + 1

    model = Spare().eval()
    other = changed(changed(model, "used.weight", 1 + 2e-6), "spare.1.weight", 1.5)
    with torch.no_grad():
        other.spare[0].bias.add_(0.1)
    verdict = judged(model, other, vectors())
    assert named(verdict) == (False, "spare.1", "weights")
    found = {(f.layer, f.name) for f in verdict.findings if isinstance(f, WeightFinding)}
    assert found == {("spare.1", "weight"), ("spare.0", "bias")}


@pytest.mark.parametrize(
    ("dtype", "own", "of_shadow"), [(torch.bfloat16, 3e-2, 1e-4), (torch.float16, 1e-2, 1e-4)], ids=str
)
def test_half_precision_has_the_tolerance_of_its_dtype_unless_it_is_judged_in_float32(dtype, own, of_shadow):
    model = SmallNet().eval().to(dtype)
    other = changed(model, "conv2.weight")
    verdict = judged(model, other, images().to(dtype))
    assert named(verdict) == (False, "conv2", "weights")
    assert verdict.tolerance == of_shadow
    views = [FeatureMapsView(net, images().to(dtype)) for net in (model, other)]
    for view in views:
        view.set_shadow(Shadow.NEVER)
    verdict = views[0].compare(views[0].capture(), views[1].capture(), Tolerances())
    assert named(verdict) == (False, "conv2", "weights")
    assert verdict.tolerance == own


def test_autocast_around_the_check_and_inside_the_model():
    class Inside(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = SmallNet()

        def forward(self, x):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return self.net(x)

    model = SmallNet().eval()
    around = lambda: torch.autocast("cpu", dtype=torch.bfloat16)  # noqa: E731  # used twice below
    verdict = judged(model, changed(model, "conv2.weight"), images(), around)
    assert named(verdict) == (False, "conv2", "weights")
    assert verdict.tolerance == 1e-4  # of the pass repeated in float32
    with around():
        capture = FeatureMapsView(model, images()).capture()
        assert torch.is_autocast_enabled("cpu")
    assert capture.environment["autocast"] == "True"
    assert out(capture).dtype is torch.bfloat16
    inside = Inside().eval()
    assert named(judged(inside, changed(inside, "net.head.weight"), images())) == (False, "net.head", "weights")
    capture = CamMapView(inside, images(), target=1).capture()
    assert capture.facts["dtype"] == "bfloat16"


def test_losing_autocast_is_drift_of_the_dtype_and_the_environment_says_so():
    model = SmallNet().eval()
    view = FeatureMapsView(model, images())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        baseline = view.capture()
    actual = view.capture()
    verdict = view.compare(baseline, actual, Tolerances())
    assert (verdict.matched, verdict.first.layer) == (False, "conv1")
    assert (baseline.environment["autocast"], actual.environment["autocast"]) == ("True", "False")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
class TestQuantised:
    def test_torch_s_own(self):
        quantize = pytest.importorskip("torch.ao.quantization").quantize_dynamic
        torch.manual_seed(0)
        plain = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3)).eval()
        model, other = (quantize(net, {nn.Linear}, torch.qint8) for net in (plain, changed(plain, "2.weight", 1.5)))
        verdict = judged(model, other, vectors())
        assert named(verdict) == (False, "2", "weights")
        found = {(f.layer, f.name) for f in verdict.findings if isinstance(f, WeightFinding)}
        assert ("2", "weight (scale)") in found  # rounding may give other integers as well
        assert found <= {("2", "weight (scale)"), ("2", "weight (integers)")}
        rows = ModelSummaryView(model, input_data=vectors()).capture().facts["layers"]
        assert rows["0"]["buffers"]["weight"] == "qint8[16, 8]"

    def test_torchao_s(self):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                import torchao.quantization as quantization
            except (ImportError, AttributeError) as error:  # one that does not fit this torch
                pytest.skip(f"torchao cannot be used here: {error}")
        torch.manual_seed(0)
        plain = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3)).eval()
        model, other = copy.deepcopy(plain), changed(plain, "0.weight", 1.5)
        for net in (model, other):
            quantization.quantize_(net, quantization.Int8WeightOnlyConfig())
        data = torch.rand(2, 32)
        assert named(judged(model, other, data)) == (False, "0", "weights")
        verdict = judged(plain, model, data)  # another kind of tensor in the same place
        assert verdict.matched is False
        other = copy.deepcopy(model)
        if hasattr(other[0].weight, "qdata"):  # earlier ones are called otherwise
            with torch.no_grad():
                other[0].weight.qdata[3, 5] += 1
            found = [f.name for f in judged(model, other, data).findings if isinstance(f, WeightFinding)]
            assert found == ["weight (integers)"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
class TestTorchScript:
    @pytest.mark.parametrize("script", [torch.jit.script, lambda net: torch.jit.trace(net, images())])
    def test_its_outputs_and_weights_are_compared_and_it_says_so(self, script):
        net = SmallNet().eval()
        model, other = script(copy.deepcopy(net)), script(changed(net, "conv2.weight"))
        capture = FeatureMapsView(model, images()).capture()
        assert [call.layer for call in capture.result.trace.calls] == [""]
        assert capture.notes == (
            "the model is TorchScript: its inputs, outputs and weights are compared, not what happens inside",
        )
        verdict = judged(model, other, images())
        assert named(verdict) == (False, "conv2", "weights")

    def test_a_scripted_part_is_named_once(self):
        model = nn.Sequential(torch.jit.script(SmallNet().eval()), nn.ReLU())
        (note,) = FeatureMapsView(model, images()).capture().notes
        assert note.startswith("0 is TorchScript: ")


def test_a_meta_model_is_compared_by_shape_and_says_so():
    model = SmallNet().eval().to("meta")
    capture = FeatureMapsView(model, images().to("meta")).capture()
    assert capture.notes == ("its tensors hold no numbers (device meta): only shapes and dtypes are compared",)
    wider = SmallNet().eval()
    wider.head = nn.Linear(12, 6)
    verdict = judged(model, wider.to("meta"), images().to("meta"))
    assert named(verdict) == (False, "head", "architecture")


class TestTransformerEncoder:
    def test_it_stays_on_its_fast_path_and_the_output_is_that_of_an_unobserved_run(self):
        model = encoder().eval()
        with torch.no_grad():
            expected = model(sequences())
        capture = FeatureMapsView(model, sequences()).capture()
        assert torch.equal(out(capture), expected)
        called = {call.layer for call in capture.result.trace.calls}
        assert "layers.0" in called
        assert "layers.0.self_attn" not in called  # the fast path calls no children

    @pytest.mark.parametrize("name", ["layers.1.self_attn.in_proj_weight", "layers.1.linear2.weight"])
    def test_weights_that_only_the_fast_path_reads_are_named(self, name):
        model = encoder().eval()
        assert named(judged(model, changed(model, name), sequences()))[1:] == (name.rpartition(".")[0], "weights")

    def test_the_slow_path_is_another_order_of_calls_and_the_environment_tells(self):
        model = encoder().eval()
        view = FeatureMapsView(model, sequences())
        baseline = view.capture()
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            actual = view.capture()
        finally:
            torch.backends.mha.set_fastpath_enabled(True)
        assert (baseline.environment["mha_fastpath"], actual.environment["mha_fastpath"]) == ("True", "False")
        assert not view.compare(baseline, actual, Tolerances()).matched


def test_a_weight_that_another_module_reads_is_named_by_its_holder():
    class Unembed(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.norm = nn.Embedding(9, 8), nn.LayerNorm(8)

        def forward(self, tokens):
            return self.norm(self.embedding(tokens)) @ self.embedding.weight.T

    torch.manual_seed(0)
    model = Unembed().eval()
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.embedding.weight[7] += 1  # of a token that does not occur
    assert named(judged(model, other, torch.tensor([[1, 2]]))) == (False, "embedding", "weights")


class TestTransformers:
    @pytest.fixture
    def bert(self):
        transformers = pytest.importorskip("transformers")
        torch.manual_seed(0)
        config = transformers.BertConfig(
            vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
        )
        return transformers.BertModel(config).eval()

    INPUT = {"input_ids": torch.tensor([[1, 5, 7, 9]]), "attention_mask": torch.tensor([[1, 1, 1, 0]])}  # noqa: RUF012

    def test_a_model_output_is_taken_apart(self, bert):
        capture = FeatureMapsView(bert, self.INPUT).capture()
        leaves = capture.result.trace.calls[0].outputs
        assert {".last_hidden_state", ".pooler_output"} <= set(leaves)
        other = changed(bert, "encoder.layer.1.output.dense.weight")
        verdict = judged(bert, other, self.INPUT)
        assert named(verdict) == (False, "encoder.layer.1.output.dense", "weights")

    def test_a_changed_activation_function_names_its_layer(self, bert):
        other = copy.deepcopy(bert)
        other.encoder.layer[1].intermediate.intermediate_act_fn = nn.ReLU()
        verdict = judged(bert, other, self.INPUT)
        assert named(verdict)[2] == "architecture"
        assert verdict.first.layer.startswith("encoder.layer.1.intermediate")

    def test_another_attention_implementation_is_within_tolerance(self, bert):
        transformers = pytest.importorskip("transformers")
        other = transformers.BertModel._from_config(bert.config, attn_implementation="eager").eval()
        other.load_state_dict(bert.state_dict())
        verdict = judged(bert, other, self.INPUT)
        assert verdict.matched or verdict.cause == "architecture", verdict  # the configuration does differ


class TestDetection:
    @pytest.fixture
    def detector(self):
        from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn as build

        torch.manual_seed(0)
        return build(weights=None, weights_backbone=None, num_classes=5, box_score_thresh=0.0).eval()

    def test_lists_of_images_give_lists_of_dicts(self, detector):
        data = ([torch.rand(3, 64, 80, generator=torch.Generator().manual_seed(1)), torch.rand(3, 48, 48)],)
        capture = FeatureMapsView(detector, data).capture()
        assert {"[0].boxes", "[1].labels"} <= set(capture.result.trace.calls[0].outputs)
        name = "roi_heads.box_head.fc6.weight"
        assert named(judged(detector, changed(detector, name), data)) == (False, name[: -len(".weight")], "weights")

    def test_a_data_dependent_shape_that_changes_is_drift_and_no_crash(self, detector):
        data = ([torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(1))],)
        other = copy.deepcopy(detector)
        other.roi_heads.detections_per_img = 3
        verdict = judged(detector, other, data)
        assert named(verdict) == (False, "roi_heads", "architecture")


@pytest.mark.parametrize(("build", "name"), [(Packed, "gru.weight_ih_l0"), (Complex, None), (Empty, "linear.weight")])
def test_packed_complex_and_empty_tensors(build, name):
    model = build().eval()
    data = {Packed: sequences, Complex: images, Empty: vectors}[build]()
    assert judged(model, copy.deepcopy(model), data).matched
    if name is not None:
        assert named(judged(model, changed(model, name), data)) == (False, name.rpartition(".")[0], "weights")


def test_outputs_that_are_not_tensors_are_compared_as_they_are():
    class Words(nn.Module):
        def __init__(self, word, number):
            super().__init__()
            self.linear = nn.Linear(8, 2)
            self.say = lambda: (word, number, None, True)

        def forward(self, x):
            self.linear(x)
            return self.say()

    model = Words("cat", 3)
    for word, number in (("dog", 3), ("cat", 4)):
        other = Words(word, number)
        other.load_state_dict(model.state_dict())
        verdict = judged(model, other, vectors())
        assert named(verdict) == (False, "", "computation")
    same = Words("cat", 3)
    same.load_state_dict(model.state_dict())
    assert judged(model, same, vectors()).matched
