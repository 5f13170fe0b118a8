"""Who is blamed where the change hides: in shared objects, in lent weights, in ties, in state that is no weight."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
from torch import nn

from pytest_modelviz.compare.stored import stored_trace
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.records.check_result import CheckResult, Status
from pytest_modelviz.records.findings import AttributeFinding, Role, UncomparedFinding, WeightFinding
from pytest_modelviz.records.structure import LENT, REWRITTEN, UNSAVED, ModuleRecord
from pytest_modelviz.records.trace_arrays import pack_trace
from pytest_modelviz.reports.terminal import explain
from pytest_modelviz.storage.formats import encode_json
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView
from pytest_modelviz.views.model_graph.capture import ModelGraphView
from pytest_modelviz.views.model_summary.capture import ModelSummaryView

SUMMARY = "model_summary"
VIEWS = {
    SUMMARY: lambda model, data: ModelSummaryView(model, input_data=data),
    "model_graph": ModelGraphView,
    "feature_maps": FeatureMapsView,
}


def compared(model, other, data, view="feature_maps"):
    before = VIEWS[view](model, data)
    return before.compare(before.capture(), VIEWS[view](other, data).capture(), Tolerances())


def stories(model, other, data):
    """(layer, class, cause) by view, of those that see a difference."""
    verdicts = {name: compared(model, other, data, name) for name in VIEWS}
    return {n: (v.first.layer, v.first.class_name, v.cause) for n, v in verdicts.items() if not v.matched}


def report(verdict):
    result = CheckResult(
        nodeid="t.py::test",
        view="check",
        name="check",
        status=Status.DRIFT,
        baseline="baselines/x.json",
        candidate="c.json",
    )
    return explain(result.with_verdict(verdict), verdict.findings)


class Config:
    def __init__(self, scale: float) -> None:
        self.scale, self.width = scale, 4


class Scales(nn.Module):
    """It holds the same object as others, under a name of its own, and reads it in its forward."""

    def __init__(self, config: Config, reads: bool) -> None:
        super().__init__()
        self.own, self.reads = config, reads

    def forward(self, x):
        return x * self.own.scale if self.reads else x + 1


class Configured(nn.Module):
    def __init__(self, scale: float) -> None:
        super().__init__()
        self.config = Config(scale)
        self.first, self.second = Scales(self.config, False), Scales(self.config, True)

    def forward(self, x):
        return self.second(self.first(x))


def vectors():
    return torch.rand(3, 4, generator=torch.Generator().manual_seed(0))


def test_a_value_of_a_shared_object_is_evidence_about_the_module_that_read_it():
    verdict = compared(Configured(2.0), Configured(3.0), vectors())
    assert (verdict.first.layer, verdict.first.class_name, verdict.cause) == ("second", "Scales", "architecture")
    found = [finding for finding in verdict.findings if isinstance(finding, AttributeFinding)]
    assert found == [AttributeFinding("", "config.scale", "2.0", "3.0")]
    assert "(model) config.scale: 2.0 -> 3.0" in report(verdict)


def test_a_shared_object_that_only_got_another_attribute_is_no_evidence_and_shows_no_hash():
    other = Configured(2.0)
    other.config.version_two = True
    other.second.reads = False
    verdict = compared(Configured(2.0), other, vectors())
    found = [f for f in verdict.findings if isinstance(f, AttributeFinding) and f.role is Role.EVIDENCE]
    assert [(finding.layer, finding.name) for finding in found] == [("second", "reads")]
    assert "<Config" not in report(verdict)


class Inner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        return self.b(self.a(x))


class Lends(nn.Module):
    """Its inner module runs with its own weights, with scaled ones, or with some that are kept elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.relu = Inner(), nn.ReLU()
        self.fast = nn.Parameter(torch.full((4, 4), 0.5))

    def forward(self, x):
        return self.inner(self.relu(x))


def scaled_by(factor):
    def forward(self, x):
        weights = {"b.weight": self.inner.b.weight * factor}
        return torch.func.functional_call(self.inner, weights, (self.relu(x),))

    return forward


def fast(self, x):
    return torch.func.functional_call(self.inner, {"b.weight": self.fast}, (self.relu(x),))


def lends(forward=Lends.forward, factor=1.0):
    torch.manual_seed(0)
    made = type("Lends", (Lends,), {"forward": forward})()
    made.fast.data *= factor
    return nn.Sequential(made, nn.Linear(4, 2))


@pytest.mark.parametrize(
    ("before", "after", "cause"),
    [
        (lends, lambda: lends(scaled_by(2)), "computation"),
        (lambda: lends(scaled_by(2)), lends, "computation"),
        (lambda: lends(scaled_by(2)), lambda: lends(scaled_by(3)), "computation"),
        (lambda: lends(fast), lambda: lends(fast, 2.0), "weights"),
    ],
)
def test_weights_that_are_lent_for_a_call_are_the_callers_doing(before, after, cause):
    verdict = compared(before(), after(), vectors())
    assert (verdict.first.layer, verdict.first.class_name, verdict.cause) == ("0", "Lends", cause)
    assert "then 0.inner receives a different input (" in report(verdict)
    assert f"{LENT})" in report(verdict)


def without_lent(row):
    return "; ".join(text for text in row.get("in", "").split("; ") if f"{LENT}: " not in text)


def test_lent_weights_change_nothing_for_an_earlier_baseline_or_a_summary():
    view = FeatureMapsView(lends(scaled_by(2)), vectors())
    capture = view.capture()
    trace = stored_trace(dict(capture.arrays))
    assert [path for call in trace.calls for path in call.inputs if path.endswith(LENT)] == [f"b.weight{LENT}"]
    for call in trace.calls:
        call.inputs = {path: leaf for path, leaf in call.inputs.items() if not path.endswith(LENT)}
    rows = {name: {**row, "in": without_lent(row)} for name, row in capture.facts["layers"].items()}
    facts, arrays = {**capture.facts, "layers": rows}, {**capture.arrays, **pack_trace(trace)}
    verdict = view.compare(dataclasses.replace(capture, facts=facts, arrays=arrays), capture, Tolerances())
    assert verdict.matched
    assert [(type(finding), finding.layer) for finding in verdict.findings] == [(UncomparedFinding, "0.inner")]
    assert compared(lends(), lends(scaled_by(1)), vectors()).matched
    assert compared(lends(), lends(scaled_by(1)), vectors(), SUMMARY).matched


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(9, 4), nn.Linear(4, 9, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, x):
        return self.head(self.embedding(x))


@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_a_lost_tie_is_one_story_whatever_the_weight_became(factor):
    torch.manual_seed(0)
    model = Tied()
    other = copy.deepcopy(model)
    other.head.weight = nn.Parameter(factor * model.head.weight.detach())
    for pair in ((model, other), (other, model)):
        told = stories(*pair, torch.tensor([[1, 2, 3]]))
        assert set(told.values()) == {("", "Tied", "architecture")}
        assert set(told) == set(VIEWS)


class Rope(nn.Module):
    """It writes a buffer that nobody saves, in one of several ways, before it reads it."""

    def __init__(self, how: str, factor: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("table", torch.ones(4), persistent=False)
        self.how = how
        self.linear = nn.Linear(4, 4)
        self.linear.weight.data.fill_(0.5 * factor)
        self.linear.bias.data.zero_()

    def forward(self, x):
        size = float(len(x))
        if self.how == "registered":
            self.register_buffer("table", torch.full((4,), size), persistent=False)
        elif self.how == "assigned":
            self.table = torch.full((len(x),), size)
            return self.linear(x * self.table[:, None])
        elif self.how == "copied":
            self.table.copy_(torch.full((4,), size))
        elif self.how == "in part":
            self.table[:] = size
        elif self.how == "data":
            self.table.data = torch.full((4,), size)
        elif self.how == "counted":
            self.table += 1
            return self.linear(x)
        return self.linear(x * self.table)


@pytest.mark.parametrize("how", ["registered", "assigned", "copied", "in part", "data", "counted"])
def test_a_buffer_that_every_pass_writes_and_nobody_saves_is_no_weight(how):
    model, used, broken = Rope(how), Rope(how), Rope(how, 2.0)
    with torch.no_grad():
        for one in (used, broken):
            one(torch.ones(7, 4))
    for view in ("feature_maps", SUMMARY):
        assert compared(model, used, vectors(), view).matched
        assert compared(used, model, vectors(), view).matched
    assert compared(used, broken, vectors()).first.layer == "linear"
    verdict = compared(model, broken, vectors())
    assert (verdict.first.layer, verdict.cause) == ("linear", "weights")
    assert "table" not in report(verdict).split("also")[0]


class Moving(nn.Module):
    """It reads a buffer that nobody saves, and then writes it; its `power` is what its code does."""

    def __init__(self, gain=1.0, power=1, weight=0.5):
        super().__init__()
        self.register_buffer("gain", torch.tensor(gain), persistent=False)
        self.linear = nn.Linear(4, 4)
        self.linear.weight.data.fill_(weight)
        self.linear.bias.data.zero_()
        self._forward_power = lambda x: x**power

    def forward(self, x):
        y = self._forward_power(self.linear(x)) * self.gain
        self.gain = self.gain * 0.9
        return y


def test_a_buffer_that_is_read_before_the_pass_writes_it_is_the_last_evidence():
    verdict = compared(Moving(), Moving(1.5), vectors())
    assert (verdict.first.layer, verdict.cause) == ("", "weights")
    assert [(f.role, f.name) for f in verdict.findings if isinstance(f, WeightFinding)] == [(Role.EVIDENCE, "gain")]
    assert "its own code computes something else" not in report(verdict)
    verdict = compared(Moving(), Moving(power=2), vectors())
    assert (verdict.first.layer, verdict.cause) == ("", "computation")
    verdict = compared(Moving(), Moving(1.5, weight=0.7), vectors())
    assert (verdict.first.layer, verdict.cause) == ("linear", "weights")
    assert [(f.role, f.name) for f in verdict.findings if isinstance(f, WeightFinding)] == [
        (Role.EVIDENCE, "weight"),
        (Role.ALSO, "gain"),
    ]


def test_a_buffer_that_is_only_read_is_a_weight_and_so_is_what_a_baseline_calls_state():
    def holding(value, persistent):
        module = nn.Sequential(nn.Identity())
        module[0].register_buffer("scale", torch.full((4,), value), persistent=persistent)
        return module

    for persistent in (True, False):
        model, other = holding(1.0, persistent), holding(2.0, persistent)
        assert compared(model, other, vectors()).cause == "weights"
    view, actual = (FeatureMapsView(holding(value, True), vectors()) for value in (1.0, 2.0))
    capture = view.capture()
    trace = stored_trace(dict(capture.arrays))
    record = trace.modules["0"]
    marks = {UNSAVED: "scale", REWRITTEN: "scale"}  # a file that says so hides no weight
    trace.modules["0"] = ModuleRecord(record.class_name, {**record.config, **marks}, record.weights)
    forged = dataclasses.replace(capture, arrays={**capture.arrays, **pack_trace(trace)})
    assert view.compare(forged, actual.capture(), Tolerances()).cause == "weights"


class Masked(nn.Module):
    """It holds tables of integers and booleans; what reads them is not run here."""

    def __init__(self, table=(0, 1, 2, 3), mask=(True, True), *, count=0, ids=4, persistent=True):
        super().__init__()
        self.linear = nn.Linear(4, 4)
        nn.init.ones_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        self.norm = nn.BatchNorm1d(4)
        self.norm.num_batches_tracked += count
        self.register_buffer("table", torch.tensor(table), persistent=persistent)
        self.register_buffer("mask", torch.tensor(mask), persistent=persistent)
        self.register_buffer("position_ids", torch.arange(ids), persistent=False)
        self.cache = torch.tensor(table)

    def forward(self, x):
        self.position_ids = torch.arange(len(x))
        return self.norm(self.linear(x))


@pytest.mark.parametrize("persistent", [True, False])
@pytest.mark.parametrize(
    ("changed", "names"),
    [
        ({"table": (0, -7, -14, -21)}, ["table"]),
        ({"table": (0, 1, 2, 4)}, ["table"]),  # by one, in one position
        ({"mask": (True, False)}, ["mask"]),
        ({"table": (0, 1, 2, 9), "mask": (False, False), "count": 3}, ["mask", "table"]),
    ],
)
@pytest.mark.parametrize("atol", [None, 100.0])
def test_integers_and_booleans_that_no_output_shows_are_weights(changed, names, persistent, atol):
    capture = FeatureMapsView(Masked(persistent=persistent), vectors()).capture()
    view = FeatureMapsView(Masked(**changed, persistent=persistent), vectors())
    verdict = view.compare(capture, view.capture(), Tolerances(rtol=atol, atol=atol))
    assert (verdict.matched, verdict.first.layer, verdict.cause, verdict.tolerance) == (False, "", "weights", 0.0)
    assert sorted(f.name for f in verdict.findings if isinstance(f, WeightFinding)) == names


def test_counters_and_caches_are_no_weights():
    model, used = Masked(), Masked(count=7, ids=9)
    used.cache = torch.tensor([9, 9, 9, 9])
    for one, other in ((model, used), (used, model)):
        assert compared(one, other, vectors()).matched


def test_an_earlier_baseline_of_such_a_buffer_matches_too():
    used = Rope("copied")
    with torch.no_grad():
        used(torch.ones(7, 4))
    view = FeatureMapsView(used, vectors())
    capture = view.capture()
    trace = stored_trace(dict(capture.arrays))
    for name, record in trace.modules.items():
        config = {key: text for key, text in record.config.items() if key not in (UNSAVED, REWRITTEN)}
        trace.modules[name] = ModuleRecord(record.class_name, config, record.weights)
    earlier = dataclasses.replace(capture, arrays={**capture.arrays, **pack_trace(trace)})
    verdict = view.compare(earlier, FeatureMapsView(Rope("copied"), vectors()).capture(), Tolerances())
    assert verdict.matched


class Sliced(nn.Module):
    """Its layers run in an order that is neither that of their names nor that of their registration."""

    def __init__(self, eps: float) -> None:
        super().__init__()
        for number in range(10):
            self.add_module(f"norm{number}", nn.BatchNorm1d(4, eps=eps))

    def forward(self, x):
        for number in (7, 3, 9, 0, 1, 2, 4, 5, 6, 8):
            x = getattr(self, f"norm{number}")(x)
        return x


def test_of_ten_layers_that_changed_alike_the_first_to_run_is_named():
    told = stories(Sliced(1e-5), Sliced(1e-1), vectors())
    assert set(told.values()) == {("norm7", "BatchNorm1d", "architecture")}
    assert set(told) == set(VIEWS)


def test_a_parameter_of_forward_with_another_name_is_no_other_input():
    class Renamed(Inner):
        def forward(self, something):
            return super().forward(something)

    torch.manual_seed(0)
    model = Inner()
    other = copy.deepcopy(model)
    Renamed.__name__, other.__class__ = "Inner", Renamed
    for view in VIEWS:
        assert compared(model, other, vectors(), view).matched


def test_the_spread_counts_results_that_are_gone_and_not_names():
    """Batch norms folded into convolutions, which then have other names: what they return is what the norms did."""
    torch.manual_seed(0)
    layers = [layer for _ in range(4) for layer in (nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU())]
    model = nn.Sequential(*layers).eval()
    for norm in model[1::3]:
        norm.running_mean += 0.3
    fused = nn.Sequential()
    for at in range(4):
        conv, norm, relu = model[3 * at : 3 * at + 3]
        fused.add_module(f"fused{at}", nn.utils.fusion.fuse_conv_bn_eval(conv, norm))
        fused.add_module(f"relu{at}", relu)
    image = torch.rand(1, 3, 8, 8)
    verdict = compared(model, fused, image)
    assert (verdict.first.layer, verdict.cause, verdict.compared) == ("0", "weights", 13)
    assert verdict.drifted == 4  # what the convolutions gave is nowhere to be found now, all else is
    assert "spread    4 of 13 layers" in report(verdict)


def test_a_call_that_is_no_longer_made_has_drifted_though_its_result_is_still_there():
    class Fewer(Inner):
        def forward(self, x):
            return self.a(x)

    torch.manual_seed(0)
    model = Inner()
    model.b.weight.data, model.b.bias.data = torch.eye(4), torch.zeros(4)
    other = copy.deepcopy(model)
    Fewer.__name__, other.__class__ = "Inner", Fewer
    verdict = compared(model, other, vectors())
    assert (verdict.first.layer, verdict.cause, verdict.drifted) == ("", "computation", 1)


def test_the_order_of_calls_costs_few_bytes():
    model = nn.Sequential(*(Inner() for _ in range(30)))
    capture = ModelSummaryView(model, input_data=vectors()).capture()
    rows = capture.facts["layers"]
    assert [name for name in rows if "runs" in rows[name]] == [""]  # all others call their children, one by one
    sizes = []
    for keys in ((), ("runs", "attributes", "state")):
        layers = {name: {key: value for key, value in row.items() if key not in keys} for name, row in rows.items()}
        facts = {**capture.facts, "layers": layers}
        sizes.append(len(encode_json(dataclasses.replace(capture, facts=facts), nodeid="t", name="n")))
    assert sizes[0] < 1.05 * sizes[1]


@pytest.mark.parametrize(
    "nested", [lambda x: [x, x + 1], lambda x: {"a": x}, lambda x: x], ids=["list", "dict", "tensor"]
)
def test_what_is_inside_of_an_argument_is_found_behind_a_star_too(nested):
    """A decorator that takes `*args` changes what the argument is called, not what it is."""

    class Adds(nn.Module):
        def forward(self, given):
            parts = (
                [given]
                if isinstance(given, torch.Tensor)
                else [*(given.values() if isinstance(given, dict) else given)]
            )
            return sum(parts)

    class Decorated(Adds):
        factor = 1.0

        def forward(self, *args):
            return super().forward(*args) * self.factor

    Decorated.__name__ = Decorated.__qualname__ = "Adds"

    class Net(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            return self.inner(nested(x)) * 2

    assert compared(Net(Adds()), Net(Decorated()), vectors()).matched
    changed = Decorated()
    changed.factor = 1.01
    verdict = compared(Net(Adds()), Net(changed), vectors())
    assert (verdict.first.layer, verdict.cause) == ("inner", "computation")
