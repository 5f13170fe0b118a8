"""Models and modules around which another module was put: one finding says so, and only what differs beside that."""

import pytest
import torch
from torch import nn

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.records.findings import ModuleFinding
from pytest_modelviz.reports.sentences import sentences
from pytest_modelviz.views.model_summary.capture import ModelSummaryView
from pytest_modelviz.views.model_summary.compare import compare_trees
from pytest_modelviz.views.model_summary.findings import WrapFinding
from pytest_modelviz.views.model_summary.pictures import diff_lines


class Around(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)


class Adapted(nn.Module):
    """As peft wraps a layer."""

    def __init__(self, base_layer):
        super().__init__()
        self.base_layer, self.lora = base_layer, nn.Linear(4, 4)

    def forward(self, x):
        return self.base_layer(x) + self.lora(x)


def net(make=lambda layer: layer):
    model = nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), make(nn.Linear(4, 4)), nn.Linear(4, 4))
    model[0][0].weight = model[2].weight  # a tie
    return model


def verdict_on(before, after):
    views = [ModelSummaryView(model, input_data=torch.rand(2, 4)) for model in (before, after)]
    return views[0].compare(*(view.capture() for view in views), Tolerances())


@pytest.mark.parametrize("data", [True, False], ids=["pass", "no pass"])
@pytest.mark.parametrize(
    ("change", "text"),
    [
        ("added", "Around was put around the model, which is now at inner: its 6 modules are built as before"),
        ("removed", "Around was taken from around the model, which was at inner: its 6 modules are built as before"),
    ],
)
def test_a_model_that_is_wrapped_or_no_longer(change, text, data):
    models = (net(), Around(net())) if change == "added" else (Around(net()), net())
    options = {"input_data": torch.rand(2, 4)} if data else {}
    captures = [ModelSummaryView(model, **options).capture() for model in models]
    verdict = ModelSummaryView(models[0]).compare(*captures, Tolerances())
    assert verdict.findings == (WrapFinding("", change, "inner", "Around", 6),)
    assert (verdict.matched, verdict.first.layer, verdict.cause) == (False, "", "architecture")
    assert (verdict.drifted, verdict.compared) == (1, 6 if change == "added" else 7)
    assert sentences(verdict.findings) == [text]


def test_what_else_is_in_a_wrapper_is_new():
    verdict = verdict_on(net(), net(Adapted))
    assert verdict.findings == (
        WrapFinding("1", "added", "1.base_layer", "Adapted", 1),
        ModuleFinding("1.lora", "added", "Linear"),
    )
    assert (
        sentences(verdict.findings)[0]
        == "Adapted was put around 1, which is now at 1.base_layer: it is built as before"
    )


def test_many_wrappers_share_a_sentence():
    def layers(make):
        return nn.Sequential(*(make(nn.Linear(4, 4)) for _ in range(5)))

    findings = [f for f in verdict_on(layers(lambda layer: layer), layers(Around)).findings if f.layer]
    assert sentences(findings) == ["Around was put around 5 modules, called inner inside it: 0, 1, 2 and 2 more"]


def test_what_is_built_otherwise_is_not_the_same_model():
    other = net()
    other[0][1] = nn.GELU()
    findings = verdict_on(net(), Around(other)).findings
    assert not any(isinstance(finding, WrapFinding) for finding in findings)
    assert any(isinstance(finding, ModuleFinding) for finding in findings)


def test_what_a_wrapped_model_is_given_is_compared():
    rows = {"": {"class": "Net", "in": "x: f[1]"}, "a": {"class": "A", "calls": 1}}
    wrapped = {"": {"class": "W"}, "net": {"class": "Net", "in": "x: f[2]"}, "net.a": {"class": "A", "calls": 2}}
    verdict = compare_trees({"layers": rows}, {"layers": wrapped})
    assert [(f.layer, getattr(f, "name", "")) for f in verdict.findings] == [("", ""), ("", "in"), ("a", "calls")]


def test_two_modules_never_have_one_name():
    rows = {"": {"class": "Net"}, "a": {"class": "A"}}
    wrapped = {"": {"class": "W"}, "net": {"class": "Net"}, "net.a": {"class": "A"}, "a": {"class": "B"}}
    verdict = compare_trees({"layers": rows}, {"layers": wrapped})
    assert not verdict.matched
    assert not any(isinstance(finding, WrapFinding) for finding in verdict.findings)


def test_the_picture_shows_the_wrapper_and_what_differs_beside_it():
    captures = [ModelSummaryView(model).capture() for model in (net(), net(Adapted))]
    verdict = ModelSummaryView(net()).compare(*captures, Tolerances())
    rows = [capture.facts["layers"] for capture in captures]
    changed = [line for line in diff_lines(*rows, verdict) if line[0] != " "]
    assert changed == [("+", "1: Adapted()"), ("+", "1.lora: Linear(in_features=4, out_features=4, bias=True)")]
    changed = [line for line in diff_lines(*reversed(rows)) if line[0] != " "]
    assert changed == [("-", "1: Adapted()"), ("-", "1.lora: Linear(in_features=4, out_features=4, bias=True)")]
