"""Tolerances as users set them: for a run, a test, a view, a layer."""

import pytest

ONE = "from net import *\ndef test_net(feature_maps):\n    feature_maps(load(), photo())\n"


class TestTolerances:
    @pytest.fixture(autouse=True)
    def _recorded_then_changed(self, project):
        project.test(ONE)
        project.run_once("--modelviz-update")
        project.fault("weight")  # five per cent at conv2

    def test_default(self, project):
        project.run("--modelviz").assert_outcomes(failed=1)
        assert project.check("feature_maps")["tolerance"] == pytest.approx(3.3e-6, rel=0.2)  # 2.5 times the noise
        assert project.check("feature_maps")["error"] == pytest.approx(0.0416, rel=0.01)

    @pytest.mark.parametrize("option", ["--modelviz-rtol=0.2", "--modelviz-atol=1.0"])
    def test_by_option(self, project, option):
        project.run("--modelviz", option).assert_outcomes(passed=1)

    def test_by_ini_and_outweighed_by_option(self, project):
        project.pytester.makeini("[pytest]\nmodelviz = true\nmodelviz_rtol = 0.2\n")
        project.run().assert_outcomes(passed=1)
        project.run("--modelviz-rtol=0.001").assert_outcomes(failed=1)

    @pytest.mark.parametrize("where", ["test", "class", "module"])
    def test_by_marker(self, project, where):
        mark = "pytest.mark.modelviz(rtol=0.2)"
        if where == "class":
            project.test(
                f"from net import *\nimport pytest\n@{mark}\nclass TestNet:\n"
                "    def test_net(self, feature_maps):\n        feature_maps(load(), photo())\n"
            )
            project.fault("")
            project.run_once("--modelviz-update")
            project.fault("weight")
        elif where == "test":
            project.test(ONE.replace("def ", f"import pytest\n@{mark}\ndef "))
        else:
            project.test(f"import pytest\npytestmark = {mark}\n" + ONE)
        project.run("--modelviz").assert_outcomes(passed=1)

    def test_by_call_which_outweighs_the_marker(self, project):
        project.test(
            ONE.replace("def ", "import pytest\n@pytest.mark.modelviz(rtol=0.2)\ndef ").replace(
                "photo())", "photo(), rtol=0.001)"
            )
        )
        project.run("--modelviz").assert_outcomes(failed=1)

    def test_a_marker_can_switch_comparison_off(self, project):
        project.test(ONE.replace("def ", "import pytest\n@pytest.mark.modelviz(compare=False)\ndef "))
        result = project.run("--modelviz")
        result.assert_outcomes(passed=1)
        result.stdout.fnmatch_lines(["1 check not compared", "this run compared nothing: *"])

    @pytest.mark.parametrize("option", ["--modelviz-rtol=x", "--modelviz-atol=-1", "--modelviz-baseline-dir="])
    def test_a_wrong_value_ends_the_run_before_it_begins(self, project, option):
        result = project.run("--modelviz", option)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines([f"ERROR: modelviz: {option.partition('=')[0]} takes *"])

    def test_a_wrong_marker_is_told_at_its_test(self, project):
        for mark in ("modelviz(tol=1)", "modelviz(0.1)", "modelviz(rtol='x')"):
            project.test(ONE.replace("def ", f"import pytest\n@pytest.mark.{mark}\ndef "))
            result = project.run("--modelviz")
            result.assert_outcomes(errors=1)
            result.stdout.fnmatch_lines(["modelviz: the marker*"])

    def test_a_wrong_tolerance_in_a_call_is_told(self, project):
        project.test(ONE.replace("photo())", "photo(), rtol='x')"))
        result = project.run("--modelviz")
        result.stdout.fnmatch_lines(["*ModelvizError: rtol takes a number that is not negative*"])


class TestLayerTolerances:
    """conv2's weights are five per cent off; what follows is as much off as conv2's output."""

    @pytest.fixture(autouse=True)
    def _recorded_then_changed(self, project):
        project.test(ONE)
        project.run_once("--modelviz-update")
        project.fault("weight")

    def marked(self, project, mark: str) -> None:
        project.test(ONE.replace("def ", f"import pytest\n@pytest.mark.modelviz({mark})\ndef "))

    @pytest.mark.parametrize(
        ("mark", "passed"),
        [
            ("{'conv2': 0.1}", 1),  # and it is handed on to what is computed from it
            ("{'conv*': 0.1}", 1),
            ("{'conv2': {'rtol': 0.1}}", 1),
            ("{'conv2': {'atol': 1.0}}", 1),
            ("rtol={'conv2': 0.1}", 1),
            ("atol={'conv2': 1.0}", 1),
            ("rtol={'conv2': 0.1, 'head': 1e-6}", 1),
            ("{'conv2': 0.01}", 0),
            ("{'head': 0.1}", 0),  # conv2 is what differs first
            ("{'*': 0.1, 'conv2': 0.01}", 0),  # of several that match, the last counts
            ("{'conv2': 0.01, '*': 0.1}", 1),
            ("{'conv2': 0.01}, rtol=0.1", 0),
            ("rtol=0.01, atol={'conv2': 1.0}", 1),
        ],
    )
    def test_by_marker(self, project, mark, passed):
        self.marked(project, mark)
        project.run("--modelviz").assert_outcomes(passed=passed, failed=1 - passed)

    def test_by_call_and_by_markers_around(self, project):
        project.test(ONE.replace("photo())", "photo(), rtol={'conv2': 0.1})"))
        project.run("--modelviz").assert_outcomes(passed=1)
        project.test("import pytest\npytestmark = pytest.mark.modelviz({'conv2': 0.1})\n" + ONE)
        project.run("--modelviz").assert_outcomes(passed=1)
        self.marked(project, "rtol=0.01")  # a number close by outweighs a mapping further out
        project.test(
            "import pytest\npytestmark = pytest.mark.modelviz({'conv2': 0.1})\n"
            + ONE.replace("def ", "@pytest.mark.modelviz(rtol=0.01)\ndef ")
        )
        project.run("--modelviz").assert_outcomes(failed=1)

    def test_a_map(self, project):
        project.fault("")
        project.test(ONE.replace("feature_maps", "cam_map"))
        project.run_once("--modelviz-update")
        project.fault("weight")
        project.run("--modelviz").assert_outcomes(failed=1)
        project.test(ONE.replace("feature_maps", "cam_map").replace("photo())", "photo(), atol={'conv2': 0.9})"))
        project.run("--modelviz").assert_outcomes(passed=1)

    def test_a_pattern_that_matches_nothing_warns(self, project):
        self.marked(project, "{'conv2': 0.1, 'conv9*': 0.1}")
        result = project.run("--modelviz")
        result.assert_outcomes(passed=1, warnings=1)
        result.stdout.fnmatch_lines(
            ["*ModelvizWarning: the layer glob 'conv9[*]' of test_net.py::test_net matches no layer of its models*"]
        )

    def test_it_may_match_in_any_check_of_the_test(self, project):
        project.test(
            "import torch\nfrom net import *\nimport pytest\n@pytest.mark.modelviz({'conv2': 0.1})\n"
            "def test_net(feature_maps, model_summary):\n    feature_maps(load(), photo())\n"
            "    model_summary(torch.nn.Linear(1, 1))\n"
        )
        project.run_once("--modelviz-update").assert_outcomes(passed=1, warnings=0)

    @pytest.mark.parametrize(
        ("mark", "message"),
        [
            ("{'conv2': 'x'}", "the marker modelviz for 'conv2', rtol, takes a number"),
            ("{'conv2': {'tol': 1}}", "the marker modelviz takes rtol and atol for 'conv2'"),
            ("{3: 0.1}", "globs of layer names such as"),
            ("[('conv2', 0.1)]", "takes a mapping of layer globs to tolerances"),
            ("{'a': 1}, {'b': 1}", "takes keywords such as rtol=1e-3, and one mapping"),
            ("layers={'a': 1}", "takes keywords such as rtol=1e-3, and one mapping"),
            ("rtol={'conv2': -1}", "the marker's rtol for 'conv2', rtol, takes a number"),
            ("variant=3", "the marker's variant takes a name such as cuda"),
        ],
    )
    def test_what_it_cannot_take_is_told(self, project, mark, message):
        self.marked(project, mark)
        result = project.run("--modelviz")
        result.assert_outcomes(errors=1)
        assert message in result.stdout.str()
        assert "During handling of the above exception" not in result.stdout.str()
