"""What a check reads, writes and flushes to the disk: no file twice, and only baselines wait for the disk."""

import os
from pathlib import Path

import numpy as np
import pytest

from pytest_modelviz.pictures.composite import Picture
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.verdict import Verdict
from pytest_modelviz.run.check import Check
from pytest_modelviz.run.session import Session
from pytest_modelviz.run.settings import Mode, Settings
from pytest_modelviz.storage import local_folder

IMAGE = np.zeros((4, 4, 3), np.uint8)


class Numbers:
    view = "numbers"

    def __init__(self, *values):
        self.values = np.float32(values)

    def capture(self):
        return Capture("numbers", {}, {"x": self.values})

    def compare(self, baseline, actual, tolerances):
        return (
            Verdict.match(compared=1) if np.array_equal(baseline.arrays["x"], actual.arrays["x"]) else Verdict.drift()
        )

    def picture(self, actual, baseline=None, verdict=None):
        return [Picture("x", IMAGE)] if baseline is None else [Picture("x", IMAGE, IMAGE, IMAGE, IMAGE)]

    def describe(self, actual):
        return "numbers"


@pytest.fixture
def access(monkeypatch):
    """The names of the files that are read, written and flushed."""
    seen = {"read": [], "written": [], "flushed": []}
    read, new, flush = local_folder.regular_file, local_folder.new_file, os.fsync
    names = {}

    def new_file(path):
        file = new(path)
        names[file.fileno()] = path.name.split(".")[-3]  # of .numbers.json.123.tmp, and of others alike
        seen["written"].append(names[file.fileno()])
        return file

    monkeypatch.setattr(
        local_folder, "regular_file", lambda path, limit: seen["read"].append(path.name) or read(path, limit)
    )
    monkeypatch.setattr(local_folder, "new_file", new_file)
    monkeypatch.setattr(os, "fsync", lambda number: seen["flushed"].append(names[number]) or flush(number))
    return seen


def status(root: Path, mode: Mode, *values: float) -> str:
    settings = Settings(mode, root, root / "baselines", root / ".modelviz")
    return Session("run").check(Check("t.py::test", "test", "", "numbers", Numbers(*values), settings))[1].status.value


def test_a_match_reads_each_file_once_and_writes_none(tmp_path, access):
    status(tmp_path, Mode.UPDATE, 1, 2)
    for names in access.values():
        names.clear()
    assert status(tmp_path, Mode.COMPARE, 1, 2) == "match"
    assert access == {"read": ["numbers.json", "numbers.safetensors"], "written": [], "flushed": []}


def test_a_baseline_is_flushed_to_the_disk(tmp_path, access):
    assert status(tmp_path, Mode.UPDATE, 1, 2) == "recorded"
    assert access["written"] == access["flushed"] == ["safetensors", "png", "json"]


def test_what_a_drift_leaves_does_not_wait_for_the_disk(tmp_path, access):
    status(tmp_path, Mode.UPDATE, 1, 2)
    for names in access.values():
        names.clear()
    assert status(tmp_path, Mode.COMPARE, 1, 3) == "drift"
    # the candidate, four images of one picture, and the details
    assert sorted(access["written"]) == ["json", "json", *["png"] * 5, "safetensors"]
    assert access["flushed"] == []
