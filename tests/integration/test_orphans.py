"""Baselines whose test is gone: found, never guessed, never removed by a run."""

import json
import os
import shutil

import pytest

TESTS = """
import pytest
from net import *
def test_a(model_summary):
    model_summary(load())
def test_b(feature_maps):
    feature_maps(load(), photo())
class TestC:
    @pytest.mark.parametrize("n", ["x", "y/z"])
    def test_c(self, model_summary, n):
        model_summary(load())
"""
ALL = {"test_net.py::test_a", "test_net.py::test_b", "test_net.py::TestC::test_c[x]", "test_net.py::TestC::test_c[y/z]"}


@pytest.fixture
def recorded(project):
    project.test(TESTS)
    project.test("def test_nothing(): pass", name="test_other")
    project.run_once("--modelviz-update").assert_outcomes(passed=5)
    return project


def gone(project) -> set[str]:
    return {row["nodeid"] for row in project.results.get("orphans", [])}


def without(*names: str) -> str:
    """The tests, some of them under other names."""
    text = TESTS
    for name in names:
        text = text.replace(name, f"{name}_is_gone").replace(f"{name}_is_gone(", f"no_{name}(")
    return text


def test_a_test_that_is_gone(recorded):
    before = recorded.files()
    recorded.test(without("test_a", "test_c"))
    result = recorded.run("--modelviz")
    result.assert_outcomes(passed=2)
    assert gone(recorded) == ALL - {"test_net.py::test_b"}
    (row,) = [row for row in recorded.results["orphans"] if row["nodeid"] == "test_net.py::test_a"]
    assert row["baseline"] == "baselines/test_net/test_a/model_summary.json"
    result.stdout.fnmatch_lines(["3 orphans: baselines of 3 tests that are gone (modelviz prune removes them)"])
    assert recorded.files() == before


@pytest.mark.parametrize("text", ["", "# moved to test_other.py\n", '"""Moved to test_other.py."""\n', "X = 1\n"])
def test_all_tests_of_a_file_that_is_still_there(recorded, text):
    recorded.test(text)
    assert recorded.run("--modelviz", "--modelviz-orphans=fail").ret == 1
    assert gone(recorded) == ALL
    # what is not looked into says nothing
    assert recorded.run("--modelviz", "--modelviz-orphans=fail", "test_other.py").ret == 0


def test_a_parameter_that_is_gone(recorded):
    recorded.test(TESTS.replace('["x", "y/z"]', '["x"]'))
    recorded.run("--modelviz").assert_outcomes(passed=4)
    assert gone(recorded) == {"test_net.py::TestC::test_c[y/z]"}


@pytest.mark.parametrize(
    ("option", "code", "found"),
    [("warn", 0, True), ("fail", 1, True), ("ignore", 0, False)],
)
@pytest.mark.parametrize("source", ["option", "ini"])
def test_what_becomes_of_the_run(recorded, option, code, found, source):
    recorded.test(without("test_a"))
    if source == "ini":
        recorded.pytester.makeini(f"[pytest]\nmodelviz_orphans = {option}\n")
    result = recorded.run("--modelviz", *([] if source == "ini" else [f"--modelviz-orphans={option}"]))
    assert result.ret == code
    result.assert_outcomes(passed=4)
    assert bool(gone(recorded)) == found == ("test_a" in "".join(result.outlines))


@pytest.mark.parametrize(
    "options",
    [
        ("test_other.py",),
        ("test_net.py::test_b",),
        ("test_net.py::test_b", "test_other.py"),
        ("--ignore=test_net.py",),
        ("-p", "no:python", "test_net.py"),
        ("--doctest-modules", "-p", "no:python"),
        ("--collect-only",),
        ("nowhere.py",),
        ("-k", "test_b", "test_net.py::TestC"),
    ],
    ids=" ".join,
)
def test_no_run_of_parts_judges(recorded, options):
    recorded.test(without("test_a") + "def test_last(): pass\n")
    recorded.run("--modelviz", *options)
    assert gone(recorded) == set()


@pytest.mark.parametrize(
    "options", [("-k", "test_b"), ("--deselect", "test_net.py::test_b"), ("-m", "no")], ids=" ".join
)
def test_what_is_deselected_is_not_gone(recorded, options):
    recorded.run("--modelviz", "--modelviz-orphans=fail", *options)
    assert gone(recorded) == set()
    recorded.test(without("test_a"))
    recorded.run("--modelviz", *options)
    assert gone(recorded) == {"test_net.py::test_a"}


def test_what_other_plugins_take_away_is_not_gone(recorded):
    recorded.pytester.makeconftest(
        "import pytest\n"
        "@pytest.hookimpl(tryfirst=True)\n"
        "def pytest_collection_modifyitems(items):\n    items[:] = items[:1]\n"
        "@pytest.hookimpl(wrapper=True)\n"
        "def pytest_make_collect_report(collector):\n"
        "    report = yield\n"
        "    if isinstance(collector, pytest.Module): report.result = report.result[:1]\n"
        "    return report\n"
    )
    recorded.run("--modelviz", "--modelviz-orphans=fail").assert_outcomes(passed=1)
    assert gone(recorded) == set()


@pytest.mark.parametrize("option", ["--lf", "--ff", "--nf"])
def test_runs_of_what_failed_last(recorded, option):
    recorded.fault("weight")
    result = recorded.pytester.runpytest_inprocess("--modelviz", "-p", "no:randomly")
    result.assert_outcomes(passed=4, failed=1)
    result = recorded.pytester.runpytest_inprocess("--modelviz", "-p", "no:randomly", "--modelviz-orphans=fail", option)
    assert gone(recorded) == set()
    assert recorded.check("feature_maps")["status"] == "drift"


def test_files_that_a_run_of_what_failed_last_passes_over(recorded):
    """pytest answers for such a file as if it held nothing."""
    recorded.test("from net import *\ndef test_there(model_summary): model_summary(load())\n", name="test_second")
    recorded.run_once("--modelviz-update")
    recorded.fault("weight")
    recorded.pytester.runpytest_inprocess("--modelviz", "-p", "no:randomly").assert_outcomes(passed=5, failed=1)
    result = recorded.pytester.runpytest_inprocess("--modelviz", "-p", "no:randomly", "--lf", "--modelviz-orphans=fail")
    result.assert_outcomes(failed=1)
    assert gone(recorded) == set()


def test_a_file_that_cannot_be_imported_judges_nothing(recorded):
    recorded.test(without("test_a") + "raise RuntimeError\n")
    recorded.run("--modelviz", "--continue-on-collection-errors")
    assert gone(recorded) == set()


@pytest.mark.parametrize("options", [("-x",), ("--maxfail=1",)])
def test_a_run_that_stops_early_judges_nothing(recorded, options):
    recorded.test(without("test_a") + "def test_fails(): assert 0\ndef test_last(): pass\n")
    recorded.run("--modelviz", *options).assert_outcomes(failed=1, passed=3)
    assert gone(recorded) == set()


def test_a_run_that_is_interrupted_judges_nothing(recorded):
    recorded.test(without("test_a") + "def test_last(): pytest.exit('enough')\n")
    recorded.run("--modelviz")
    assert gone(recorded) == set()


def test_tests_of_unittest_and_empty_classes(recorded):
    recorded.test(
        TESTS + "import unittest\nclass TestU(unittest.TestCase):\n    def test_u(self): pass\nclass TestE: pass\n"
    )
    recorded.run("--modelviz", "--modelviz-orphans=fail")
    assert gone(recorded) == set()
    recorded.test(without("test_a") + "class TestE: pass\n")
    recorded.run("--modelviz")
    assert gone(recorded) == {"test_net.py::test_a"}


def test_a_file_outside_of_rootdir(recorded):
    (recorded.path / "root").mkdir()
    options = ("--rootdir=root", "test_net.py")
    recorded.run("--modelviz-update", *options).assert_outcomes(passed=4)
    recorded.run("--modelviz", "--modelviz-orphans=fail", *options)
    results = json.loads((recorded.path / "root/.modelviz/results.json").read_text())
    assert "orphans" not in results
    recorded.test(without("test_a"))
    recorded.run("--modelviz", *options)
    results = json.loads((recorded.path / "root/.modelviz/results.json").read_text())
    assert [row["nodeid"] for row in results["orphans"]] == ["../test_net.py::test_a"]


def test_files_that_are_none_of_ours_are_no_orphans(recorded):
    place = recorded.path / "baselines/test_net/mine"
    place.mkdir()
    (place / "notes.json").write_text('{"nodeid": "test_net.py::mine"}')
    (place / "damaged.json").write_text("{")
    shutil.copytree(recorded.path / "baselines/test_net/test_a", place, dirs_exist_ok=True)  # moved by hand
    recorded.run("--modelviz", "--modelviz-orphans=fail")
    assert gone(recorded) == set()


def test_variants_of_a_test_that_is_gone(recorded):
    recorded.run("--modelviz-update-all", "--modelviz-variant=cuda", "-k", "test_a")
    recorded.test(without("test_a"))
    recorded.run("--modelviz")
    assert [row["variant"] for row in recorded.results["orphans"]] == [None, "cuda"]
    assert recorded.modelviz("prune").output.count("removed") == 2
    assert not (recorded.path / "baselines/test_net/test_a").exists()


class TestRenames:
    def test_a_new_name_is_suggested(self, recorded):
        recorded.test(TESTS.replace("test_b", "test_better"))
        result = recorded.run("--modelviz")
        result.assert_outcomes(failed=1, passed=4)
        result.stdout.fnmatch_lines(
            [
                "  test_net.py::test_b: feature_maps; is it now test_net.py::test_better? "
                "modelviz mv test_net.py::test_b test_net.py::test_better"
            ]
        )
        (row,) = recorded.results["orphans"]
        assert row["renamed_to"] == "test_net.py::test_better"
        assert "is it now test_net.py::test_better?" in recorded.modelviz("orphans").output

    def test_also_when_it_was_recorded_at_once(self, recorded):
        recorded.test(TESTS.replace("test_b", "test_better"))
        recorded.run_once("--modelviz-update").assert_outcomes(passed=5)
        assert recorded.results["orphans"][0]["renamed_to"] == "test_net.py::test_better"

    def test_none_where_the_content_differs_or_fits_two(self, recorded):
        recorded.test(TESTS.replace("test_b", "test_better"))
        recorded.fault("weight")
        recorded.run("--modelviz")
        assert recorded.results["orphans"][0]["renamed_to"] is None
        recorded.fault("")
        recorded.test(TESTS.replace("test_a", "test_one") + "def test_two(model_summary): model_summary(load())\n")
        recorded.run("--modelviz")
        assert recorded.results["orphans"][0]["renamed_to"] is None

    def test_into_another_file(self, recorded):
        recorded.test("from net import *\ndef test_b(feature_maps): feature_maps(load(), photo())\n", name="test_moved")
        (recorded.path / "test_net.py").unlink()
        result = recorded.run("--modelviz")
        result.stdout.fnmatch_lines(["this test has baselines, and its file is gone:"])
        assert gone(recorded) == set()  # no file of theirs was collected
        lines = recorded.modelviz("orphans").output.splitlines()
        assert (
            "test_net.py::test_b  feature_maps  (its test file is gone: prune it by name)  "
            "is it now test_moved.py::test_b? modelviz mv test_net.py::test_b test_moved.py::test_b" in lines
        )
        assert lines[-1] == "4 orphans (baselines whose test is gone)"
        assert recorded.modelviz("prune").output == "nothing to remove\n"
        assert recorded.modelviz("prune", "test_net.py::test_b").output.startswith("removed ")


class TestPruning:
    @pytest.fixture
    def orphaned(self, recorded):
        recorded.test(without("test_a"))
        recorded.run_once("--modelviz")
        return recorded

    def test_removes_orphans_and_keeps_a_copy(self, orphaned):
        before = orphaned.files()
        assert orphaned.modelviz("prune", "--dry-run").output.startswith("would be removed")
        assert orphaned.files() == before
        done = orphaned.modelviz("prune")
        assert done.exit_code == 0
        assert done.output.split() == [
            "removed",
            "test_net.py::test_a",
            "model_summary",
            "baselines/test_net/test_a/model_summary.json",
        ]
        removed = {name: data for name, data in before.items() if name.startswith("test_net/test_a/")}
        assert orphaned.files() == {name: data for name, data in before.items() if name not in removed}
        assert orphaned.files(".modelviz/pruned") == removed
        assert not (orphaned.path / "baselines/test_net/test_a").exists()
        assert orphaned.modelviz("prune").output == "nothing to remove\n"
        assert orphaned.modelviz("orphans").output == "0 orphans (baselines whose test is gone)\n"
        orphaned.run("--modelviz")
        assert gone(orphaned) == set()
        assert orphaned.files(".modelviz/pruned") == removed  # the next run leaves it there

    def test_each_copy_is_kept(self, orphaned):
        """What is removed, recorded otherwise and removed again is there twice; what is the same, once."""
        copies = []
        for source in ("", "nn.Linear(1, 2)", "", "nn.Linear(1, 3)"):
            orphaned.test(
                TESTS.replace(
                    "test_a(model_summary):\n    model_summary(load()",
                    f"test_a(model_summary):\n    model_summary({source or 'load()'}",
                )
            )
            orphaned.run("--modelviz-update-all", "-k", "test_a")
            copies.append({n: d for n, d in orphaned.files().items() if n.startswith("test_net/test_a/")})
            orphaned.test(without("test_a"))
            orphaned.run("--modelviz")
            assert orphaned.modelviz("prune").exit_code == 0
        kept = orphaned.files(".modelviz/pruned")
        assert kept == {
            name.replace("/test_a/", f"/{folder}/"): data
            for folder, files in zip(("test_a", "test_a@2", "test_a@3"), (copies[0], copies[1], copies[3]), strict=True)
            for name, data in files.items()
        }
        shutil.copytree(
            orphaned.path / ".modelviz/pruned/test_net/test_a@2", orphaned.path / "baselines/test_net/test_a"
        )
        orphaned.test(TESTS.replace("model_summary(load())", "model_summary(nn.Linear(1, 2))", 1))
        orphaned.run("--modelviz", "-k", "test_a").assert_outcomes(passed=1)

    def test_only_what_is_named(self, orphaned):
        orphaned.test(without("test_a", "test_b"))
        orphaned.run("--modelviz")
        orphaned.modelviz("prune", "test_net.py::test_b")
        orphaned.run("--modelviz")
        assert gone(orphaned) == {"test_net.py::test_a"}
        assert orphaned.modelviz("prune", "nothing").exit_code == 1

    def test_not_if_the_test_may_be_back(self, orphaned):
        before = orphaned.files()
        orphaned.test(TESTS)
        done = orphaned.modelviz("prune")
        assert done.exit_code == 1
        assert "its test file has changed since: run pytest --modelviz again" in done.output
        assert orphaned.files() == before

    def test_not_if_it_has_changed(self, orphaned):
        path = orphaned.baseline("model_summary.json", "test_net/test_a")
        path.write_text(path.read_text() + "\n")
        assert "it has changed since" in orphaned.modelviz("prune").output
        assert path.exists()

    def test_not_if_no_copy_can_be_kept(self, orphaned):
        (orphaned.path / ".modelviz/pruned").write_text("in the way")
        done = orphaned.modelviz("prune")
        assert done.exit_code == 1
        assert "cannot write the copy" in done.output
        assert orphaned.baseline("model_summary.json", "test_net/test_a").exists()

    def test_not_if_it_cannot_be_read(self, orphaned):
        path = orphaned.baseline("model_summary.json", "test_net/test_a")
        path.write_text("{")
        assert orphaned.modelviz("prune").exit_code == 1
        assert path.exists()

    def test_json(self, orphaned):
        (row,) = json.loads(orphaned.modelviz("orphans", "--json").output)["orphans"]
        assert (row["nodeid"], row["gone"]) == ("test_net.py::test_a", "test")
        (decision,) = json.loads(orphaned.modelviz("prune", "--json").output)["decisions"]
        assert decision["done"] == "removed"


def test_a_test_that_ran_is_never_an_orphan(recorded):
    """Even one that a plugin has made up after the collection."""
    recorded.pytester.makeconftest(
        "import pytest\n"
        "def pytest_collection_modifyitems(items):\n"
        "    last = next(item for item in items if item.name == 'test_a')\n"
        "    items.append(pytest.Function.from_parent(last.parent, name='test_extra', callobj=last.obj))\n"
    )
    recorded.run_once("--modelviz-update").assert_outcomes(passed=6)
    recorded.run("--modelviz", "--modelviz-orphans=fail").assert_outcomes(passed=6)
    assert gone(recorded) == set()


def test_pruning_is_refused_if_a_module_has_changed_that_may_name_tests(project):
    (project.path / "names.py").write_text("NAMES = ['a', 'b']\n")
    project.test(
        "import pytest\nfrom names import NAMES\nfrom net import *\n"
        "@pytest.mark.parametrize('n', NAMES)\ndef test_net(model_summary, n):\n    model_summary(load())\n"
    )
    project.run_once("--modelviz-update")
    before = project.files()
    (project.path / "names.py").write_text("NAMES = ['a']\n")
    project.run("--modelviz")
    assert gone(project) == {"test_net.py::test_net[b]"}
    (project.path / "names.py").write_text("NAMES = ['a', 'b']\n")
    done = project.modelviz("prune")
    assert done.exit_code == 1
    assert "names.py has changed since: run pytest --modelviz again" in done.output
    assert project.files() == before


def test_a_foreign_folder_s_list_is_not_trusted(recorded, tmp_path):
    recorded.test(without("test_a"))
    recorded.run("--modelviz")
    shutil.copytree(recorded.path / ".modelviz", tmp_path / "ci")
    done = recorded.modelviz("prune", "--from", str(tmp_path / "ci"))
    assert done.exit_code == 1
    assert "with --from, name the tests whose baselines are to be removed" in done.output
    assert recorded.modelviz("prune", "--from", str(tmp_path / "ci"), "test_net.py::test_a").exit_code == 0
    assert list(recorded.files(".modelviz/pruned")) == ["test_net/test_a/model_summary.json"]  # kept at home
    assert not (tmp_path / "ci/pruned").exists()


class TestParametersFromAFile:
    """No code has changed, but a file of data may have brought a parameter back."""

    SOURCE = (
        "import json, pathlib, pytest\nfrom net import *\n"
        "CASES = json.loads((pathlib.Path(__file__).parent / 'data/cases.json').read_text())\n"
        "@pytest.mark.parametrize('n', CASES)\ndef test_q(model_summary, n):\n    model_summary(load())\n"
    )
    GONE = "test_net.py::test_q[b]"

    @pytest.fixture
    def orphaned(self, project):
        self.data = project.path / "data/cases.json"
        self.data.parent.mkdir()
        self.data.write_text('["a", "b"]')
        project.test(self.SOURCE)
        project.run_once("--modelviz-update").assert_outcomes(passed=2)
        self.data.write_text('["a"]')
        project.run("--modelviz").assert_outcomes(passed=1)
        assert gone(project) == {self.GONE}
        return project

    def test_it_is_removed_where_nothing_has_changed(self, orphaned):
        orphaned.modelviz("report")
        (orphaned.path / "baselines/note.txt").write_text("newer, and no data of a test")
        (orphaned.path / ".hidden").write_text("newer")
        (orphaned.path / "cache").mkdir()
        (orphaned.path / "cache/.gitignore").write_text("*\n")
        (orphaned.path / "cache/data.json").write_text("newer")
        assert orphaned.modelviz("prune").output.split()[:2] == ["removed", self.GONE]

    @pytest.mark.parametrize("way", ["written", "moved here"])
    def test_it_is_not_where_a_file_is_newer(self, orphaned, way):
        before = orphaned.files()
        if way == "written":
            self.data.write_text('["a", "b"]')
        else:
            new = orphaned.path / ".new"
            new.write_text('["a", "b"]')
            os.utime(new, (0, 0))
            new.rename(self.data)
        for command in (("prune",), ("prune", "--dry-run"), ("prune", "*")):
            done = orphaned.modelviz(*command)
            assert (done.exit_code, done.output.split()[:2]) == (1, ["refused", self.GONE])
            assert "its parameters may come from a file that is newer than the results, such as data/cases.json" in (
                done.output
            )
        assert orphaned.files() == before
        orphaned.run("--modelviz", "--modelviz-orphans=fail").assert_outcomes(passed=2)

    def test_it_is_where_it_is_named_or_the_function_is_gone(self, orphaned):
        (orphaned.path / "newer.txt").write_text("")
        assert orphaned.modelviz("prune", self.GONE).output.split()[0] == "removed"
        orphaned.test("def test_other(): ...\n")
        orphaned.run("--modelviz")
        (orphaned.path / "newer.txt").write_text("")
        assert orphaned.modelviz("prune").output.split()[:2] == ["removed", "test_net.py::test_q[a]"]
