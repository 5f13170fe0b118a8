"""A model that differs from itself is told as such: nothing is recorded, and no drift is claimed."""

import pytest

pytestmark = pytest.mark.unwatched

NOISY = """
import itertools
import random
import numpy
import torch
from net import Net, load, photo
from torch import nn

COUNT = itertools.count()

class Noise(nn.Module):
    def forward(self, x):
        return {change}

class Noisy(nn.Module):
    def __init__(self):
        super().__init__()
        self.net, self.noise = load(), Noise()

    def forward(self, x):
        return self.net(self.noise(x))

def test_net(feature_maps):
    torch.manual_seed(3)
    feature_maps(Noisy(), photo())
"""

CHANGES = {
    "torch": ("x + 0.1 * torch.randn_like(x)", "random numbers"),
    "dropout": ("nn.functional.dropout(x, 0.5)", "random numbers"),
    "python": ("x + random.random()", "random numbers"),
    "numpy": ("x + float(numpy.random.rand())", "random numbers"),
    "state": ("x + next(COUNT)", "from call to call with the same random state"),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_it_is_named_by_layer_and_reason_and_nothing_is_recorded(project, kind):
    change, reason = CHANGES[kind]
    project.test(NOISY.replace("{change}", change))
    for option in ("--modelviz-update", "--modelviz-update-missing", "--modelviz-update-all"):
        result = project.run(option)
        result.assert_outcomes(failed=1)
        check = project.check("feature_maps")
        assert check["status"] == "unstable"
        assert check["first_divergence"]["layer"] == "noise"
        assert reason in check["message"]
        assert "changed" not in check["message"]  # both captures are of the same code
        assert not (project.path / "baselines").exists()
    result.stdout.fnmatch_lines(["feature_maps: two captures of the same model differ, first at noise (Noise)"])


def test_a_model_that_became_random_is_no_drift_and_keeps_its_baseline(project):
    project.test(NOISY.replace("{change}", "x"))
    project.run_once("--modelviz-update").assert_outcomes(passed=1)
    before = project.files()
    project.test(NOISY.replace("{change}", "x + 0.1 * torch.randn_like(x)"))
    for option in ("--modelviz", "--modelviz-update", "--modelviz-update-all"):
        project.run(option).assert_outcomes(failed=1)
        assert project.statuses() == {"feature_maps": "unstable"}
        assert project.files() == before
    assert project.results["totals"]["unstable"] == 1


def test_dropout_and_batch_norm_in_train_mode_are_looked_at_in_eval_mode(project):
    project.test(
        "from net import *\n\ndef test_net(model_summary, feature_maps, cam_map):\n    torch.manual_seed(0)\n"
        "    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.Flatten(),"
        " nn.LazyLinear(2)).train()\n"
        "    model_summary(model, input_data=photo())\n    feature_maps(model, photo())\n    cam_map(model, photo())\n"
    )
    project.run_once("--modelviz-update").assert_outcomes(passed=1)
    project.run("--modelviz").assert_outcomes(passed=1)


def test_other_randomness_is_nobody_else_s(project):
    project.test(
        """
        import random
        import numpy
        from net import *

        def draw():
            return torch.rand(1).item(), random.random(), numpy.random.rand()

        def seed():
            torch.manual_seed(1), random.seed(1), numpy.random.seed(1)

        def test_net(feature_maps):
            model, image = load(), photo()
            seed()
            expected = draw()
            seed()
            feature_maps(model, image)
            assert draw() == expected
        """
    )
    project.run_once("--modelviz-update").assert_outcomes(passed=1)
