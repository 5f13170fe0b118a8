"""No short way to a match is less strict than the long one: forged baselines of the very model that is compared.

MODELVIZ_FORGERIES sets how many are tried for each subject, as in `test_forgery`.
"""

import copy
import dataclasses
import json
import os
import random

import numpy as np
import pytest
import torch
from forgery_subjects import image, net
from forging import forged

from pytest_modelviz.compare import stored
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.views.base import measured
from pytest_modelviz.views.cam_map.capture import CamMapView
from pytest_modelviz.views.feature_maps import compare as of_maps
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView
from pytest_modelviz.views.model_summary import compare as of_summaries
from pytest_modelviz.views.model_summary.capture import ModelSummaryView
from pytest_modelviz.views.saliency_map.capture import SaliencyMapView

FORGERIES = int(os.environ.get("MODELVIZ_FORGERIES", "100"))


class Shared(torch.nn.Module):
    """Has a tie, a buffer that is not saved, and a module that is never called."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.spare = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4), torch.nn.ReLU()
        self.second.weight = self.first.weight
        self.register_buffer("cache", torch.ones(2), persistent=False)

    def forward(self, x):
        return self.second(self.first(x)) + self.cache.sum()


VIEWS = {
    "feature_maps": lambda: FeatureMapsView(net(), image()),
    "model_summary": lambda: ModelSummaryView(net(), input_data=image()),
    "model_summary without a pass": lambda: ModelSummaryView(net()),
    "model_summary with ties": lambda: ModelSummaryView(Shared().eval(), input_data=torch.ones(1, 4)),
    "cam_map": lambda: CamMapView(net(), image(), target_layer="block", target=1),
    "saliency_map": lambda: SaliencyMapView(net(), image(), target=1),
}


@pytest.fixture(scope="module", params=VIEWS)
def subject(request):
    """(its name, the view, what was recorded, what is captured now)"""
    torch.manual_seed(0)
    view = VIEWS[request.param]()
    return request.param, view, measured(view, view.capture()), view.capture()


@pytest.fixture
def without_short_ways(monkeypatch):
    """Run something with all short ways closed."""

    def run(action):
        with monkeypatch.context() as patch:
            patch.setattr(of_maps, "quick_match", lambda *_: None)
            patch.setattr(of_summaries, "_is_plain", lambda *_: False)
            patch.setattr(stored, "_is_same", lambda *_: False)
            return action()

    return run


def verdict(view, baseline, actual):
    """What the comparison comes to: the verdict as far as it is a match, else what kind of failure it is."""
    try:
        found = view.compare(baseline, actual, Tolerances())
    except Exception:  # whatever it is, a run calls the baseline unreadable
        return "unreadable"
    return ("match", found.compared, found.findings) if found.matched else "drift"


def from_file(capture):
    """A capture as it comes from a file: of plain JSON and plain arrays."""
    return dataclasses.replace(capture, facts=json.loads(json.dumps(capture.facts)), arrays=dict(capture.arrays))


def test_both_ways_agree(subject, without_short_ways):
    _, view, recorded, actual = subject
    baseline = from_file(recorded)
    short = verdict(view, baseline, actual)
    assert short[0] == "match"
    assert short == without_short_ways(lambda: verdict(view, baseline, actual))


def test_both_ways_agree_about_forgeries(subject, without_short_ways):
    name, view, recorded, actual = subject
    baseline, draw, matches = from_file(recorded), random.Random(f"{name}, short"), 0
    with np.errstate(all="ignore"):
        for number in range(FORGERIES):
            state = draw.getstate()
            other = forged(baseline, draw)
            found = verdict(view, other, actual)
            long = without_short_ways(lambda other=other: verdict(view, other, actual))
            assert found == long, (name, number, state[1][-1])
            matches += found[0] == "match"
    assert FORGERIES < 100 or matches > FORGERIES / 50, "most of what is forged is never read"


LIKE_TRUE = (1, 1.0, "True", [True], None)


@pytest.mark.parametrize("value", LIKE_TRUE)
def test_what_equals_a_fact_is_none_of_another_type(value, without_short_ways):
    view = FeatureMapsView(Shared().eval(), torch.ones(1, 4))
    actual = view.capture()
    baseline = from_file(measured(view, actual))
    baseline.facts["layers"]["spare"]["never_called"] = value
    found = verdict(view, baseline, actual)
    assert found == without_short_ways(lambda: verdict(view, baseline, actual)) == "unreadable"


def test_every_change_of_a_summary_is_compared(without_short_ways):
    """Each value of each row, replaced one by one, comes to what the long way says."""
    view = ModelSummaryView(net(), input_data=image())
    actual = view.capture()
    baseline = from_file(actual)
    drifts = 0
    for name, row in baseline.facts["layers"].items():
        for key in row:
            for value in ("other", None, 7, [], {"weight": "float32[1]"}):
                changed = copy.deepcopy(baseline)
                changed.facts["layers"][name][key] = value
                found = verdict(view, changed, actual)
                long = without_short_ways(lambda changed=changed: verdict(view, changed, actual))
                assert found == long, (name, key, value)
                drifts += found == "drift"
    assert drifts > 100
