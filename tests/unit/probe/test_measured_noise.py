"""The noise of each tensor: measured by moving numbers by four units in the last place."""

import numpy as np
import pytest
import torch
from torch import nn

from pytest_modelviz.compare.precision import MOVE
from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.probe.forward import call, prepared
from pytest_modelviz.probe.noise import with_noise
from pytest_modelviz.probe.pass_recorder import PassRecorder
from pytest_modelviz.probe.rounding import roundings_of
from pytest_modelviz.records.trace import ForwardTrace
from pytest_modelviz.records.trace_arrays import pack_trace, unpack_trace


class Lifted(nn.Module):
    """Adds a thousand in a layer and takes it away again."""

    def __init__(self) -> None:
        super().__init__()
        self.lift = Plus(1000.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.lift(x) - 1000.0


class Plus(nn.Module):
    def __init__(self, amount: float) -> None:
        super().__init__()
        self.amount = amount

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.amount


class Refusing(nn.Module):
    """Takes nothing beyond 1."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if float(x.max()) > 1.0:
            raise ValueError("not normalised")
        return x * 2


class Routing(nn.Module):
    """A number next to a threshold decides how many rows are returned."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[x[:, 0] >= 0.75]


def measured(model: nn.Module, data: torch.Tensor) -> ForwardTrace:
    with prepared(model, data) as ready:
        recorder = PassRecorder(ready)
        with recorder.recording():
            call(ready, data)
    return with_noise(recorder.trace, model, data)


def test_what_cancels_has_the_noise_of_what_it_was_made_of():
    x = torch.randn(4, 500, generator=torch.Generator().manual_seed(0))
    trace = measured(Lifted(), x)
    noise = {key: record.noise for key, record in trace.tensors.items()}
    # a thousand moved by 2**-21 is off by 4.8e-4, and what is left of it is about 1
    assert noise["lift"] == pytest.approx(2**-21, rel=0.1)
    assert 0.9 * 1000 * MOVE < noise[""] < 1.3 * 1000 * MOVE


def test_an_input_has_the_noise_of_its_own_rounding():
    trace = measured(nn.Identity(), torch.full((4, 500), 0.7))
    # moved by that much, and rounded once more
    assert trace.tensors["<input"].noise == pytest.approx(MOVE * 2**0.5, rel=0.1)


@pytest.mark.parametrize(
    ("layer", "shape", "middle"),
    [
        (nn.AdaptiveAvgPool2d(1), (2, 300, 16, 16), 1.0),
        (nn.LayerNorm(300, elementwise_affine=False), (1, 40, 300), 0.0),
    ],
    ids=["averaged over places", "each token normalised"],
)
def test_something_is_left_of_what_is_averaged_and_of_what_is_normalised(layer, shape, middle):
    """Signs for each number are lost in the former, signs for each token in the latter."""
    x = middle - 0.5 + torch.rand(shape, generator=torch.Generator().manual_seed(0))
    noise = measured(layer, x).tensors[""].noise
    assert noise == pytest.approx((1 + 0.8**2) ** 0.5 * MOVE, rel=0.1)  # with its own rounding


def test_long_sums_are_rounded_more_often():
    torch.manual_seed(0)
    short, long = (measured(nn.Linear(count, 300), torch.rand(8, count)).tensors[""].noise for count in (64, 64 * 64))
    assert long > 2 * short  # the square root of 4096 over 16


def test_recurrent_layers_are_given_room():
    trace = measured(nn.LSTM(8, 64, batch_first=True), torch.rand(4, 20, 8))
    assert trace.tensors["[0]"].noise >= 8 * MOVE


def test_few_numbers_have_at_least_the_usual_noise():
    model = nn.Sequential(nn.Linear(300, 300), nn.ReLU(), nn.Linear(300, 1))
    trace = measured(model, torch.rand(1, 300))
    noises = sorted(record.noise for record in trace.tensors.values())
    assert trace.tensors["2"].noise >= noises[len(noises) // 2]


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    measured(model, torch.rand(4, 8))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_model_that_refuses_such_an_input_has_no_noise():
    trace = measured(Refusing(), torch.full((4, 8), 1 - 2**-24))
    assert all(record.noise is None for record in trace.tensors.values())
    assert "the model raises ValueError: not normalised" in trace.notes[-1]


def test_another_way_through_the_model_is_noise_without_end():
    trace = measured(Routing(), torch.full((64, 8), 0.75))
    assert trace.tensors[""].noise == np.inf


def test_numbers_that_no_processor_rounds_are_left_alone():
    class Masked(nn.Module):
        def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            return x * (mask != 1)

    x, mask = torch.rand(4, 50), torch.ones(4, 50)
    mask[:, :25] = 0
    trace = measured(Masked(), (x, mask))
    assert trace.tensors["<mask"].noise < 2 * MOVE
    assert trace.tensors[""].noise < 4 * MOVE


def test_a_pass_does_not_begin_with_what_the_one_before_left():
    class Counting(nn.Module):
        calls = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            return x.sub_(3.0) * self.calls

    assert measured(Counting(), torch.rand(4, 50)).tensors[""].noise < 10 * MOVE


@pytest.mark.parametrize(
    ("layer", "terms"),
    [
        (nn.Linear(4096, 8), 4096),
        (nn.Conv2d(64, 8, 8), 4096),
        (nn.ConvTranspose2d(256, 8, 4), 4096),
        (nn.Embedding(8, 4096), 256),
        (nn.LayerNorm([64, 64]), 256),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_counts_as_a_long_sum(layer, terms):
    assert roundings_of(layer) == (terms / 256) ** 0.5


def test_integers_and_doubles_have_none():
    assert measured(nn.Identity(), torch.arange(300)).tensors["<input"].noise is None
    assert measured(nn.Identity(), torch.rand(300).double()).tensors["<input"].noise is None


def test_noise_is_stored_in_two_bytes_and_rounded_up():
    trace = measured(nn.Linear(8, 300), torch.rand(4, 8))
    arrays = pack_trace(trace)
    assert arrays["trace.noise"].dtype == np.uint16
    for key, record in unpack_trace(arrays).tensors.items():
        assert trace.tensors[key].noise <= record.noise <= trace.tensors[key].noise * 1.01


@pytest.mark.parametrize(
    "noise",
    [
        np.array([0xB580, 0x3580], np.uint16),  # the first is negative
        np.array([0x3580], np.uint16),
        np.array([1e-6, 1e-6], np.float32),
        np.array([[0x3580, 0x3580]], np.uint16),
    ],
    ids=["negative", "too few", "dtype", "shape"],
)
def test_noise_that_was_never_recorded_is_damage(noise):
    trace = measured(nn.Linear(8, 300), torch.rand(4, 8))
    assert len(trace.tensors) == 2
    with pytest.raises(UnreadableBaselineError, match="noise"):
        unpack_trace({**pack_trace(trace), "trace.noise": noise})
