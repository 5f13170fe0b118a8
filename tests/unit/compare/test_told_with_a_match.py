"""What a baseline says and no comparison decides by is told where it is not so, with the match."""

import pytest
import torch
from forgery_subjects import image, net
from forging_by_hand import matches, reread

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.records.check_result import CheckResult, Status
from pytest_modelviz.reports.terminal import explain
from pytest_modelviz.run.comparison import Comparison
from pytest_modelviz.run.settings import Mode, Settings
from pytest_modelviz.views.cam_map.capture import CamMapView
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView
from pytest_modelviz.views.kernel_maps.capture import KernelMapsView
from pytest_modelviz.views.model_graph.capture import ModelGraphView
from pytest_modelviz.views.model_summary.capture import ModelSummaryView
from pytest_modelviz.views.saliency_map.capture import SaliencyMapView


def told(verdict):
    """The notes in the message about a match."""
    assert verdict.matched
    result = CheckResult(nodeid="t.py::t", view="view", name="view", status=Status.MATCH, baseline="b")
    return explain(result, verdict.findings)


def rewritten(view, **facts):
    capture = view.capture()
    return reread(view, capture, lambda document: document.update(facts)), capture


EXPLANATIONS = {
    "cam_map": lambda: CamMapView(net(), image(), target=1),
    "saliency_map": lambda: SaliencyMapView(net(), image(), target=1),
}


@pytest.mark.parametrize("predicted", [[77], "something else", None, True])
@pytest.mark.parametrize("view", EXPLANATIONS.values(), ids=EXPLANATIONS)
def test_another_prediction(view, predicted):
    view = view()
    baseline, actual = rewritten(view, predicted=predicted)
    assert f"note      predicted: {predicted} -> " in told(view.compare(baseline, actual, Tolerances()))
    assert told(view.compare(actual, actual, Tolerances())) == ""


@pytest.mark.parametrize("peak", ["something else", "nan", "inf", "-inf", None, True, [77], {}])
def test_a_peak_that_is_no_number(peak):
    view = EXPLANATIONS["saliency_map"]()
    assert not matches(view, *rewritten(view, peak=peak))


@pytest.mark.parametrize(("value", "word"), [(float("nan"), "nan"), (float("inf"), "inf")])
def test_a_peak_that_is_none_in_truth_is_readable(value, word):
    def function(x):
        return (x * torch.tensor([1.0, value])).sum().reshape(1)

    class Model(torch.nn.Module):
        def forward(self, x):
            return function(x)[None]

    view = SaliencyMapView(Model(), torch.ones(1, 2), target=0)
    baseline, actual = rewritten(view)
    assert actual.facts["peak"] == word
    assert matches(view, baseline, actual)
    for other in ({"nan", "inf"} - {word}, {0.006}):
        assert not matches(view, *rewritten(view, peak=other.pop()))


VIEWS = {
    **EXPLANATIONS,
    "feature_maps": lambda: FeatureMapsView(net(), image()),
    "kernel_maps": lambda: KernelMapsView(net()),
    "model_summary": lambda: ModelSummaryView(net()),
}


@pytest.mark.parametrize("name", ["Another", "", None, 77])
@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_another_model(view, name, tmp_path):
    view = view()
    baseline, actual = rewritten(view, model=name)
    comparison = Comparison(view, actual, Settings(Mode.COMPARE, tmp_path, "b", tmp_path))
    verdict = comparison.with_baseline(baseline)
    assert f"note      model: {name} -> {actual.facts['model']}" in told(verdict)
    assert not comparison.is_noise(baseline, verdict)
    assert told(comparison.with_baseline(actual)) == ""


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"class": "LayerNorm"}, "LayerNorm"),
        ({"tensors": {"weight": "float16[9]"}}, "float16[9]"),
        ({"config": {"extra_repr": "stride=(7, 7)"}}, "note      stem.0 stride: none -> (1, 1)"),
    ],
)
def test_modules_of_a_graph(changed, line):
    view = ModelGraphView(net(), image())
    actual = view.capture()
    baseline = reread(view, actual, lambda facts: facts["modules"]["stem.0"].update(changed))
    assert "note      " in told(view.compare(baseline, actual, Tolerances()))
    assert line in told(view.compare(baseline, actual, Tolerances()))


def test_ties_of_a_graph():
    view = ModelGraphView(net(), image())
    baseline, actual = rewritten(view, ties=[["a", "b"]])
    assert "note      " in told(view.compare(baseline, actual, Tolerances()))
    assert told(view.compare(actual, actual, Tolerances())) == ""
