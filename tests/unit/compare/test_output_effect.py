"""What a drift does to a model's output, also where the two passes cannot be walked side by side."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from pytest_modelviz.compare.output_effect import with_output_effect
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.records.effect import Merger, OutputEffect, Reappearance, ScoredClass, TopClassChange
from pytest_modelviz.records.top_classes import top_classes
from pytest_modelviz.reports.effect import effect_lines
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView
from pytest_modelviz.views.kernel_maps.capture import KernelMapsView
from pytest_modelviz.views.saliency_map.capture import SaliencyMapView

X = torch.tensor([[1.0, 0.0], [0.0, 1.0]])


class Around(nn.Module):
    def __init__(self, inner, before=None, after=None):
        super().__init__()
        self.inner, self.before, self.after = inner, before or nn.Identity(), after or nn.Identity()

    def forward(self, x):
        return self.after(self.inner(self.before(x)))


def linear(rows):
    layer = nn.Linear(2, len(rows), bias=False)
    layer.weight = nn.Parameter(torch.tensor(rows))
    return layer


def effect_of(before, after, x=X, view=FeatureMapsView, **options):
    views = [view(model, x, **options) for model in (before, after)]
    baseline, actual = (each.capture() for each in views)
    verdict = views[0].compare(baseline, actual, Tolerances())
    return with_output_effect(verdict, baseline, actual, Tolerances()).output


def test_error_and_classes_by_hand():
    before, after = linear([[0.9, 0.8], [0.1, 0.2]]), linear([[0.9, 0.3], [0.1, 0.7]])
    effect = effect_of(before, after)  # the rows of the outputs are the columns of the weights
    size, difference = math.sqrt(0.81 + 0.64 + 0.01 + 0.04), math.sqrt(0.25 + 0.25)
    assert effect.error == pytest.approx(difference / size, rel=1e-5)
    assert effect.tolerance < 1e-3
    assert (effect.samples, effect.top1_changed) == (2, 1)
    assert effect.changes == (TopClassChange(1, ScoredClass(0, 0.8), ScoredClass(1, 0.7)),)
    assert effect.reappearance is None
    assert effect_lines(effect)[0].endswith("top class changed in 1 of 2 samples")
    assert effect_lines(effect)[1] == "            sample 1: class 0 (80 %) -> class 1 (70 %)"


def test_of_explanations_the_predicted_classes_count():
    before, after = linear([[1.0, 0.0], [0.0, 1.0]]), linear([[0.0, 1.0], [1.0, 0.0]])
    effect = effect_of(before, after, view=SaliencyMapView)
    assert effect.changes[0] == TopClassChange(0, ScoredClass(0), ScoredClass(1))
    assert effect_lines(effect)[1] == "            sample 0: class 0 -> class 1"


def test_a_wrapper_that_only_delegates_computes_the_same():
    inner = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 3))
    effect = effect_of(inner, Around(inner))
    assert effect.error == 0.0
    assert effect.reappearance == Reappearance(3, 3)
    lines = effect_lines(effect)
    assert lines[0].startswith("  output    agrees: ")
    assert lines[1] == "            all 3 innermost layers return the same as before, whatever they are called now"


def test_a_norm_that_was_folded_into_a_convolution():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU()).eval()
    model[1].running_mean.copy_(torch.tensor([1.0, 2.0]))
    model[1].running_var.copy_(torch.tensor([4.0, 9.0]))
    fused = nn.Sequential(nn.utils.fuse_conv_bn_eval(model[0], model[1]), nn.ReLU())
    effect = effect_of(model, fused, torch.rand(1, 1, 8, 8))
    assert not effect.drifted
    assert effect.reappearance == Reappearance(2, 3, (Merger(("0", "1"), "0"),))
    assert effect_lines(effect)[-1] == "            0 + 1 became 0"


def test_another_dtype_is_compared_by_value():
    model = nn.Sequential(nn.Linear(2, 64))
    half = copy.deepcopy(model).bfloat16()

    class Cast(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            return self.inner(x.bfloat16())

    effect = effect_of(model, Cast(half))
    assert 0.0 < effect.error < 0.01
    assert not effect.drifted


def test_another_shape_cannot_be_compared():
    effect = effect_of(linear([[1.0, 0.0], [0.0, 1.0]]), linear([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))
    assert effect.error == math.inf
    assert effect_lines(effect)[0].startswith("  output    another kind or shape")
    assert OutputEffect.from_json(effect.to_json()) == effect


def test_of_several_outputs_the_one_that_is_furthest_off_counts():
    class Two(nn.Module):
        def __init__(self, scale):
            super().__init__()
            self.scale = scale

        def forward(self, x):
            return {"same": x, "other": self.scale * x}

    effect = effect_of(Two(1.0), Two(1.5))
    assert effect.path == "other"
    assert effect.error == pytest.approx(0.5)
    assert "off by 0.5 (other)" in effect_lines(effect)[0]


def test_nothing_is_known_without_a_pass_or_of_a_match():
    model = nn.Sequential(nn.Conv2d(1, 1, 1))
    view = KernelMapsView(model)
    baseline = view.capture()
    with torch.no_grad():
        model[0].weight.mul_(2)
    verdict = view.compare(baseline, view.capture(), Tolerances())
    assert with_output_effect(verdict, baseline, view.capture(), Tolerances()).output is None
    assert effect_of(linear([[1.0, 0.0]]), linear([[1.0, 0.0]])) is None
    assert effect_lines(None) == []


@pytest.mark.parametrize(
    "table",
    [
        None,
        [],
        {"classes": [1], "shares": []},
        {"classes": ["1"], "shares": [0.5]},
        {"classes": [1], "shares": [2.0]},
        {"classes": [True], "shares": [0.5]},
        {"classes": [-1], "shares": [0.5]},
        {"classes": [10**400], "shares": [0.5]},
        {"classes": [1], "shares": [10**400]},
        {"classes": [1] * 33, "shares": [0.5] * 33},
        {"classes": [], "shares": []},
    ],
)
def test_a_forged_table_of_classes_says_nothing(table):
    assert top_classes({"top_classes": {"": table}}, "") is None


def test_many_changes_are_counted():
    change = TopClassChange(0, ScoredClass(1, 0.5), ScoredClass(2, 0.25))
    changes = tuple(replace(change, sample=at) for at in range(5))
    effect = OutputEffect(0.5, 0.1, samples=8, top1_changed=5, changes=changes)
    assert effect_lines(effect)[1:] == [
        *(f"            sample {at}: class 1 (50 %) -> class 2 (25 %)" for at in range(3)),
        "            and 2 more",
    ]
    assert OutputEffect.from_json(effect.to_json()) == effect
    merger = Merger(("a", "b"), "c")
    built = replace(effect, reappearance=Reappearance(1, 9, (merger,) * 5))
    assert effect_lines(built)[-4:] == [*(["            a + b became c"] * 3), "            and 2 more"]
    assert OutputEffect.from_json(built.to_json()) == built


def test_no_line_is_longer_than_people_read():
    """Names in a baseline may be of any length."""
    mergers = (Merger(("a" * 10**6,) * 3, "b"),)
    for path in ("", "p" * 10**6):
        lines = effect_lines(OutputEffect(0.5, 1e-4, path, reappearance=Reappearance(1, 2, mergers)))
        assert "allowed 0.0001" in lines[0]
        assert max(map(len, lines)) < 1100
