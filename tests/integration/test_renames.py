"""Tests that are renamed: what a run says, and `modelviz mv`, with git as users have it."""

import json
import shutil
import subprocess

import fsspec
import pytest

pytestmark = pytest.mark.unwatched

TESTS = """
import pytest
from net import *
def test_a(model_summary):
    model_summary(load())
@pytest.mark.parametrize("n", ["x", "Y"])
def test_b(feature_maps, n):
    feature_maps(load(), photo(), name="Maps")
"""
NAMES = ("test_net.py::test_a", "test_net.py::test_b[Y]", "test_net.py::test_b[x]")


@pytest.fixture
def recorded(project):
    project.test(TESTS)
    project.run_once("--modelviz-update").assert_outcomes(passed=3)
    return project


def rename_file(project, name: str = "test_model") -> None:
    (project.path / "test_net.py").rename(project.path / f"{name}.py")


def commands(output: str) -> list[str]:
    """The `modelviz mv` commands in a text, each once."""
    found = {line[line.index("modelviz mv ") :] for line in output.splitlines() if "modelviz mv " in line}
    return sorted(found)


def execute(project, command: str):
    import shlex

    return project.modelviz(*shlex.split(command)[1:])


class TestAFile:
    def test_its_baselines_are_moved(self, recorded):
        before = recorded.files()
        rename_file(recorded)
        result = recorded.run("--modelviz", "--modelviz-orphans=fail")
        result.assert_outcomes(failed=3)
        result.stdout.fnmatch_lines(
            [
                "these tests have baselines, and their file is gone:",
                "  test_net.py::test_a; is it now test_model.py::test_a[?] modelviz mv test_net.py test_model.py",
            ]
        )
        assert recorded.results.get("orphans", []) == []  # no file of theirs was collected
        (command,) = commands(str(result.stdout))
        done = execute(recorded, command)
        assert (done.exit_code, done.output.count("moved  ")) == (0, 3)
        recorded.run("--modelviz", "--modelviz-orphans=fail").assert_outcomes(passed=3)
        wanted = {
            name.replace("test_net/", "test_model/"): data.replace(b'"test_net.py', b'"test_model.py')
            for name, data in before.items()
        }
        assert recorded.files() == wanted
        assert not (recorded.path / "baselines/test_net").exists()
        assert recorded.modelviz("orphans").output == "0 orphans (baselines whose test is gone)\n"

    def test_the_command_is_printed_where_the_candidates_are_equal(self, recorded):
        rename_file(recorded)
        recorded.run("--modelviz")
        (command,) = commands(recorded.modelviz("orphans").output)
        assert command == "modelviz mv test_net.py test_model.py"
        execute(recorded, command)
        recorded.run("--modelviz").assert_outcomes(passed=3)

    def test_a_file_that_is_still_there_has_not_been_renamed(self, recorded):
        recorded.test(TESTS, name="test_model")
        before = recorded.files()
        done = recorded.modelviz("mv", "test_net.py", "test_model.py")
        assert (done.exit_code, "test_net.py is still there: rename it first" in done.output) == (1, True)
        assert recorded.files() == before

    def test_a_file_that_was_split_is_no_file_that_was_moved(self, recorded):
        one, other = TESTS.split("@pytest")
        recorded.test(one, name="test_one")
        recorded.test(f"import pytest\nfrom net import *\n@pytest{other}", name="test_other")
        (recorded.path / "test_net.py").unlink()
        recorded.run("--modelviz").assert_outcomes(failed=3)
        for command in commands(recorded.modelviz("orphans").output):
            assert execute(recorded, command).exit_code == 0
        recorded.run("--modelviz").assert_outcomes(passed=3)

    @pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
    def test_after_git_mv_of_both_the_message_says_what_to_do(self, recorded):
        def git(*arguments: str) -> str:
            command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
            return subprocess.run(command, cwd=recorded.path, check=True, capture_output=True, text=True).stdout

        git("init", "--quiet")
        git("add", ".")
        git("commit", "--quiet", "--message", "x")
        git("mv", "test_net.py", "test_model.py")
        git("mv", "baselines/test_net", "baselines/test_model")
        result = recorded.run("--modelviz")
        result.assert_outcomes(failed=3)
        assert set(recorded.statuses().values()) == {"unreadable"}
        (command,) = commands(result.stdout.str())
        assert command == "modelviz mv test_net.py test_model.py"
        assert "review: modelviz show" in map(recorded.without_run, result.outlines)
        assert "modelviz accept" not in result.stdout.str()  # it would refuse
        assert execute(recorded, command).exit_code == 0
        recorded.run("--modelviz", "--modelviz-orphans=fail").assert_outcomes(passed=3)
        git("add", ".")
        changed = git("diff", "--cached", "--stat", "-M20%")
        assert "3 insertions(+), 3 deletions(-)" in changed  # the ids


class TestATest:
    def test_with_its_parameters(self, recorded):
        recorded.test(TESTS.replace("test_b", "test_better"))
        result = recorded.run("--modelviz")
        result.assert_outcomes(failed=2, passed=1)
        assert execute(recorded, "modelviz mv test_net.py::test_b test_net.py::test_better").exit_code == 0
        recorded.run("--modelviz", "--modelviz-orphans=fail").assert_outcomes(passed=3)

    def test_the_printed_command_has_the_options_that_it_needs(self, recorded, monkeypatch):
        options = ("--modelviz-baseline-dir=my shots", "--modelviz-results-dir=out")
        recorded.run("--modelviz-update", *options)
        recorded.test(TESTS.replace("test_a", "test_first"))
        result = recorded.run("--modelviz", *options)
        result.assert_outcomes(failed=1, passed=2)
        (command,) = commands(result.stdout.str())
        assert command == "modelviz mv --baseline-dir 'my shots' test_net.py::test_a test_net.py::test_first"
        listed = recorded.modelviz("orphans", "--from", "out", "--baseline-dir", "my shots").output
        assert commands(listed) == [command]
        shutil.move(recorded.path / "my shots/test_net/test_a", recorded.path / "my shots/test_net/test_first")
        (command,) = commands(recorded.run("--modelviz", *options).stdout.str())
        assert command == "modelviz mv --baseline-dir 'my shots' test_net.py::test_a test_net.py::test_first"
        assert execute(recorded, command).exit_code == 0
        recorded.run("--modelviz", *options).assert_outcomes(passed=3)

    def test_one_that_was_recorded_under_its_new_name_is_pruned(self, recorded):
        recorded.test(TESTS.replace("test_a", "test_first"))
        result = recorded.run_once("--modelviz-update")
        told = "  test_net.py::test_a: model_summary; is it now test_net.py::test_first? "
        assert told + "modelviz prune test_net.py::test_a" in result.outlines
        assert recorded.modelviz("prune", "test_net.py::test_a").exit_code == 0
        recorded.run("--modelviz", "--modelviz-orphans=fail").assert_outcomes(passed=3)


class TestWhatIsStillThere:
    """A test that was not renamed keeps its baselines, whatever else has come."""

    @pytest.mark.parametrize(
        ("old", "new", "named"),
        [
            ("test_net.py::test_a", "test_net.py::test_new", "test_net.py::test_a"),
            ("test_net.py::test_b", "test_net.py::test_new", "test_net.py::test_b"),
            ("test_net.py::test_a", "test_new.py::test_a", "test_net.py::test_a"),
            ("test_net.py::test_*", "test_new.py::test_*", "test_net.py::test_a"),
            ("*_net.py", "*_new.py", "test_net.py::test_a"),
        ],
    )
    @pytest.mark.parametrize("options", [(), ("--dry-run",)], ids=["", "dry"])
    def test_is_not_moved_from(self, recorded, old, new, named, options):
        recorded.test(TESTS + "def test_new(model_summary):\n    model_summary(load(), photo())\n")
        recorded.test(TESTS, name="test_new")
        before = recorded.files()
        done = recorded.modelviz("mv", old, new, *options)
        told = f"Error: {named} is still there: rename it first, or name those of its tests that have moved\n"
        assert (done.exit_code, done.output) == (1, told)
        assert recorded.files() == before

    @pytest.mark.parametrize(
        ("old", "new", "source"),
        [
            ("test_b[x]", "test_b[z]", TESTS.replace('"x"', '"z"')),
            ("test_b[*]", "test_b[n-*]", TESTS.replace('"x", "Y"', '"n-x", "n-Y"')),
            ("test_a", "test_a[1]", TESTS.replace("def test_a(", "@pytest.mark.parametrize('m', [1])\ndef test_a(m, ")),
            (
                "test_b[x]",
                "test_x",
                TESTS.replace('"x", ', "") + TESTS[TESTS.index("def test_b") :].replace("b(f", "x(f"),
            ),
        ],
    )
    def test_parameters_may_change(self, recorded, old, new, source):
        recorded.test(source.replace("test_x(feature_maps, n)", "test_x(feature_maps)"))
        assert recorded.modelviz("mv", f"test_net.py::{old}", f"test_net.py::{new}").exit_code == 0
        recorded.run("--modelviz", "--modelviz-orphans=fail").assert_outcomes(passed=3)

    def test_the_command_that_is_printed_for_a_parameter_leaves_the_others(self, recorded):
        """`[x]` has become a test of its own with the same content; `[Y]` is where it was."""
        moved = "@pytest.mark.parametrize('n', ['x'])\ndef test_own(feature_maps, n):\n"
        recorded.test(TESTS.replace('"x", ', "") + moved + "    feature_maps(load(), photo(), name='Maps')\n")
        result = recorded.run("--modelviz")
        (command,) = commands(result.stdout.str())
        assert command == "modelviz mv 'test_net.py::test_b[x]' 'test_net.py::test_own[x]'"
        assert execute(recorded, command).exit_code == 0
        recorded.run("--modelviz", "--modelviz-orphans=fail").assert_outcomes(passed=3)

    def test_a_copy_by_hand_is_not_advised_to_be_moved(self, recorded):
        shutil.copytree(recorded.path / "baselines/test_net/test_a", recorded.path / "baselines/test_net/test_new")
        recorded.test(TESTS + "def test_new(model_summary):\n    model_summary(load())\n")
        result = recorded.run("--modelviz")
        result.assert_outcomes(passed=3, failed=1)
        result.stdout.fnmatch_lines(["*it belongs to another test, 'test_net.py::test_a', which is still there"])
        assert commands(result.stdout.str()) == []


class TestAGroup:
    """Moved as a whole, or not at all: what was left behind would be taken along by the next move."""

    SOURCE = (
        "from net import *\nclass TestA:\n    def test_only_a(self, model_summary):\n        model_summary(load())\n"
        "    def test_q(self, model_summary):\n        model_summary(load())\n"
        "class TestB:\n    def test_q(self, model_summary):\n        model_summary(load(), photo())\n"
    )

    def test_of_which_one_has_a_baseline_there(self, project):
        project.test(self.SOURCE)
        project.run_once("--modelviz-update").assert_outcomes(passed=3)
        before = project.files()
        project.test(self.SOURCE.replace("TestB", "TestOld").replace("TestA", "TestB"))
        for options in ((), ("--dry-run",)):
            done = project.modelviz("mv", "test_net.py::TestA", "test_net.py::TestB", *options)
            (line,) = done.output.splitlines()
            assert (done.exit_code, line.startswith("refused    test_net.py::TestA::test_q  model_summary  ")) == (
                1,
                True,
            )
            assert "test_net.py::TestB::test_q already has a baseline, " in line
            assert line.endswith("keep only one of the two; until then nothing is moved")
            assert project.files() == before
        project.modelviz("mv", "test_net.py::TestB", "test_net.py::TestOld")
        assert project.modelviz("mv", "test_net.py::TestA", "test_net.py::TestB").output.count("moved  ") == 0

    def test_whose_target_was_pruned_is_moved(self, project):
        project.test(self.SOURCE)
        project.run_once("--modelviz-update")
        project.test(self.SOURCE[: self.SOURCE.index("class TestB")].replace("TestA", "TestB"))
        shutil.rmtree(project.path / "baselines/test_net/TestB.test_q")
        assert project.modelviz("mv", "test_net.py::TestA", "test_net.py::TestB").output.count("moved  ") == 2
        project.run("--modelviz", "--modelviz-orphans=fail").assert_outcomes(passed=2)


class TestTheCommand:
    def test_a_mistake_is_one_line_and_nothing_is_done(self, recorded):
        before = recorded.files()
        for old, new in (
            ("test_typo.py", "test_net.py"),
            ("test_net.py", "test_typo.py"),
            ("test_net.py::test_a", "test_net.py"),
            ("test_*.py", "x.py"),
        ):
            done = recorded.modelviz("mv", old, new)
            assert (done.exit_code, done.output.startswith("Error: ")) == (1, True)
            assert done.output.count("\n") == 1
        assert recorded.modelviz("mv", "test_net.py").exit_code == 2
        assert recorded.files() == before

    def test_a_baseline_that_is_there_is_refused(self, recorded):
        before = recorded.files()
        done = recorded.modelviz("mv", "test_net.py::test_b[x]", "test_net.py::test_b[Y]")
        assert (done.exit_code, done.output.startswith("refused ")) == (1, True)
        assert "test_net.py::test_b[Y] already has a baseline" in done.output
        assert recorded.files() == before

    @pytest.mark.parametrize("old", ["test_net.py", "test_net.py::test_b"])
    def test_what_cannot_be_read_is_named_and_stays(self, recorded, old):
        path = recorded.baseline("Maps-119e66d117.json", "test_net/test_b[x]")
        path.write_text("<<<<<<< HEAD\n{}\n=======\n{}\n>>>>>>> x\n")
        rename_file(recorded)
        done = recorded.modelviz("mv", old, old.replace("test_net.py", "test_model.py"))
        assert done.exit_code == 1
        (refused,) = [line for line in done.output.splitlines() if line.startswith("refused ")]
        assert "Maps-119e66d117  it cannot be read and stays where it is: it holds a merge conflict" in refused
        assert done.output.count("moved  ") == (2 if old == "test_net.py" else 1)
        assert path.exists()

    def test_json_and_dry_run(self, recorded):
        recorded.test(TESTS.replace("test_b", "test_c"))
        before = recorded.files()
        done = recorded.modelviz("mv", "test_net.py::test_b*", "test_net.py::test_c*", "--dry-run", "--json")
        rows = json.loads(done.output)["decisions"]
        assert [(row["nodeid"], row["new_nodeid"], row["done"]) for row in rows] == [
            (nodeid, nodeid.replace("test_b", "test_c"), "would be moved") for nodeid in NAMES[1:]
        ]
        assert recorded.files() == before

    def test_in_a_bucket(self, project):
        fsspec.filesystem("memory").store.clear()
        option = "--modelviz-baseline-dir=memory://models/baselines"
        project.test(TESTS)
        project.run("--modelviz-update", option).assert_outcomes(passed=3)
        rename_file(project)
        done = project.modelviz("mv", "test_net.py", "test_model.py", "--baseline-dir", "memory://models/baselines")
        assert (done.exit_code, done.output.count("moved  ")) == (0, 3)
        project.run("--modelviz", option).assert_outcomes(passed=3)

    def test_it_imports_nothing_heavy(self, recorded):
        import sys

        rename_file(recorded)
        code = (
            "import sys, pytest_modelviz.cli as c\n"
            "try: c.main(['mv', 'test_net.py', 'test_model.py', '--dry-run'])\n"
            "except SystemExit as e: assert not e.code\n"
            "print([m for m in ('torch', 'PIL', 'pytest', 'fsspec', 'jinja2') if m in sys.modules])"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=recorded.path, capture_output=True, text=True, check=True
        )
        assert done.stdout.splitlines()[-1] == "[]"
