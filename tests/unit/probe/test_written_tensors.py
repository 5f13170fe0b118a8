"""What a model writes into a tensor after it was recorded: into what it returns, and into its arguments."""

import pytest
import torch
from torch import nn

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView


class Writer(nn.Module):
    def __init__(self, convert, write):
        super().__init__()
        self.layer = nn.Identity()
        self.__dict__["convert"], self.__dict__["write"] = convert, write

    def forward(self, x):
        y = self.layer(self.convert(x))
        self.write(y)
        return y


def nested(layout):
    return lambda x: torch.nested.nested_tensor([x[:1], x[1:]], layout=layout)


def by_numpy(factor):
    def write(y):
        values = y.numpy()
        values *= factor

    return write


TENSORS = {
    "coo": (torch.Tensor.to_sparse, lambda by: lambda y: y.mul_(by)),
    "coo values": (lambda x: x.to_sparse().coalesce(), lambda by: lambda y: y.values().mul_(by)),
    "csr": (torch.Tensor.to_sparse_csr, lambda by: lambda y: y.mul_(by)),
    "csr values": (torch.Tensor.to_sparse_csr, lambda by: lambda y: y.values().mul_(by)),
    "nested": (nested(torch.strided), lambda by: lambda y: y.mul_(by)),
    "jagged values": (nested(torch.jagged), lambda by: lambda y: y.values().mul_(by)),
    "numpy": (torch.clone, by_numpy),
    "dlpack": (torch.clone, lambda by: lambda y: torch.from_dlpack(y).mul_(by)),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", TENSORS)
def test_what_is_returned_is_compared_as_it_is_returned(kind):
    convert, write = TENSORS[kind]
    x = torch.rand(4, 8, generator=torch.Generator().manual_seed(0))
    view, other = (FeatureMapsView(Writer(convert, write(by)), x) for by in (2.0, 3.0))
    capture = view.capture()
    assert view.compare(capture, view.capture(), Tolerances()).matched
    verdict = view.compare(capture, other.capture(), Tolerances())
    assert not verdict.matched
    assert verdict.first.layer == ""


def test_a_tensor_that_nobody_has_written_into_is_recorded_once():
    trace = FeatureMapsView(nn.Sequential(nn.ReLU()), torch.full((2, 400), torch.nan)).capture().result.trace
    assert list(trace.tensors) == ["<input", "0"]
