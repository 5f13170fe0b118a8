"""Kernels of every kind of convolution, compared as weights; the figures are small enough to be worked out by hand."""

import math

import numpy as np
import pytest
import torch
from kernel_models import KINDS, changed, compared, quantised, weight_norm_of_old
from observable_state import state_of_model, state_of_process
from torch import nn
from torch.nn.utils import prune
from zoo import ZOO, SmallNet

from pytest_modelviz.compare.tolerance import LayerTolerance, Tolerances
from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.pictures.colour import GREYS, NOT_A_NUMBER, Scale
from pytest_modelviz.pictures.legend import BAR_HEIGHT
from pytest_modelviz.records.findings import WeightFinding
from pytest_modelviz.storage.names import Location
from pytest_modelviz.storage.store import Store
from pytest_modelviz.views.kernel_maps.capture import KernelMapsView
from pytest_modelviz.views.kernel_maps.compare import BrokenKernelsFinding
from pytest_modelviz.views.kernel_maps.convolutions import convolutions, is_plain_to_read
from pytest_modelviz.views.kernel_maps.kernels import filters_first, sample
from pytest_modelviz.views.kernel_maps.pictures import kernel_scale, kernels_composite, kernels_picture


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
    verdict = compared(first, build(1))
    assert (verdict.matched, verdict.cause) == (False, "weights")
    assert [finding.name for finding in verdict.findings] == ["weight (integers)"]


def test_filters_of_a_transposed_convolution_come_first_group_by_group():
    # (inputs 4, filters / groups 2, width 1): filter 2 is the first of the second group, of inputs 2 and 3
    weight = torch.arange(8.0).reshape(4, 2, 1)
    whole = filters_first(weight, transposed=True, groups=2)
    assert whole[:, :, 0].tolist() == [[0, 2], [1, 3], [4, 6], [5, 7]]
    assert filters_first(weight[:2], transposed=True, groups=1)[:, :, 0].tolist() == [[0, 2], [1, 3]]


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


@pytest.mark.parametrize("rtol", [0.02, 0.5])
def test_a_match_says_what_the_layer_that_differs_most_is_allowed(rtol):
    model = SmallNet()
    view = KernelMapsView(model)
    after = KernelMapsView(changed(model, lambda net: net.conv1.weight.mul_(1.01)))
    tolerances = Tolerances(layers=(LayerTolerance("conv1", rtol=rtol), LayerTolerance("conv2", rtol=0.1)))
    verdict = view.compare(view.capture(), after.capture(), tolerances)
    assert (verdict.matched, verdict.tolerance) == (True, rtol)
    assert verdict.error == pytest.approx(0.01, rel=0.1)
    assert [(layer.layer, layer.tolerance) for layer in verdict.layers] == [("conv1", rtol), ("conv2", 0.1)]


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
        assert kernel_scale(filters) == Scale(-1.0, 1.0, GREYS)
        tile = kernels_picture("conv", ["caption"], filters).image[-BAR_HEIGHT - 3]  # above the bar
        assert (tile[1].tolist(), tile[39].tolist()) == ([255, 0, 128], [128, 128, 128])

    def test_what_is_not_finite_has_its_own_colour(self):
        filters = np.zeros((1, 3, 1, 2), np.float32)
        filters[0, 1, 0, 0] = math.nan
        found = (kernels_picture("conv", [], filters).image == NOT_A_NUMBER).all(-1)
        assert found.sum() == 20 * 20 + 16 * 16  # and a legend

    def test_baseline_actual_and_difference_share_a_scale(self):
        base = np.zeros((2, 2, 2), np.float32)
        base[0, 0, 0] = 1.0
        picture = kernels_composite("conv", ["head"], base, -base)
        red, blue, neither = [180, 4, 38], [59, 76, 192], [221, 220, 220]  # the ends of coolwarm and its middle
        assert picture.baseline[0, 0].tolist() == red
        assert picture.actual[0, 0].tolist() == picture.difference[0, 0].tolist() == blue
        assert picture.baseline[0, 39].tolist() == neither

    def test_filters_that_differ_most_come_first_with_their_numbers(self, monkeypatch):
        titles = []
        monkeypatch.setattr(
            "pytest_modelviz.views.kernel_maps.pictures.labelled", lambda tile, *lines: titles.extend(lines) or tile
        )
        base = np.ones((3, 2, 2), np.float32)
        base[0] = 0.0
        after = base.copy()
        after[2] = -1.0
        kernels_composite("conv", ["head"], base, after, [0, 4, 8])
        assert titles == ["8", "4", "0"] * 3
        titles.clear()
        model, changed = (nn.Sequential(nn.Conv2d(2, 128, 2)) for _ in range(2))
        changed.load_state_dict(model.state_dict())
        with torch.no_grad():
            changed[0].weight[6] += 1.0
        views = [KernelMapsView(each) for each in (model, changed)]
        first, second = (view.capture() for view in views)
        views[1].picture(second, first, views[1].compare(first, second, Tolerances()))
        assert titles[0] == "6"
        assert len(titles) == 3 * 64
        titles.clear()
        views = [KernelMapsView(nn.Conv2d(2, width, 2)) for width in (50, 100)]  # all filters, and every other one
        first, second = (view.capture() for view in views)
        views[1].picture(second, first, views[1].compare(first, second, Tolerances()))
        assert titles == []

    @pytest.mark.parametrize("shape", [(64, 3, 7, 7), (64, 5, 5), (1, 64, 64), (16, 256, 256), (3, 3, 1, 1)])
    def test_they_fit_on_a_page(self, shape):
        filters = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        numbers = range(shape[0])
        assert kernels_composite("conv", ["head"], filters, -filters, numbers).image.shape[1] <= 700
        assert kernels_picture("conv", ["head"], filters).image.shape[1] <= 700

    def test_what_half_precision_cannot_hold_is_no_difference(self):
        base = np.ones((2, 2, 2), np.float32)
        picture = kernels_composite("conv", ["head", "2 filters"], base, base * np.float32(1 + 2.0**-11))
        assert (picture.difference[0] == 236).all()  # words stand there, on grey

    def test_other_shapes_are_shown_side_by_side(self):
        one, two = np.zeros((2, 3, 3), np.float32), np.zeros((20, 5, 5), np.float32)
        picture = kernels_composite("conv", ["head"], one, two)
        assert picture.image.shape[1] > 8 * 40
        assert picture.difference is None


def exact_moments(weight):
    """Mean, rms, lowest and highest as integers of any size give them."""
    numbers = [int(number) for number in weight.double().flatten().tolist()]
    mean, square = sum(numbers) / len(numbers), sum(number * number for number in numbers) / len(numbers)
    return mean, math.sqrt(square), min(numbers), max(numbers)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("layout", ["plain", "channels_last"])
def test_statistics_of_many_filters(dtype, layout):
    model = nn.Conv2d(64, 48, 3).to(dtype)
    with torch.no_grad():
        model.weight.copy_(torch.randint(-9, 30, model.weight.shape))
    if layout == "channels_last":
        model = model.to(memory_format=torch.channels_last)
    found = KernelMapsView(model).capture().result.layers[""]
    assert (found.mean, found.rms, found.low, found.high) == pytest.approx(exact_moments(model.weight), rel=1e-6)


@pytest.mark.parametrize("factor", [1e-30, 1e-16, 1e16, 1e25])
def test_statistics_of_numbers_whose_squares_are_none(factor):
    model = nn.Conv1d(1, 2, 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[[3.0, -4.0]], [[0.0, 12.0]]]) * factor)
    found = KernelMapsView(model).capture().result.layers[""]
    expected = (2.75 * factor, 6.5 * factor, -4.0 * factor, 12.0 * factor)
    assert (found.mean, found.rms, found.low, found.high) == pytest.approx(expected, rel=1e-6, abs=0)


class TestReadAsItIs:
    """A model of torch's own layers is read where it is; where anybody's code may run, it is restored afterwards."""

    @pytest.mark.parametrize("mode", ["train", "eval"])
    def test_of_torchs_own_layers(self, mode, monkeypatch):
        model = getattr(SmallNet(), mode)()
        whole = KernelMapsView(model).capture()
        monkeypatch.setattr("pytest_modelviz.views.kernel_maps.capture.is_plain_to_read", lambda model: False)
        prepared = KernelMapsView(model).capture()
        assert (whole.facts, whole.environment, whole.notes) == (
            prepared.facts,
            prepared.environment,
            prepared.notes,
        )
        assert {key: array.tobytes() for key, array in whole.arrays.items()} == {
            key: array.tobytes() for key, array in prepared.arrays.items()
        }

    def test_no_code_of_anybodys_runs(self):
        class Odd(nn.Conv2d):
            def extra_repr(self):
                self.looked_at = True
                return super().extra_repr()

        class Holder:
            def __repr__(self):
                return "holder"

        held = nn.Conv2d(1, 1, 1)
        held.extra = Holder()
        hooked = weight_norm_of_old()
        parametrised = nn.utils.parametrizations.weight_norm(nn.Conv2d(2, 2, 2))
        models = {"plain": SmallNet(), "odd": Odd(1, 1, 1), "held": held, "hooked": hooked, "new": parametrised}
        plain = {name: is_plain_to_read(nn.Sequential(model)) for name, model in models.items()}
        assert plain == {"plain": True, "odd": False, "held": False, "hooked": False, "new": False}
        KernelMapsView(models["odd"]).capture()
        assert not hasattr(models["odd"], "looked_at")

    def test_nothing_is_left_behind(self):
        model = SmallNet().train()
        before = state_of_model(model), state_of_process()
        KernelMapsView(model).capture()
        assert (state_of_model(model), state_of_process()) == before
