"""Views that a conftest.py or another plugin registers, and several views from one pass."""

import pytest

CONFTEST = """
import numpy as np
import pytest
import torch


class Norms:
    \"\"\"The norm of each parameter.\"\"\"

    view = "norms"

    def __init__(self, model, factor=1.0):
        self.model, self.factor = model, factor

    def capture(self):
        from pytest_modelviz.extend import Capture, environment

        found = {name: np.float32([float(p.norm()) * self.factor]) for name, p in self.model.named_parameters()}
        return Capture(self.view, {"count": len(found)}, found, environment(self.model), result=found)

    def compare(self, baseline, actual, tolerances):
        from pytest_modelviz.extend import compare_arrays

        return compare_arrays(baseline, actual, tolerances)

    def picture(self, actual, baseline=None, verdict=None):
        from pytest_modelviz.extend import channels_picture

        return [channels_picture("norms", np.stack([v[None] for v in actual.arrays.values()]))]

    def describe(self, actual):
        return str(actual.facts)


@pytest.hookimpl(optionalhook=True)
def pytest_modelviz_views():
    return [Norms]
"""
PLAIN = CONFTEST.replace("return [channels", "return [] if actual else [channels")  # without pictures
TEST = """
from net import *

def test_net(norms):
    assert norms(load())["head.bias"].shape == (1,)
    norms(load(), 2.0, name="twice", rtol=1e-3)
"""


@pytest.fixture
def own(project):
    project.pytester.makeconftest(CONFTEST)
    project.test(TEST)
    return project


def test_a_view_of_a_conftest_goes_the_way_of_all_views(own):
    own.run("--modelviz").assert_outcomes(failed=1)
    assert own.statuses() == {"norms": "missing", "twice": "missing"}
    own.run_once("--modelviz-update").assert_outcomes(passed=1)
    assert own.baseline("norms.png").exists()
    own.run("--modelviz").assert_outcomes(passed=1)
    own.fault("weight")
    result = own.run("--modelviz")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["norms drifted, first at conv2.weight (array)", "  error     0.05 at the first *, 500 times*"]
    )
    assert own.check("norms")["tensorboard_tags"] == ["test_net/norms/norms"]
    assert own.modelviz("accept").exit_code == 0
    own.run("--modelviz").assert_outcomes(passed=1)


def test_its_fixture_is_listed_with_its_words(own):
    own.run("--fixtures").stdout.fnmatch_lines(["norms*", "*The norm of each parameter."])


def test_a_view_of_another_plugin(project):
    project.pytester.makepyfile(norms_plugin=CONFTEST)
    project.test(TEST)
    project.run("-p", "norms_plugin", "--modelviz-update").assert_outcomes(passed=1)


def test_a_view_of_a_folder_s_own_conftest(project):
    folder = project.path / "inner"
    folder.mkdir()
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_inner.py").write_text(TEST)
    project.test("def test_outer(model_summary):\n    pass\n")
    project.run_once("--modelviz-update").assert_outcomes(passed=2)
    assert (project.path / "baselines/inner/test_inner/test_net/norms.json").exists()


def test_what_is_no_view_ends_the_run(project):
    project.pytester.makeconftest(CONFTEST.replace('view = "norms"', 'view = "cam_map"'))
    project.test(TEST)
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*the view 'cam_map' of conftest.Norms is already registered: pytest-modelviz"])


def test_a_view_registered_and_not_used_costs_no_torch(own):
    own.test("import sys\ndef test_nothing():\n    assert 'torch' not in sys.modules\n")
    own.pytester.makeconftest(CONFTEST.replace("import torch\n", "").replace("import numpy as np\n", ""))
    own.run_apart("--modelviz").assert_outcomes(passed=1)


MODELVIZ = """
from net import *

def test_net(modelviz):
    seen = modelviz(load(), photo(), cam="conv2", target=1)
    assert seen.cam.layer == "conv2" and seen.summary.total_params and seen.feature_maps.output.shape == (1, 5)
    assert modelviz(load(), photo(), summary=False, name="other").cam is None
"""
PARTS = ("model_summary", "feature_maps", "cam_map", "other_feature_maps")


def test_modelviz_makes_one_check_a_view(project):
    project.test(MODELVIZ)
    project.run("--modelviz").assert_outcomes(failed=1)
    assert project.statuses() == dict.fromkeys(PARTS, "missing")
    project.run_once("--modelviz-update").assert_outcomes(passed=1)
    assert project.baseline("other_feature_maps.safetensors").exists()
    project.run("--modelviz").assert_outcomes(passed=1)
    project.fault("weight")
    project.run("--modelviz").assert_outcomes(failed=1)
    assert project.statuses() == {**dict.fromkeys(PARTS, "drift"), "model_summary": "match"}
    assert project.check("cam_map")["first_divergence"]["layer"] == "conv2"
    assert project.modelviz("accept").exit_code == 0
    project.run("--modelviz").assert_outcomes(passed=1)


def test_modelviz_and_a_view_of_the_same_name_collide_with_a_hint(project):
    project.test(
        "from net import *\ndef test_net(modelviz, feature_maps):\n"
        "    modelviz(load(), photo())\n    feature_maps(load(), photo())\n"
    )
    result = project.run_once("--modelviz-update")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *this test has two checks named 'feature_maps': pass name= to tell them apart"])


def test_a_model_that_draws_random_numbers_is_unstable_in_every_part(project):
    project.test(
        "from net import *\ndef test_net(modelviz):\n"
        "    net = load()\n    net.relu = Noise()\n    modelviz(net, photo(), cam='conv2', target=1)\n"
        "class Noise(nn.Module):\n    def forward(self, x):\n        return x + torch.rand_like(x)\n"
    )
    project.run_once("--modelviz-update").assert_outcomes(failed=1)
    assert project.statuses() == {"model_summary": "recorded", "feature_maps": "unstable", "cam_map": "unstable"}


def test_what_a_view_holds_as_its_model_may_be_anything(project):
    source = PLAIN.replace("self.model.named_parameters()", "[('w', torch.ones(2))]")
    project.pytester.makeconftest(source.replace("environment(self.model)", "{}"))
    project.test("import pytest\n@pytest.mark.modelviz_ignore('*._x')\ndef test_net(norms):\n    norms(3)\n")
    result = project.run_once("--modelviz-update")
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(["*ModelvizWarning: the glob '*._x' that test_net.py::test_net ignores matches no*"])


def test_a_disabled_plugin_does_not_mind_the_hook(own):
    own.test("def test_nothing():\n    pass\n")
    own.run("-p", "no:modelviz").assert_outcomes(passed=1)


def test_arrays_of_every_shape_and_dtype_are_compared_with_what_was_stored(project):
    every = (
        "{'a': np.float32(1.5), 'b': np.array(3), 'c': np.zeros((2, 0)), 'd': np.ones((2, 3)).T, 'e': np.array([True])}"
    )
    project.pytester.makeconftest(
        PLAIN.replace("found, environment", f"{every}, environment").replace(
            "return [channels", "return [][:0] and [channels"
        )
    )
    project.test("from net import *\ndef test_net(norms):\n    norms(load())\n")
    project.run_once("--modelviz-update").assert_outcomes(passed=1)
    project.run("--modelviz").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("found, environment", "{'mine': np.array(['x'])}, environment"), "the arrays 'mine' (<U1)"),
        (('{"count": len(found)}', '{"count": float("nan")}'), "its facts are not JSON"),
        (('{"count": len(found)}', '{"count": {1, 2}}'), "its facts are not JSON"),
    ],
)
def test_what_cannot_be_stored_is_named(project, change, message):
    project.pytester.makeconftest(PLAIN.replace(*change))
    project.test("from net import *\ndef test_net(norms):\n    norms(load())\n")
    result = project.run_once("--modelviz-update")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"*ModelvizError: the capture cannot be stored: {message}*"])
    assert not list(project.path.glob("baselines/**/*.json"))
