"""The command `modelviz`: reviewing, accepting, rejecting and pruning without running a test."""

import json
import os
import random
import re
import shutil
import subprocess
import sys

import pytest

from pytest_modelviz.records.capture import Capture
from pytest_modelviz.run.project import find_project
from pytest_modelviz.storage.formats import content_digest
from pytest_modelviz.storage.names import Location
from pytest_modelviz.storage.store import Store

TWO = """
import pytest
from net import *
@pytest.mark.parametrize("n", ["a", "b"])
def test_net(feature_maps, model_summary, n):
    feature_maps(load(), photo())
    model_summary(load())
def test_other(model_summary):
    model_summary(load(), name="quiet")
"""
A, B = "test_net.py::test_net[a]", "test_net.py::test_net[b]"


@pytest.fixture
def drifted(project):
    """Two checks have drifted, feature_maps of test_net[a] and [b]; the others match."""
    project.test(TWO)
    project.run("--modelviz-update").assert_outcomes(passed=3)
    project.fault("weight")
    project.run("--modelviz").assert_outcomes(failed=2, passed=1)
    return project


def waiting(project) -> list[str]:
    rows = json.loads(project.modelviz("list", "--json").output)["checks"]
    return [row["nodeid"] for row in rows if row["state"] == "waiting"]


class TestLooking:
    def test_list(self, drifted):
        done = drifted.modelviz("list")
        assert done.exit_code == 0
        assert done.output.splitlines()[0] == (
            f"drift      {A}  feature_maps  weights at conv2, 0.042, 416 times what is allowed (0.0001)"
        )
        assert done.output.splitlines()[-1].startswith("2 waiting; run ")

    def test_list_of_some(self, drifted):
        assert drifted.modelviz("list", A).output.count("test_net[") == 1
        assert drifted.modelviz("list", "*").output.count("test_net[") == 2

    def test_what_is_missing_is_listed_too(self, project):
        project.test(TWO)
        project.run("--modelviz")
        assert project.modelviz("list").output.count("missing ") == 5

    def test_json_is_what_results_json_says_and_the_state(self, drifted):
        document = json.loads(drifted.modelviz("list", "--json").output)
        assert (document["schema"], document["run"]) == (1, drifted.results["run"])
        row = document["checks"][0]
        assert row.pop("state") == "waiting"
        assert row == next(check for check in drifted.results["checks"] if check["status"] == "drift")

    def test_show(self, drifted):
        done = drifted.modelviz("show", A)
        lines = done.output.splitlines()
        assert lines[:2] == [A, "feature_maps drifted, first at conv2 (Conv2d)"]
        pictures = [line.split()[1] for line in lines if line.startswith("  picture ")]
        assert pictures
        assert all((drifted.path / path).read_bytes().startswith(b"\x89PNG") for path in pictures)
        assert [check["nodeid"] for check in json.loads(drifted.modelviz("show", "--json").output)["checks"]] == [A, B]

    def test_show_where_all_is_well(self, project):
        project.test(TWO)
        project.run("--modelviz-update")
        assert project.modelviz("show").output == "all checks of the last run matched\n"
        assert project.modelviz("list").output.startswith("0 waiting; run ")

    def test_what_cannot_be_accepted_is_mentioned(self, drifted):
        drifted.baseline("feature_maps.json", "test_net/test_net[a]").write_text("")
        drifted.run("--modelviz")
        assert "1 cannot be accepted, see modelviz show; run" in drifted.modelviz("list").output
        assert "it is empty: restore it from version control" in drifted.modelviz("show").output

    def test_names_cannot_command_the_terminal(self, drifted):
        path = drifted.path / ".modelviz/results.json"
        path.write_text(path.read_text().replace("conv2", "\\u001b[2Jconv2"))
        for command in ("list", "show", "reject"):
            assert "\x1b" not in drifted.modelviz(command).output


class TestAccepting:
    def test_gives_the_same_bytes_as_an_update(self, drifted):
        before = drifted.files()
        done = drifted.modelviz("accept")
        assert done.exit_code == 0
        assert done.output.splitlines() == [
            f"accepted   {test}  feature_maps  baselines/test_net/test_net[{n}]/feature_maps.json"
            for test, n in ((A, "a"), (B, "b"))
        ]
        accepted = drifted.files()
        assert accepted != before
        drifted.run("--modelviz").assert_outcomes(passed=3)
        for name, data in before.items():
            (drifted.path / "baselines" / name).write_bytes(data)
        drifted.run("--modelviz-update")
        assert drifted.files() == accepted

    def test_what_is_missing(self, project):
        project.test(TWO)
        project.run("--modelviz")
        assert project.modelviz("accept", "test_net.py::*").output.count("accepted") == 5
        recorded = project.files()
        shutil.rmtree(project.path / "baselines")
        project.run("--modelviz-update")
        assert project.files() == recorded

    def test_only_what_is_named_brackets_included(self, drifted):
        drifted.modelviz("accept", A)
        assert waiting(drifted) == [B]
        drifted.run("--modelviz").assert_outcomes(failed=1, passed=2)

    @pytest.mark.parametrize(
        ("pattern", "accepted"),
        [("*", 2), ("test_net.py::test_net[[]*", 2), ("test_net.py::test_net?b?", 1), ("*[[]a]", 1)],
    )
    def test_globs(self, drifted, pattern, accepted):
        assert drifted.modelviz("accept", pattern).output.count("accepted") == accepted

    @pytest.mark.parametrize(
        ("patterns", "hint"),
        [
            (["nothing"], ""),
            ([A, "nothing"], ""),
            (["test_net.py"], "; did you mean 'test_net.py::*'?"),
            (["test_net[a]"], "; did you mean '*test_net[[]a]*'?"),
            (["test_net.py::test_net[*]"], "; did you mean 'test_net.py::test_net[[]*]'?"),
            (["test_net.py::test_other"], ""),  # it matched: there is nothing to accept
        ],
    )
    def test_a_pattern_that_matches_nothing_is_an_error_and_nothing_is_done(self, drifted, patterns, hint):
        before = drifted.files()
        done = drifted.modelviz("accept", *patterns)
        assert done.exit_code == 1
        wanted = f"Error: no test that drifted or had no baseline matches {patterns[-1]!r}{hint}\n"
        assert done.output == wanted
        assert drifted.files() == before

    def test_the_hint_works(self, drifted):
        assert drifted.modelviz("accept", "*test_net[[]a]*").exit_code == 0

    @pytest.mark.parametrize(
        ("command", "known_by"),
        [
            *(("accept", where) for where in ("baselines", "baselines of a variant", "another run", "candidates")),
            *((command, "baselines") for command in ("reject", "show", "list")),
        ],
    )
    def test_a_whole_id_that_this_run_has_not_seen_means_that_test_alone(self, project, command, known_by, tmp_path):
        """As a glob `test_net[1]` is `test_net1`, which has drifted in this shard."""
        project.test(
            "import pytest\nfrom net import *\n@pytest.mark.parametrize('n', [1])\n"
            "def test_net(feature_maps, n):\n    feature_maps(load(), photo())\n"
            "def test_net1(feature_maps):\n    feature_maps(load(), photo())\n"
        )
        options, variant = [], ["--modelviz-variant=cuda"] if "variant" in known_by else []
        project.run("--modelviz-update", *variant).assert_outcomes(passed=2)
        if "baselines" not in known_by:
            shutil.rmtree(project.path / "baselines/test_net/test_net[1]")
            project.run("--modelviz", "-k", "not test_net1").assert_outcomes(failed=1)
            shutil.move(project.path / ".modelviz", tmp_path / "other")
        project.fault("weight")
        project.run("--modelviz", "-k", "test_net1", *variant).assert_outcomes(failed=1)
        if known_by == "another run":
            options = ["--from", str(tmp_path / "other"), "--from", ".modelviz", "--run", project.results["run"]["id"]]
        elif known_by == "candidates":
            shutil.copytree(tmp_path / "other/candidates", project.path / ".modelviz/candidates", dirs_exist_ok=True)
        before, kept = project.files(), project.files(".modelviz/candidates")
        done = project.modelviz(command, "test_net.py::test_net[1]", *options)
        assert done.exit_code == 1
        assert re.fullmatch(r"Error: no test that .* matches 'test_net.py::test_net\[1\]'\n", done.output)
        assert (project.files(), project.files(".modelviz/candidates")) == (before, kept)
        assert project.modelviz("accept", "test_net.py::test_net1", *options).output.count("accepted ") == 1

    def test_a_baseline_that_has_changed_since_is_left_alone(self, drifted):
        path = drifted.baseline("feature_maps.json", "test_net/test_net[a]")
        document = json.loads(path.read_text())
        document["facts"]["model"] = "changed by a colleague"
        path.write_text(json.dumps({**document, "content_sha256": content_digest(document)}))
        colleague = path.read_bytes()
        done = drifted.modelviz("accept")
        assert done.exit_code == 1
        assert done.output.splitlines() == [
            f"refused    {A}  feature_maps  its baseline has changed since it was compared: "
            "run pytest --modelviz again",
            f"accepted   {B}  feature_maps  baselines/test_net/test_net[b]/feature_maps.json",
        ]
        assert path.read_bytes() == colleague

    def test_a_baseline_that_is_gone_or_new_since_is_left_alone(self, drifted):
        path = drifted.baseline("feature_maps.json", "test_net/test_net[a]")
        kept = {file: file.read_bytes() for file in path.parent.glob("feature_maps.*")}
        for file in kept:
            file.unlink()
        assert drifted.modelviz("accept", A).exit_code == 1
        assert not path.exists()
        drifted.run("--modelviz")  # now it is missing
        for file, data in kept.items():
            file.write_bytes(data)
        assert drifted.modelviz("accept", A).exit_code == 1
        assert {file: file.read_bytes() for file in kept} == kept

    def test_other_line_ends_are_no_change(self, drifted):
        path = drifted.baseline("feature_maps.json", "test_net/test_net[a]")
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
        assert drifted.modelviz("accept", A).exit_code == 0

    def test_twice_is_told_and_does_nothing(self, drifted):
        drifted.modelviz("accept", A)
        before = drifted.files()
        done = drifted.modelviz("accept", A)
        assert (done.exit_code, done.output.split("  ")[0]) == (0, f"already accepted {A}")
        assert drifted.files() == before

    def test_what_cannot_be_read_is_refused(self, drifted):
        path = drifted.baseline("feature_maps.json", "test_net/test_net[a]")
        path.write_text("{")
        drifted.run("--modelviz")
        done = drifted.modelviz("accept", A)
        assert done.exit_code == 1
        assert "pytest --modelviz-update-all replaces such a one" in done.output
        assert path.read_text() == "{"

    @pytest.mark.parametrize("damage", ["json", "safetensors", "gone", "foreign", "link"])
    def test_a_candidate_that_is_not_whole_is_refused(self, drifted, damage, tmp_path):
        before = drifted.files()
        path = drifted.path / ".modelviz/candidates/test_net/test_net[a]/feature_maps.json"
        if damage == "json":
            path.write_text(path.read_text().replace("Conv2d", "Conv3d"))
        elif damage == "gone":
            path.unlink()
        elif damage == "foreign":
            for file in path.parent.iterdir():
                shutil.copy(path.parent.parent / "test_net[b]" / file.name, file)
        elif damage == "link":
            path.rename(tmp_path / "outside.json")
            path.symlink_to(tmp_path / "outside.json")
        else:
            path.with_suffix(".safetensors").write_bytes(b"x")
        done = drifted.modelviz("accept", A)
        assert done.exit_code == 1
        assert "refused" in done.output
        assert drifted.files() == before

    def test_a_folder_that_cannot_be_written_is_told(self, drifted):
        shutil.rmtree(drifted.path / "baselines/test_net")
        drifted.run("--modelviz")
        (drifted.path / "baselines/test_net").write_text("in the way")
        done = drifted.modelviz("accept", A)
        assert done.exit_code == 1
        assert "cannot write the baseline" in done.output

    def test_json(self, drifted):
        document = json.loads(drifted.modelviz("accept", "--json", A).output)
        (decision,) = document["decisions"]
        assert (decision["nodeid"], decision["name"], decision["done"]) == (A, "feature_maps", "accepted")

    def test_nothing_to_accept(self, project):
        project.test(TWO)
        project.run("--modelviz-update")
        done = project.modelviz("accept")
        assert (done.exit_code, done.output) == (0, "nothing to accept\n")


class TestRejecting:
    def test_forgets_candidates_and_touches_no_baseline(self, drifted):
        before = drifted.files()
        done = drifted.modelviz("reject", A)
        assert (done.exit_code, done.output.split()[:2]) == (0, ["rejected", A])
        assert waiting(drifted) == [B]
        assert drifted.files() == before
        assert drifted.modelviz("accept", A).exit_code == 1
        assert drifted.modelviz("reject", A).output.startswith("already rejected")
        assert drifted.modelviz("accept").output.count("accepted") == 1
        drifted.run("--modelviz").assert_outcomes(failed=1, passed=2)

    def test_all(self, drifted):
        assert drifted.modelviz("reject").output.count("rejected") == 2
        assert drifted.files(".modelviz/candidates") == {}
        assert drifted.modelviz("reject").output == "nothing to reject\n"
        assert "rejected" in drifted.modelviz("list", "--all").output


class TestFromElsewhere:
    def test_an_unpacked_archive(self, drifted, tmp_path):
        shutil.copytree(drifted.path / ".modelviz", tmp_path / "from-ci")
        shutil.move(drifted.path / ".modelviz", tmp_path / "other" / ".modelviz")
        assert drifted.modelviz("list").exit_code == 1
        assert drifted.modelviz("show", "--from", str(tmp_path / "from-ci")).exit_code == 0
        assert drifted.modelviz("accept", "--from", str(tmp_path / "from-ci"), A).exit_code == 0
        assert drifted.modelviz("accept", "--from", str(tmp_path / "other"), B).exit_code == 0
        drifted.run("--modelviz").assert_outcomes(passed=3)

    def test_from_a_folder_below(self, drifted, monkeypatch):
        drifted.pytester.makeini("[pytest]\n")
        (drifted.path / "deep/er").mkdir(parents=True)
        monkeypatch.chdir(drifted.path / "deep/er")
        assert drifted.modelviz("accept", A).exit_code == 0
        assert waiting(drifted) == [B]

    def test_another_project_s_results_are_refused(self, drifted, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "pytest.ini").write_text("[pytest]\nmodelviz_baseline_dir = shots\n")
        done = drifted.modelviz("accept", "--from", str(drifted.path / ".modelviz"))
        assert done.exit_code == 1
        assert f"there is no test_net.py in {tmp_path}: name the project's folder with --rootdir" in done.output
        (tmp_path / "test_net.py").write_text("")
        done = drifted.modelviz("accept", "--from", str(drifted.path / ".modelviz"))
        assert done.exit_code == 1
        assert "was compared with baselines/test_net/test_net[a]/feature_maps.json" in done.output
        assert not (tmp_path / "shots").exists()

    def test_rootdir_and_baseline_dir(self, drifted, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert drifted.modelviz("accept", "--rootdir", str(drifted.path), A).exit_code == 0
        shutil.move(drifted.path / "baselines", drifted.path / "shots")
        assert drifted.modelviz("accept", "--rootdir", str(drifted.path), "--baseline-dir", "shots", B).exit_code == 0
        assert drifted.modelviz("list", "--rootdir", "nowhere").exit_code == 2

    @pytest.mark.parametrize(
        ("file", "text"),
        [
            ("pytest.ini", "[pytest]\nmodelviz_results_dir = out/here\n"),
            ("tox.ini", "[pytest]\naddopts = -q --modelviz-results-dir out/here\n"),
            ("setup.cfg", "[tool:pytest]\nmodelviz_results_dir = out/here\n"),
            ("pyproject.toml", '[tool.pytest.ini_options]\naddopts = ["--modelviz-results-dir=out/here"]\n'),
            ("pyproject.toml", '[tool.pytest.ini_options]\nmodelviz_results_dir = "out/here"\n'),
        ],
    )
    def test_the_project_s_settings_are_found(self, project, file, text):
        (project.path / file).write_text(text)
        project.test(TWO)
        project.run("--modelviz")
        assert (project.path / "out/here/results.json").exists()
        assert project.modelviz("accept").output.count("accepted") == 5

    def test_a_results_folder_from_the_command_line(self, project):
        project.test(TWO)
        result = project.run("--modelviz", "--modelviz-results-dir=out")
        lines = map(project.without_run, result.outlines)
        assert "review: modelviz list --from out; accept: modelviz accept --from out [TEST...]" in lines
        assert project.modelviz("accept", "--from", "out").exit_code == 0

    def test_a_wrong_setting_is_named(self, project):
        (project.path / "pytest.ini").write_text("[pytest]\nmodelviz_results_dir = s3://bucket\n")
        done = project.modelviz("list")
        assert done.exit_code == 1
        assert "modelviz_results_dir of the project in" in done.output


class TestHostileResults:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (None, "there are no results in .*: run pytest --modelviz first"),
            ("", "cannot be read"),
            ("{", "cannot be read"),
            ("[" * 100_000, "cannot be read"),
            ("[]", "was not written by pytest-modelviz"),
            ('{"schema": 1}', "was not written by pytest-modelviz"),
            ('{"schema": 2}', "newer than this version"),
            ('{"schema": 1, "run": {}, "totals": {}, "checks": [{"nodeid": 1}]}', "was not written by"),
            ('{"schema": 1, "run": {}, "totals": {}, "checks": [], "orphans": [{}]}', "was not written by"),
        ],
    )
    def test_each_way_to_be_wrong_has_its_message(self, project, text, message):
        if text is not None:
            (project.path / ".modelviz").mkdir()
            (project.path / ".modelviz/results.json").write_text(text)
        for command in ("list", "show", "accept", "reject", "orphans", "prune", "report"):
            done = project.modelviz(command)
            assert done.exit_code == 1
            assert re.search(f"Error: .*{message}", done.output), done.output

    @pytest.mark.parametrize(
        "changes",
        [
            {"nodeid": "../../../evil.py::test"},
            {"candidate": "/etc/passwd"},
            {"candidate": ".modelviz/candidates/../../net.json"},
            {"candidate": "candidates"},
            {"baseline": "/etc/passwd"},
            {"baseline": "../x/test_net/test_net[a]/feature_maps.json"},
            {"name": "../../evil"},
            {"nodeid": "\0"},
        ],
    )
    def test_paths_that_lead_out_lead_nowhere(self, drifted, changes, tmp_path):
        path = drifted.path / ".modelviz/results.json"
        document = json.loads(path.read_text())
        for check in document["checks"]:
            if check["nodeid"] == A and check["status"] == "drift":
                check.update(changes)
        path.write_text(json.dumps(document))
        before = drifted.files()
        for command in ("show", "report", "accept", "reject", "orphans", "prune"):
            drifted.modelviz(command)
            everything = {name for name in drifted.files(".") if not name.startswith((".modelviz", "__pycache__"))}
            assert everything == {"net.py", "test_net.py", "fault.txt", *(f"baselines/{name}" for name in before)}
        changed = {name for name, data in drifted.files().items() if before.get(name) != data}
        assert {name.split("/")[1] for name in changed} <= {"test_net[b]", "test_net[a]"}

    def test_any_damage_ends_in_an_error_or_a_result(self, drifted):
        """A thousand results.json files, each with a place of it changed: no traceback."""
        path = drifted.path / ".modelviz/results.json"
        original, draw = path.read_text(), random.Random(0)
        strange = [None, -1, 1e308, True, "x", "../..", "/", "\ud800", [], {}, [None], {"layer": 1}]
        endings = set()
        for _ in range(1000):
            document = json.loads(original)
            part = draw.choice([document, document["run"], document["totals"], *[draw.choice(document["checks"])] * 6])
            part[draw.choice(list(part))] = draw.choice(strange)
            path.write_text(json.dumps(document))
            command = draw.choice([["list"], ["list", "--json"], ["show"], ["orphans"], ["report"], ["prune"]])
            done = drifted.modelviz(*command)
            endings.add(done.exit_code)
            assert done.exit_code == 0 or "Error: " in done.output, (command, done.output)
        assert endings == {0, 1}


class TestStrangeFiles:
    """One odd file is one refusal; all others are served."""

    @pytest.fixture(params=["folder", "pipe", "device", "loop", "outside", "size"])
    def odd(self, request, tmp_path, monkeypatch):
        """Puts something odd in place of a file."""

        def put(path):
            data = path.read_bytes() if path.exists() else b"data"
            path.unlink(missing_ok=True)
            if request.param == "folder":
                path.mkdir()
            elif request.param == "pipe":
                os.mkfifo(path)
            elif request.param == "device":
                path.symlink_to("/dev/zero")
            elif request.param == "loop":
                path.symlink_to(path.name)
            elif request.param == "outside":
                (tmp_path / "outside").write_bytes(data)
                path.symlink_to(tmp_path / "outside")
            else:
                with path.open("wb") as file:
                    file.truncate(2**33)

        return put

    @pytest.mark.parametrize("odd", ["folder", "pipe", "device", "loop", "size"], indirect=True)
    def test_as_a_baseline(self, drifted, odd):
        odd(drifted.baseline("feature_maps.json", "test_net/test_net[a]"))
        for command in ("list", "orphans", "show"):
            assert drifted.modelviz(command).exit_code == 0
        done = drifted.modelviz("accept")
        assert (done.exit_code, done.output.count("refused"), done.output.count("accepted")) == (1, 1, 1)
        drifted.run("--modelviz").assert_outcomes(failed=1, passed=2)
        assert drifted.check_of(A, "feature_maps")["status"] == "unreadable"
        assert drifted.modelviz("accept", A).exit_code == 1
        assert drifted.modelviz("list").output.startswith("0 waiting; 1 cannot be accepted, see modelviz show")

    def test_as_a_candidate(self, drifted, odd):
        odd(drifted.path / ".modelviz/candidates/test_net/test_net[a]/feature_maps.json")
        before = drifted.files()
        assert drifted.modelviz("list").exit_code == 0
        done = drifted.modelviz("accept", A)
        assert (done.exit_code, "refused" in done.output) == (1, True)
        assert drifted.files() == before
        drifted.modelviz("reject", A)
        assert drifted.files() == before

    def test_as_results(self, drifted, odd):
        odd(drifted.path / ".modelviz/results.json")
        for command in ("list", "report", "accept"):
            done = drifted.modelviz(command)
            assert (done.exit_code, "cannot be read" in done.output) == (1, True)

    def test_as_a_picture(self, drifted, odd):
        odd(next((drifted.path / ".modelviz/pictures").rglob("*.png")))
        assert drifted.modelviz("report").exit_code == 0
        assert "1 more pictures are in the results folder" in (drifted.path / ".modelviz/report.html").read_text()

    @pytest.mark.parametrize("nodeid", ["/dev/zero::x", "a\0b.py::x", "../../x.py::x"])
    def test_baselines_of_strange_tests(self, drifted, nodeid):
        store = Store(drifted.path / "baselines")
        store.save(Location.of(nodeid, "n"), Capture("v", {}), nodeid=nodeid, name="n")
        assert drifted.modelviz("orphans").exit_code == 0
        done = drifted.modelviz("prune", "*x")
        assert (done.exit_code, "removed" in done.output) == (0, True)


def test_linked_folders_of_a_foreign_results_folder_are_refused(drifted, tmp_path):
    before = drifted.files()
    shutil.copytree(drifted.path / ".modelviz", tmp_path / "ci")
    shutil.rmtree(tmp_path / "ci/candidates")
    (tmp_path / "ci/candidates").symlink_to(drifted.path / "baselines")
    for command in ("list", "accept", "reject", "orphans", "prune"):
        done = drifted.modelviz(command, "--from", str(tmp_path / "ci"), "*")
        assert done.exit_code == 1
        assert "candidates is a symbolic link" in done.output
    (tmp_path / "ci2").symlink_to(drifted.path / "baselines")
    shutil.copy(tmp_path / "ci/results.json", drifted.path / "baselines/results.json")
    assert "lie among the baselines" in drifted.modelviz("reject", "--from", str(tmp_path / "ci2")).output
    (drifted.path / "baselines/results.json").unlink()
    assert drifted.files() == before


def test_tests_in_folders_that_are_called_as_ours(project):
    (project.path / "candidates/pictures").mkdir(parents=True)
    project.test("")
    text = "from net import *\ndef test_net(feature_maps):\n    feature_maps(load(), photo())\n"
    (project.path / "candidates/pictures/test_c.py").write_text(text)
    project.run("--modelviz-update")
    common = project.files()
    project.fault("weight")
    project.run("--modelviz")
    assert "picture   .modelviz/pictures/candidates/pictures/test_c/" in project.modelviz("show").output
    project.run("--modelviz", "--modelviz-variant=cuda")
    assert "feature_maps (cuda)" in project.modelviz("list").output
    assert project.modelviz("accept").output.count("accepted") == 1
    assert {name: data for name, data in project.files().items() if "@" not in name} == common
    project.run("--modelviz", "--modelviz-variant=cuda").assert_outcomes(passed=1)
    assert project.files(".modelviz/candidates") == {}


def test_a_whole_test_id_means_that_test_alone(project):
    project.test(
        "import pytest\nfrom net import *\n"
        "@pytest.mark.parametrize('n', [1, 2])\ndef test_net(n, model_summary): model_summary(load())\n"
        "def test_net1(model_summary): model_summary(load())\n"
    )
    project.run("--modelviz")
    done = project.modelviz("accept", "test_net.py::test_net[1]")
    assert done.output.splitlines() == [
        "accepted   test_net.py::test_net[1]  model_summary  baselines/test_net/test_net[1]/model_summary.json"
    ]
    project.run("--modelviz")  # now it matches, and is still no glob
    assert project.modelviz("accept", "test_net.py::test_net[1]").exit_code == 1
    assert not (project.path / "baselines/test_net/test_net1").exists()


def test_no_digest_in_results_switches_the_guard_off(drifted):
    path = drifted.baseline("feature_maps.json", "test_net/test_net[a]")
    document = json.loads(path.read_text())
    document["facts"]["model"] = "changed by a colleague"
    path.write_text(json.dumps({**document, "content_sha256": content_digest(document)}))
    results = drifted.path / ".modelviz/results.json"
    for digest in ("*", "", "unreadable", None):
        told = json.loads(results.read_text())
        for check in told["checks"]:
            check["baseline_sha256"] = digest
        results.write_text(json.dumps(told))
        assert drifted.modelviz("accept", A).exit_code == 1
        assert "changed by a colleague" in path.read_text()


@pytest.mark.parametrize("damage", [b"", b"version https://git-lfs", None])
def test_a_damaged_safetensors_file_is_no_accepted_candidate(drifted, damage):
    drifted.modelviz("accept")
    data = drifted.baseline("feature_maps.safetensors", "test_net/test_net[a]")
    data.unlink() if damage is None else data.write_bytes(damage)
    assert drifted.modelviz("accept", A).exit_code == 1
    drifted.run("--modelviz")
    done = drifted.modelviz("accept")
    assert (done.exit_code, "pytest --modelviz-update-all replaces such a one" in done.output) == (1, True)


def test_started_above_the_project(project, monkeypatch):
    inner = project.path / "inner"
    inner.mkdir()
    (inner / "pytest.ini").write_text("[pytest]\n")
    (inner / "test_net.py").write_text("from net import *\ndef test_net(model_summary): model_summary(load())\n")
    result = project.run("--modelviz", "inner/test_net.py")
    lines = list(map(project.without_run, result.outlines))
    assert "review: modelviz list --rootdir inner; accept: modelviz accept --rootdir inner [TEST...]" in lines
    done = project.modelviz("accept", "--from", "inner/.modelviz")
    assert done.exit_code == 1
    assert "name the project's folder with --rootdir" in done.output
    assert not (project.path / "baselines").exists()
    assert project.modelviz("accept", "--rootdir", "inner").exit_code == 0
    assert (inner / "baselines/test_net/test_net/model_summary.json").exists()
    result = project.run("--modelviz", "-o", "modelviz_results_dir=out", "-o", "modelviz_baseline_dir=s", "inner")
    wanted = "--rootdir inner --from inner/out --baseline-dir s"
    lines = map(project.without_run, result.outlines)
    assert f"review: modelviz list {wanted}; accept: modelviz accept {wanted} [TEST...]" in lines
    assert project.modelviz("accept", *wanted.split()).exit_code == 0
    assert (inner / "s/test_net/test_net/model_summary.json").exists()


class TestReports:
    def test_report_html_holds_reports_and_pictures(self, drifted):
        page = (drifted.path / ".modelviz/report.html").read_text()
        assert "feature_maps drifted, first at conv2 (Conv2d)" in page
        pictures = page.count("data:image/png;base64,")
        assert pictures == len(drifted.files(".modelviz/pictures")) > 0
        (drifted.path / ".modelviz/report.html").unlink()
        assert drifted.modelviz("report").output == ".modelviz/report.html\n"
        assert (drifted.path / ".modelviz/report.html").read_text() == page

    def test_names_in_the_page_are_only_text(self, drifted):
        path = drifted.path / ".modelviz/results.json"
        path.write_text(path.read_text().replace("conv2", "<script>alert(1)</script>&\\u001b"))
        drifted.modelviz("report")
        page = (drifted.path / ".modelviz/report.html").read_text()
        assert "<script>" not in page
        assert "&lt;script&gt;alert(1)&lt;/script&gt;&amp;\\x1b" in page

    def test_none_if_not_wanted(self, project):
        project.test(TWO)
        project.run("--modelviz", "--no-modelviz-html")
        assert not (project.path / ".modelviz/report.html").exists()
        project.pytester.makeini("[pytest]\nmodelviz_html = false\n")
        project.run("--modelviz")
        assert not (project.path / ".modelviz/report.html").exists()
        project.run("--modelviz", "--modelviz-html")
        assert (project.path / ".modelviz/report.html").exists()

    def test_the_last_run_s_report_and_pictures_are_forgotten(self, drifted):
        drifted.run("--modelviz", "--no-modelviz-html", "-k", "test_other")
        assert not (drifted.path / ".modelviz/report.html").exists()
        assert drifted.files(".modelviz/pictures") == {}

    def test_a_page_of_many_pictures_stays_small(self, drifted, monkeypatch):
        monkeypatch.setattr("pytest_modelviz.reports.html._MOST_PICTURE_BYTES", 10)
        (drifted.path / ".modelviz/pictures/test_net/test_net[a]/feature_maps/000.png").write_text("no picture")
        drifted.modelviz("report")
        page = (drifted.path / ".modelviz/report.html").read_text()
        assert "data:image" not in page
        assert "more pictures are in the results folder" in page

    def test_tensorboard_is_started_on_the_folder(self, drifted, monkeypatch):
        started = []
        monkeypatch.setattr(
            "pytest_modelviz.cli.pictures.subprocess.run", lambda command, **k: started.append(command) or Done()
        )
        assert drifted.modelviz("tensorboard", "--port", "1").exit_code == 3
        folder = str(drifted.path / ".modelviz/tensorboard")
        assert started == [[sys.executable, "-m", "tensorboard.main", "--logdir", folder, "--port", "1"]]
        shutil.rmtree(folder)
        assert "there are no event files in" in drifted.modelviz("tensorboard").output


class Done:
    returncode = 3


def test_it_starts_fast_and_without_torch_and_numpy(drifted):
    code = (
        "import sys, pytest_modelviz.cli as c\n"
        "try: c.main(['list'])\n"
        "except SystemExit as e: assert not e.code\n"
        "print([m for m in ('torch', 'numpy', 'PIL', 'pytest', '_pytest', 'fsspec', 'jinja2') if m in sys.modules])"
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith("COV")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=drifted.path, capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.splitlines()[-1] == "[]"
    assert "2 waiting" in done.stdout


def test_the_installed_command(project):
    command = shutil.which("modelviz", path=os.path.dirname(sys.executable))  # noqa: PTH120
    assert subprocess.run([command, "--version"], capture_output=True, text=True, check=True).stdout.startswith(
        "modelviz"
    )
    help_text = subprocess.run([command, "--help"], capture_output=True, text=True, check=True).stdout
    for name in ("list", "show", "accept", "reject", "orphans", "prune", "tensorboard", "report"):
        assert f"\n  {name} " in help_text


class TestFindingTheProject:
    def test_the_closest_configuration_of_pytest(self, tmp_path):
        inner = tmp_path / "outer/inner/deep"
        inner.mkdir(parents=True)
        (tmp_path / "outer/pytest.ini").write_text("")
        (tmp_path / "outer/inner/pyproject.toml").write_text("[tool.black]\n")  # not pytest's
        assert find_project(inner).root == tmp_path / "outer"
        (tmp_path / "outer/inner/tox.ini").write_text("[tox]\n")
        assert find_project(inner).root == tmp_path / "outer"
        (tmp_path / "outer/inner/tox.ini").write_text("[pytest]\nmodelviz_baseline_dir = shots\n")
        assert find_project(inner).root == tmp_path / "outer/inner"
        assert find_project(inner).setting("--modelviz-baseline-dir") == "shots"

    def test_without_one(self, tmp_path):
        (tmp_path / "a/b").mkdir(parents=True)
        assert find_project(tmp_path / "a/b").root == tmp_path / "a/b"
        (tmp_path / "setup.py").write_text("")
        assert find_project(tmp_path / "a/b").root == tmp_path
        (tmp_path / "a/pyproject.toml").write_text("")
        assert find_project(tmp_path / "a/b").root == tmp_path / "a"

    def test_files_that_cannot_be_parsed_are_pytest_s_to_tell(self, tmp_path):
        (tmp_path / "pyproject.toml").write_text("[tool")
        (tmp_path / "pytest.ini").write_text("no section")
        assert find_project(tmp_path).root == tmp_path
        (tmp_path / "pytest.toml").write_text('[pytest]\nmodelviz_results_dir = "out"\n')
        assert find_project(tmp_path).setting("--modelviz-results-dir") == "out"


def test_the_command_is_the_package_s_own_too(project):
    import subprocess
    import sys

    project.test()
    project.run("--modelviz")
    done = subprocess.run(
        [sys.executable, "-m", "pytest_modelviz", "list"], cwd=project.path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert done.stdout == project.modelviz("list").output
