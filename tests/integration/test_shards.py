"""Shards of one run: their results are joined, and each shard's orphans are its own."""

import json
import shutil
from pathlib import Path

import pytest
from drifts_of_two_files import TWO_FILES, A, B, accept_commands, drift_two_files, waiting


@pytest.fixture
def drifted(project):
    return drift_two_files(project)


class TestShards:
    @pytest.fixture
    def shards(self, drifted):
        """The results of two jobs, each of which ran one file."""
        folders = []
        for name in ("a", "b"):
            drifted.run_once("--modelviz", f"test_{name}.py").assert_outcomes(failed=1)
            folders.append(shutil.move(drifted.path / ".modelviz", drifted.path / f"shards/{name}"))
        return folders

    def merged(self, shards, folder: Path) -> Path:
        for shard in shards:
            shutil.copytree(shard, folder, dirs_exist_ok=True)
        return folder

    def artifacts(self, shards, folder: Path) -> Path:
        for at, shard in enumerate(shards):
            shutil.copytree(shard, folder / f"modelviz-{at}" / ".modelviz")
        return folder

    @pytest.mark.parametrize("way", ["repeated", "parent", "artifacts", "merged", "merged backwards"])
    def test_all_of_them_are_reviewed_together(self, drifted, shards, way, tmp_path_factory):
        folder = tmp_path_factory.mktemp("all") / "m"
        options = {
            "repeated": lambda: ("--from", "shards/a", "--from", "shards/b"),
            "parent": lambda: ("--from", "shards"),
            "artifacts": lambda: ("--from", str(self.artifacts(shards, folder))),
            "merged": lambda: ("--from", str(self.merged(shards, folder))),
            "merged backwards": lambda: ("--from", str(self.merged(shards[::-1], folder))),
        }[way]()
        assert waiting(drifted, *options) == [A, B]
        text = drifted.modelviz("list", *options).output
        assert "left " not in text
        assert text.splitlines()[-1].startswith("2 waiting; runs ")
        shown = drifted.modelviz("show", *options).output
        assert shown.count("  picture   ") > 1
        commands = accept_commands(shown)
        assert drifted.modelviz(*commands[1]).exit_code == 0
        assert waiting(drifted, *options) == [A]
        done = drifted.modelviz("accept", *options)
        assert (done.exit_code, done.output.count("accepted ")) == (0, 2)
        drifted.run("--modelviz").assert_outcomes(passed=2)
        pages = drifted.modelviz("report", *options).output.split()
        assert len(pages) == (1 if way.startswith("merged") else 2)
        assert sum((drifted.path / page).read_text().count("accepted since") for page in pages) == 2

    def test_what_was_overwritten_is_told(self, drifted, shards, tmp_path):
        for shard in shards:
            shutil.rmtree(Path(shard) / "runs")  # as an earlier version, or who copies only what he knows, leaves it
        folder = self.merged(shards, tmp_path / "m")
        assert (
            f"left       {A}  feature_maps  no results here" in drifted.modelviz("list", "--from", str(folder)).output
        )
        done = drifted.modelviz("accept", "--from", str(folder))
        assert (done.exit_code, done.output.count("accepted ")) == (1, 1)

    def test_for_programs(self, drifted, shards):
        document = json.loads(drifted.modelviz("list", "--json", "--from", "shards").output)
        runs = [run["id"] for run in document["runs"]]
        assert [check["run"] for check in document["checks"]] == runs
        assert len(set(runs)) == 2

    def test_one_test_in_two_shards(self, drifted, shards):
        """What two machines have captured of one test differently is not guessed between."""
        drifted.fault("weight, input")
        drifted.run("--modelviz", "test_a.py")
        shutil.move(drifted.path / ".modelviz", drifted.path / "shards/c")
        done = drifted.modelviz("accept", "--from", "shards/a", "--from", "shards/c", A)
        assert [line.split()[0] for line in done.output.splitlines()] == ["refused", "refused"]
        assert done.output.count("captured it differently: choose one with --run") == 2
        assert done.exit_code == 1
        run = json.loads((drifted.path / "shards/c/results.json").read_text())["run"]["id"]
        options = ("--from", "shards/a", "--from", "shards/c")
        assert f"  run {run}" in drifted.modelviz("list", *options).output
        assert drifted.modelviz("accept", "--run", run, *options, A).exit_code == 0

    @pytest.mark.parametrize("backwards", [False, True])
    def test_one_test_in_two_shards_that_were_copied_over_each_other(self, drifted, shards, backwards, tmp_path):
        """That only one of the captures is left makes it no better than the other."""
        drifted.fault("weight, input")
        drifted.run("--modelviz", "test_a.py")
        both = [shards[0], shutil.move(drifted.path / ".modelviz", drifted.path / "shards/c")]
        folder = str(self.merged(both[::-1] if backwards else both, tmp_path / "m"))
        kept, gone = (json.loads((Path(one) / "results.json").read_text())["run"]["id"] for one in both[::-1])
        kept, gone = (gone, kept) if backwards else (kept, gone)
        before = drifted.files()
        for patterns in ((), (A,), ("*",)):
            done = drifted.modelviz("accept", "--from", folder, *patterns)
            assert [line.split()[0] for line in done.output.splitlines()] == ["refused", "refused"]
            assert done.output.count(f"and only the capture of {kept} is here: take it with --run, or name") == 2
            assert done.exit_code == 1
        states = {row["run"]: row["state"] for row in self.rows(drifted, "--from", folder)}
        assert states == {kept: "waiting", gone: "replaced"}
        assert drifted.modelviz("accept", "--from", folder, "--run", gone).exit_code == 1
        assert drifted.files() == before
        assert drifted.modelviz("accept", "--from", folder, "--run", kept).exit_code == 0

    def test_what_one_folder_has_overwritten_another_still_holds(self, drifted, shards, tmp_path):
        drifted.fault("weight, input")
        drifted.run("--modelviz", "test_a.py")
        both = [shards[0], shutil.move(drifted.path / ".modelviz", drifted.path / "shards/c")]
        first = json.loads((Path(both[0]) / "results.json").read_text())["run"]["id"]
        options = ("--from", str(self.merged(both, tmp_path / "m")), "--from", both[0])
        assert drifted.modelviz("accept", *options).output.count(": choose one with --run") == 2
        assert drifted.modelviz("accept", "--run", first, *options).exit_code == 0
        drifted.fault("weight")
        drifted.run("--modelviz", "test_a.py").assert_outcomes(passed=1)

    @staticmethod
    def rows(project, *options: str) -> list[dict]:
        return json.loads(project.modelviz("list", "--json", *options).output)["checks"]

    def test_other_checks_beside_a_conflict_are_accepted(self, drifted, shards, tmp_path):
        drifted.fault("weight, input")
        drifted.run("--modelviz", "test_a.py")
        shards.append(shutil.move(drifted.path / ".modelviz", drifted.path / "shards/c"))
        done = drifted.modelviz("accept", "--from", str(self.merged(shards, tmp_path / "m")))
        assert [line.split()[:2] for line in done.output.splitlines()] == [
            ["refused", A],
            ["refused", A],
            ["accepted", B],
        ]

    @pytest.fixture
    def monorepo(self, drifted):
        """Two projects of a repository, each with a drift of a test of one id, and the results of its job."""
        (drifted.path / ".git").mkdir()
        for number, name in enumerate("ab", 1):
            root = drifted.path / "packages" / name
            (root / "tests").mkdir(parents=True)
            (root / "pyproject.toml").write_text('[tool.pytest.ini_options]\naddopts = "--import-mode=importlib"\n')
            source = f"from net import *\ndef test_net(feature_maps):\n    feature_maps(load(), photo() * {number})\n"
            (root / "tests/test_net.py").write_text(source)
            drifted.fault("")
            here = (f"--rootdir=packages/{name}", f"packages/{name}")
            drifted.run_once("--modelviz-update", *here)
            drifted.fault("weight")
            drifted.run_once("--modelviz", *here).assert_outcomes(failed=1)
            shutil.move(root / ".modelviz", drifted.path / f"all/{name}")
        return drifted

    @pytest.mark.parametrize("way", ["parent", "merged", "merged backwards"])
    @pytest.mark.parametrize("own", ["a", "b"])
    def test_of_two_projects_each_takes_its_own(self, monorepo, monkeypatch, own, way, tmp_path):
        other = {"a": "b", "b": "a"}[own]
        folders = [monorepo.path / "all" / name for name in "ab"]
        place = self.merged(folders[::-1] if "back" in way else folders, tmp_path / "m") if "m" in way else None
        options = ("--from", str(place or monorepo.path / "all"))
        monkeypatch.chdir(monorepo.path / "packages" / own)
        before = monorepo.files("packages")
        listed = monorepo.modelviz("list", *options).output
        assert f"(of the project in 'packages/{other}')" in listed
        assert f"packages/{own}'" not in listed
        assert "1 of other projects" in listed
        assert (
            f"tests/test_net.py::test_net  (of the project in 'packages/{other}')"
            in monorepo.modelviz("show", *options).output.splitlines()
        )
        lost = place is not None and own == ("b" if "back" in way else "a")
        done = monorepo.modelviz("accept", *options)
        lines = sorted(done.output.splitlines())
        assert [line.split()[0] for line in lines] == (["left", "refused"] if lost else ["accepted", "left"])
        assert f"it belongs to the project in 'packages/{other}': choose that with --rootdir" in done.output
        assert "differently" not in done.output
        assert done.exit_code == lost
        changed = {name for name, data in monorepo.files("packages").items() if before.get(name) != data}
        assert {name.partition("/")[0] for name in changed} == (set() if lost else {own})
        monorepo.modelviz("reject", *options)
        monkeypatch.chdir(monorepo.path / "packages" / other)
        expected = 1 if place is not None and not lost else 0  # its own was overwritten, or rejected by nobody
        assert monorepo.modelviz("accept", *options).exit_code == expected

    def test_where_only_another_project_s_is_named_it_is_refused(self, monorepo, monkeypatch):
        monkeypatch.chdir(monorepo.path / "packages/a")
        (monorepo.path / "packages/b/tests/test_net.py").rename(monorepo.path / "packages/b/tests/test_more.py")
        monorepo.run("--modelviz", f"--rootdir={monorepo.path}/packages/b", "../b")
        options = ("--from", "../../all/a", "--from", "../b/.modelviz")
        done = monorepo.modelviz("accept", *options, "tests/test_more.py::test_net")
        assert (done.exit_code, done.output.split()[0]) == (1, "refused")
        assert "is of the project in 'packages/b', not of the one in 'packages/a'" in done.output

    def test_of_another_project_of_the_repository(self, drifted):
        """Two packages may have equal ids: what one has captured is not accepted for the other."""
        (drifted.path / ".git").mkdir()
        drifted.run("--modelviz")
        assert drifted.results["run"]["project"] == "."
        other = drifted.path / "packages/other"
        other.mkdir(parents=True)
        (other / "test_a.py").write_text(TWO_FILES["test_a"])
        done = drifted.modelviz("accept", "--rootdir", str(other), "--from", str(drifted.path / ".modelviz"), A)
        assert done.exit_code == 1
        assert "is of the project in '.', not of the one in 'packages/other'" in done.output
        assert drifted.modelviz("accept", A).exit_code == 0

    def test_the_same_capture_in_two_shards(self, drifted, shards):
        drifted.run("--modelviz", "test_a.py")
        shutil.move(drifted.path / ".modelviz", drifted.path / "shards/c")
        done = drifted.modelviz("accept", "--from", "shards/a", "--from", "shards/c", A)
        assert [line.partition(A)[0].strip() for line in done.output.splitlines()] == ["accepted", "already accepted"]
        assert done.exit_code == 0

    def test_the_same_folder_twice_counts_once(self, drifted, shards):
        assert waiting(drifted, "--from", "shards/a", "--from", "shards/../shards/a", "--from", "shards") == [A, B]

    def test_event_files_of_all(self, drifted, shards, monkeypatch):
        started = []
        monkeypatch.setattr("subprocess.run", lambda command, **_: started.append(command) or Done)
        drifted.modelviz("tensorboard", "--from", "shards")
        folders = [drifted.path / f"shards/{name}/tensorboard" for name in "ab"]
        assert started[0][3:5] == ["--logdir_spec", ",".join(f"{f.parent.name}:{f}" for f in folders)]

    def test_a_folder_without_results(self, drifted):
        (drifted.path / "empty").mkdir()
        done = drifted.modelviz("list", "--from", "empty")
        assert (done.exit_code, "there are no results in" in done.output) == (1, True)


class Done:
    returncode = 0


class TestOrphansOfShards:
    TESTS = (
        "import os, pytest\nfrom net import *\n"
        "START, STEP = int(os.environ.get('SHARD', 0)), int(os.environ.get('SHARDS', 1))\n"
        "@pytest.mark.parametrize('n', range(START, LAST, STEP))\n"
        "def test_net(model_summary, n):\n    model_summary(load())\n"
    )

    def shard(self, project, monkeypatch, number: int) -> None:
        monkeypatch.setenv("SHARDS", "2")
        monkeypatch.setenv("SHARD", str(number))
        project.run("--modelviz")
        shutil.move(project.path / ".modelviz", project.path / f"shards/{number}")

    def test_what_one_of_them_has_seen_is_not_gone(self, project, monkeypatch):
        project.test(self.TESTS.replace("LAST", "5"))
        project.run("--modelviz-update").assert_outcomes(passed=5)
        project.test(self.TESTS.replace("LAST", "4"))
        for number in range(2):
            self.shard(project, monkeypatch, number)

        def gone(*options: str) -> list[str]:
            rows = json.loads(project.modelviz("orphans", "--json", *options).output)["orphans"]
            return [row["nodeid"] for row in rows]

        assert gone("--from", "shards") == ["test_net.py::test_net[4]"]
        assert gone("--from", "shards/1", "--from", "shards/0") == ["test_net.py::test_net[4]"]
        for number in range(2):
            shutil.copytree(project.path / f"shards/{number}", project.path / "merged", dirs_exist_ok=True)
        assert gone("--from", "merged") == ["test_net.py::test_net[4]"]
        project.modelviz("report", "--from", "merged")
        page = (project.path / "merged/report.html").read_text()
        assert page.count("<td>test_net.py::test_net[") == 1
        assert page.count("<summary>test_net.py::test_net[") == 4
        assert len(gone("--from", "shards/0")) == 3  # by itself it cannot know
        done = project.modelviz("prune", "--from", "shards", "*")
        assert (done.exit_code, done.output.count("removed ")) == (0, 1)
        assert len(project.files()) == 4
