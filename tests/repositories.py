"""Git repositories in folders of a test, without the settings of whoever runs it."""

import os
import subprocess
from pathlib import Path

import pytest


class Repository:
    def __init__(self, path: Path) -> None:
        self.path, self.baselines = path, path / "baselines"
        path.mkdir(parents=True, exist_ok=True)
        self("init", "--quiet")

    def __call__(self, *arguments: str) -> str:
        identity = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "protocol.file.allow=always")
        done = subprocess.run(["git", *identity, *arguments], cwd=self.path, capture_output=True, check=True, text=True)
        return done.stdout

    def commit(self) -> None:
        self("add", "--all")
        self("commit", "--quiet", "--message", "x")

    def clone(self, *options: str) -> "Repository":
        path = self.path.with_name("clone")
        self("clone", "--quiet", *options, str(self.path), str(path))
        return Repository(path)


def made_repository(path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    return Repository(path)
