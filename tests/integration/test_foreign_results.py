"""Results folders from elsewhere (`--from`), hostile or strange ones among them."""

import json
import os
import random
import re
import shutil

import pytest
from two_drifts import TWO, A, B, drift_two_checks, waiting

from pytest_modelviz.records.capture import Capture
from pytest_modelviz.storage.names import Location
from pytest_modelviz.storage.store import Store

pytestmark = pytest.mark.unwatched


@pytest.fixture
def drifted(project):
    return drift_two_checks(project)


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
        pictures = sorted((drifted.path / ".modelviz/pictures").rglob("*.png"))
        whole = next(path for path in pictures if not path.stem.endswith((".baseline", ".actual", ".difference")))
        for part in whole.parent.glob(f"{whole.stem}.*.png"):  # which the page shows in its place
            part.unlink()
        odd(whole)
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
    project.run_once("--modelviz-update")
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
