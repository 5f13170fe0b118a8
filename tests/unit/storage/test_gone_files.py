"""Baselines whose test file does not exist, among those of files that do."""

import pytest

from pytest_modelviz.records.capture import Capture
from pytest_modelviz.storage.names import Location
from pytest_modelviz.storage.orphans import without_file
from pytest_modelviz.storage.store import Store

HERE = [f"test_here.py::test_{letter}" for letter in "abc"]
GONE = ["test_gone.py::test_a", "test_gone.py::test_b[x]"]


@pytest.fixture
def store(tmp_path):
    (tmp_path / "test_here.py").write_text("")
    store = Store(tmp_path / "baselines")
    for nodeid in (*HERE, *GONE):
        store.save(Location.of(nodeid, "n"), Capture("v", {}, {}, {}), nodeid=nodeid, name="n")
    return store


def test_each_is_found_and_of_a_file_that_exists_one_is_read(store, tmp_path, monkeypatch):
    read, ids = [], store.ids
    monkeypatch.setattr(store, "ids", lambda stem: read.append(stem.parts[0]) or ids(stem))
    assert [orphan.nodeid for orphan in without_file(store, tmp_path)] == GONE
    assert sorted(read) == ["test_gone", "test_gone", "test_here"]


def test_one_that_was_moved_by_hand_says_nothing_of_the_others(store, tmp_path):
    """Among the baselines of a file that is gone lies one whose id is that of a test that is there."""
    (tmp_path / "baselines/test_here/test_a").rename(tmp_path / "baselines/test_gone/test_0")
    assert [orphan.nodeid for orphan in without_file(store, tmp_path)] == GONE
