"""What tests are called, side by side: by items that are none of pytest's, but know as much."""

import types
from pathlib import Path

import pytest

from pytest_modelviz.plugin.identity import NODEID, CollectedTests, former_identity, identity


def made(root: Path, file: str, test: str, *, argument: str | None = None, line: int = 0) -> pytest.Item:
    """A test in a file relative to the root folder; an `argument` of pytest's is what it begins its id with."""
    nodeid = f"{file if argument is None else argument}::{test}" if test else file
    item = types.SimpleNamespace(
        nodeid=nodeid,
        path=root / file,
        name=test.rpartition("::")[2],
        location=(file, line, test),
        config=types.SimpleNamespace(rootpath=root),
        stash=pytest.Stash(),
    )
    item.stash[NODEID] = nodeid
    return item


@pytest.fixture
def root(tmp_path):
    """A project without files; its neighbour has one, whose test another version called as if it were the project's."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "b/test_net.py").write_text("def test(): ...\n")
    return tmp_path / "a"


@pytest.fixture
def outside(root):
    return made(root, "../b/test_net.py", "test", argument="test_net.py")


def test_a_test_is_called_by_its_file_as_seen_from_the_root(root, outside):
    assert identity(outside) == "../b/test_net.py::test"
    assert former_identity(outside) == "test_net.py::test"
    inside = made(root, "test_net.py", "TestA::test[x]")
    assert identity(inside) == "test_net.py::TestA::test[x]"
    assert former_identity(inside) is None
    assert identity(made(root, "page.yaml", "")) == "page.yaml"


def test_what_a_plugin_makes_of_an_id_later_changes_no_name(root):
    item = made(root, "test_net.py", "test")
    item.nodeid = "test_net.py::test@group"
    assert identity(item) == "test_net.py::test"


class TestFormerIds:
    def test_one_whose_file_never_was_is_its_own(self, root, outside):
        for whole in (True, False):
            assert CollectedTests([outside], whole=whole).is_former("test_net.py::test", outside)

    def test_one_of_a_file_that_is_there_is_its_own_if_that_was_collected_whole(self, root, outside):
        (root / "test_net.py").write_text("def test_other(): ...\n")
        other = made(root, "test_net.py", "test_other")
        assert CollectedTests([outside, other], whole=True).is_former("test_net.py::test", outside)
        assert not CollectedTests([outside, other], whole=False).is_former("test_net.py::test", outside)
        assert not CollectedTests([outside], whole=True).is_former("test_net.py::test", outside)

    def test_one_that_another_test_has_is_not(self, root, outside):
        (root / "test_net.py").write_text("def test(): ...\n")
        same = made(root, "test_net.py", "test")
        assert not CollectedTests([outside, same], whole=True).is_former("test_net.py::test", outside)

    def test_one_whose_function_stands_in_its_file_is_not_also_where_that_was_not_collected(self, root, outside):
        (root / "test_net.py").write_text("def test(): ...\ndef test_other(): ...\n")
        other = made(root, "test_net.py", "test_other")
        assert not CollectedTests([outside, other], whole=True).is_former("test_net.py::test", outside)

    def test_one_that_two_tests_had_is_neither_s(self, root, outside):
        rival = made(root, "../c/test_net.py", "test", argument="test_net.py")
        collected = CollectedTests([outside, rival], whole=True)
        assert not collected.is_former("test_net.py::test", outside)
        assert not collected.is_former("test_net.py::test", rival)

    def test_one_is_taken_by_a_test_of_the_run_or_in_its_file(self, root, outside):
        collected = CollectedTests([outside, made(root, "other.py", "test")], whole=True)
        assert collected.is_taken("other.py::test", root)
        assert not collected.is_taken("test_net.py::test", root)
        (root / "test_net.py").write_text("def test_other(): ...\n")
        assert not collected.is_taken("test_net.py::test", root)
        (root / "test_net.py").write_text("from elsewhere import *\n")
        assert collected.is_taken("test_net.py::test", root)  # that may bring anything
        (root / "test_net.py").write_text("def test(): ...\n")
        assert collected.is_taken("test_net.py::test", root)


def test_a_name_that_two_definitions_have_is_shared(root):
    once, twice = made(root, "t.py", "test"), made(root, "t.py", "test_twice")
    again = made(root, "t.py", "test_twice", line=7)
    collected = CollectedTests([once, once, twice, again], whole=True)
    assert collected.is_shared("t.py::test_twice")
    assert not collected.is_shared("t.py::test")


def test_a_title_has_the_file_only_where_it_takes_one_to_tell_tests_apart(root):
    items = [made(root, "t.py", "test"), made(root, "u.py", "test"), made(root, "u.py", "TestA::test")]
    collected = CollectedTests([*items, items[0]], whole=True)
    assert collected.title("t.py::test") == "t.py::test"
    assert collected.title("u.py::TestA::test") == "TestA::test"
    assert collected.title("page.yaml") == "page.yaml"
