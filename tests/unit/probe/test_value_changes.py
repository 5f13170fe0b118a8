"""What was done to the values of a tensor, found out from the sketch of what they were."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pytest_modelviz.probe.sketch import record_tensor
from pytest_modelviz.probe.value_changes import value_change
from pytest_modelviz.records.changes import (
    Affine,
    ExchangedSlices,
    FewValues,
    Mirrored,
    NormalisedChannels,
    PreparedOtherwise,
    Rounded,
    ScaledSlices,
    ZeroSlices,
    ZeroValues,
)
from pytest_modelviz.records.tensors import WEIGHT_WIDTH
from pytest_modelviz.reports.changes import change_text

torch.manual_seed(0)
WEIGHT = torch.randn(64, 16, 3, 3)
PICTURE = torch.rand(2, 3, 32, 32)


def edited(change, tensor=WEIGHT):
    copy = tensor.clone()
    change(copy)
    return copy


def exchanged(first, second):
    return edited(lambda w: w.__setitem__([first, second], WEIGHT[[second, first]]))


CHANGES = {
    "scaled": (WEIGHT * 1.05, Affine(1.05), "all x 1.05"),
    "negated": (-WEIGHT, Affine(-1.0), "all negated"),
    "shifted": (WEIGHT - 0.1, Affine(offset=-0.1), "all - 0.1"),
    "both": (WEIGHT * 2 + 0.5, Affine(2.0, 0.5), "all x 2 + 0.5"),
    "bfloat16": (WEIGHT.bfloat16().float(), Rounded("bfloat16"), "rounded to bfloat16"),
    "float16": (WEIGHT.half().float(), Rounded("float16"), "rounded to float16"),
    "filter": (
        edited(lambda w: w[3].neg_()),
        ScaledSlices((3,), (-1.0,), 64, "filter"),
        "1 of 64 filters (3) negated",
    ),
    "two filters": (
        edited(lambda w: (w[60].mul_(0.5), w[3].mul_(1.5))),
        ScaledSlices((3, 60), (1.5, 0.5), 64, "filter"),
        "2 of 64 filters (3, 60) x 1.5, 0.5",
    ),
    "exchanged": (exchanged(3, 10), ExchangedSlices(3, 10, 64, "filter"), "filters 3 and 10 of 64 exchanged"),
    "pruned": (edited(lambda w: w[5].zero_()), ZeroSlices((5,), 64, "filter"), "1 of 64 filters (5) is zero"),
    "sparse": (
        edited(lambda w: w.masked_fill_(w.abs() < 0.5, 0.0)),
        ZeroValues(int((WEIGHT.abs() < 0.5).sum()), WEIGHT.numel()),
        f"{int((WEIGHT.abs() < 0.5).sum()):,} of 9,216 values are zero",
    ),
    "one value": (
        edited(lambda w: w.__setitem__((5, 3, 1, 1), 2.0)),
        FewValues(1, 9216, False),
        "about 1 of 9,216 values",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changes_of_a_weight(name):
    actual, change, text = CHANGES[name]
    found = value_change(record_tensor(WEIGHT, WEIGHT_WIDTH), actual)
    assert found == change
    assert change_text(found) == text


PREPARATIONS = {
    "range": (PICTURE * 255, Affine(255.0), "all x 255"),
    "channels": (
        PICTURE[:, [2, 1, 0]],
        ExchangedSlices(0, 2, 3, "channel"),
        "channels 0 and 2 of 3 exchanged",
    ),
    "mirrored": (PICTURE.flip(-1), Mirrored("left to right"), "mirrored left to right"),
    "upside down": (PICTURE.flip(-2), Mirrored("top to bottom"), "mirrored top to bottom"),
    "8 bits": ((PICTURE * 255).round() / 255, Rounded("8 bits"), "rounded to 8 bits"),
    "smoothed": (
        (PICTURE + PICTURE.roll(1, -1)) / 2,
        PreparedOtherwise(),
        "a similar picture, perhaps resized, cropped or compressed in another way",
    ),
    "sample": (
        torch.stack([PICTURE[0], PICTURE[1] * 2]),
        ScaledSlices((1,), (2.0,), 2, "sample"),
        "1 of 2 samples (1) x 2",
    ),
}


@pytest.mark.parametrize("name", PREPARATIONS)
def test_changes_of_a_picture(name):
    actual, change, text = PREPARATIONS[name]
    found = value_change(record_tensor(PICTURE), actual, "sample")
    assert found == change
    assert change_text(found) == text


def test_another_normalisation_is_given_channel_by_channel():
    mean, deviation = torch.tensor([0.5, 0.4, 0.3])[:, None, None], torch.tensor([0.2, 0.25, 0.5])[:, None, None]
    found = value_change(record_tensor(PICTURE), (PICTURE - mean) / deviation)
    assert isinstance(found, NormalisedChannels)
    assert found.factors == pytest.approx((5.0, 4.0, 2.0), rel=1e-4)
    assert found.offsets == pytest.approx((-2.5, -1.6, -0.6), rel=1e-3)
    assert change_text(found).startswith("another normalisation: channel 0 x 5 - 2.5; channel 1 x 4 - 1.6; channel 2")


@pytest.mark.parametrize("size", [4, 10, 61])
def test_values_of_a_small_tensor_are_known(size):
    before = torch.arange(float(size))
    after = edited(lambda w: w.__setitem__(1, 90.0), before)
    assert value_change(record_tensor(before, WEIGHT_WIDTH), after) == FewValues(1, size, True)


@pytest.mark.parametrize(
    "actual",
    [
        WEIGHT.clone(),
        torch.randn(64, 16, 3, 3),
        WEIGHT + 0.1 * torch.randn(64, 16, 3, 3),
        WEIGHT[:, :8],
        edited(lambda w: w.__setitem__((0, 0, 0, 0), torch.nan)),
        WEIGHT.to_sparse(),
        WEIGHT.int(),
        WEIGHT.to("meta"),
    ],
    ids=["same", "other", "noise", "shape", "nan", "sparse", "integers", "meta"],
)
def test_nothing_is_said_where_nothing_explains_it(actual):
    assert value_change(record_tensor(WEIGHT, WEIGHT_WIDTH), actual) is None


@pytest.mark.parametrize("sketch", [np.zeros(0), np.full(61, np.nan), np.full(61, 1e300), np.ones(10**5), np.ones(7)])
def test_a_forged_sketch_does_no_harm(sketch):
    record = replace(record_tensor(WEIGHT, WEIGHT_WIDTH), sketch=sketch)
    assert value_change(record, WEIGHT) is None or sketch.size == 7


def test_bfloat16_weights_times_a_factor_are_rounded_anew():
    weight = torch.randn(100, 100).bfloat16()
    assert value_change(record_tensor(weight, WEIGHT_WIDTH), weight * 1.5) == Affine(1.5)


@pytest.mark.parametrize("change", [lambda w: w[3, :4].mul_(1.05), lambda w: w[3].mul_(1.02)])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_rounded_is_only_what_rounding_explains(change, dtype):
    torch.manual_seed(0)
    before = torch.randn(64, 32)
    rounded = before.to(dtype).float()
    record = record_tensor(before, 61)
    assert isinstance(value_change(record, rounded), Rounded)
    changed = rounded.clone()
    change(changed)
    assert not isinstance(value_change(record, changed.to(dtype).float()), Rounded)
