"""Copies of transposed tensors: number by number what torch's own copy is."""

import pytest
import torch

from pytest_modelviz.probe import transposed
from pytest_modelviz.probe.plain_numbers import flat_numbers
from pytest_modelviz.probe.sketch import record_tensor
from pytest_modelviz.probe.transposed import in_transposed_order


def numbers(*shape):
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    values.view(-1)[:3] = torch.tensor([float("nan"), float("-inf"), -0.0])
    return values


TRANSPOSED = {
    "channels last": numbers(1, 96, 14, 14).to(memory_format=torch.channels_last),
    "channels last, several samples": numbers(3, 5, 14, 15).to(memory_format=torch.channels_last),
    "channels last in space": numbers(2, 7, 6, 6, 6).to(memory_format=torch.channels_last_3d),
    "channels moved to the end": numbers(1, 24, 10, 12).permute(0, 2, 3, 1),
    "a matrix": numbers(50, 90).t(),
    "a matrix of a larger memory": numbers(3, 50, 90)[1].t(),
    "sequence and features": numbers(4, 33, 65).transpose(1, 2),
}
OTHERS = {
    "few numbers": numbers(20, 30).t(),
    "double precision": numbers(50, 90).double().t(),
    "every second column": numbers(50, 180)[:, ::2].t(),
    "heads and tokens": numbers(2, 30, 4, 20).transpose(1, 2),
    "one row for all": numbers(1, 90).expand(50, 90),
    "samples last": numbers(30, 9, 10).permute(1, 0, 2),
    "half of the channels": numbers(2, 32, 14, 14).to(memory_format=torch.channels_last)[:, :16],
}


def bits(tensor):
    return tensor.reshape(-1).contiguous().view(torch.uint8).tolist()


@pytest.mark.parametrize("case", TRANSPOSED)
def test_what_is_transposed_is_copied_bit_by_bit(case):
    tensor = TRANSPOSED[case]
    copied = in_transposed_order(tensor)
    assert copied is not None, "no transposition was found"
    assert copied.is_contiguous()
    assert bits(copied) == bits(tensor)
    assert bits(flat_numbers(tensor)) == bits(tensor)


@pytest.mark.parametrize("case", OTHERS)
def test_what_is_not_is_left_to_torch(case):
    tensor = OTHERS[case]
    assert not tensor.is_contiguous()
    assert in_transposed_order(tensor) is None
    assert bits(flat_numbers(tensor).to(tensor.dtype)) == bits(tensor)


def test_a_record_is_that_of_a_contiguous_tensor():
    for tensor in TRANSPOSED.values():
        values = torch.nan_to_num(tensor, nan=1.0, neginf=2.0)
        assert not values.is_contiguous()
        record, plain = (record_tensor(each, mean=True) for each in (values, values.contiguous()))
        assert record.is_bitwise(plain)
        assert record.mean == plain.mean


def test_without_the_shuffle_torch_copies(monkeypatch):
    def unsupported(*_):
        raise RuntimeError("Your CPU does not support FBGEMM.")

    tensor = TRANSPOSED["channels last"]
    monkeypatch.setattr(torch, "channel_shuffle", unsupported)
    transposed._shuffles.cache_clear()
    try:
        assert in_transposed_order(tensor) is None
        assert bits(flat_numbers(tensor)) == bits(tensor)
    finally:
        transposed._shuffles.cache_clear()
