"""What is recorded of a training, worked out by hand, and what comes back from its file."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from trainings import Net, Scale, trained

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.pictures.exhibits import Histogram
from pytest_modelviz.reports.tensorboard import EventFiles
from pytest_modelviz.storage.formats import decode_arrays, encode_arrays
from pytest_modelviz.views.training_curve.capture import TrainingCurveView
from pytest_modelviz.views.training_curve.curve_comparison import compare_curves
from pytest_modelviz.views.training_curve.records import BINS, Training


def test_a_training_worked_out_by_hand():
    # (w - 0)^2 with a rate of 1/4: the gradient is 2 w, the step w / 2, and w halves each time
    model = Scale()
    rate = torch.optim.SGD(model.parameters(), lr=0.25)

    def step(_):
        rate.zero_grad()
        loss = model(torch.ones(1)).square().sum()
        loss.backward()
        rate.step()
        return loss

    capture = TrainingCurveView(step, steps=4, model=model).capture()
    result = capture.result
    assert result.scalars["loss"].tolist() == [1, 0.25, 0.0625, 0.015625]
    assert result.gradients["w"].tolist() == [2, 1, 0.5, 0.25]
    assert result.updates["w"].tolist() == [0.5, 0.25, 0.125, 0.0625]
    assert model.w.item() == 0.0625  # it has been trained
    assert capture.facts["steps"]["1"] == {"loss": 0.25, "gradient norm": 1.0}
    assert capture.facts["parameters"] == {"w": {"gradient": [2.0, 0.25], "update": [0.5, 0.0625]}}
    record = Training.from_arrays(capture.arrays)
    assert record.ranges[0].tolist() == [[0.0625, 0.0625]]  # after the last step
    assert record.ranges[1].tolist() == [[0.25, 0.25]]  # in the last step
    assert record.counts[1].sum() == 1


def test_a_histogram_counts_every_finite_value():
    model = nn.Linear(3, 1, bias=False)
    model.weight.data = torch.tensor([[0.0, 3.0, float("nan")]])
    record = Training.from_arrays(TrainingCurveView(lambda i: 0, steps=1, model=model).capture().arrays)
    assert record.ranges[0].tolist() == [[0.0, 3.0]]
    assert record.counts[0, 0].tolist() == [1, *[0] * (BINS - 2), 1]
    assert not record.counts[1].any()


@pytest.mark.parametrize(
    ("low", "high"),
    [(1.0, 1.0 + 2.3e-16), (1e300, 1e300), (-1.7e308, 1.7e308), (0.0, 5e-324), (1e-310, 3e-310), (-1e200, 1e200)],
)
def test_any_range_of_values_has_a_histogram_that_can_be_written(low, high, tmp_path):
    model = nn.Linear(2, 1, bias=False).double()
    model.weight.data = torch.tensor([[low, high]], dtype=torch.float64)
    view = TrainingCurveView(lambda i: 0.0, steps=1, model=model)
    capture = view.capture()
    counts = Training.from_arrays(capture.arrays).counts[0, 0]
    assert counts.sum() == 2
    assert (counts[0], counts[-1]) == ((1, 1) if low < high else (0, 0))
    (histogram,) = (one for one in view.picture(capture, capture) if isinstance(one, Histogram))
    (edges, _), _ = histogram.series.values()
    assert np.isfinite(edges).all()
    files = EventFiles(tmp_path)
    files.show("tag", histogram)
    files.close()


@pytest.mark.parametrize(
    "value",
    [
        0.5,
        np.float32(0.5),
        np.float64(0.5),
        torch.tensor(0.5),
        torch.tensor([[0.5]], dtype=torch.bfloat16),
        torch.tensor(0.5, requires_grad=True),
    ],
    ids=repr,
)
def test_scalars_of_every_kind(value):
    result = TrainingCurveView(lambda i: {"x": value, "n": 3, "flag": True, "count": np.int64(2)}, steps=2).capture()
    assert {name: curve.tolist() for name, curve in result.result.scalars.items()} == {
        "x": [0.5, 0.5],
        "n": [3, 3],
        "flag": [1, 1],
        "count": [2, 2],
    }
    assert all(curve.dtype == np.float64 for curve in result.result.scalars.values())


def test_the_coarsest_dtype_that_took_part_is_recorded():
    def dtype(model=None, scalar=1.0):
        return TrainingCurveView(lambda i: scalar, steps=1, model=model).capture().facts["dtype"]

    assert dtype() == "float32"
    assert dtype(nn.Linear(1, 1).double()) == "float64"
    assert dtype(nn.Linear(1, 1).double(), torch.tensor(1.0)) == "float32"
    assert dtype(nn.Linear(1, 1), torch.tensor(1.0).bfloat16()) == "bfloat16"


@pytest.mark.parametrize("to_none", [True, False])
def test_gradients_that_a_step_throws_away_at_its_end_are_seen(to_none):
    model = Scale()

    def step(_):
        for _ in range(3):  # accumulated: 2 w three times
            model(torch.ones(1)).square().sum().backward()
        model.zero_grad(set_to_none=to_none)

        return 0.0

    capture = TrainingCurveView(step, steps=2, model=model).capture()
    assert capture.result.gradients["w"].tolist() == [6, 6]
    assert Training.from_arrays(capture.arrays).ranges[1].tolist() == [[6, 6]]


def test_frozen_and_unused_parameters_have_no_gradient_and_do_not_move():
    model = nn.ModuleDict({"used": nn.Linear(2, 1), "frozen": nn.Linear(1, 1), "unused": nn.Linear(2, 2)})
    model["frozen"].requires_grad_(False)
    rate = torch.optim.SGD(model.parameters(), lr=0.1)

    def step(number):
        if number == 1:
            model["frozen"].requires_grad_(True)  # as a schedule does
        loss = model["frozen"](model["used"](torch.ones(1, 2))).square().sum()
        rate.zero_grad()
        loss.backward()
        rate.step()
        return loss

    result = TrainingCurveView(step, steps=2, model=model).capture().result
    moving = {name: (result.gradients[name] > 0).tolist() for name in result.gradients}
    assert moving["used.weight"] == [True, True]
    assert moving["frozen.weight"] == [False, True]
    assert moving["unused.weight"] == [False, False]
    for name, gradients in moving.items():
        assert (result.updates[name] > 0).tolist() == gradients


class Odd(nn.Module):
    """Sparse gradients, complex numbers, a tied weight, half precision."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(5, 2, sparse=True)
        self.wave = nn.Parameter(torch.tensor([3 + 4j]))
        self.one = nn.Linear(2, 2)
        self.two = nn.Linear(2, 2)
        self.two.weight = self.one.weight
        self.coarse = nn.Parameter(torch.ones(2, dtype=torch.bfloat16))
        self.none = nn.Parameter(torch.zeros(0))

    def forward(self):
        x = self.table(torch.tensor([1, 1, 2]))
        return self.two(self.one(x)).square().sum() + self.wave.abs().square().sum() / 2 + self.coarse.float().sum()


def test_sparse_complex_tied_half_and_empty_parameters():
    model = Odd()

    def step(_):
        model.zero_grad()
        model().backward()
        with torch.no_grad():
            model.coarse -= 1
        return 0.0

    capture = TrainingCurveView(step, steps=1, model=model).capture()
    assert set(capture.result.gradients) == {
        "table.weight", "wave", "one.weight", "one.bias", "two.bias", "coarse", "none",
    }  # fmt: skip
    dense = torch.zeros(5, 2).index_add(0, torch.tensor([1, 1, 2]), torch.autograd.grad(
        model.two(model.one(x := model.table(torch.tensor([1, 1, 2])).detach().requires_grad_())).square().sum(), x
    )[0])  # fmt: skip
    assert capture.result.gradients["table.weight"][0] == pytest.approx(float(dense.norm()), rel=1e-5)
    assert capture.result.gradients["wave"][0] == pytest.approx(5.0)  # torch's gradient of |z|^2 / 2 is z
    assert capture.result.gradients["coarse"][0] == pytest.approx(math.sqrt(2))
    assert capture.result.updates["coarse"][0] == pytest.approx(math.sqrt(2))
    assert capture.result.gradients["none"][0] == 0


def test_a_compiled_model_has_the_names_of_the_one_inside():
    model = Net()
    wrapped = torch.compile(model, backend="eager")
    view = TrainingCurveView(lambda i: wrapped(torch.ones(2, 4)).sum().backward() or 0.0, steps=1, model=wrapped)
    gradients = view.capture().result.gradients
    assert set(gradients) == {name for name, _ in model.named_parameters()}
    assert gradients["last.weight"][0] > 0


def test_an_optimiser_that_calls_a_closure_many_times():
    model = Scale()
    search = torch.optim.LBFGS(model.parameters(), max_iter=5)

    def step(_):
        def closure():
            search.zero_grad()
            loss = (model(torch.ones(1)) - 3).square().sum()
            loss.backward()
            return loss

        return search.step(closure)

    result = TrainingCurveView(step, steps=2, model=model).capture().result
    assert result.scalars["loss"][0] == 4
    assert result.updates["w"][0] == pytest.approx(2, abs=1e-3)


def test_a_deep_model_stays_in_the_kilobytes():
    model = nn.Sequential(*[nn.Linear(64, 64) for _ in range(30)])  # as many parameters as a ResNet-18 has
    arrays = TrainingCurveView(lambda i: 0.0, steps=20, model=model).capture().arrays
    assert len(encode_arrays(arrays)) < 100_000


def test_it_comes_back_from_its_file():
    capture = trained().capture()
    arrays = decode_arrays(encode_arrays(capture.arrays))
    one, other = Training.from_arrays(capture.arrays), Training.from_arrays(arrays)
    assert one.parameters == other.parameters == tuple(dict(Net().named_parameters()))
    assert np.array_equal(one.gradients, other.gradients)
    assert not compare_curves(one, other, "float32", Tolerances()).differences


DAMAGE = {
    "no curves": lambda arrays: arrays.pop("curve.loss"),
    "short": lambda arrays: arrays.update({"curve.late": np.zeros(2)}),
    "empty": lambda arrays: arrays.update({"curve.loss": np.zeros(0)}),
    "integers": lambda arrays: arrays.update({"curve.loss": np.zeros(8, np.int64)}),
    "table": lambda arrays: arrays.update({"curve.loss": np.zeros((8, 1))}),
    "names": lambda arrays: arrays.update({"parameters.names": np.frombuffer(b"[1]", np.uint8)}),
    "no names": lambda arrays: arrays.update({"parameters.names": np.frombuffer(b"[]", np.uint8)}),
    "no json": lambda arrays: arrays.update({"parameters.names": np.frombuffer(b"\xff", np.uint8)}),
    "twice": lambda arrays: arrays.update({"parameters.names": np.frombuffer(b'["a","a","b","c","d","e"]', np.uint8)}),
    "gradients": lambda arrays: arrays.pop("parameters.gradients"),
    "updates": lambda arrays: arrays.update({"parameters.updates": np.zeros((8, 5))}),
    "no moves": lambda arrays: arrays.pop("parameters.moves"),
    "moves": lambda arrays: arrays.update({"parameters.moves": np.zeros((3, 8, 5), np.float32)}),
    "edges": lambda arrays: arrays.update({"histograms.edges": np.full((2, 6, 2), np.nan)}),
    "counts": lambda arrays: arrays.update({"histograms.counts": np.full((2, 6, BINS), -1)}),
    "bins": lambda arrays: arrays.pop("histograms.counts"),
    "trace": lambda arrays: arrays.pop("trace.structure"),
    "no trace": lambda arrays: [arrays.pop(key) for key in list(arrays) if key.startswith("trace.")],
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_told(damage):
    view = trained()
    capture = view.capture()
    arrays = dict(capture.arrays)
    DAMAGE[damage](arrays)
    with pytest.raises(UnreadableBaselineError):
        view.compare(type(capture)(capture.view, capture.facts, arrays), capture, Tolerances())
