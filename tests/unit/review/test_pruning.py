"""Files that may have brought a test back: which folders are looked into, whatever lies in them."""

import os
import threading
from pathlib import Path

import pytest

from pytest_modelviz.review.pruning import _newer_file


@pytest.mark.parametrize("rules", ["*", "*\n", "\n *\n"])
def test_a_folder_that_hides_itself_holds_no_data(tmp_path, rules):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/.gitignore").write_text(rules)
    (tmp_path / "cache/data.csv").touch()
    assert _newer_file(tmp_path, 0.0, ()) is None


@pytest.mark.parametrize("kind", ["pipe", "device", "loop", "folder", "size", "nothing"])
def test_rules_for_git_that_are_no_file_hide_nothing_and_take_no_time(tmp_path, kind):
    (tmp_path / "art").mkdir()
    rules = tmp_path / "art/.gitignore"
    if kind == "pipe":
        os.mkfifo(rules)
    elif kind == "folder":
        rules.mkdir()
    elif kind == "size":
        with rules.open("wb") as file:
            file.truncate(2**33)
    else:
        rules.symlink_to({"device": "/dev/zero", "loop": rules, "nothing": tmp_path / "nothing"}[kind])
    (tmp_path / "art/data.csv").touch()
    found: list[Path | None] = []
    search = threading.Thread(target=lambda: found.append(_newer_file(tmp_path, 0.0, ())), daemon=True)
    search.start()
    search.join(10)
    assert found == [Path("art/data.csv")]
