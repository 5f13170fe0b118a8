"""Each option, ini key and marker, as users set it."""

import dataclasses

import pytest

from pytest_modelviz.records.trace_arrays import pack_trace, unpack_trace
from pytest_modelviz.run.options import OPTIONS
from pytest_modelviz.storage.names import Location
from pytest_modelviz.storage.store import Store

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
    for option in OPTIONS:
        assert f"  {option.name}" in text
        assert f"  {option.ini} (" in text
    assert "--no-modelviz-html" in text


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
        project.run_once("--modelviz-update")
        before = project.files()
        project.fault("weight")
        project.run_once("--modelviz-update").assert_outcomes(passed=2)
        assert project.statuses() == {"feature_maps": "recorded", "model_summary": "match"}
        changed = {name for name, data in project.files().items() if before[name] != data}
        assert {name.partition("/")[2].partition("/")[0] for name in changed} == {"test_a"}

    def test_update_all_of_an_unchanged_model_changes_no_byte(self, project):
        project.test()
        project.run_once("--modelviz-update")
        before = project.files()
        project.run("--modelviz-update-all").assert_outcomes(passed=1)
        assert set(project.statuses().values()) == {"recorded"}
        assert project.files() == before

    def test_update_all_leaves_a_baseline_of_another_layout_alone(self, project, monkeypatch):
        project.test()
        with monkeypatch.context() as earlier:
            earlier.setattr("pytest_modelviz.storage.compression.compressed", dict)
            project.run("--modelviz-update")
        before = project.files()
        project.run("--modelviz-update-all").assert_outcomes(passed=1)
        assert project.files() == before
        project.fault("weight")
        project.run("--modelviz-update-all")
        sizes = {name: len(data) for name, data in project.files().items()}
        assert sizes["test_net/test_net/feature_maps.safetensors"] < len(
            before["test_net/test_net/feature_maps.safetensors"]
        )

    def test_update_all_leaves_rounding_alone_but_not_a_small_change(self, project):
        project.test(ONE)
        project.run_once("--modelviz-update")
        before = project.files()
        net = (project.path / "net.py").read_text()
        (project.path / "net.py").write_text(net.replace("mul_(1.05)", "mul_(1 + 2e-7)"))
        project.fault("weight")
        project.run("--modelviz-update-all")
        assert project.files() == before
        (project.path / "net.py").write_text(net.replace("mul_(1.05)", "mul_(1 + 5e-5)"))
        tolerant = "--modelviz-rtol=1e-3"
        project.run("--modelviz", tolerant).assert_outcomes(passed=1)
        project.run("--modelviz-update-all", tolerant)
        assert project.files() != before

    def test_update_all_keeps_no_baseline_that_matches_by_what_it_claims(self, project):
        """A default, in no text that people read, which would make an argument that is given no other one."""
        project.test(ONE)
        project.run_once("--modelviz-update")
        before = project.files()
        store, ids = Store(project.path / "baselines"), {"nodeid": "test_net.py::test_net", "name": "feature_maps"}
        capture = store.load(Location.of(**ids), **ids).capture
        trace = unpack_trace(dict(capture.arrays))
        trace.modules["head"].config["defaults"] = "bias=None"
        forged = dataclasses.replace(capture, arrays={**capture.arrays, **pack_trace(trace)})
        store.save(Location.of(**ids), forged, **ids)
        assert project.files() != before
        project.run("--modelviz").assert_outcomes(passed=1)
        project.run("--modelviz-update-all").assert_outcomes(passed=1)
        assert project.files() == before

    def test_update_all_takes_new_pictures(self, project):
        project.test(ONE)
        project.run_once("--modelviz-update")
        project.test(ONE.replace("photo())", "photo(), layers='conv1')"))
        project.run("--modelviz").assert_outcomes(passed=1)  # pictures are not compared
        project.run("--modelviz-update-all")
        assert b'"conv1": {"channels"' in project.baseline("feature_maps.json").read_bytes()

    def test_no_update_ever_deletes(self, project):
        project.test(TWO)
        project.run_once("--modelviz-update")
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
        result = project.run("--modelviz-update", "--modelviz-baseline-dir=taken/below")
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines(["*ModelvizError: cannot write the baseline *taken*"])


def test_the_plugin_can_be_disabled(project):
    project.test("def test_nothing(): pass")
    assert project.run_apart("-p", "no:modelviz").ret == 0
    assert project.run_apart("-p", "no:modelviz", "--modelviz").ret == pytest.ExitCode.USAGE_ERROR


def test_the_marker_is_registered(project):
    project.test("import pytest\n@pytest.mark.modelviz(rtol=1)\ndef test_nothing(): pass")
    project.run("--strict-markers").assert_outcomes(passed=1)
    project.run("--markers").stdout.fnmatch_lines(["@pytest.mark.modelviz(*"])


class TestRequire:
    def test_a_run_that_compared_nothing_fails(self, project):
        project.test("def test_nothing(): pass")
        result = project.run("--modelviz", "--modelviz-require")
        assert result.ret == pytest.ExitCode.TESTS_FAILED
        result.assert_outcomes(passed=1)
        result.stdout.fnmatch_lines(["this run compared nothing, which --modelviz-require forbids"])

    def test_so_does_one_whose_only_check_has_no_baseline_in_a_test_that_may_fail(self, project):
        project.test("import pytest\n" + ONE.replace("def test_", "@pytest.mark.xfail\ndef test_"))
        result = project.run("--modelviz", "--modelviz-require")
        assert result.ret == pytest.ExitCode.TESTS_FAILED
        result.assert_outcomes(xfailed=1)
        assert project.results["totals"]["missing"] == 1

    @pytest.mark.parametrize("arguments", [(), ("-k", "nothing")], ids=" ".join)
    def test_so_does_one_without_modelviz_or_without_tests(self, project, arguments):
        project.test(ONE)
        project.pytester.makeini("[pytest]\nmodelviz_require = true\n")
        result = project.run(*arguments)
        assert result.ret == pytest.ExitCode.TESTS_FAILED
        result.stdout.fnmatch_lines(["this run compared nothing (--modelviz was not given), which --modelviz-require*"])

    @pytest.mark.parametrize("option", ["--modelviz", "--modelviz-update", "--modelviz-update-missing"])
    def test_one_that_compared_or_recorded_is_enough(self, project, option):
        project.test(TWO)
        project.run_once("--modelviz-update")
        result = project.run(option, "--modelviz-require")
        assert result.ret == 0
        result.stdout.no_fnmatch_line("*--modelviz-require forbids*")

    def test_collecting_alone_is_no_run(self, project):
        project.test(ONE)
        assert project.run("--modelviz-require", "--collect-only").ret == 0


class TestVariant:
    COMMON, OWN = "feature_maps.json", "feature_maps@cuda.json"

    @pytest.fixture(autouse=True)
    def _recorded(self, project):
        project.test(ONE)
        project.run_once("--modelviz-update")

    def test_without_one_of_its_own_it_is_compared_with_the_common_one(self, project):
        project.run("--modelviz", "--modelviz-variant=cuda").assert_outcomes(passed=1)
        project.run("--modelviz-update", "--modelviz-variant=cuda").assert_outcomes(passed=1)
        assert project.statuses() == {"feature_maps": "match"}  # and nothing is recorded that the common one holds
        assert not project.baseline(self.OWN).exists()
        project.fault("weight")
        project.run("--modelviz", "--modelviz-variant=cuda").assert_outcomes(failed=1)
        check = project.check("feature_maps")
        assert check["baseline"].endswith(self.COMMON)
        assert check["candidate"].endswith(self.OWN)

    @pytest.mark.parametrize("by", ["update", "accept"])
    def test_what_differs_gets_one_of_its_own(self, project, by):
        common = project.files()
        project.fault("weight")
        if by == "update":
            project.run("--modelviz-update", "--modelviz-variant=cuda").assert_outcomes(passed=1)
        else:
            project.run("--modelviz", "--modelviz-variant=cuda").assert_outcomes(failed=1)
            assert "feature_maps (cuda)" in project.modelviz("list").output
            assert project.modelviz("accept").output.count("accepted") == 1
        assert {name: data for name, data in project.files().items() if "@" not in name} == common
        assert len(project.files()) == 2 * len(common)
        project.run("--modelviz", "--modelviz-variant=cuda").assert_outcomes(passed=1)
        assert project.check("feature_maps")["baseline"].endswith(self.OWN)
        project.run("--modelviz").assert_outcomes(failed=1)
        project.run("--modelviz", "--modelviz-variant=rocm").assert_outcomes(failed=1)
        project.fault("")
        project.run("--modelviz").assert_outcomes(passed=1)
        project.run("--modelviz", "--modelviz-variant=cuda").assert_outcomes(failed=1)

    def test_results_name_what_was_recorded(self, project):
        project.fault("weight")
        project.run("--modelviz-update", "--modelviz-variant=cuda")
        assert project.check("feature_maps")["baseline"].endswith(f"/{self.OWN}")

    def test_accepting_is_refused_if_the_common_one_has_changed(self, project):
        project.fault("weight")
        project.run("--modelviz", "--modelviz-variant=cuda")
        path = project.baseline(self.COMMON)
        path.write_text(path.read_text() + "\n")
        assert project.modelviz("accept").exit_code == 1
        assert not project.baseline(self.OWN).exists()

    def test_where_there_is_none_at_all_its_own_is_recorded(self, project):
        project.test(ONE.replace("test_net", "test_new"))
        project.run("--modelviz-update-missing", "--modelviz-variant=cuda").assert_outcomes(passed=1)
        assert project.baseline(self.OWN, "test_net/test_new").exists()
        assert not project.baseline(self.COMMON, "test_net/test_new").exists()
        project.run("--modelviz").assert_outcomes(failed=1)

    def test_update_all_records_a_whole_set(self, project):
        project.run("--modelviz-update-all", "--modelviz-variant=cuda").assert_outcomes(passed=1)
        recorded = project.files()
        assert project.baseline(self.OWN).exists()
        project.run("--modelviz-update-all", "--modelviz-variant=cuda")
        assert project.files() == recorded

    def test_by_marker_which_outweighs_the_command_line(self, project):
        project.test(ONE.replace("def ", "import pytest\n@pytest.mark.modelviz(variant='cuda')\ndef "))
        project.fault("weight")
        project.run("--modelviz-update", "--modelviz-variant=rocm").assert_outcomes(passed=1)
        assert project.baseline(self.OWN).exists()

    def test_another_variant_s_file_is_not_taken(self, project):
        project.fault("weight")
        project.run("--modelviz-update", "--modelviz-variant=cuda")
        for file in project.baseline(self.OWN).parent.glob("*@cuda*"):
            file.rename(file.with_name(file.name.replace("cuda", "rocm")))
        result = project.run("--modelviz", "--modelviz-variant=rocm")
        result.stdout.fnmatch_lines(["*cannot be read: it belongs to another variant, 'cuda'"])

    def test_any_name_is_made_safe(self, project):
        project.fault("weight")
        project.run("--modelviz-update", "--modelviz-variant=../ä b@c").assert_outcomes(passed=1)
        project.run("--modelviz", "--modelviz-variant=../ä b@c").assert_outcomes(passed=1)
        assert all(name.startswith("test_net/test_net/feature_maps") for name in project.files())


PRECEDENCE = {  # option: (default, values in ini, on the command line, in the marker, in the call)
    "rtol": ("fail", "0.001", "0.2", "0.001", "0.2"),
    "atol": ("fail", "0.0001", "1.0", "0.0001", "1.0"),
}


@pytest.mark.parametrize("option", PRECEDENCE)
@pytest.mark.parametrize("last", range(5), ids=["default", "ini", "command line", "marker", "call"])
def test_each_source_outweighs_those_before_it(project, option, last):
    """The values alternate: too narrow, wide enough. Whatever comes last decides."""
    values = PRECEDENCE[option]
    view = "cam_map" if option == "atol" else "feature_maps"  # those that take it in their call
    one = ONE.replace("feature_maps", view)
    project.test(one)
    project.run_once("--modelviz-update")
    project.fault("weight")
    arguments = []
    if last >= 1:
        project.pytester.makeini(f"[pytest]\nmodelviz_{option} = {values[1]}\n")
    if last >= 2:
        arguments = [f"--modelviz-{option}={values[2]}"]
    if last >= 3:
        one = one.replace("def ", f"import pytest\n@pytest.mark.modelviz({option}={values[3]})\ndef ")
    if last >= 4:
        one = one.replace("photo())", f"photo(), {option}={values[4]})")
    project.test(one)
    wide = last in (2, 4)
    project.run("--modelviz", *arguments).assert_outcomes(passed=int(wide), failed=int(not wide))


@pytest.mark.parametrize(
    ("option", "value"),
    [("--modelviz-orphans", "maybe"), ("--modelviz-variant", " "), ("--modelviz-variant", "a\nb")],
)
def test_wrong_words_end_the_run_before_it_begins(project, option, value):
    result = project.run("--modelviz", option, value)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: modelviz: {option} takes *, not {value!r}"])
