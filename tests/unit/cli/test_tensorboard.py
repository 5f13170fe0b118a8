"""Which folders TensorBoard is started on."""

import json
import socket
import subprocess
import sys

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
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
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
    assert started[0][3:5] == ["--logdir", f"{tmp_path}/ci/{name}/tensorboard"]


def test_several(started, tmp_path):
    unpack(tmp_path, "a", "b")
    assert CliRunner().invoke(main, ["tensorboard", "--from", "ci"]).exit_code == 0
    assert started[0][3:5] == ["--logdir_spec", f"a:{tmp_path}/ci/a/tensorboard,b:{tmp_path}/ci/b/tensorboard"]


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["a/.modelviz", "b/.modelviz"], ["a", "b"]),
        (["1/a", "2/a"], ["1-a", "2-a"]),
        (["1/a/.modelviz", "2/a"], ["1-a", "2-a"]),
    ],
)
def test_each_of_several_has_a_name_of_its_own(started, tmp_path, paths, names):
    unpack(tmp_path, *paths)
    sources = [word for path in paths for word in ("--from", f"ci/{path}")]
    assert CliRunner().invoke(main, ["tensorboard", *sources]).exit_code == 0
    assert [each.partition(":")[0] for each in started[0][4].split(",")] == names


def test_all_images_are_asked_for_and_options_passed_on(started, tmp_path):
    unpack(tmp_path, "a")
    assert (
        CliRunner().invoke(main, ["tensorboard", "--from", "ci", "--port=7", "--reload_interval", "5"]).exit_code == 0
    )
    assert started[0][5:] == ["--samples_per_plugin=images=1000", "--port=7", "--reload_interval", "5"]


class TestHints:
    def hints(self, *arguments: str) -> list[str]:
        return CliRunner().invoke(main, ["tensorboard", "--from", "ci", *arguments]).output.splitlines()

    def test_the_command_for_another_machine(self, started, tmp_path, monkeypatch):
        unpack(tmp_path, "a")
        monkeypatch.setenv("SSH_CONNECTION", "10.0.0.9 5000 192.168.1.7 22")
        monkeypatch.setattr("getpass.getuser", lambda: "ada")
        assert self.hints("--port", "7000")[0] == (
            "on your own machine, first: ssh -L 7000:localhost:7000 ada@192.168.1.7"
        )
        monkeypatch.setenv("SSH_CONNECTION", "10.0.0.9 5000 2001:db8::1 2222")
        assert self.hints("--port=7")[0].endswith("ssh -L 7:localhost:7 -p 2222 ada@2001:db8::1")

    @pytest.mark.parametrize("value", ["", "a b", "10.0.0.9 5000 host;rm 22", "10.0.0.9 5000 10.0.0.1 -oX"])
    def test_no_command_without_a_connection(self, started, tmp_path, monkeypatch, value):
        unpack(tmp_path, "a")
        monkeypatch.setenv("SSH_CONNECTION", value)
        assert not [line for line in self.hints() if "ssh" in line]

    def test_a_port_that_is_taken_is_not_named(self, started, tmp_path, monkeypatch):
        unpack(tmp_path, "a")
        with socket.socket() as other:
            other.bind(("localhost", 0))
            taken = other.getsockname()[1]
            monkeypatch.setattr(sys.modules["pytest_modelviz.cli.tensorboard"], "_PORT", taken)
            lines = self.hints()
        chosen = started[0][6].removeprefix("--port=")
        assert chosen != str(taken)
        assert lines[0].endswith(f"http://localhost:{chosen}/#text")

    def test_a_port_that_is_not_known_yet_is_not_named(self, started, tmp_path):
        unpack(tmp_path, "a")
        assert self.hints("--port=0") == []
        assert started[0][-1] == "--port=0"

    def test_the_last_run(self, started, tmp_path):
        unpack(tmp_path, "a")
        run = {"id": "1", "torch": "2", "python": "3", "platform": "p", "device": "cpu", "workers": 1}
        for name, ending in (("2026_main", "&regexInput=2026_main"), ("a\nb", ""), ("a&b", "")):
            document = {"schema": 1, "run": {**run, "tensorboard": name}, "totals": {}, "checks": []}
            (tmp_path / "ci/a/results.json").write_text(json.dumps(document))
            assert f"pictures of the last run: http://localhost:7/#images{ending}" in self.hints("--port=7")


def test_nothing_in_the_current_folder_is_run(tmp_path, monkeypatch):
    """Such as a downloaded results folder, which has a folder of this name."""
    unpack(tmp_path, "a")
    monkeypatch.chdir(tmp_path / "ci/a")
    for name in ("__init__.py", "main.py"):
        (tmp_path / "ci/a/tensorboard" / name).write_text("open('run', 'w')\n")
    assert CliRunner().invoke(main, ["tensorboard", "--from", ".", "--version"]).exit_code == 0
    assert not (tmp_path / "ci/a/run").exists()
