"""Inputs that are objects: looked into, copied, and left as they were."""

import collections
import copy
import functools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn
from zoo import SmallNet, images

from pytest_modelviz.compare.leaves import leaf_errors
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.probe.containers import tensors_to_replace
from pytest_modelviz.probe.nested_values import leaves, tensors
from pytest_modelviz.records.tensors import TensorRecord
from pytest_modelviz.records.trace import Leaf
from pytest_modelviz.views.cam_map.capture import CamMapView
from pytest_modelviz.views.combined.capture import CombinedCapture
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView
from pytest_modelviz.views.model_graph.capture import ModelGraphView
from pytest_modelviz.views.model_summary.capture import ModelSummaryView
from pytest_modelviz.views.model_summary.compare import compare_trees
from pytest_modelviz.views.saliency_map.capture import SaliencyMapView

VIEWS = {
    "model_summary": lambda model, data: ModelSummaryView(model, input_data=data),
    "feature_maps": FeatureMapsView,
    "saliency_map": lambda model, data: SaliencyMapView(model, data, target=0),
    "model_graph": ModelGraphView,
    "modelviz": lambda model, data: CombinedCapture(model, data, cam=None).summary,
}


def values():
    return torch.arange(8.0).view(2, 4) / 8


class Callable_:
    """As PyTorch Geometric's Data: an object that can be called."""

    def __init__(self, x):
        self.x, self.kind = x, "graph"

    def __call__(self, *keys):
        return iter(keys)


class Slots:
    __slots__ = ("__private", "x")

    def __init__(self, x):
        self.x, self.__private = x, 1


class Derived(Slots):
    __slots__ = ("other",)


class Property:
    def __init__(self, x):
        self._held = {"x": x}

    @property
    def x(self):
        return self._held["x"]


class Holder:
    def __init__(self, x):
        self.inner, self.labels, self.numbers = Callable_(x), ["a", None], np.ones(3)

    @property
    def x(self):
        return self.inner.x


class Frames(collections.UserList):
    @property
    def x(self):
        return self.data[0]


@dataclass
class Record:
    x: torch.Tensor
    name: str = "record"


@dataclass(frozen=True)
class Frozen:
    x: torch.Tensor


class Named(NamedTuple):
    x: torch.Tensor
    rest: int = 3


class Deque(collections.deque):
    @property
    def x(self):
        return self[0]


def graph(x):
    from torch_geometric.data import Data

    return Data(x=x, edge_index=torch.tensor([[0, 1], [1, 0]]))


def batch_of_graphs(x):
    from torch_geometric.data import Batch

    return Batch.from_data_list([graph(x)])


class Mixed:
    """What PyTorch Geometric's HeteroData is like: tables of tables."""

    def __init__(self, x):
        self._tables = {"paper": collections.UserDict(x=x)}

    def __call__(self):
        return None

    @property
    def x(self):
        return self._tables["paper"]["x"]


def tensordict(x):
    from tensordict import TensorDict

    return TensorDict({"x": x, "more": {"y": torch.ones(2)}}, batch_size=[2])


def tensorclass(x):
    from tensordict import tensorclass

    @tensorclass
    class Observation:
        x: torch.Tensor
        name: str

    return Observation(x=x, name="first", batch_size=[2])


def attrs_class(x):
    attr = pytest.importorskip("attr")  # comes with hypothesis

    @attr.s(slots=True, auto_attribs=True)
    class Attrs:
        x: torch.Tensor

    return Attrs(x)


KINDS = {
    "callable": Callable_,
    "slots": Slots,
    "derived": Derived,
    "property": Property,
    "holder": Holder,
    "list": lambda x: Frames([x]),
    "deque": lambda x: Deque([x]),
    "dataclass": Record,
    "frozen": Frozen,
    "named": Named,
    "graph": graph,
    "graphs": batch_of_graphs,
    "tables": Mixed,
    "attrs": attrs_class,
    "tensordict": tensordict,
    "tensorclass": tensorclass,
}


def x_of(data):
    return data["x"] if hasattr(type(data), "batch_size") and not hasattr(type(data), "x") else data.x


class Reads(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, data):
        return self.linear(x_of(data))


class Writes(Reads):
    def forward(self, data):
        x_of(data).add_(1)
        if hasattr(data, "__dict__") and isinstance(data, (Callable_, Record)):
            data.x = x_of(data) * 2
        return super().forward(data)


@pytest.mark.parametrize("kind", KINDS)
def test_tensors_of_objects_are_compared(kind):
    model = Reads()
    view, same = (FeatureMapsView(model, (KINDS[kind](values()),)) for _ in range(2))
    assert any(torch.equal(tensor, values()) for tensor in tensors(KINDS[kind](values())))
    assert view.compare(view.capture(), same.capture(), Tolerances()).matched
    other = FeatureMapsView(model, (KINDS[kind](values() + 0.1),))
    verdict = view.compare(view.capture(), other.capture(), Tolerances())
    assert (verdict.matched, verdict.cause) == (False, "input")


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("kind", KINDS)
def test_what_a_model_does_to_an_object_stays_with_the_model(kind, view):
    data = KINDS[kind](values())
    inner = x_of(data)
    VIEWS[view](Writes(), (data,)).capture()
    assert x_of(data) is inner or kind in ("tensordict", "tensorclass")
    assert torch.equal(x_of(data), values())
    assert not x_of(data).requires_grad


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_saliency_looks_into_objects(kind):
    model = Reads()
    seen = SaliencyMapView(model, (KINDS[kind](values()),), target=1).capture().result
    assert seen.gradient == pytest.approx(model.linear.weight[1].detach().expand(2, 4).numpy())


def test_a_model_of_tensordicts():
    from tensordict import TensorDict
    from tensordict.nn import TensorDictModule

    model = TensorDictModule(nn.Linear(4, 2), ["obs"], ["action"])
    data = TensorDict({"obs": torch.ones(3, 4)}, batch_size=[3])
    capture = FeatureMapsView(model, data).capture()
    assert list(data.keys()) == ["obs"]  # the model writes its result into what it is given
    assert {*capture.result.trace.calls[0].outputs} == {".action", ".obs", "tensordict.action, as the call leaves it"}
    assert "tensordict.obs" in capture.result.trace.calls[0].inputs
    assert ModelSummaryView(model, data).capture().result.layers["module"].outputs == "float32[3, 2]"
    assert ModelGraphView(model, data).capture().result.operators
    seen = SaliencyMapView(model, data, target=lambda output: output["action"][0, 1]).capture().result
    assert seen.gradient[0] == pytest.approx(model.module.weight[1].detach().numpy())


def test_a_graph_network():
    from torch_geometric.nn import GCNConv

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = GCNConv(4, 3)

        def forward(self, data):
            data.x = self.conv(data.x, data.edge_index)
            return data.x

    data = graph(values())
    capture = FeatureMapsView(Net(), (data,)).capture()
    assert "data._store.x" in capture.result.trace.calls[0].inputs
    assert torch.equal(data.x, values())
    other = graph(values())
    other.edge_index = torch.tensor([[0, 0], [1, 1]])
    view = FeatureMapsView(Net(), (other,))
    assert view.compare(capture, view.capture(), Tolerances()).cause == "input"


def test_a_huggingface_batch_is_keyword_arguments():
    from transformers import BatchEncoding

    class Keywords(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 3)

        def forward(self, *, pixel_values, flag=None):
            return self.linear(pixel_values)

    data = BatchEncoding({"pixel_values": values()})
    seen = SaliencyMapView(Keywords(), data, target=1).capture()
    assert seen.result.gradient.shape == (2, 4)
    assert list(data.keys()) == ["pixel_values"]


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("where", ["plain", "tuple", "object"])
@pytest.mark.parametrize("view", VIEWS)
def test_what_a_model_does_to_a_tensor_itself_does_not_reach_the_caller(view, where, grad):
    class Touches(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 3)

        def forward(self, data, other=None):
            x = data if isinstance(data, torch.Tensor) else data.x
            if x.is_leaf:
                x.requires_grad_()
            out = self.linear(x)
            if other is not None:
                other.mul_(self.linear.bias.sum())  # from here on it requires a gradient
            return out

    x, other = values().requires_grad_(grad), torch.ones(3)
    if grad:
        x.grad = torch.ones_like(x)
    given = {"plain": x, "tuple": (x, other), "object": (Record(x), other)}[where]
    VIEWS[view](Touches(), given).capture()
    assert x.requires_grad is grad
    assert (x.grad is None) is not grad
    assert not grad or torch.equal(x.grad, torch.ones_like(x))
    assert not other.requires_grad
    assert other.grad_fn is None
    assert torch.equal(other, torch.ones(3))
    assert torch.equal(x, values())


def test_a_model_that_replaces_the_data_of_its_input():
    class Replaces(nn.Module):
        def forward(self, x):
            x.data = torch.zeros(1)
            return x + 1

    x = values()
    ModelSummaryView(Replaces(), input_data=x).capture()
    assert torch.equal(x, values())


def test_a_module_inside_of_an_object_is_observed_as_before():
    class Strategy:
        def __init__(self, layer, x):
            self.layer, self.x = layer, x

        def __call__(self):
            return self.layer(self.x)

    class Calls(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 3)

        def forward(self, strategy):
            return strategy()

    model = Calls()
    capture = FeatureMapsView(model, (Strategy(model.linear, values()),)).capture()
    assert [call.layer for call in capture.result.trace.calls] == ["", "linear"]  # no copy of it was called


def test_arguments_that_are_bound_are_looked_into():
    function = functools.partial(torch.add, values(), alpha=torch.ones(1))
    assert [path for path, _ in leaves(function, "f")] == ["f", "f[0]", "f.alpha"]
    assert list(leaves(functools.partial(torch.add, 2), "f")) == [("f", "<partial>")]
    assert list(leaves(torch.relu, "f")) == [("f", "<builtin_function_or_method>")]


def test_what_can_be_called_and_holds_no_tensor_is_named_as_before():
    class Activation:
        def __init__(self):
            self.calls = 3

        def __call__(self, x):
            return x

    assert list(leaves(Activation(), "act")) == [("act", "<Activation>")]
    assert list(leaves(range(3), "r")) == [("r", "<range>")]
    assert list(leaves({"a": 1}.values(), "r")) == [("r", "<dict_values>")]


def record(value):
    return TensorRecord("float32", (1,), np.float32([value]))


def test_a_baseline_leaves_nothing_out_of_an_object():
    tensors_ = {"t": record(1.0)}
    shallow = {"data": Leaf(literal="<Data>"), "y": Leaf(tensor="t")}
    whole = {"data": Leaf(literal="<Data>"), "data.x": Leaf(tensor="t"), "y": Leaf(tensor="t")}

    def errors(one, other):
        return leaf_errors(one, other, tensors_, tensors_, sources={}, tolerances=Tolerances())

    assert all(error == 0 for error, _ in errors(whole, whole).values())
    assert errors(shallow, whole) == errors(whole, shallow) == {"data.x": (float("inf"), 0.0)}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("data: <Data>", "data: <Data>, data.x: float32[2, 4]"),
        ("<Data>", "<Data>, .x: float32[2, 4], [0]: int64[2]"),
        ("data: <Data>, data.x: float32[2]", "data: <Data>, data.x: float32[2, 4]"),
        ("data: <Data>, data.x: float32[2, 4]", "data: <Data>"),
    ],
)
def test_summaries_that_look_into_an_object_to_other_depths_differ(old, new):
    before, after = ({"layers": {"": {"class": "Net", "in": text, "calls": 1}}} for text in (old, new))
    assert not compare_trees(before, after).matched


def test_a_tensor_is_replaced_and_the_rest_left_alone():
    data = (Holder(values()), {"a": [Record(values())]})
    for tensor, put in tensors_to_replace(data):
        assert torch.equal(tensor, values())
        made = put(torch.zeros(1))
        assert [torch.equal(one, torch.zeros(1)) for one, _ in tensors_to_replace(made)].count(True) == 1
    assert all(torch.equal(tensor, values()) for tensor, _ in tensors_to_replace(data))


def test_an_object_that_holds_itself():
    data = Callable_(values())
    data.again = {"and": [data]}
    seen = SaliencyMapView(Reads(), (data,), target=1).capture().result
    assert seen.gradient.any()
    assert FeatureMapsView(Reads(), (data,)).capture().result.output.shape == (2, 3)


def test_a_tensor_that_cannot_be_exchanged_is_an_error_that_says_so():
    from pytest_modelviz.errors import ModelvizError

    with pytest.raises(ModelvizError, match="this one has one that cannot be replaced"):
        SaliencyMapView(Reads(), (functools.partial(torch.add, values()),)).capture()


@pytest.mark.parametrize("layout", [torch.jagged, torch.strided, "sparse"])
@pytest.mark.parametrize("view", ["model_summary", "feature_maps"])
def test_nested_and_sparse_inputs(view, layout):
    class Sums(nn.Module):
        def forward(self, x):
            if x.layout == torch.jagged:
                return x.values().sum()
            return (x.to_dense() if x.is_sparse else x.to_padded_tensor(0)).sum()

    pieces = [torch.ones(2, 4), torch.ones(3, 4)]
    data = torch.eye(4).to_sparse() if layout == "sparse" else torch.nested.nested_tensor(pieces, layout=layout)
    checked = VIEWS[view](Sums(), (data,))
    assert checked.compare(checked.capture(), checked.capture(), Tolerances()).matched


@pytest.mark.parametrize("method", ["scorecam", "ablationcam", "shapleycam", "fullgrad"])
@pytest.mark.parametrize("kind", ["weight_norm", "spectral_norm"])
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_weights_that_are_computed_anew_before_each_call_can_be_copied(kind, method):
    model = SmallNet()
    getattr(nn.utils, kind)(model.conv1)
    model.eval()(images())
    with pytest.raises(RuntimeError, match="deepcopy"):
        copy.deepcopy(model)
    before = model.conv1.weight
    view = CamMapView(model, images(), target=1, method=method)
    assert view.capture().result.raw.any()
    assert view.compare(view.capture(), view.capture(), Tolerances()).matched
    assert model.conv1.weight is before
