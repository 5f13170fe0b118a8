"""Each option, ini key and marker, as users give them."""

import pytest

ONE = "from net import *\ndef test_net(feature_maps):\n    feature_maps(load(), photo())\n"
TWO = """
from net import *
def test_a(feature_maps):
    feature_maps(load(), photo())
def test_b(model_summary):
    model_summary(load())
"""


def test_every_option_is_in_help_and_every_ini_key(project):
    text = project.run("--help").stdout.str()
    for name in ("", "-update", "-update-missing", "-update-all", "-baseline-dir", "-results-dir", "-rtol", "-atol"):
        assert f"--modelviz{name}" in text
        assert f"modelviz{name.replace('-', '_')} (" in text


class TestUpdates:
    def test_update_missing_leaves_a_drift_alone_and_reports_it(self, project):
        project.test(TWO)
        project.run("--modelviz-update", "-k", "test_a")
        before = project.files()
        project.fault("weight")
        project.run("--modelviz-update-missing").assert_outcomes(failed=1, passed=1)
        assert project.statuses() == {"feature_maps": "drift", "model_summary": "recorded"}
        assert {name: project.files()[name] for name in before} == before

    def test_update_records_what_drifted_and_touches_nothing_else(self, project):
        project.test(TWO)
        project.run("--modelviz-update")
        before = project.files()
        project.fault("weight")
        project.run("--modelviz-update").assert_outcomes(passed=2)
        assert project.statuses() == {"feature_maps": "recorded", "model_summary": "match"}
        changed = {name for name, data in project.files().items() if before[name] != data}
        assert {name.partition("/")[2].partition("/")[0] for name in changed} == {"test_a"}

    def test_update_all_of_an_unchanged_model_changes_no_byte(self, project):
        project.test()
        project.run("--modelviz-update")
        before = project.files()
        project.run("--modelviz-update-all").assert_outcomes(passed=1)
        assert set(project.statuses().values()) == {"recorded"}
        assert project.files() == before

    def test_update_all_leaves_rounding_alone_but_not_a_small_change(self, project):
        project.test(ONE)
        project.run("--modelviz-update")
        before = project.files()
        net = (project.path / "net.py").read_text()
        (project.path / "net.py").write_text(net.replace("mul_(1.05)", "mul_(1 + 2e-7)"))
        project.fault("weight")
        project.run("--modelviz-update-all")
        assert project.files() == before
        (project.path / "net.py").write_text(net.replace("mul_(1.05)", "mul_(1 + 5e-5)"))
        project.run("--modelviz").assert_outcomes(passed=1)  # within tolerance
        project.run("--modelviz-update-all")
        assert project.files() != before

    def test_update_all_takes_new_pictures(self, project):
        project.test(ONE)
        project.run("--modelviz-update")
        project.test(ONE.replace("photo())", "photo(), layers='conv1')"))
        project.run("--modelviz").assert_outcomes(passed=1)  # pictures are not compared
        project.run("--modelviz-update-all")
        assert b'"conv1": {"channels"' in project.baseline("feature_maps.json").read_bytes()

    def test_no_update_ever_deletes(self, project):
        project.test(TWO)
        project.run("--modelviz-update")
        before = project.files()
        project.test(ONE)
        for option in ("--modelviz-update", "--modelviz-update-missing", "--modelviz-update-all"):
            project.run(option)
        assert set(before) <= set(project.files())

    def test_two_updates_at_once_are_an_error(self, project):
        project.test(ONE)
        result = project.run("--modelviz-update", "--modelviz-update-all")
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines(["ERROR: modelviz: *exclude each other: choose one"])

    def test_a_path_after_the_option_is_not_swallowed(self, project):
        project.test(ONE)
        project.test("def test_other(): assert 0", name="test_other")
        project.run("--modelviz-update", "test_net.py").assert_outcomes(passed=1)


class TestFolders:
    def test_by_option(self, project):
        project.test(ONE)
        project.run("--modelviz-update", "--modelviz-baseline-dir=shots", "--modelviz-results-dir", "out/here")
        assert (project.path / "shots/test_net/test_net/feature_maps.json").exists()
        assert (project.path / "out/here/results.json").exists()
        assert (project.path / "out/here/.gitignore").read_text() == "*\n"
        assert not (project.path / "baselines").exists()

    def test_by_ini_and_outside_of_the_project(self, project, tmp_path_factory):
        outside = tmp_path_factory.mktemp("outside")
        project.test(ONE)
        project.pytester.makeini(f"[pytest]\nmodelviz_update = true\nmodelviz_baseline_dir = {outside}\n")
        project.run().assert_outcomes(passed=1)
        assert (outside / "test_net/test_net/feature_maps.json").exists()
        assert project.check("feature_maps")["baseline"] == str(outside / "test_net/test_net/feature_maps.json")

    def test_from_a_folder_below_rootdir(self, project, monkeypatch):
        project.test(ONE)
        project.pytester.makeini("[pytest]\n")
        (project.path / "below").mkdir()
        monkeypatch.chdir(project.path / "below")
        project.run("--modelviz-update", "..").assert_outcomes(passed=1)
        assert project.baseline("feature_maps.json").exists()

    def test_a_results_folder_that_cannot_be_made_is_told(self, project):
        project.test(ONE)
        (project.path / "taken").write_text("a file")
        result = project.run("--modelviz", "--modelviz-results-dir=taken")
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines(
            ["*cannot write into the results folder *taken*choose another with --modelviz-results-dir"]
        )

    def test_it_is_told_even_if_nothing_is_compared(self, project):
        project.test(ONE)
        (project.path / "taken").write_text("a file")
        result = project.run("--modelviz-results-dir=taken")
        result.assert_outcomes(passed=1)
        result.stdout.fnmatch_lines(["cannot write into the results folder *"])

    def test_a_baseline_folder_that_cannot_be_written_is_told(self, project):
        project.test(ONE)
        (project.path / "taken").write_text("a file")
        result = project.run("--modelviz-update", "--modelviz-baseline-dir=taken")
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines(["*ModelvizError: cannot write the baseline *taken*"])


class TestTolerances:
    @pytest.fixture(autouse=True)
    def _recorded_then_changed(self, project):
        project.test(ONE)
        project.run("--modelviz-update")
        project.fault("weight")  # five per cent at conv2

    def test_default(self, project):
        project.run("--modelviz").assert_outcomes(failed=1)
        assert project.check("feature_maps")["tolerance"] == 1e-4
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
            project.run("--modelviz-update")
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
        project.run("--modelviz").assert_outcomes(passed=1)
        assert project.statuses() == {"feature_maps": "not_compared"}

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


def test_the_plugin_can_be_disabled(project):
    project.test("def test_nothing(): pass")
    assert project.run_apart("-p", "no:modelviz").ret == 0
    assert project.run_apart("-p", "no:modelviz", "--modelviz").ret == pytest.ExitCode.USAGE_ERROR


def test_the_marker_is_registered(project):
    project.test("import pytest\n@pytest.mark.modelviz(rtol=1)\ndef test_nothing(): pass")
    project.run("--strict-markers").assert_outcomes(passed=1)
    project.run("--markers").stdout.fnmatch_lines(["@pytest.mark.modelviz(*"])
