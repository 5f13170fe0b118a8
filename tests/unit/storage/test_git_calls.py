"""Git is asked in no repository that came with data, and fetches nothing by a command that a configuration names."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from pytest_modelviz.records.capture import Capture
from pytest_modelviz.storage.git import ignored_warning
from pytest_modelviz.storage.git_calls import git_answer, repository_of
from pytest_modelviz.storage.names import Location
from pytest_modelviz.storage.store import Store

IDS = {"nodeid": "t.py::test_a", "name": "n"}

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, check=True, text=True).stdout


@pytest.fixture
def alone(monkeypatch):
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)


@pytest.fixture
def partial_clone(tmp_path, alone):
    """Makes a repository that lacks the content of its .gitignore, to be fetched by a command."""

    def made(folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        git(folder, "init", "--quiet")
        (folder / ".gitignore").write_text("x\n")
        git(folder, "add", ".gitignore")
        git(folder, "update-index", "--skip-worktree", ".gitignore")
        (folder / ".gitignore").unlink()
        digest = git(folder, "ls-files", "--stage", ".gitignore").split()[1]
        (folder / ".git/objects" / digest[:2] / digest[2:]).unlink()
        (tmp_path / "evil.sh").write_text(f"touch {tmp_path}/run\n")
        for key, value in {
            "core.repositoryformatversion": "1",
            "extensions.partialClone": "origin",
            "remote.origin.promisor": "true",
            "remote.origin.url": f"ext::sh {tmp_path}/evil.sh",
            "protocol.ext.allow": "always",
        }.items():
            git(folder, "config", key, value)
        return folder

    return made


@pytest.mark.parametrize("inside", ["", "t"])
def test_a_repository_that_came_among_baselines_is_not_asked(tmp_path, partial_clone, inside):
    project = tmp_path / "project"
    project.mkdir()
    git(project, "init", "--quiet")
    (project / ".gitignore").write_text("*.json\n")
    baselines = project / "baselines"
    partial_clone(baselines / inside)
    written = Path(Store(baselines).save(Location.of(**IDS), Capture("v", {}), **IDS))
    assert "by '*.json' in .gitignore" in ignored_warning(baselines, [written], project)
    assert not (tmp_path / "run").exists()


def test_git_fetches_nothing_and_starts_no_transport(tmp_path, partial_clone, monkeypatch):
    folder, asked = partial_clone(tmp_path / "clone"), ["check-ignore", "--stdin"]
    monkeypatch.setenv("GIT_ALLOW_PROTOCOL", "ext")
    git_answer(folder, asked, b"a\n")
    assert not (tmp_path / "run").exists()
    subprocess.run(["git", *asked], cwd=folder, input=b"a\n", capture_output=True, check=False)
    assert (tmp_path / "run").exists(), "git by itself runs the command"


def test_the_top_of_a_repository(tmp_path, alone):
    for name in ("", "baselines", "results"):
        (tmp_path / name / ".git").mkdir(parents=True)
    below = tmp_path / "results/a"
    below.mkdir()
    assert repository_of(below) == tmp_path / "results"
    assert repository_of(below, [tmp_path / "baselines"]) == tmp_path / "results"
    assert repository_of(below, [tmp_path / "results"]) == tmp_path
