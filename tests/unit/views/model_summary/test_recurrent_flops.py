"""The multiply-adds of recurrent layers, worked out by hand, and what they are not counted for."""

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence

from pytest_modelviz.views.model_summary.flops import recurrent_mult_adds

# of 2 sequences of 5 steps with 8 features
STEPS = 2 * 5


class Own(nn.LSTM):
    """Its forward may do anything."""

    def forward(self, x):
        return super().forward(x)


def rows(*lengths):
    return pack_sequence([torch.rand(length, 8) for length in lengths], enforce_sorted=False)


@pytest.mark.parametrize(
    ("module", "count"),
    [
        (nn.RNN(8, 6), STEPS * 6 * (8 + 6)),
        (nn.GRU(8, 6), STEPS * 3 * 6 * (8 + 6)),
        (nn.LSTM(8, 6), STEPS * 4 * 6 * (8 + 6)),
        (nn.LSTM(8, 6, num_layers=2), STEPS * 4 * 6 * ((8 + 6) + (6 + 6))),
        (nn.LSTM(8, 6, bidirectional=True), 2 * STEPS * 4 * 6 * (8 + 6)),
        (nn.GRU(8, 6, num_layers=2, bidirectional=True), 2 * STEPS * 3 * 6 * ((8 + 6) + (12 + 6))),
        (nn.LSTM(8, 6, proj_size=3), STEPS * (4 * 6 * (8 + 3) + 6 * 3)),
        (Own(8, 6), 0),
    ],
    ids=str,
)
def test_each_kind_by_hand(module, count):
    assert recurrent_mult_adds(module, module(torch.rand(5, 2, 8))) == count


def test_sequences_count_by_their_own_lengths():
    lstm = nn.LSTM(8, 6)
    assert recurrent_mult_adds(lstm, lstm(rows(5, 2))) == 7 * 4 * 6 * (8 + 6)
    assert recurrent_mult_adds(lstm, lstm(torch.rand(5, 8))) == 5 * 4 * 6 * (8 + 6)
    assert recurrent_mult_adds(lstm, lstm(torch.rand(5, 0, 8))) == 0


@pytest.mark.parametrize(
    "output",
    [
        None,
        (),
        [torch.rand(2, 6)],
        (None,),
        ("text", None),
        (torch.rand(()),),
        (torch.rand(2, 5, 0),),
        torch.rand(2, 6),
    ],
    ids=["nothing", "empty", "list", "none", "text", "number", "no_features", "tensor"],
)
def test_an_output_that_a_hook_has_replaced_counts_nothing(output):
    assert recurrent_mult_adds(nn.LSTM(8, 6), output) == 0


def test_other_modules_have_none():
    assert recurrent_mult_adds(nn.Linear(8, 6), (torch.rand(2, 6),)) == 0
    assert recurrent_mult_adds(nn.LSTMCell(8, 6), (torch.rand(2, 6), torch.rand(2, 6))) == 0
