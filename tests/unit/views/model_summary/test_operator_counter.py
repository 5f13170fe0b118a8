"""Floating-point operations by torch's formulas: by hand, as torch's own counter has them, and in how many calls."""

import pytest
import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from pytest_modelviz.probe.eager import eager
from pytest_modelviz.views.model_summary.operator_counter import OperatorCounter


def counted(run):
    with torch.no_grad(), eager(), OperatorCounter() as counter:  # as in a pass, where nothing is compiled
        run()
    return counter.total


IMAGE, ROWS = torch.rand(2, 3, 8, 8), torch.rand(2, 4, 6)

CASES = {
    "linear": (lambda: functional.linear(torch.rand(5, 8), torch.rand(4, 8), torch.rand(4)), 2 * 5 * 8 * 4),
    "product": (lambda: ROWS @ ROWS.transpose(1, 2), 2 * (2 * 4 * 6 * 4)),
    "convolution": (lambda: functional.conv2d(IMAGE, torch.rand(5, 3, 3, 3)), 2 * (2 * 6 * 6 * 3 * 3 * 3 * 5)),
    "strided": (lambda: functional.conv2d(IMAGE, torch.rand(5, 3, 3, 3), stride=2), 2 * (2 * 3 * 3 * 3 * 3 * 3 * 5)),
    "grouped": (lambda: functional.conv2d(IMAGE, torch.rand(3, 1, 3, 3), groups=3), 2 * (2 * 6 * 6 * 3 * 3 * 3)),
    # as large as its input is: 8 x 8 positions, each times the whole kernel
    "transposed": (lambda: functional.conv_transpose2d(IMAGE, torch.rand(3, 5, 3, 3)), 2 * (2 * 8 * 8 * 3 * 3 * 3 * 5)),
    "no product": (lambda: torch.relu(IMAGE) + functional.max_pool2d(IMAGE, 2).sum(), 0),
    # made of others, of which none has a formula
    "batch norm": (lambda: functional.batch_norm(IMAGE, torch.zeros(3), torch.ones(3)), 0),
}


@pytest.mark.parametrize("case", CASES)
def test_by_hand(case):
    run, expected = CASES[case]
    assert counted(run) == expected
    assert counted(lambda: (run(), run())) == 2 * expected


def test_inference_mode_where_operators_are_not_taken_apart_before():
    with torch.inference_mode():
        assert counted(lambda: functional.linear(torch.rand(5, 8), torch.rand(4, 8))) == 2 * 5 * 8 * 4


def test_an_operator_that_takes_functions_counts_as_torch_has_it():
    weight = torch.rand(8, 4)

    def run():
        torch.cond(torch.tensor(True), lambda x: (x @ weight) @ weight.T, lambda x: x + 1, (torch.rand(5, 8),))

    with torch.no_grad(), FlopCounterMode(display=False) as reference:
        run()
    # the larger branch
    assert counted(run) == reference.get_total_flops() == 2 * (5 * 8 * 4 + 5 * 4 * 8)


class TestFormulas:
    @pytest.fixture
    def shapes(self, monkeypatch):
        """The shapes for which the formula of a product was called."""
        seen = []
        original = flop_registry[torch.ops.aten.mm]

        def formula(a_shape, b_shape, *args, out_shape=None, **options):
            seen.append((tuple(a_shape), tuple(b_shape), tuple(out_shape)))
            return original.__wrapped__(a_shape, b_shape, out_shape=out_shape)

        def wrapper(*args, out_val=None, **options):
            raise AssertionError("shapes are at hand already")

        wrapper.__wrapped__ = formula
        monkeypatch.setitem(flop_registry, torch.ops.aten.mm, wrapper)
        return seen

    def test_one_is_called_once_for_the_same_shapes(self, shapes):
        pairs = [(torch.rand(2, 3), torch.rand(3, 4)), (torch.rand(2, 5), torch.rand(5, 4))]
        assert counted(lambda: [a @ b for a, b in pairs * 10]) == 10 * 2 * (2 * 3 * 4 + 2 * 5 * 4)
        assert shapes == [((2, 3), (3, 4), (2, 4)), ((2, 5), (5, 4), (2, 4))]

    def test_one_that_sees_the_tensors_is_called_each_time(self, monkeypatch):
        monkeypatch.setitem(flop_registry, torch.ops.aten.mm, lambda a, b, out_val=None: int(a.sum()))
        assert counted(lambda: [torch.full((1, 1), value) @ torch.ones(1, 1) for value in (1.0, 2.0, 4.0)]) == 7
