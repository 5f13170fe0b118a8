"""The way that every fixture goes: missing, recorded, match, drift, updated, match."""

import pytest

CALLS = {
    "model_summary": ("model_summary(load(), input_data=photo())", "eps"),
    "feature_maps": ("feature_maps(load(), photo())", "weight"),
    "cam_map": ("cam_map(load(), photo(), target=1)", "weight"),
    "kernel_maps": ("kernel_maps(load())", "weight"),
    "saliency_map": ("saliency_map(load(), photo(), target=1)", "weight"),
    "training_curve": ("training_curve(training(net := load()), steps=3, model=net)", "weight"),
    "model_graph": ("model_graph(load(), photo())", "eps"),
    "activation_maximization": (
        "activation_maximization(load(), 'conv2', filters=(0, 3), steps=3, input_size=(3, 16, 16))",
        "weight",
    ),
}


@pytest.mark.parametrize("fixture", CALLS)
def test_missing_record_match_drift_update_match(project, fixture):
    call, fault = CALLS[fixture]
    project.test(f"from net import *\ndef test_net({fixture}):\n    assert {call} is not None\n")

    def run(*options):
        return project.run(*options), project.check(fixture)

    result, check = run("--modelviz")
    result.assert_outcomes(failed=1)
    assert check["status"] == "missing"
    assert not (project.path / "baselines").exists()
    assert (project.path / check["candidate"]).exists()

    result, check = run("--modelviz-update")
    result.assert_outcomes(passed=1)
    assert (check["status"], check["candidate"]) == ("recorded", None)
    recorded = project.files()
    assert project.baseline(f"{fixture}.json").exists()

    result, check = run("--modelviz")
    result.assert_outcomes(passed=1)
    assert check["status"] == "match"

    project.fault(fault)
    result, check = run("--modelviz")
    result.assert_outcomes(failed=1)
    assert check["status"] == "drift"
    assert project.files() == recorded  # comparing never writes there
    candidate = project.path / check["candidate"]
    assert candidate.name == f"{fixture}.json"
    captured = candidate.read_bytes()

    result, check = run("--modelviz-update")
    result.assert_outcomes(passed=1)
    assert check["status"] == "recorded"
    assert project.files()[f"test_net/test_net/{fixture}.json"] == captured
    assert not candidate.exists()  # this run has none

    result, check = run("--modelviz")
    result.assert_outcomes(passed=1)
    assert check["status"] == "match"


def test_off_captures_and_says_how_many_checks_were_not_compared(project):
    project.test()
    result = project.run()
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["3 checks not compared (compare them with --modelviz)"])
    assert set(project.statuses().values()) == {"not_compared"}
    assert not (project.path / "baselines").exists()
    assert not (project.path / ".modelviz" / "candidates").exists()


def test_a_run_without_checks_writes_and_says_nothing(project):
    project.test("def test_nothing(): pass")
    result = project.run()
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*modelviz =*")
    assert not (project.path / ".modelviz").exists()


def test_all_drifts_of_a_test_are_reported_together(project):
    project.test()
    project.run_once("--modelviz-update")
    project.fault("eps")
    result = project.run("--modelviz")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "model_summary drifted, first at bn1 (BatchNorm2d)",
            "  cause     architecture: the model is built differently",
            "  evidence  bn1 config: eps=1e-05 -> eps=0.1",
            "  accept    modelviz accept --run ????-??-??_* test_net.py::test_net",
            "feature_maps drifted with the same cause at the same layer as model_summary, error 0.0* at the first *",
            "  output    off by 0.0*, allowed *, top class kept in the sample",
            "cam_map drifted with the same cause at the same layer as feature_maps, error 0.0* in the map",
            "3 drift; details in .modelviz/results.json",
            "see the pictures: modelviz tensorboard, or open .modelviz/report.html",
            "FAILED test_net.py::test_net - output off by 0.2*, top-1 kept: archi*",  # cut as the terminal is wide
        ]
    )
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*3 checks of 1 test")  # its own report says all of it


def test_a_weight_is_named_that_the_first_report_of_a_group_does_not_see(project):
    project.test(
        "from net import *\n"
        "def test_net(model_summary, feature_maps):\n"
        "    model = load()\n"
        "    if fault():\n        model.head.bias.data += 0.5\n"
        "    model_summary(model, input_data=photo())\n"
        "    feature_maps(model, photo())\n"
    )
    project.run_once("--modelviz-update")
    project.fault("eps")
    project.run("--modelviz").stdout.fnmatch_lines(
        [
            "model_summary drifted, first at bn1 (BatchNorm2d)",
            "feature_maps drifted with the same cause at the same layer as model_summary, error *",
            "  output    off by *",
            "  also      head.bias differs by *",
        ]
    )


def test_with_verbosity_every_drift_is_reported_whole(project):
    project.test()
    project.run_once("--modelviz-update")
    project.fault("eps")
    result = project.run("--modelviz", "-v")
    result.stdout.fnmatch_lines(
        [
            "model_summary drifted, first at bn1 (BatchNorm2d)",
            "feature_maps drifted, first at bn1 (BatchNorm2d)",
            "  evidence  *",
            "cam_map drifted, first at bn1 (BatchNorm2d)",
            "  evidence  *",
        ]
    )


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["plain", "workers"])
def test_many_drifts_of_one_change_are_one_group(project, workers):
    project.test(
        "from net import *\nimport pytest\n"
        "@pytest.mark.parametrize('n', range(5))\n"
        "def test_net(n, feature_maps):\n"
        "    for at in range(2):\n        feature_maps(load(), photo(), name=f'maps{at}')\n"
    )
    project.run_once("--modelviz-update").assert_outcomes(passed=5)
    project.fault("weight")
    run = project.run_apart if workers else project.run
    result = run("--modelviz", *workers)
    result.assert_outcomes(failed=5)
    lines = result.outlines
    assert sum(line.startswith("  evidence  ") for line in lines) == 1
    assert sum("drifted with the same cause at the same layer as " in line for line in lines) == 1
    assert sum(line.startswith("FAILED test_net.py::test_net?") or "__ test_net[" in line for line in lines) == 1
    assert sum(line.startswith("FAILED ") for line in lines) == 5
    result.stdout.fnmatch_lines(
        [
            "4 failed tests are not reported above*",
            "weights at conv2 (Conv2d): 10 checks of 5 tests",
            "  tests     test_net.py::test_net?*and 2 more",
        ]
    )
    (command,) = (line.split("accept    ")[1] for line in lines if "--group" in line)
    accepted = project.modelviz(*command.split()[1:])
    assert accepted.exit_code == 0
    assert accepted.output.count("accepted") == 10
    project.run("--modelviz").assert_outcomes(passed=5)


def test_the_command_in_the_report_accepts_the_drift(project):
    project.test(
        "from net import *\nimport pytest\n"
        "@pytest.mark.parametrize('n', ['a b'])\ndef test_net(n, feature_maps):\n    feature_maps(load(), photo())\n"
    )
    project.run_once("--modelviz-update")
    project.fault("weight")
    result = project.run("--modelviz")
    line = next(line for line in result.outlines if line.startswith("  accept "))  # CI shows it twice
    import shlex

    assert project.modelviz(*shlex.split(line)[2:]).exit_code == 0
    assert project.run("--modelviz").ret == 0


def test_an_error_of_the_body_goes_first_and_the_drift_is_attached(project):
    project.test()
    project.run_once("--modelviz-update")
    project.test(
        "from net import *\ndef test_net(feature_maps):\n"
        "    feature_maps(load(), photo())\n    raise KeyError('mine')\n"
    )
    project.fault("weight")
    result = project.run("--modelviz")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["E * KeyError: 'mine'", "*Captured modelviz call*", "feature_maps drifted, first at conv2*"]
    )
    assert project.statuses() == {"feature_maps": "drift"}


@pytest.mark.parametrize(
    ("ending", "outcome"), [("pytest.skip('later')", "failed"), ("pytest.xfail('known')", "xfailed")]
)
def test_a_skip_does_not_hide_a_drift_but_an_expected_failure_stays_one(project, ending, outcome):
    project.test(
        "from net import *\nimport pytest\ndef test_net(feature_maps):\n"
        f"    feature_maps(load(), photo())\n    {ending}\n"
    )
    project.run("--modelviz").assert_outcomes(**{outcome: 1})
    assert project.statuses() == {"feature_maps": "missing"}


def test_a_drift_in_a_test_marked_xfail_is_an_expected_failure(project):
    project.test(
        "from net import *\nimport pytest\n"
        "@pytest.mark.xfail\ndef test_net(feature_maps):\n    feature_maps(load(), photo())\n"
    )
    project.run("--modelviz").assert_outcomes(xfailed=1)


def test_checks_in_other_fixtures_count_too(project):
    project.test(
        """
        import pytest
        from net import *

        @pytest.fixture
        def checked(feature_maps):
            feature_maps(load(), photo(), name="before")
            yield
            feature_maps(load(), photo(), name="after")

        def test_net(checked):
            pass
        """
    )
    result = project.run("--modelviz")
    result.assert_outcomes(failed=1, errors=1)  # one when the body ends, one at tear-down
    result.stdout.fnmatch_lines_random(["before: no baseline at *", "after: no baseline at *"])
    assert project.statuses() == {"before": "missing", "after": "missing"}
    project.run_once("--modelviz-update").assert_outcomes(passed=1)
    project.run("--modelviz").assert_outcomes(passed=1)


def test_what_a_fixture_returns_can_be_asserted_on(project):
    project.test(
        """
        from net import *

        def test_net(model_summary, feature_maps, cam_map):
            assert model_summary(load(), (1, 3, 16, 16)).total_params == sum(p.numel() for p in load().parameters())
            assert feature_maps(load(), photo()).output.shape == (1, 5)
            assert cam_map(load(), photo(), target=2).targets == (2,)
        """
    )
    project.run_once("--modelviz-update").assert_outcomes(passed=1)


FUNCTION = """
from net import *
import unittest
def test_net(feature_maps):
    feature_maps(load(), photo())
    {then}
"""
UNITTEST = """
from net import *
import unittest
import pytest
class TestNet(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def _maps(self, feature_maps):
        self.feature_maps = feature_maps
    def test_net(self):
        self.feature_maps(load(), photo())
        {then}
"""


@pytest.mark.parametrize(
    ("source", "then"),
    [
        (UNITTEST, "self.skipTest('no')"),
        (UNITTEST, "raise unittest.SkipTest('no')"),
        (FUNCTION, "raise unittest.SkipTest('no')"),
    ],
    ids=["TestCase.skipTest", "SkipTest in a TestCase", "SkipTest"],
)
def test_a_drift_is_not_hidden_by_a_skip_of_unittest(project, source, then):
    project.test(source.format(then="pass"))
    project.run_once("--modelviz-update").assert_outcomes(passed=1)
    project.test(source.format(then=then))
    project.run("--modelviz").assert_outcomes(skipped=1)
    project.fault("weight")
    result = project.run("--modelviz")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["feature_maps drifted, first at conv2*"])


def test_a_test_case_s_own_error_keeps_the_drift_attached(project):
    project.test(UNITTEST.format(then="pass"))
    project.run_once("--modelviz-update")
    project.test(UNITTEST.format(then="self.assertTrue(False)"))
    project.fault("weight")
    result = project.run("--modelviz")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E * AssertionError*", "*Captured modelviz call*", "feature_maps drifted, first*"])
    assert result.stdout.str().count("feature_maps drifted") == 1
