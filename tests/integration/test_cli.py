"""The command `modelviz`: listing, showing, rejecting and reports without running a test."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from two_drifts import TWO, A, B, drift_two_checks, waiting


@pytest.fixture
def drifted(project):
    return drift_two_checks(project)


class TestLooking:
    def test_list(self, drifted):
        done = drifted.modelviz("list")
        assert done.exit_code == 0
        first, *_, last = done.output.splitlines()
        found = re.fullmatch(r"drift +(\S+)  feature_maps  output off by 0.3 %.*: weights at conv2", first)
        assert found is not None
        assert found[1] == A
        assert last.startswith("2 waiting; run ")

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
        project.run_once("--modelviz-update")
        assert project.modelviz("show").output == "all checks of the last run matched\n"
        assert project.modelviz("list").output.startswith("0 waiting; run ")

    def test_show_the_noise_of_baselines(self, drifted):
        text = drifted.modelviz("show", "-v", A).output
        assert re.search(r"^  noise     usually \d(\.\d)?e-0[67], ", text, re.MULTILINE)
        assert text.count("  noise  ") == 1  # feature_maps has measured it, model_summary has not
        (found,) = json.loads(drifted.modelviz("show", "-v", "--json", A).output)["noise"]
        assert (found["nodeid"], found["name"]) == (A, "feature_maps")
        assert 1e-7 < found["usual"] < 1e-5

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
        assert 'at <span class="layer">conv2</span> <span class="class">Conv2d</span>' in page
        files = drifted.files(".modelviz/pictures")
        in_parts = sum(name.endswith(".baseline.png") for name in files)  # the page shows those in place of the whole
        assert page.count("data:image/png;base64,") == len(files) - in_parts > 0
        (drifted.path / ".modelviz/report.html").unlink()
        assert drifted.modelviz("report").output == ".modelviz/report.html\n"
        assert (drifted.path / ".modelviz/report.html").read_text() == page

    def test_names_in_the_page_are_only_text(self, drifted):
        path = drifted.path / ".modelviz/results.json"
        path.write_text(path.read_text().replace("conv2", "<script>alert(1)</script>&\\u001b"))
        drifted.modelviz("report")
        page = (drifted.path / ".modelviz/report.html").read_text()
        assert page.count("<script>") == 1  # ours
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
        monkeypatch.setattr("pytest_modelviz.reports.figures._MOST_PICTURE_BYTES", 10)
        (drifted.path / ".modelviz/pictures/test_net/test_net[a]/feature_maps/000.png").write_text("no picture")
        drifted.modelviz("report")
        page = (drifted.path / ".modelviz/report.html").read_text()
        assert "data:image" not in page
        assert "more pictures are in the results folder" in page

    def test_tensorboard_is_started_on_the_folder(self, drifted, monkeypatch):
        started = []
        monkeypatch.setattr("subprocess.run", lambda command, **k: started.append(command) or Done())
        assert drifted.modelviz("tensorboard", "--port", "1").exit_code == 3
        folder = str(drifted.path / ".modelviz/tensorboard")
        assert [command[3:] for command in started] == [
            ["--logdir", folder, "--samples_per_plugin=images=1000", "--port", "1"]
        ]
        shutil.rmtree(folder)
        assert "there are no event files in" in drifted.modelviz("tensorboard").output


class Done:
    returncode = 3


@pytest.mark.parametrize(("command", "said"), [("list", "2 waiting"), ("--help", "Usage")])
def test_it_starts_fast_and_without_torch_and_numpy(drifted, command, said):
    code = (
        "import sys, pytest_modelviz.cli as c\n"
        f"try: c.main([{command!r}])\n"
        "except SystemExit as e: assert not e.code\n"
        "print([m for m in ('torch', 'numpy', 'PIL', 'pytest', '_pytest', 'fsspec', 'jinja2') if m in sys.modules])"
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith("COV")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=drifted.path, capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.splitlines()[-1] == "[]"
    assert said in done.stdout


def test_the_installed_command(project):
    command = shutil.which("modelviz", path=os.path.dirname(sys.executable))  # noqa: PTH120
    assert subprocess.run([command, "--version"], capture_output=True, text=True, check=True).stdout.startswith(
        "modelviz"
    )
    help_text = subprocess.run([command, "--help"], capture_output=True, text=True, check=True).stdout
    for name in ("list", "show", "review", "accept", "reject", "diff", "orphans", "prune", "tensorboard", "report"):
        assert f"\n  {name} " in help_text


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
