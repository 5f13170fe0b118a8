"""Kernels of every kind of convolution, compared as weights; the figures are small enough to be worked out by hand."""

import copy
import itertools
import math
import warnings

import numpy as np
import pytest
import torch
from test_purity import state_of_model, state_of_process
from torch import nn
from torch.nn.utils import prune
from zoo import ZOO, SmallNet

from pytest_modelviz.compare.tolerance import LayerTolerance, Tolerances
from pytest_modelviz.errors import ModelvizError, UnreadableBaselineError
from pytest_modelviz.pictures.colour import NOT_A_NUMBER
from pytest_modelviz.records.findings import (
    ModuleFinding,
    RenameFinding,
    RequestFinding,
    Role,
    TiesFinding,
    WeightFinding,
)
from pytest_modelviz.storage.names import Location
from pytest_modelviz.storage.store import Store
from pytest_modelviz.views.kernel_maps.capture import KernelMapsView
from pytest_modelviz.views.kernel_maps.compare import BrokenKernelsFinding
from pytest_modelviz.views.kernel_maps.convolutions import convolutions, first_of_stages
from pytest_modelviz.views.kernel_maps.kernels import filters_first, sample
from pytest_modelviz.views.kernel_maps.pictures import kernel_scale, kernels_composite, kernels_picture

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # torch has another home for them by now
    from torch.ao.nn import quantized


def compared(model, other, *, layers=None, other_layers=None, **tolerances):
    one, two = KernelMapsView(model, layers=layers), KernelMapsView(other, layers=other_layers or layers)
    return one.compare(one.capture(), two.capture(), Tolerances(**tolerances))


def changed(model, change):
    other = copy.deepcopy(model)
    with torch.no_grad():
        change(other)
    return other


def weight_norm_of_old():
    conv = nn.Conv2d(3, 4, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return nn.utils.weight_norm(conv)


def quantised():
    conv = quantized.Conv2d(3, 4, 3)
    weight = torch.rand(4, 3, 3, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    conv.set_weight_bias(torch.quantize_per_tensor(weight, 0.01, 0, torch.qint8), torch.rand(4))
    return conv


# the text of the weight, its filters by themselves, and how they are shown
KINDS = {
    "1d": (lambda: nn.Conv1d(2, 4, 5), "float32[4, 2, 5]", (4, 2, 5), "positions", (1, 4, 5)),
    "colour": (lambda: nn.Conv2d(3, 4, 3), "float32[4, 3, 3, 3]", (4, 3, 3, 3), "colour", (4, 3, 3, 3)),
    "2d": (lambda: nn.Conv2d(2, 4, (3, 1)), "float32[4, 2, 3, 1]", (4, 2, 3, 1), "strongest", (4, 3, 1)),
    "pointwise": (lambda: nn.Conv2d(5, 4, 1), "float32[4, 5, 1, 1]", (4, 5, 1, 1), "inputs", (1, 4, 5)),
    "3d": (lambda: nn.Conv3d(2, 4, 3), "float32[4, 2, 3, 3, 3]", (4, 2, 3, 3, 3), "strongest", (4, 3, 3)),
    "depthwise": (lambda: nn.Conv2d(4, 4, 3, groups=4), "float32[4, 1, 3, 3]", (4, 1, 3, 3), "strongest", (4, 3, 3)),
    "transposed": (
        lambda: nn.ConvTranspose2d(6, 4, 2, groups=2),
        "float32[6, 2, 2, 2]",
        (4, 3, 2, 2),
        "colour",
        (4, 3, 2, 2),
    ),
    "transposed 1d": (lambda: nn.ConvTranspose1d(2, 4, 3), "float32[2, 4, 3]", (4, 2, 3), "positions", (1, 4, 3)),
    "bfloat16": (lambda: nn.Conv2d(3, 4, 3).bfloat16(), "bfloat16[4, 3, 3, 3]", (4, 3, 3, 3), "colour", (4, 3, 3, 3)),
    "half": (lambda: nn.Conv2d(3, 4, 3).half(), "float16[4, 3, 3, 3]", (4, 3, 3, 3), "colour", (4, 3, 3, 3)),
    "double": (lambda: nn.Conv2d(3, 4, 3).double(), "float64[4, 3, 3, 3]", (4, 3, 3, 3), "colour", (4, 3, 3, 3)),
    "complex": (
        lambda: nn.Conv2d(3, 4, 3, dtype=torch.complex64),
        "complex64[4, 3, 3, 3]",
        (4, 3, 3, 3),
        "colour",
        (4, 3, 3, 3),
    ),
    "quantised": (quantised, "qint8[4, 3, 3, 3]", (4, 3, 3, 3), "colour", (4, 3, 3, 3)),
    "weight norm": (
        lambda: nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3)),
        "float32[4, 3, 3, 3]",
        (4, 3, 3, 3),
        "colour",
        (4, 3, 3, 3),
    ),
    "old weight norm": (weight_norm_of_old, "float32[4, 3, 3, 3]", (4, 3, 3, 3), "colour", (4, 3, 3, 3)),
    "scripted": (
        lambda: torch.jit.script(nn.Conv2d(3, 4, 3)),
        "float32[4, 3, 3, 3]",
        (4, 3, 3, 3),
        "colour",
        (4, 3, 3, 3),
    ),
    "traced": (
        lambda: torch.jit.trace(nn.ConvTranspose2d(2, 4, 3), torch.rand(1, 2, 5, 5)),
        "float32[2, 4, 3, 3]",
        (4, 2, 3, 3),
        "strongest",
        (4, 3, 3),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_found_compared_and_shown(kind, tmp_path):
    build, text, shape, shows, shown = KINDS[kind]
    model = nn.Sequential(nn.ReLU(), build())
    view = KernelMapsView(model)
    capture = view.capture()
    (row,) = capture.facts["layers"].values()
    (page,) = capture.facts["pictures"].values()
    assert (row["weight"], page["shows"]) == (text, shows)
    assert (page["of"], *page["filter"]) == shape
    (values,) = capture.result.pictures.values()
    assert (values.shape, values.dtype) == (shown, np.float32)
    where = {"nodeid": "t.py::test", "name": "kernel_maps"}
    Store(tmp_path).save(Location.of(**where), capture, **where)
    stored = Store(tmp_path).load(Location.of(**where), **where).capture
    verdict = view.compare(stored, view.capture(), Tolerances())
    assert (verdict.matched, verdict.compared, verdict.error) == (True, 1, 0.0)
    (picture,) = view.picture(capture, stored, verdict)
    assert picture.image.dtype == np.uint8


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"quantised", "scripted", "traced", "old weight norm"}))
def test_of_every_kind_one_changed_filter_drifts(kind):
    model = nn.Sequential(KINDS[kind][0]())

    def turn(other):
        parameter = max(other.parameters(), key=lambda one: one.numel())
        parameter[0] *= -1

    verdict = compared(model, changed(model, turn))
    assert (verdict.matched, verdict.first.layer, verdict.cause) == (False, "0", "weights")
    assert [(type(f), f.layer, f.name) for f in verdict.findings] == [(WeightFinding, "0", "weight")]


def test_a_quantised_weight_that_changed_by_a_step_drifts():
    def build(step):
        conv = quantised()
        weight = conv.weight()
        numbers = weight.int_repr() + step
        weight = torch._make_per_tensor_quantized_tensor(numbers, weight.q_scale(), weight.q_zero_point())
        conv.set_weight_bias(weight, conv.bias())
        return nn.Sequential(conv)

    torch.manual_seed(1)
    first = build(0)
    torch.manual_seed(1)
    verdict = compared(first, build(1))  # a step of 0.01 where the weights have a root mean square of 0.29
    assert (verdict.matched, verdict.cause) == (False, "weights")
    assert verdict.error == pytest.approx(0.01 / 0.29, rel=0.3)


def test_filters_of_a_transposed_convolution_come_first_group_by_group():
    # (inputs 4, filters / groups 2, width 1): filter 2 is the first of the second group, of inputs 2 and 3
    weight = torch.arange(8.0).reshape(4, 2, 1)
    whole = filters_first(weight, transposed=True, groups=2)
    assert whole[:, :, 0].tolist() == [[0, 2], [1, 3], [4, 6], [5, 7]]
    assert filters_first(weight[:2], transposed=True)[:, :, 0].tolist() == [[0, 2], [1, 3]]


def test_statistics_by_hand():
    model = nn.Conv1d(1, 2, 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[[3.0, -4.0]], [[0.0, 12.0]]]))
    capture = KernelMapsView(model).capture()
    one = capture.result.layers[""]
    assert (one.filters, one.mean, one.rms, one.low, one.high) == (2, 2.75, 6.5, -4.0, 12.0)
    assert capture.facts["layers"][""] == {
        "class": "Conv1d",
        "weight": "float32[2, 1, 2]",
        "bias": "float32[2]",
        "mean": 2.75,
        "rms": 6.5,
        "min": -4.0,
        "max": 12.0,
    }
    assert KernelMapsView(model).describe(capture).startswith("(model): class Conv1d, weight float32[2, 1, 2]")


def test_a_mean_that_cancels_out_has_no_digits_of_rounding():
    model = nn.Conv1d(1, 1, 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[[1.0, -1.0 + 6e-8]]]))  # another processor's -1
    assert KernelMapsView(model).capture().facts["layers"][""]["mean"] == 0.0


def test_the_strongest_input_and_the_middle_slice_are_shown():
    conv = nn.Conv3d(2, 2, 3)
    with torch.no_grad():
        conv.weight.zero_()
        conv.weight[0, 1, 1] = 2.0  # the middle slice of filter 0's second input
        conv.weight[1, 0, 1] = -3.0
        conv.weight[1, 1, 0] = 4.0  # the largest value, in no middle slice
    seen = sample(convolutions(conv)[0], 64)
    assert seen.inputs == (1, 1)
    assert seen.values.tolist() == [[[2.0] * 3] * 3, [[0.0] * 3] * 3]


def test_filters_are_spread_evenly_and_no_more_than_wanted():
    conv = nn.Conv2d(1, 130, 1)
    with torch.no_grad():
        conv.weight.copy_(torch.arange(130.0).reshape(130, 1, 1, 1))
    seen = sample(convolutions(conv)[0], 64)
    assert (seen.step, seen.of) == (3, 130)
    assert seen.values[0, :, 0].tolist() == list(range(0, 130, 3))
    assert len(sample(convolutions(nn.Conv2d(1, 64, 3))[0], 64).values) == 64


def test_all_convolutions_are_compared_whichever_are_shown():
    model = SmallNet()
    model.late = nn.Sequential(nn.Conv2d(12, 12, 3), nn.Conv2d(12, 512, 3))
    other = changed(model, lambda net: net.late[1].weight[:64].mul_(-1))
    verdict = compared(model, other)
    assert [layer.layer for layer in verdict.layers] == ["conv1", "conv2", "late.0", "late.1"]
    assert [layer.drifted for layer in verdict.layers] == [False, False, False, True]
    assert (verdict.first.layer, verdict.first.class_name, verdict.cause) == ("late.1", "Conv2d", "weights")
    assert (verdict.compared, verdict.drifted) == (4, 1)
    assert verdict.error == pytest.approx(2 * math.sqrt(64 / 512), rel=0.3)  # estimated from 61 sums
    assert verdict.error == verdict.first.error == verdict.layers[3].error
    view = KernelMapsView(other)
    capture, baseline = view.capture(), KernelMapsView(model).capture()
    assert [picture.label for picture in view.picture(capture)] == ["conv1", "conv2", "late.0"]
    (picture,) = view.picture(capture, baseline, verdict)  # what drifted is shown though it is not on the sheet
    assert picture.label == "late.1"


def test_a_bias_counts():
    model = SmallNet()
    verdict = compared(model, changed(model, lambda net: net.conv2.bias.mul_(1.01)))
    assert (verdict.first.layer, verdict.findings[0].name) == ("conv2", "bias")


def test_what_processors_do_to_a_seed_matches_and_a_thousandth_drifts():
    model = SmallNet()
    assert compared(model, changed(model, lambda net: net.conv1.weight.add_(4e-8))).matched
    assert not compared(model, changed(model, lambda net: net.conv1.weight.mul_(1.001))).matched


def test_half_a_per_cent_is_rounding_in_bfloat16_and_two_are_not():
    model = SmallNet().bfloat16()
    conv = model.conv1

    def scaled(factor):
        return changed(model, lambda net: net.conv1.weight.copy_((conv.weight.float() * factor).bfloat16()))

    assert compared(model, scaled(1.005)).matched
    assert not compared(model, scaled(1.03)).matched


def test_users_tolerances_are_respected():
    model = SmallNet()
    other = changed(model, lambda net: net.conv1.weight.mul_(1.01))
    assert not compared(model, other, rtol=0.005).matched
    assert compared(model, other, rtol=0.02).matched
    assert compared(model, other, atol=1.0).matched
    assert compared(model, other, atol=None).first.tolerance == pytest.approx(1e-4)
    view, after = KernelMapsView(model), KernelMapsView(other)
    for pattern, matched in (("conv1", True), ("conv*", True), ("conv2", False)):
        tolerances = Tolerances(layers=(LayerTolerance(pattern, rtol=0.02),))
        assert view.compare(view.capture(), after.capture(), tolerances).matched is matched
    assert view.capture().layers == ("conv1", "conv2")


def test_kernels_that_are_not_finite_are_counted():
    model = SmallNet()

    def spoil(net):
        net.conv2.weight[1, 0, 0, 0] = math.nan
        net.conv2.weight[1, 1, 0, 0] = math.inf
        net.conv2.weight[4, 0, 0, 0] = -math.inf

    other = changed(model, spoil)
    verdict = compared(model, other)
    assert (verdict.matched, verdict.cause, verdict.error) == (False, "weights", math.inf)
    broken = BrokenKernelsFinding("conv2", "kernels that are not finite", "none", "2 of 12 filters")
    assert broken in verdict.findings
    view = KernelMapsView(other)
    capture = view.capture()
    assert capture.notes == ("kernels hold NaN or infinities: conv2 (2 of 12 filters)",)
    assert compared(other, other).matched
    assert capture.result.layers["conv2"].rms == pytest.approx(model.conv2.weight.std().item(), rel=0.1)
    assert len(view.picture(capture, KernelMapsView(model).capture(), verdict)) == 1


class TestArchitecture:
    """How a convolution is built comes before what its weights are."""

    @pytest.mark.parametrize(
        ("build", "what"),
        [
            (lambda: nn.Conv2d(8, 12, 3, padding=1, stride=2), "stride"),
            (lambda: nn.Conv2d(8, 12, 3, padding=1, dilation=2), "dilation"),
            (lambda: nn.Conv2d(8, 12, 3, padding=1, padding_mode="reflect"), "padding_mode"),
            (lambda: nn.Conv2d(8, 12, 3, padding=1, groups=4), "groups"),
            (lambda: nn.Conv2d(8, 12, 5, padding=1), "kernel_size"),
            (lambda: nn.Conv2d(8, 12, 3, padding=1, bias=False), "bias"),
            (lambda: nn.Conv2d(8, 12, 3, padding=1).double(), "weight"),
        ],
    )
    def test_another_configuration(self, build, what):
        model = SmallNet()
        other = changed(model, lambda net: setattr(net, "conv2", build()))
        with torch.no_grad():
            other.conv1.weight.mul_(2)
        verdict = compared(model, other)
        assert (verdict.cause, verdict.first.layer, verdict.error, verdict.tolerance) == (
            "architecture",
            "conv2",
            math.inf,
            0.0,
        )
        assert what in {finding.name for finding in verdict.findings if finding.layer == "conv2"}
        others = [finding for finding in verdict.findings if finding.role is Role.ALSO]
        assert any(isinstance(finding, WeightFinding) for finding in others)  # conv1, and who blames it is wrong
        assert verdict.drifted == 2

    def test_one_is_gone_or_new(self):
        model = SmallNet()
        other = changed(model, lambda net: net.add_module("extra", nn.Conv1d(1, 1, 1)))
        for pair, kind in (((model, other), "added"), ((other, model), "removed")):
            verdict = compared(*pair)
            assert (verdict.cause, verdict.first.layer, verdict.first.class_name) == ("architecture", "", "SmallNet")
            assert verdict.findings == (ModuleFinding("extra", kind, "Conv1d"),)
            assert (verdict.compared, verdict.drifted) == (3, 1)

    def test_one_has_another_name(self):
        def build(name):
            torch.manual_seed(0)
            return nn.Sequential(nn.ModuleDict({"a": nn.Conv2d(1, 2, 3), name: nn.Conv2d(2, 3, 3)}))

        verdict = compared(build("b"), build("c"))
        assert (verdict.cause, verdict.first.layer, verdict.error) == ("architecture", "0.c", 0.0)
        assert verdict.findings == (RenameFinding("0.c", before="0.b"),)
        one, two = KernelMapsView(build("b")), KernelMapsView(build("c"))
        labels = [picture.label for picture in two.picture(two.capture(), one.capture(), verdict)]
        assert labels == ["0.c"]

    def test_a_lost_tie_of_equal_values(self):
        def build():
            model = nn.Sequential(nn.Conv1d(2, 2, 1), nn.Conv1d(2, 2, 1))
            model[1].weight = model[0].weight
            return model

        model = build()
        other = changed(model, lambda net: setattr(net[1], "weight", nn.Parameter(net[0].weight.clone())))
        verdict = compared(model, other)
        assert (verdict.matched, verdict.cause) == (False, "architecture")
        assert isinstance(verdict.findings[0], TiesFinding)

    def test_a_plain_attribute_alone_is_no_drift(self):
        model = SmallNet()
        assert compared(model, changed(model, lambda net: setattr(net.conv1, "calls", 3))).matched


class TestWhichAreShown:
    def names(self, model):
        return [one.name for one in first_of_stages(convolutions(model))]

    def test_the_first_and_each_stage_s(self):
        torchvision = pytest.importorskip("torchvision")
        expected = {
            "resnet18": ["conv1", *(f"layer{n}.0.conv1" for n in (1, 2, 3, 4))],
            "resnet50": ["conv1", *(f"layer{n}.0.conv2" for n in (1, 2, 3, 4))],  # of 3x3, not the 1x1 before it
            "resnet152": ["conv1", *(f"layer{n}.0.conv2" for n in (1, 2, 3, 4))],  # though layer3 holds most of all
            "vgg16": ["features.0", "features.5", "features.10", "features.17"],
            "vit_b_16": ["conv_proj"],
        }
        for name, names in expected.items():
            with torch.device("meta"):
                model = getattr(torchvision.models, name)(weights=None)
            assert self.names(model) == names, name

    def test_many_small_children_are_those_that_grow_and_at_most_eight(self):
        widths = [3, 8, 8, 16, 16, 16, 24, 24, 32, 24]
        pairs = itertools.pairwise(widths)
        model = nn.Sequential(nn.Sequential(*(nn.Conv2d(a, b, 3) for a, b in pairs)), nn.Flatten())
        assert self.names(model) == ["0.0", "0.2", "0.5", "0.7"]
        grows = nn.Sequential(*(nn.Conv1d(n, n + 1, 3) for n in range(1, 21)))
        assert len(self.names(grows)) == 8
        assert self.names(grows)[0] == "0"

    def test_a_stage_with_most_of_the_convolutions_is_still_one(self):
        def stage(count):
            return nn.Sequential(*(nn.Conv1d(2, 2, 3) for _ in range(count)))

        assert self.names(nn.Sequential(stage(1), stage(3), stage(1))) == ["0.0", "1.0", "2.0"]
        assert self.names(nn.Sequential(stage(1), stage(3))) == ["0.0", "1.0"]
        assert self.names(nn.Sequential(stage(1), stage(4))) == ["0.0", "1.0", "1.1", "1.2", "1.3"]

    def test_nested_containers_and_a_single_convolution_end(self):
        model = nn.Sequential(nn.Sequential(nn.Sequential(nn.Conv2d(1, 1, 1))))
        assert self.names(model) == ["0.0.0"]
        assert self.names(nn.Conv2d(1, 1, 1)) == [""]


class TestLayers:
    def test_only_those_named_are_compared_and_shown(self):
        model = SmallNet()
        other = changed(model, lambda net: net.conv1.weight.mul_(2))
        for layers in ("conv2", ["conv2"], ("conv2",)):
            verdict = compared(model, other, layers=layers)
            assert (verdict.matched, verdict.compared) == (True, 1)
        assert list(KernelMapsView(model, layers="conv*").capture().result.pictures) == ["conv1", "conv2"]

    def test_a_glob_takes_the_convolutions_among_what_it_matches(self):
        assert list(KernelMapsView(SmallNet(), layers="*1").capture().result.layers) == ["conv1"]  # and not bn1

    def test_another_choice_is_another_question(self):
        model = SmallNet()
        verdict = compared(model, model, layers="conv1", other_layers="conv2")
        assert (verdict.matched, verdict.cause, verdict.first) == (False, None, None)
        assert verdict.findings == (RequestFinding("", "layers", "conv1", "conv2"),)

    @pytest.mark.parametrize(
        ("layers", "message"),
        [
            ("conv9", r"no layer 'conv9'; did you mean 'conv[12]', 'conv[12]'\?"),
            ("x*y", r"no layer 'x\*y'"),
            ("head", r"layer 'head' is Linear, not a convolution, and has no kernels; name one that is"),
            ("", r"layer '' is SmallNet, not a convolution, and has no kernels; those inside of it are '\*'"),
            ("bn*", r"layers='bn\*' matches 2 layers, but no convolution among them"),
            (3, "layers takes names of layers or globs such as 'layer4.*', not 3"),
            ([3], "layers takes names of layers"),
        ],
    )
    def test_what_stands_for_no_convolution_is_an_error(self, layers, message):
        with pytest.raises(ModelvizError, match=message):
            KernelMapsView(SmallNet(), layers=layers).capture()

    def test_a_container_says_what_is_inside(self):
        model = nn.Sequential(nn.Sequential(nn.Conv2d(1, 1, 1)))
        with pytest.raises(ModelvizError, match=r"layer '0' is Sequential, not .* those inside of it are '0\.\*'"):
            KernelMapsView(model, layers="0").capture()
        assert list(KernelMapsView(model, layers="0.*").capture().result.layers) == ["0.0"]

    def test_no_model_and_no_convolution(self):
        with pytest.raises(ModelvizError, match=r"must be a torch\.nn\.Module, not int"):
            KernelMapsView(3)
        with pytest.raises(ModelvizError, match="Linear has no convolution, so it has no kernels to show"):
            KernelMapsView(nn.Linear(2, 2)).capture()


class TestWeightsMadeOfOthers:
    """What is compared is the weight that the module computes with."""

    @pytest.mark.parametrize("build", [weight_norm_of_old, KINDS["weight norm"][0]])
    def test_a_checkpoint_loaded_into_weight_norm_is_seen_before_any_pass(self, build):
        torch.manual_seed(0)
        model = build()
        torch.manual_seed(1)
        other = build()
        trained = KernelMapsView(other).capture()
        model.load_state_dict(other.state_dict())
        view = KernelMapsView(model)
        assert view.compare(trained, view.capture(), Tolerances()).matched

    def test_the_same_direction_of_another_length_is_the_same_weight(self):
        model = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3))
        other = changed(model, lambda conv: conv.parametrizations.weight.original1.mul_(3))
        assert compared(model, other).matched

    def test_pruned_filters_are_gone(self):
        model = prune.ln_structured(nn.Conv2d(3, 4, 3), "weight", amount=2, n=2, dim=0)
        (values,) = KernelMapsView(model).capture().result.pictures.values()
        assert int((values == 0).all((1, 2, 3)).sum()) == 2


def test_what_has_no_numbers_is_compared_by_how_it_is_built():
    with torch.device("meta"):
        meta = SmallNet()
    view = KernelMapsView(meta)
    capture = view.capture()
    assert compared(meta, meta).matched
    assert view.picture(capture) == []
    assert capture.notes == ("the kernels of conv1, conv2 hold no numbers yet (lazy, meta or empty): not compared",)
    lazy = ZOO["lazy"].build()
    assert KernelMapsView(lazy).capture().facts["layers"]["0"] == {"class": "LazyConv2d", "weight": "not initialised"}
    assert compared(lazy, ZOO["lazy"].build()).matched
    assert not compared(lazy, nn.Sequential(nn.LazyConv2d(4, 5))).matched


def test_a_shared_convolution_counts_once():
    conv = nn.Conv2d(3, 3, 3)
    assert KernelMapsView(nn.Sequential(conv, nn.ReLU(), conv)).capture().layers == ("0",)


def test_a_compiled_or_wrapped_model_has_the_names_of_its_own():
    for name in ("compiled", "data_parallel"):
        assert KernelMapsView(ZOO[name].build()).capture().layers == ("conv1", "conv2")


@pytest.mark.parametrize("name", ["small_net", "frozen_norm", "lazy", "bfloat16", "frozen", "scripted", "compiled"])
@pytest.mark.parametrize("layers", [None, "nothing of the kind"])
def test_the_model_is_left_as_it_was(name, layers):
    model = ZOO[name].build()
    before, process = state_of_model(model), state_of_process()
    if layers is None:
        KernelMapsView(model).capture()
    else:
        with pytest.raises(ModelvizError):
            KernelMapsView(model, layers=layers).capture()
    assert state_of_model(model) == before
    assert state_of_process() == process


def test_a_weight_that_a_hook_makes_is_put_back():
    for model in (weight_norm_of_old(), KINDS["weight norm"][0](), nn.utils.spectral_norm(nn.Conv2d(3, 4, 3)).train()):
        before = state_of_model(model)
        KernelMapsView(model).capture()
        assert state_of_model(model) == before


class TestPictures:
    def test_colour_is_symmetric_about_grey(self):
        filters = np.zeros((1, 3, 1, 2), np.float32)
        filters[0, :, 0, 0] = (1.0, -1.0, 0.0)
        assert kernel_scale(filters).text == "-1 to 1"
        image = kernels_picture("conv", ["caption"], filters).image
        assert image[-1, 1].tolist() == [255, 0, 128]
        assert image[-1, 39].tolist() == [128, 128, 128]

    def test_what_is_not_finite_has_its_own_colour(self):
        filters = np.zeros((1, 3, 1, 2), np.float32)
        filters[0, 1, 0, 0] = math.nan
        assert tuple(kernels_picture("conv", [], filters).image[-1, 1]) == NOT_A_NUMBER

    def test_baseline_actual_and_difference_share_a_scale(self):
        base = np.zeros((2, 2, 2), np.float32)
        base[0, 0, 0] = 1.0
        image = kernels_composite("conv", ["head"], base, -base).image
        tiles = [image[-39, 1 + at].tolist() for at in range(image.shape[1] - 1)]
        red, blue = [103, 0, 31], [5, 48, 97]
        assert red in tiles
        assert blue in tiles

    def test_other_shapes_are_shown_side_by_side(self):
        one, two = np.zeros((2, 3, 3), np.float32), np.zeros((20, 5, 5), np.float32)
        assert kernels_composite("conv", ["head"], one, two).image.shape[1] > 8 * 40


class TestDamage:
    def test_pictures_and_layers_that_are_damaged_are_unreadable(self):
        model = SmallNet()
        other = KernelMapsView(changed(model, lambda net: net.conv1.weight.mul_(2)))
        view, actual = KernelMapsView(model), other.capture()
        for spoil in (
            lambda facts, arrays: facts.update(layers=[]),
            lambda facts, arrays: facts.update(layers={"conv1": 3}),
            lambda facts, arrays: facts.update(pictures=None),
            lambda facts, arrays: facts["pictures"].update(conv1=None),
            lambda facts, arrays: facts["pictures"]["conv1"].update(exponent=10**6),
            lambda facts, arrays: arrays.pop("picture.conv1"),
            lambda facts, arrays: arrays.update({"picture.conv1": np.zeros((8, 2, 3, 3), np.float16)}),
            lambda facts, arrays: arrays.update({"picture.conv1": np.zeros((8, 3, 3, 3), np.float32)}),
            lambda facts, arrays: arrays.pop("trace.sketches"),
        ):
            baseline = view.capture()
            facts, arrays = copy.deepcopy(dict(baseline.facts)), dict(baseline.arrays)
            spoil(facts, arrays)
            damaged = type(baseline)(baseline.view, facts, arrays)
            with pytest.raises(UnreadableBaselineError):
                other.picture(actual, damaged, other.compare(damaged, actual, Tolerances()))

    def test_pictures_larger_than_any_that_is_kept_are_unreadable(self):
        model = SmallNet()
        view = KernelMapsView(model)
        capture = view.capture()
        for shape in ((65, 3, 3, 3), (65, 3, 3), (2, 257, 3), (2, 3, 257), (2, 3, 3, 257), (1, 257, 3), (1, 3, 1025)):
            arrays = {**capture.arrays, "picture.conv1": np.zeros(shape, np.float16)}
            forged = type(capture)(capture.view, capture.facts, arrays)
            with pytest.raises(UnreadableBaselineError, match="its picture of 'conv1' is larger than any that is kept"):
                view.picture(capture, forged)

    def test_pictures_of_layers_that_the_model_has_not_are_not_unpacked(self):
        view = KernelMapsView(SmallNet())
        capture = view.capture()
        facts = copy.deepcopy(dict(capture.facts))
        facts["pictures"]["other"] = {"exponent": 0}
        forged = type(capture)(capture.view, facts, {**capture.arrays, "picture.other": np.zeros(3, np.float16)})
        assert view.picture(capture, forged)

    @pytest.mark.parametrize(
        ("conv", "shape"),
        [
            (lambda: nn.Conv1d(2, 2, 2000), (1, 2, 1024)),
            (lambda: nn.Conv2d(3, 1, (300, 2)), (1, 3, 256, 2)),
            (lambda: nn.Conv2d(2, 2, (2, 300)), (2, 2, 256)),
        ],
    )
    def test_what_is_kept_of_an_enormous_kernel_can_be_shown(self, conv, shape):
        view = KernelMapsView(conv())
        capture = view.capture()
        assert capture.result.pictures[""].shape == shape
        assert view.picture(capture, capture)


def test_an_empty_list_of_layers_is_no_check():
    with pytest.raises(ModelvizError, match="layers is empty, so there is nothing to compare"):
        KernelMapsView(nn.Conv2d(3, 3, 3), layers=[])
