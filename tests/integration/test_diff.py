"""`modelviz diff`: a change that was accepted is reviewed as if its checks had failed, without torch and tests."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from repositories import made_repository

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")

NODEID = "test_net.py::test_net"
WITHOUT_TORCH = """
import sys
for name in ("torch", "torchvision", "torchinfo", "pytorch_grad_cam", "pytest", "_pytest", "tensorboard", "captum"):
    sys.modules[name] = None
from pytest_modelviz.cli import main
main(sys.argv[1:])
"""


@pytest.fixture
def recorded(project, monkeypatch):
    """A repository with baselines on its branch main, and a branch of which nothing is committed yet."""
    project.test()
    project.run_once("--modelviz-update").assert_outcomes(passed=1)
    repository = made_repository(project.path, monkeypatch)
    repository("checkout", "--quiet", "-b", "main")
    repository.commit()
    repository("checkout", "--quiet", "-b", "branch")
    project.git = repository
    return project


@pytest.fixture
def accepted(recorded):
    """A change of weights that was accepted: what the run said of it, and the project."""
    recorded.fault("weight")
    recorded.run_once("--modelviz").assert_outcomes(failed=1)
    recorded.found = {check["name"]: check for check in recorded.results["checks"] if check["status"] == "drift"}
    assert recorded.modelviz("accept").exit_code == 0
    return recorded


def rows(done):
    return {(row["name"], row["change"]): row for row in json.loads(done.output)["checks"]}


class TestReview:
    def test_it_says_what_the_run_said(self, accepted):
        done = accepted.modelviz("diff", "-v")
        assert done.exit_code == 1
        assert set(accepted.found) == {"feature_maps", "cam_map"}
        for check in accepted.found.values():
            said = [line for line in check["message"].split("\n") if not line.startswith("  accept ")]
            assert "\n".join(said) in done.output
        assert "accept" not in done.output
        base = accepted.git("rev-parse", "main")[:10]
        assert done.output.splitlines()[-2:] == [
            f"{base} (where HEAD has left main) -> the working tree: 2 baselines changed: 2 drift; 0 added; 0 removed",
            "report: .modelviz/diff/report.html",
        ]

    def test_one_change_is_reported_once(self, accepted):
        lines = accepted.modelviz("diff").output.splitlines()
        assert lines[0] == "weights at conv2 (Conv2d): 2 checks of 1 test"
        assert lines[2:5] == [f"  tests     {NODEID}", "", NODEID]
        assert sum(" drifted, first at conv2" in line for line in lines) == 1
        (other,) = [line for line in lines if line.startswith("  also ")]
        assert other.startswith(f"  also      {NODEID}  feature_maps  ")
        assert other.endswith("weights at conv2")

    def test_the_pictures_are_those_of_the_run(self, accepted):
        done = accepted.modelviz("diff", "-v")
        pictures = [line.split()[1] for line in done.output.splitlines() if line.startswith("  picture ")]
        assert pictures
        for path in pictures:
            of_run = path.replace(".modelviz/diff/", ".modelviz/")
            assert (accepted.path / path).read_bytes() == (accepted.path / of_run).read_bytes()

    def test_without_torch_and_pytest(self, accepted):
        environment = {key: value for key, value in os.environ.items() if not key.startswith("COV")}
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT_TORCH, "diff"],
            cwd=accepted.path,
            capture_output=True,
            text=True,
            check=False,
            env=environment,
        )
        assert (done.returncode, done.stderr) == (1, "")
        assert done.stdout == accepted.modelviz("diff").output

    def test_committed_or_not_it_is_the_same(self, accepted):
        before = rows(accepted.modelviz("diff", "--json"))
        accepted.git.commit()
        after = rows(accepted.modelviz("diff", "--json"))
        assert {key: row["message"] for key, row in before.items()} == {
            key: row["message"] for key, row in after.items()
        }
        assert before.keys() == rows(accepted.modelviz("diff", "main", "branch", "--json")).keys()
        assert accepted.modelviz("diff", "HEAD").exit_code == 0

    def test_two_folders(self, accepted, tmp_path):
        accepted.git("worktree", "add", "--quiet", str(tmp_path / "main"), "main")
        shutil.rmtree(accepted.path / ".git")
        done = accepted.modelviz("diff", str(tmp_path / "main/baselines"), "./baselines")
        assert done.exit_code == 1
        assert "weights at conv2 (Conv2d): 2 checks of 1 test" in done.output

    def test_nothing_changed(self, recorded):
        done = recorded.modelviz("diff")
        assert done.exit_code == 0
        assert done.output.endswith("the working tree: 0 baselines changed; 0 added; 0 removed\n")

    def test_the_last_diff_is_replaced(self, accepted):
        accepted.modelviz("diff")
        assert accepted.modelviz("diff", "HEAD", "main").exit_code == 0
        left = [path for path in (accepted.path / ".modelviz/diff").rglob("*") if path.suffix == ".png"]
        assert left == []
        assert "2 drift" not in (accepted.path / ".modelviz/diff/report.html").read_text()

    def test_it_writes_into_its_own_folder_alone(self, accepted):
        before = accepted.files(".")
        accepted.modelviz("diff")
        after = accepted.files(".")
        new = {path for path in after if after[path] != before.get(path)}
        assert new
        assert all(path.startswith(".modelviz/diff/") for path in new)
        assert before.keys() <= after.keys()
        assert ".modelviz" not in accepted.git("status", "--short")


class TestKinds:
    def test_added_removed_and_renamed(self, recorded):
        files = recorded.path / "baselines/test_net/test_net"
        recorded.test(
            "from net import load, photo\n"
            "def test_net(model_summary, feature_maps, kernel_maps):\n"
            "    model_summary(load(), input_data=photo())\n"
            "    feature_maps(load(), photo(), name='maps')\n"
            "    kernel_maps(load())\n"
        )
        recorded.run_once("--modelviz-update").assert_outcomes(passed=1)
        for path in [*files.glob("cam_map.*"), *files.glob("feature_maps.*")]:
            path.unlink()
        done = recorded.modelviz("diff")
        assert done.exit_code == 0
        assert done.output.splitlines()[:4] == [
            f"removed    {NODEID}  cam_map",
            f"added      {NODEID}  kernel_maps",
            f"renamed    {NODEID}  maps  (was {NODEID})",
            "",
        ]
        assert done.output.splitlines()[-2].endswith("0 baselines changed; 1 added; 1 removed; 1 renamed")
        document = json.loads(recorded.modelviz("diff", "--json").output)
        assert document["summary"] == {"removed": 1, "added": 1, "renamed": 1}

    def test_long_lists_are_cut(self, recorded):
        recorded.test(
            "import pytest\nfrom net import load\n"
            "@pytest.mark.parametrize('n', range(30))\n"
            "def test_many(n, model_summary):\n    model_summary(load())\n",
            "test_many",
        )
        recorded.run_once("--modelviz-update", "test_many.py")
        lines = recorded.modelviz("diff").output.splitlines()
        assert len([line for line in lines if line.startswith("added ")]) == 19
        assert "and 11 more: -v lists them" in lines
        lines = recorded.modelviz("diff", "-v").output.splitlines()
        assert len([line for line in lines if line.startswith("added ")]) == 30

    def test_a_wall_of_reports_is_cut(self, recorded):
        many = (
            "import pytest\nfrom net import load\n"
            "@pytest.mark.parametrize('n', range(25))\n"
            "def test_many(n, model_summary):\n    model_summary(load())\n"
        )
        recorded.test(many, "test_many")
        recorded.run_once("--modelviz-update", "test_many.py")
        recorded.git.commit()
        recorded.fault("eps")
        recorded.run_once("--modelviz-update", "test_many.py")
        for options, reports, others in (((), 1, 19), (("-v",), 25, 0)):
            done = recorded.modelviz("diff", "HEAD", *options)
            assert "architecture at bn1 (BatchNorm2d): 25 checks of 25 tests\n" in done.output
            assert done.output.count("model_summary drifted, first at bn1") == reports
            assert done.output.count("  also      test_many.py::test_many[") == others
            assert ("\nand 5 more: -v lists them\n" in done.output) == bool(others)
            assert "25 baselines changed: 25 drift" in done.output
        assert (recorded.path / ".modelviz/diff/report.html").read_text().count("<article ") == 25

    def test_within_the_project_s_tolerance(self, accepted):
        (accepted.path / "pytest.ini").write_text("[pytest]\nmodelviz_rtol = 10\n")
        done = accepted.modelviz("diff")
        assert done.exit_code == 0
        assert "2 baselines changed: 0 drift, 2 within tolerance; 0 added; 0 removed" in done.output
        assert "feature_maps" not in done.output
        assert "feature_maps: changed within tolerance, error 0.0" in accepted.modelviz("diff", "-v").output

    def test_what_is_damaged(self, recorded):
        recorded.baseline("feature_maps.safetensors").write_bytes(b"")
        done = recorded.modelviz("diff")
        assert done.exit_code == 1
        assert "feature_maps: the baseline in the working tree cannot be read: its safetensors file" in done.output
        assert "1 baseline changed: 0 drift, 1 unreadable; 0 added; 0 removed" in done.output
        assert "pytest --modelviz" not in done.output


class TestResults:
    """What is written is read by the other commands as a run's results are."""

    def test_show(self, accepted):
        accepted.modelviz("diff")
        done = accepted.modelviz("show", "--from", ".modelviz/diff")
        assert "  | feature_maps drifted, first at conv2 (Conv2d)" in done.output
        assert "  picture   .modelviz/diff/pictures/" in done.output
        assert "accept" not in done.output

    def test_no_command_is_named(self, recorded):
        recorded.baseline("feature_maps.safetensors").write_bytes(b"")
        for path in recorded.baseline("").glob("cam_map.*"):
            path.unlink()
        recorded.modelviz("diff")
        for done in (recorded.modelviz("show", "--from", ".modelviz/diff"), recorded.modelviz("diff")):
            assert "cannot be read" in done.output
            assert "removed" in done.output
            assert "--modelviz-update" not in done.output

    def test_report(self, accepted):
        accepted.modelviz("diff")
        report = accepted.path / ".modelviz/diff/report.html"
        for text in (report.read_text(), self.again(accepted, report)):
            assert 'at <span class="layer">conv2</span> <span class="class">Conv2d</span>' in text
            assert "data:image/png;base64," in text
            unquoted = text.replace("&#39;", "")  # with --from what the results say of themselves is in quotes
            assert "(where HEAD has left main) and of the working tree, compared as a run would" in unquoted
            assert "accept" not in text

    def again(self, accepted, report):
        report.unlink()
        assert accepted.modelviz("report", "--from", ".modelviz/diff").exit_code == 0
        return report.read_text()

    @pytest.mark.parametrize("command", [("accept",), ("accept", NODEID), ("reject",)])
    def test_there_is_nothing_to_accept(self, accepted, command):
        accepted.modelviz("diff")
        before = accepted.files(".")
        done = accepted.modelviz(*command, "--from", ".modelviz/diff")
        assert done.exit_code == 1
        assert "are of a diff of baselines, not of a run: there is nothing to accept or reject" in done.output
        assert accepted.files(".") == before

    def test_the_run_s_own_results_are_as_they_were(self, accepted):
        before = accepted.modelviz("list", "--all").output
        accepted.modelviz("diff")
        assert accepted.modelviz("list", "--all").output == before

    def test_json(self, accepted):
        document = json.loads(accepted.modelviz("diff", "--json").output)
        assert (document["schema"], document["revisions"][1]) == (1, "the working tree")
        row = next(row for row in document["checks"] if row["name"] == "feature_maps")
        assert (row.pop("change"), row["status"]) == ("drift", "drift")
        assert row["baseline"].endswith(":baselines/test_net/test_net/feature_maps.json")
        assert row["compared_with"] == "baselines/test_net/test_net/feature_maps.json"
        results = json.loads((accepted.path / ".modelviz/diff/results.json").read_text())
        assert row in results["checks"]
        assert results["run"]["revisions"] == document["revisions"]


@pytest.mark.parametrize("setting", ["auto", "off"])
def test_the_summary_of_a_step_on_github(accepted, monkeypatch, tmp_path, setting):
    (accepted.path / "pytest.ini").write_text(f"[pytest]\nmodelviz_github = {setting}\n")
    page = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    assert accepted.modelviz("diff", "HEAD", "HEAD").exit_code == 0
    assert not page.exists()
    for path in accepted.baseline("").glob("model_summary.*"):
        path.unlink()
    assert accepted.modelviz("diff").exit_code == 1
    if setting == "off":
        assert not page.exists()
        return
    text = page.read_text()
    base = accepted.git("rev-parse", "main")[:10]
    assert text.startswith(
        "### modelviz: 2 baselines changed: 2 drift; 0 added; 1 removed\n\n"
        f"Baselines of `{base} (where HEAD has left main)` and of `the working tree`\n\n"
        "#### weights at `conv2` (`Conv2d`): 2 checks of 1 test\n"
    )
    assert f"```text\nremoved    {NODEID}  model_summary\n```\n" in text
    assert "upload `.modelviz/diff` as one" in text
    run = json.loads((accepted.path / ".modelviz/diff/results.json").read_text())["run"]["id"]
    assert f"\ngh run download --dir ../from-ci\nmodelviz show --run {run} --from ../from-ci\n```" in text
    assert "accept" not in text
    text = accepted.modelviz("show", "--format", "markdown", "--from", ".modelviz/diff").output
    assert f"\n\nBaselines of `{base} (where HEAD has left main)` and of `the working tree`\n\n" in text


class TestErrors:
    """One line each, and the exit status is 2: 1 says that something drifted."""

    def refused(self, project, *arguments):
        done = project.modelviz("diff", *arguments)
        assert done.exit_code == 2
        assert done.output.startswith("Error: ")
        assert done.output.count("\n") == 1
        return done.output

    def test_a_revision_that_does_not_exist(self, recorded):
        assert "'nothing' is no revision of the repository in " in self.refused(recorded, "nothing")

    def test_no_repository(self, project):
        assert "is in no git repository: name two folders of baselines" in self.refused(project)

    def test_a_name_of_a_branch_and_a_folder(self, recorded):
        (recorded.path / "main").mkdir()
        assert "'main' is a revision and a folder: write ./main" in self.refused(recorded, "main")

    def test_a_folder_without_baselines(self, recorded):
        (recorded.path / "empty").mkdir()
        assert "there are no baselines in the folder ./empty" in self.refused(recorded, "./empty", "./baselines")

    def test_no_baselines_at_all(self, recorded):
        assert "there are no baselines in" in self.refused(recorded, "--baseline-dir", "elsewhere")

    def test_a_shallow_clone(self, recorded):
        for text in ("1", "2"):
            (recorded.path / "other.txt").write_text(text)
            recorded.git.commit()
        recorded.git("checkout", "--quiet", "main")
        clone = recorded.path / "clone"
        options = ("--depth=1", "--no-single-branch", "--branch=branch")
        recorded.git("clone", "--quiet", *options, f"file://{recorded.path}", str(clone))
        message = self.refused(recorded, "--rootdir", str(clone))
        assert "this clone is shallow" in message
        assert "'git fetch --deepen=1000'" in message
        assert "'fetch-depth: 0'" in message

    def test_three_revisions(self, recorded):
        done = recorded.modelviz("diff", "main", "main", "main")
        assert done.exit_code == 2
        assert "at most two" in done.output

    def test_a_results_folder_that_is_the_user_s(self, recorded):
        shutil.rmtree(recorded.path / ".modelviz")
        (recorded.path / ".modelviz").mkdir()
        (recorded.path / ".modelviz/notes.txt").touch()
        assert "holds files that no run of this plugin wrote" in self.refused(recorded)
        assert [path.name for path in (recorded.path / ".modelviz").iterdir()] == ["notes.txt"]

    def test_a_results_folder_that_is_a_link(self, accepted, tmp_path):
        (accepted.path / ".modelviz/diff").symlink_to(tmp_path)
        assert "is a symbolic link" in self.refused(accepted)
        assert list(tmp_path.glob("*.json")) == []
