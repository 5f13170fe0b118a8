"""Which folders TensorBoard is started on."""

import subprocess

import pytest
from click.testing import CliRunner

from pytest_modelviz.cli import main


@pytest.fixture
def started(tmp_path, monkeypatch):
    """The commands that were run, in a project."""
    commands: list[list[str]] = []

    def run(command, check):
        commands.append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    return commands


def unpack(folder, *names: str) -> None:
    for name in names:
        (folder / "ci" / name / "tensorboard").mkdir(parents=True)
        (folder / "ci" / name / "results.json").touch()


@pytest.mark.parametrize("name", ["x,y:..", "a,b", "a:b"])
def test_no_name_of_a_folder_adds_another(started, tmp_path, name):
    unpack(tmp_path, "ok", name)
    done = CliRunner().invoke(main, ["tensorboard", "--from", "ci"])
    assert (done.exit_code, started) == (1, [])
    assert "none has a comma or a colon in its path" in done.output
    assert CliRunner().invoke(main, ["tensorboard", "--from", f"ci/{name}"]).exit_code == 0
    assert started[0][3:] == ["--logdir", f"{tmp_path}/ci/{name}/tensorboard"]


def test_several(started, tmp_path):
    unpack(tmp_path, "a", "b")
    assert CliRunner().invoke(main, ["tensorboard", "--from", "ci"]).exit_code == 0
    assert started[0][3:] == ["--logdir_spec", f"a:{tmp_path}/ci/a/tensorboard,b:{tmp_path}/ci/b/tensorboard"]


def test_nothing_in_the_current_folder_is_run(tmp_path, monkeypatch):
    """Such as a downloaded results folder, which has a folder of this name."""
    unpack(tmp_path, "a")
    monkeypatch.chdir(tmp_path / "ci/a")
    for name in ("__init__.py", "main.py"):
        (tmp_path / "ci/a/tensorboard" / name).write_text("open('run', 'w')\n")
    assert CliRunner().invoke(main, ["tensorboard", "--from", ".", "--version"]).exit_code == 0
    assert not (tmp_path / "ci/a/run").exists()
