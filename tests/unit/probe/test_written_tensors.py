"""What a model writes into a tensor after it was recorded: into what it returns, and into its arguments."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.records.findings import UncomparedFinding
from pytest_modelviz.records.trace_arrays import pack_trace
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView
from pytest_modelviz.views.feature_maps.records import layer_rows


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


class Cache:
    def __init__(self):
        self.keys = []


class Fills(nn.Module):
    """Returns its input, and has another effect on what it is given with it."""

    def __init__(self, write):
        super().__init__()
        self.__dict__["write"] = write

    def forward(self, x, given, scale=1.0):
        self.write(x, given)
        return x


def x():
    return torch.rand(4, 8, generator=torch.Generator().manual_seed(0))


EFFECTS = {
    "out": (lambda: torch.zeros(4, 8), lambda by: lambda x, given: torch.mul(x, by, out=given)),
    "object": (Cache, lambda by: lambda x, given: given.keys.append(x * by)),
    "list": (list, lambda by: lambda x, given: given.append(x * by)),
    "dict": (dict, lambda by: lambda x, given: given.update(aux=x * by)),
    "number": (lambda: [1.0], lambda by: lambda x, given: given.append(by)),
    "text": (lambda: ["a"], lambda by: lambda x, given: given.append(f"b{by}")),
    "removed": (lambda: [1, 2, 3], lambda by: lambda x, given: [given.pop() for _ in range(int(by) - 1)]),
}


@pytest.mark.parametrize("kind", EFFECTS)
def test_what_is_written_into_an_argument_is_compared(kind):
    make, write = EFFECTS[kind]
    view, other, still = (
        FeatureMapsView(Fills(effect), (x(), make())) for effect in (write(2.0), write(3.0), lambda x, given: None)
    )
    capture = view.capture()
    assert view.compare(capture, view.capture(), Tolerances()).findings == ()
    for changed in (other, still):
        verdict = view.compare(capture, changed.capture(), Tolerances())
        assert not verdict.matched
        assert verdict.first.layer == ""


def test_a_model_that_writes_nothing_has_no_more_outputs_and_tensors():
    view = FeatureMapsView(Fills(lambda x, given: None), {"x": x(), "given": [1.0, x(), "a"], "scale": 2.5})
    trace = view.capture().result.trace
    assert set(trace.calls[0].outputs) == {""}
    assert len(trace.tensors) == 4


def test_baselines_of_earlier_versions_match_and_that_is_told():
    view = FeatureMapsView(Fills(lambda x, given: given.append(x * 2)), (x(), []))
    actual = view.capture()
    trace = actual.result.trace
    trace.calls[0].outputs = {"": trace.calls[0].outputs[""]}
    trace.tensors = {key: record for key, record in trace.tensors.items() if key == "<x"}
    baseline = replace(
        actual, arrays={**actual.arrays, **pack_trace(trace)}, facts={**actual.facts, "layers": layer_rows(trace)}
    )
    verdict = view.compare(baseline, actual, Tolerances())
    assert verdict.matched
    assert verdict.findings == (UncomparedFinding("", "output to its arguments"),)
