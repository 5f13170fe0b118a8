"""Which commit is checked out, as git itself says."""

import os
import shutil
import subprocess

import pytest

from pytest_modelviz.storage import git_calls
from pytest_modelviz.storage.git_revision import Revision, revision_of

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


def git(folder, *words):
    identity = ["-c", "user.name=n", "-c", "user.email=e@x", "-c", "init.defaultBranch=main"]
    return subprocess.run(
        ["git", *identity, *words], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def repository(tmp_path):
    git(tmp_path, "init")
    (tmp_path / "a.py").write_text("1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    return tmp_path


def test_commit_branch_and_changes(repository):
    commit = git(repository, "rev-parse", "HEAD")
    inner = repository / "inner"
    inner.mkdir()
    assert revision_of(inner) == Revision(commit, "main", False)
    (repository / "untracked.py").write_text("1")
    assert revision_of(repository) == Revision(commit, "main", False)
    (repository / "a.py").write_text("2")
    assert revision_of(repository) == Revision(commit, "main", True)
    git(repository, "checkout", "--detach")
    assert revision_of(repository) == Revision(commit, None, True)


def test_a_branch_may_be_called_as_git_calls_none(repository):
    git(repository, "checkout", "-b", "(detached)")
    assert revision_of(repository).branch == "(detached)"
    git(repository, "checkout", "--detach")
    assert revision_of(repository).branch is None


def test_a_renamed_file_is_one_change(repository):
    git(repository, "mv", "a.py", "b c.py")
    revision = revision_of(repository)
    assert revision is not None
    assert revision.dirty


def test_no_path_passes_for_a_fact(repository):
    """Of a file that was renamed, git names the old path without a mark."""
    path = "# branch.oid 00c0ffee"
    (repository / path).write_text("some text that is found again")
    git(repository, "add", ".")
    git(repository, "commit", "-m", "second")
    git(repository, "mv", path, "b.py")
    assert revision_of(repository) == Revision(git(repository, "rev-parse", "HEAD"), "main", True)


def test_no_filter_of_a_submodule_is_run(repository):
    inner = repository / "baselines/data"
    inner.mkdir(parents=True)
    git(inner, "init")
    (inner / ".gitattributes").write_text("* filter=x")
    (inner / "a.json").write_text("{}")
    git(inner, "add", ".")
    git(inner, "commit", "-m", "inside")
    git(inner, "config", "filter.x.clean", f"touch {repository / 'ran'}; cat")
    os.utime(inner / "a.json", (0, 0))
    git(repository, "update-index", "--add", "--cacheinfo", f"160000,{git(inner, 'rev-parse', 'HEAD')},baselines/data")
    git(repository, "commit", "-m", "second")
    assert not revision_of(repository).dirty
    assert not (repository / "ran").exists()


def test_there_may_be_nothing_to_say(tmp_path, monkeypatch):
    assert revision_of(tmp_path) is None
    git(tmp_path, "init")
    assert revision_of(tmp_path) is None  # nothing is committed
    monkeypatch.setattr(git_calls.shutil, "which", lambda name: None)
    assert revision_of(tmp_path) is None
