"""What tests are called, whatever pytest is given: no two share a baseline, and each finds its own again."""

import json
import shutil
from pathlib import Path

import pytest

from pytest_modelviz.storage.formats import decode_json

pytestmark = pytest.mark.unwatched

CHECK = "from net import *\ndef test_net(feature_maps):\n    feature_maps(load(), photo() * {scale})\n"


def recorded(folder: Path) -> dict[str, str]:
    """The ids that the baselines in a folder bear -> the digest of what is compared."""
    documents = [decode_json(path.read_bytes()) for path in folder.rglob("*.json")]
    return {document["nodeid"]: document["data_sha256"] for document in documents}


def results(folder: Path) -> dict:
    return json.loads((folder / ".modelviz/results.json").read_text())


def statuses(folder: Path) -> dict[str, str]:
    return {check["nodeid"]: check["status"] for check in results(folder)["checks"]}


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def monorepo(project):
    """Two packages with a configuration each, whose tests have one id."""
    for number, name in enumerate("ab", 1):
        root = project.path / "packages" / name
        write(root / "pyproject.toml", '[tool.pytest.ini_options]\naddopts = "--import-mode=importlib"\n')
        write(root / "tests/test_net.py", CHECK.format(scale=number))
        project.run_once("--modelviz-update", f"--rootdir=packages/{name}", f"packages/{name}").assert_outcomes(
            passed=1
        )
        assert statuses(root) == {"tests/test_net.py::test_net": "recorded"}
    return project


class TestTwoPackages:
    @pytest.mark.parametrize("options", [(), ("-n1",)], ids=["plain", "worker"])
    def test_recorded_from_above_neither_takes_the_other_s_place(self, monorepo, options):
        roots = [monorepo.path / "packages" / name for name in "ab"]
        before = [recorded(root / "baselines") for root in roots]
        run = monorepo.run_apart if options else monorepo.run
        run("--modelviz-update", "packages/a", "packages/b", *options).assert_outcomes(passed=2)
        own, other = "tests/test_net.py::test_net", "../b/tests/test_net.py::test_net"
        assert statuses(roots[0]) == {own: "match", other: "recorded"}
        assert recorded(roots[1] / "baselines") == before[1]
        now = recorded(roots[0] / "baselines")
        assert now == {**before[0], other: before[1][own]}
        run("--modelviz", "--modelviz-orphans=fail", "packages/a", "packages/b", *options).assert_outcomes(passed=2)

    def test_a_baseline_under_another_root_folder_is_named(self, monorepo):
        result = monorepo.run("--modelviz", "packages/a", "packages/b")
        result.assert_outcomes(passed=1, failed=1)
        (missing,) = [c for c in results(monorepo.path / "packages/a")["checks"] if c["status"] == "missing"]
        assert missing["nodeid"] == "../b/tests/test_net.py::test_net"
        root = monorepo.path / "packages/b"
        assert (
            f"there is a baseline at {root}/baselines/tests/test_net/test_net/feature_maps.json" in missing["message"]
        )
        assert f"--rootdir={root}" in missing["message"]
        monorepo.run("--modelviz", f"--rootdir={root}", "packages/b").assert_outcomes(passed=1)

    @pytest.mark.parametrize("arguments", [("packages/a", "packages/b"), ("--rootdir=packages/a", "packages/b")])
    def test_no_move_is_advised_that_takes_the_other_s_baseline(self, monorepo, arguments):
        root = monorepo.path / "packages/a"
        before = recorded(root / "baselines")
        result = monorepo.run("--modelviz", *arguments)
        assert statuses(root)["../b/tests/test_net.py::test_net"] == "missing"
        assert "modelviz mv" not in result.stdout.str()
        own, other = "tests/test_net.py::test_net", "../b/tests/test_net.py::test_net"
        done = monorepo.modelviz("mv", "--rootdir", "packages/a", own, other)
        assert (done.exit_code, f"{own} is still there: rename it first" in done.output) == (1, True)
        assert recorded(root / "baselines") == before

    def test_results_and_commands_tell_them_apart(self, monorepo):
        monorepo.run("--modelviz-update", "packages/a", "packages/b")
        monorepo.fault("weight")
        result = monorepo.run("--modelviz", "-v", "packages/a", "packages/b")
        result.assert_outcomes(failed=2)
        lines = [line for line in result.outlines if line.startswith("  accept ") and "--group" not in line]
        accepts = [line.split(None, 2)[2] for line in lines]
        assert len(set(accepts)) == 2
        titles = {
            tag.partition("/feature_maps")[0]
            for c in results(monorepo.path / "packages/a")["checks"]
            for tag in c["tensorboard_tags"]
        }
        assert titles == {"tests/test_net.py::test_net", "../b/tests/test_net.py::test_net"}
        before = recorded(monorepo.path / "packages/a/baselines")
        import shlex

        command = next(line for line in accepts if "../b/" in line)
        done = monorepo.modelviz("accept", *shlex.split(command)[1:])
        assert done.exit_code == 0, done.output
        after = recorded(monorepo.path / "packages/a/baselines")
        assert [name for name in before if before[name] != after[name]] == ["../b/tests/test_net.py::test_net"]

    def test_the_command_that_records_is_complete(self, monorepo):
        shutil.rmtree(monorepo.path / "packages/b/baselines")
        result = monorepo.run("--modelviz", "packages/a", "packages/b")
        line = next(line for line in result.outlines if line.startswith("  record it:"))
        import shlex

        monorepo.run(*shlex.split(line.partition("or pytest ")[2])).assert_outcomes(passed=1)
        assert "../b/tests/test_net.py::test_net" in recorded(monorepo.path / "packages/a/baselines")
        monorepo.run("--modelviz", "packages/a", "packages/b").assert_outcomes(passed=2)


class TestOutsideOfRootdir:
    @pytest.fixture(autouse=True)
    def _two_folders(self, project):
        write(project.path / "config/pytest.ini", "[pytest]\naddopts = --import-mode=importlib\n")
        for number, name in enumerate(("unit", "integration"), 1):
            write(project.path / f"tests/{name}/test_net.py", CHECK.format(scale=number))

    CONFIG = ("-c", "config/pytest.ini")
    IDS = ("../tests/unit/test_net.py::test_net", "../tests/integration/test_net.py::test_net")

    def test_two_folders_on_the_command_line(self, project):
        project.run("--modelviz-update", *self.CONFIG, "tests/unit", "tests/integration").assert_outcomes(passed=2)
        found = recorded(project.path / "config/baselines")
        assert set(found) == set(self.IDS)
        assert len(set(found.values())) == 2

    @pytest.mark.parametrize(
        "arguments",
        [
            ("tests/integration", "tests/unit"),
            ("tests",),
            ("tests/unit",),
            ("tests/unit/test_net.py",),
            ("tests/unit/test_net.py::test_net", "tests/integration/test_net.py"),
            (".",),
            ("tests/../tests/unit",),
        ],
        ids=" ".join,
    )
    def test_each_is_found_whatever_the_arguments(self, project, arguments):
        project.run_once("--modelviz-update", *self.CONFIG, "tests/unit", "tests/integration")
        result = project.run("--modelviz", "--modelviz-orphans=fail", "--modelviz-require", *self.CONFIG, *arguments)
        assert result.ret == 0
        assert set(statuses(project.path / "config").values()) == {"match"}

    def test_also_when_it_was_collected_as_a_package(self, project, monkeypatch):
        for name in ("pkga", "pkgb"):
            write(project.path / f"src/{name}/__init__.py", "")
            write(project.path / f"src/{name}/tests/__init__.py", "")
            write(project.path / f"src/{name}/tests/test_net.py", CHECK.format(scale=len(name) + ord(name[-1]) - 97))
        monkeypatch.syspath_prepend(str(project.path / "src"))
        options = ("--pyargs", "--rootdir=config", "pkga.tests", "pkgb.tests")
        project.run("--modelviz-update", *options).assert_outcomes(passed=2)
        found = recorded(project.path / "config/baselines")
        assert set(found) == {f"../src/{name}/tests/test_net.py::test_net" for name in ("pkga", "pkgb")}
        project.run("--modelviz", "--rootdir=config", "src/pkgb/tests/test_net.py").assert_outcomes(passed=1)

    def test_a_link_to_a_file_inside_is_that_file(self, project, tmp_path_factory):
        link = tmp_path_factory.mktemp("elsewhere") / "link"
        link.symlink_to(project.path)
        project.pytester.makeini("[pytest]\n")
        project.run("--modelviz-update", "tests/unit")
        project.run("--modelviz", f"--rootdir={project.path}", str(link / "tests/unit")).assert_outcomes(passed=1)

    def test_pruning_and_orphans_use_the_same_ids(self, project):
        project.run_once("--modelviz-update", *self.CONFIG, "tests/unit", "tests/integration")
        write(project.path / "tests/unit/test_net.py", "def test_other(): pass\n")
        project.run("--modelviz", *self.CONFIG, "tests/unit", "tests/integration").assert_outcomes(passed=2)
        assert [row["nodeid"] for row in results(project.path / "config")["orphans"]] == [self.IDS[0]]
        done = project.modelviz("prune", "--rootdir", "config")
        assert (done.exit_code, done.output.count("removed")) == (0, 1)
        assert set(recorded(project.path / "config/baselines")) == {self.IDS[1]}


class TestRecordedByEarlierVersions:
    """They called a test outside of rootdir as pytest does: by the argument that it was found under."""

    @pytest.fixture(autouse=True)
    def _earlier(self, project):
        write(project.path / "config/pytest.ini", "[pytest]\naddopts = --import-mode=importlib\n")
        write(project.path / "tests/unit/test_net.py", CHECK.format(scale=1))
        project.run_once("--modelviz-update", "--rootdir=tests/unit", "tests/unit")  # gives the id that it had
        shutil.move(project.path / "tests/unit/baselines", project.path / "config/baselines")
        assert set(recorded(project.path / "config/baselines")) == {self.FORMER}

    FORMER, NOW = "test_net.py::test_net", "../tests/unit/test_net.py::test_net"
    OPTIONS = ("-c", "config/pytest.ini", "tests/unit")

    def test_are_found(self, project):
        result = project.run("--modelviz", *self.OPTIONS)
        result.assert_outcomes(passed=1)
        assert statuses(project.path / "config") == {self.NOW: "match"}
        result.stdout.fnmatch_lines([f"*to bring it up to date: modelviz mv --rootdir config {self.FORMER} {self.NOW}"])
        assert project.modelviz("orphans", "--rootdir", "config").output.startswith("0 orphans")
        done = project.modelviz("mv", "--rootdir", "config", self.FORMER, self.NOW)
        assert (done.exit_code, done.output.count("moved ")) == (0, 1)
        project.run("--modelviz", *self.OPTIONS).stdout.no_fnmatch_line("*up to date*")

    def test_a_drift_is_one_and_is_accepted_under_the_new_id(self, project):
        before = recorded(project.path / "config/baselines")
        project.fault("weight")
        project.run("--modelviz", *self.OPTIONS).assert_outcomes(failed=1)
        assert statuses(project.path / "config") == {self.NOW: "drift"}
        done = project.modelviz("accept", "--rootdir", "config")
        assert done.exit_code == 0, done.output
        after = recorded(project.path / "config/baselines")
        assert set(after) == {self.FORMER, self.NOW}
        assert after[self.FORMER] == before[self.FORMER] != after[self.NOW]
        project.run("--modelviz", *self.OPTIONS).assert_outcomes(passed=1)

    def test_accepting_is_refused_if_it_has_changed(self, project):
        project.fault("weight")
        project.run("--modelviz", *self.OPTIONS)
        path = next((project.path / "config/baselines").rglob("feature_maps.json"))
        path.write_text(path.read_text() + "\n")
        assert "its baseline has changed since" in project.modelviz("accept", "--rootdir", "config").output

    def test_never_by_a_guess_between_two(self, project):
        write(project.path / "tests/integration/test_net.py", CHECK.format(scale=1))
        project.run("--modelviz", *self.OPTIONS, "tests/integration").assert_outcomes(failed=2)
        assert set(statuses(project.path / "config").values()) == {"missing"}

    def test_nor_where_the_id_is_another_test_s_now(self, project):
        write(project.path / "config/test_net.py", CHECK.format(scale=1))
        result = project.run("--modelviz", *self.OPTIONS)
        result.assert_outcomes(failed=1)
        assert "modelviz mv" not in result.stdout.str()  # it would take that test's baseline
        project.run("--modelviz", "-c", "config/pytest.ini", "config", "tests/unit").assert_outcomes(failed=1, passed=1)

    @pytest.mark.parametrize("arguments", [("config", "tests/unit"), ("tests/unit",)])
    def test_nor_where_its_function_is_defined_and_not_collected_here(self, project, arguments):
        source = CHECK.format(scale=1).replace("def ", "if False:\n  def ")
        write(project.path / "config/test_net.py", source + "def test_other(): ...\n")
        result = project.run("--modelviz", "-c", "config/pytest.ini", *arguments)
        assert statuses(project.path / "config") == {self.NOW: "missing"}
        assert "modelviz mv" not in result.stdout.str()

    def test_where_two_may_be_meant_the_move_is_for_the_user_to_decide(self, project):
        write(project.path / "tests/integration/test_net.py", CHECK.format(scale=1))
        result = project.run("--modelviz", *self.OPTIONS, "tests/integration")
        told = f"*{self.FORMER}, and perhaps to another one; if it is this test's: modelviz mv --rootdir config {{}}"
        lines = [
            told.format(f"{self.FORMER} ../tests/{name}/test_net.py::test_net") for name in ("integration", "unit")
        ]
        result.stdout.fnmatch_lines_random(lines)
        done = project.modelviz("mv", "--rootdir", "config", self.FORMER, self.NOW)
        assert (done.exit_code, done.output.count("moved ")) == (0, 1)

    def test_where_only_the_file_is_another_s_it_is_found_and_no_orphan(self, project):
        """As in two packages, of which one has a test in a file of the same name."""
        write(project.path / "config/test_net.py", "def test_other(): pass\n")
        folders = ("-c", "config/pytest.ini", "config", "tests/unit")
        project.run("--modelviz", "--modelviz-orphans=fail", *folders).assert_outcomes(passed=2)
        assert statuses(project.path / "config") == {self.NOW: "match"}
        one = ("-c", "config/pytest.ini", "config/test_net.py::test_other", "tests/unit")
        project.run("--modelviz", *one).assert_outcomes(passed=1, failed=1)


class TestSharedIds:
    def test_two_different_tests_of_one_id_are_an_error(self, project):
        project.test(CHECK.format(scale=1) + "def test_two(feature_maps):\n    feature_maps(load(), photo() * 2)\n")
        project.pytester.makeconftest(
            "import pytest\n@pytest.hookimpl(tryfirst=True)\ndef pytest_itemcollected(item):\n"
            "    item._nodeid = item._id = 'test_net.py::nice'\n"  # under both names that pytest has had for it
        )
        result = project.run_once("--modelviz-update")
        result.assert_outcomes(failed=2)
        result.stdout.fnmatch_lines(["*two different tests of this run are called test_net.py::nice, and would share*"])
        assert not (project.path / "baselines").exists()

    def test_so_are_two_that_differ_in_case_where_files_may_not(self, project):
        body = "\n    def test_net(self, model_summary):\n        model_summary(load())\n"
        project.test(f"from net import *\nclass TestA:{body}class Testa:{body}")
        result = project.run_once("--modelviz-update")
        result.assert_outcomes(passed=1, failed=1)
        result.stdout.fnmatch_lines(["*would share the baseline *ignores case: rename one*"])

    def test_without_comparing_nothing_is_shared(self, project):
        body = "\n    def test_net(self, model_summary):\n        model_summary(load())\n"
        project.test(f"from net import *\nclass TestA:{body}class Testa:{body}")
        project.run().assert_outcomes(passed=2)


REPEATED = """
import pytest
def test_q(numbers):
    numbers(1)
@pytest.mark.parametrize("a,b", [(1, 2), (3, 4)])
@pytest.mark.parametrize("c", ["x-y"])
def test_r(numbers, a, b, c):
    numbers(a, b)
class TestC:
    @pytest.fixture(params=["f", "g"])
    def made(self, request): return request.param
    def test_s(self, numbers, made):
        numbers(7)
"""


OTHER_IN_EACH_WORKER = """
import time
def test_q(numbers, worker_id):
    numbers(1 + int(worker_id[2:]))
    time.sleep(1)  # so that each worker has its turn
"""
OTHER_THE_SECOND_TIME = """
from pathlib import Path

def test_q(numbers):
    count = Path("count.txt")
    number = len(count.read_text()) if count.exists() else 0
    count.write_text("x" * (number + 1))
    numbers(2 if number == 1 else 1)
"""


class TestRepetition:
    """pytest-repeat and flake-finder add a parameter to each test: it is the same test all the same."""

    @pytest.fixture(autouse=True)
    def _recorded(self, project):
        project.with_numbers()
        project.test(REPEATED)
        project.run_once("--modelviz-update").assert_outcomes(passed=5)

    @pytest.mark.parametrize(
        "options", [("--count=2",), ("--flake-finder", "--flake-runs=2"), ("--count=2", "-n1")], ids=" ".join
    )
    def test_the_same_baselines(self, project, options):
        before = project.files()
        run = project.run_apart if "-n1" in options else project.run
        run("--modelviz", "--modelviz-orphans=fail", *options).assert_outcomes(passed=10)
        run("--modelviz-update", *options, "-k", "test_r").assert_outcomes(passed=4)
        assert project.files() == before
        assert project.results["totals"]["match"] == 2

    def test_recorded_and_never_an_orphan(self, project):
        before = project.files()
        shutil.rmtree(project.path / "baselines")
        project.run("--modelviz-update", "--count=3").assert_outcomes(passed=15)
        assert project.files() == before
        project.run("--modelviz", "--count=2", "-k", "test_q", "--modelviz-orphans=fail").assert_outcomes(passed=2)
        assert "orphans" not in project.results
        assert project.modelviz("prune", "--dry-run").output == "nothing to remove\n"

    def test_what_differs_from_go_to_go_is_not_recorded_twice(self, project):
        shutil.rmtree(project.path / "baselines")
        project.test(OTHER_THE_SECOND_TIME)
        project.run("--modelviz-update", "--count=3").assert_outcomes(passed=2, failed=1)
        assert project.check("numbers")["status"] == "drift"

    @pytest.mark.parametrize("options", [("--count=3",), ("--reruns=1",)], ids=" ".join)
    def test_what_matched_is_not_recorded_when_the_test_runs_once_more(self, project, options):
        before = project.files()
        project.test(OTHER_THE_SECOND_TIME + "    assert number, 'hiccup'\n")
        result = project.run("--modelviz-update", *options)
        assert result.ret == 1
        assert project.files() == before
        assert project.check("numbers")["status"] == "drift"
        result.stdout.fnmatch_lines(["*nothing was recorded: earlier in this run*"])

    def test_nor_where_everything_is_recorded_anew(self, project):
        project.test(OTHER_THE_SECOND_TIME)
        project.run("--modelviz-update-all", "--count=3").assert_outcomes(passed=2, failed=1)
        assert project.check("numbers")["status"] == "drift"

    @pytest.mark.parametrize(
        "options",
        [("--modelviz-update", "--count=2", "-n2"), ("--modelviz-update-all", "--dist=each", "--tx=2*popen")],
        ids=" ".join,
    )
    def test_workers_that_record_something_else_each_are_told(self, project, options):
        shutil.rmtree(project.path / "baselines")
        project.test(OTHER_IN_EACH_WORKER)
        result = project.run_apart(*options)
        assert result.ret == 1
        told = [line for line in result.outlines if "not the same each time" in line or "drifted" in line]
        assert told
        assert project.check("numbers")["status"] in ("recorded", "drift")

    def test_the_worst_of_several_is_told(self, project):
        project.test(OTHER_THE_SECOND_TIME)
        project.run("--modelviz", "--count=3").assert_outcomes(passed=2, failed=1)
        assert project.check("numbers")["status"] == "drift"
        assert project.modelviz("accept").output.count("accepted") == 1

    def test_a_parameter_that_somebody_else_adds_makes_no_orphan(self, project):
        project.with_numbers(
            "@pytest.fixture\ndef again(request): return request.param\n"
            "def pytest_generate_tests(metafunc):\n"
            "    metafunc.fixturenames.append('again')\n    metafunc.parametrize('again', [1, 2], indirect=True)\n"
        )
        project.run("--modelviz", "--modelviz-orphans=warn")
        assert "orphans" not in project.results

    def test_a_parameter_that_is_only_called_like_theirs_is_the_test_s_own(self, project):
        project.test(
            "import pytest\n@pytest.mark.parametrize('__width', [2, 5])\n"
            "def test_q(numbers, __width):\n    numbers(__width)\n"
        )
        project.run_once("--modelviz-update").assert_outcomes(passed=2)
        project.run("--modelviz").assert_outcomes(passed=2)
        project.run("--modelviz", "--count=2").assert_outcomes(passed=4)
        assert len(project.results["checks"]) == 2

    def test_a_parameter_of_the_test_s_own_does(self, project):
        project.test(REPEATED.replace("def test_q(", "@pytest.mark.parametrize('n', [1])\ndef test_q(n, "))
        project.run("--modelviz")
        assert [row["nodeid"] for row in project.results["orphans"]] == ["test_net.py::test_q"]
