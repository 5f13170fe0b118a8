"""What the environment of a baseline, which anybody may have written, adds to a verdict, and what an update keeps."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from pytest_modelviz.pictures.colour import Scale, heat_colours, paint
from pytest_modelviz.pictures.composite import Picture
from pytest_modelviz.records.colormap import Colormap
from pytest_modelviz.run.comparison import Comparison
from pytest_modelviz.run.settings import Mode, Settings
from pytest_modelviz.views.model_summary.capture import ModelSummaryView

MACHINE = {"torch": "1.0", "python": "3.0", "platform": "vms-vax", "threads": "99", "cpu_capability": "MMX"}


@pytest.fixture(scope="module")
def comparison():
    view = ModelSummaryView(nn.Linear(4, 2), input_data=torch.ones(1, 4))
    root = Path("/project")
    return Comparison(view, view.capture(), Settings(Mode.COMPARE, root, root / "baselines", root / ".modelviz"))


def stating(comparison, **claims):
    return replace(comparison.capture, environment={**comparison.capture.environment, **claims})


def test_changes_are_those_of_what_the_run_states_and_of_some_that_it_does_not(comparison):
    own = comparison.capture.environment
    changes = comparison.with_baseline(stating(comparison, torch="1.0", cuda="12")).environment_changes
    assert changes == {"torch": ("1.0", own["torch"]), "cuda": ("12", "-")}
    assert comparison.with_baseline(comparison.capture).environment_changes == {}
    nothing = replace(comparison.capture, environment={})
    assert comparison.with_baseline(nothing).environment_changes == {key: ("-", own[key]) for key in sorted(own)}


@pytest.mark.parametrize(
    "claims",
    [
        {f"{at:x}": "" for at in range(240_000)},
        {f"{at:x}" * 10_000: "x" * 100_000 for at in range(40)},
        {"torch": "x" * 4_000_000},
    ],
    ids=["many", "long", "long of its own"],
)
def test_they_are_few_and_short_whatever_a_baseline_states(comparison, claims):
    changes = comparison.with_baseline(stating(comparison, **{**MACHINE, **claims})).environment_changes
    assert {*MACHINE} <= {*changes}
    assert len(changes) <= len(comparison.capture.environment) + 20
    assert max(len(text) for key, pair in changes.items() for text in (key, *pair)) <= 200


@pytest.mark.parametrize("key", ["dtype", "autocast", "mkldnn", "deterministic", "approved by", "cuda version"])
def test_what_states_other_circumstances_is_recorded_anew(comparison, key):
    forged = stating(comparison, **{key: "a maintainer"})
    assert not comparison.is_noise(forged, comparison.with_baseline(forged))


def test_another_machine_is_noise(comparison):
    for baseline in (comparison.capture, stating(comparison, **MACHINE)):
        assert comparison.is_noise(baseline, comparison.with_baseline(baseline))


def test_heatmaps_are_painted_with_the_map_of_the_settings(comparison):
    class Painted(ModelSummaryView):
        def picture(self, actual, baseline=None, verdict=None):
            colour = paint(np.array([[1.0]]), Scale(0.0, 1.0, heat_colours()))
            return [Picture("map", colour)]

    view = Painted(nn.Linear(4, 2), input_data=torch.ones(1, 4))
    for colormap, end in ((Colormap.INFERNO, [252, 255, 164]), (Colormap.JET, [128, 0, 0])):
        made = replace(comparison, view=view, settings=replace(comparison.settings, colormap=colormap))
        (picture,) = made.pictures(made.capture, made.with_baseline(made.capture))
        assert picture.image[0, 0].tolist() == made.picture()[0, 0].tolist() == end
