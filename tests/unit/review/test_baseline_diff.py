"""Which baselines changed between two folders, and how they are paired."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.review.baseline_diff import changed_pairs
from pytest_modelviz.review.sides import opened_sides
from pytest_modelviz.storage.names import Location
from pytest_modelviz.storage.store import Store

PNG = b"\x89PNG\r\n\x1a\n"


def put(folder, nodeid="t.py::test_a", name="n", value=1.0, variant=None, view="plain", size=3):
    arrays = {"values": np.full(size, value)} if size else {}
    location = Location.of(nodeid, name, variant)
    capture = Capture(view, {"value": value}, arrays)
    return Path(Store(folder).save(location, capture, nodeid=nodeid, name=name, picture=PNG))


class Sides:
    def __init__(self, tmp_path):
        self.root, self.old, self.new = tmp_path, tmp_path / "old", tmp_path / "new"

    def both(self, *arguments, **options):
        return put(self.old, *arguments, **options), put(self.new, *arguments, **options)

    def pairs(self):
        """(test before, test after, name) of each, None where there is none."""
        with opened_sides([f"{self.old}", f"{self.new}"], self.root, self.root / "baselines") as (before, after):
            return [
                (pair.before and pair.before.nodeid, pair.after and pair.after.nodeid, pair.current.name)
                for pair in changed_pairs(before, after)
            ]


@pytest.fixture
def sides(tmp_path):
    made = Sides(tmp_path)
    made.both("u.py::test_same", "same")
    return made


A, B = "t.py::test_a", "t.py::test_b"


class TestPairs:
    def test_nothing_changed(self, sides):
        assert sides.pairs() == []

    def test_changed_added_and_removed(self, sides):
        put(sides.old, A)
        put(sides.new, A, value=2.0)
        put(sides.old, B, "gone", value=3.0)
        put(sides.new, B, "new", value=4.0)
        assert sides.pairs() == [(A, A, "n"), (B, None, "gone"), (None, B, "new")]

    @pytest.mark.parametrize("is_new", [True, False])
    def test_a_baseline_in_front_of_another_is_compared_with_that(self, sides, is_new):
        """What a run would have read: the baseline at its former path, and of a variant the common one."""
        upper, front = "t.py::test_a[S]", (sides.old, sides.new)[is_new]
        at = Location.of(upper, "n")
        for folder in (sides.old, sides.new):
            shutil.move(put(folder, upper).parent, folder / at.earlier.folder)
            put(folder, B)
        assert sides.pairs() == []
        other = put(front.with_name("other"), upper, value=2.0)
        shutil.copytree(other.parent, front / at.folder)
        put(front, B, value=2.0, variant="cuda")
        put(front, B, "same", variant="cuda")
        put(front, B, "alone", variant="cuda")
        put(front, B, "same")
        alone = (None, B, "alone") if is_new else (B, None, "alone")
        (first, *others) = sides.pairs()
        assert first == (upper, upper, "n")
        assert (B, B, "n") in others
        assert alone in others

    @pytest.mark.parametrize("ending", [".json", ".safetensors", ".png"])
    def test_each_file_counts(self, sides, ending):
        _, path = sides.both(A)
        data = path.with_suffix(ending).read_bytes()
        path.with_suffix(ending).write_bytes(data + b"\n")
        assert sides.pairs() == [(A, A, "n")]

    def test_arrays_without_their_json_are_no_removal(self, sides):
        _, path = sides.both(A)
        path.unlink()
        assert sides.pairs() == [(A, A, "n")]

    def test_arrays_that_had_no_json_are_no_addition(self, sides):
        path, _ = sides.both(A)
        path.unlink()
        assert sides.pairs() == [(A, A, "n")]

    def test_variants_are_baselines_of_their_own(self, sides):
        sides.both(A)
        put(sides.old, A, variant="cuda")
        put(sides.new, A, variant="cuda", value=2.0)
        assert sides.pairs() == [(A, A, "n")]

    def test_what_no_side_can_read_is_not_the_same(self, sides):
        for path in sides.both(A):
            path.with_suffix(".safetensors").unlink()
            path.with_suffix(".safetensors").symlink_to(path.with_name("nowhere"))
        assert sides.pairs() == [(A, A, "n")]

    def test_line_ends_are_paired_too(self, sides):
        _, path = sides.both(A)
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
        assert sides.pairs() == [(A, A, "n")]  # it takes decoding to see that they are the same

    def test_one_that_is_damaged_is_paired_by_its_path(self, sides):
        path, _ = sides.both(A)
        path.write_text("")
        assert sides.pairs() == [("t/test_a", A, "n")]

    def test_one_where_an_earlier_version_had_it(self, sides):
        nodeid = "t.py::test_a[S]"
        old = put(sides.old, nodeid)
        put(sides.new, nodeid, value=2.0)
        shutil.move(old.parent, old.parent.with_name("test_a[S]"))
        assert sides.pairs() == [(nodeid, nodeid, "n")]

    def test_a_second_one_for_the_same_check_hides_nothing(self, sides):
        nodeid = "t.py::test_a[S]"
        sides.both(nodeid)
        path = put(sides.new, nodeid, value=2.0)
        shutil.copytree(path.parent, path.parent.with_name("test_a[S]"))
        assert set(sides.pairs()) == {(nodeid, nodeid, "n"), (None, nodeid, "n")}


class TestOtherFiles:
    @pytest.mark.parametrize("text", ["{}", "[1, 2", '{"schema": 1}', "", "\udcff"])
    def test_other_json_is_left_alone(self, sides, text):
        (sides.new / "settings.json").write_text(text, errors="surrogateescape")
        assert sides.pairs() == []

    @pytest.mark.parametrize(
        "text", ["version https://git-lfs.github.com/spec/v1\n", '{\n<<<<<<< a\n"content_sha256": 1']
    )
    def test_what_seems_to_have_been_a_baseline_is_not(self, sides, text):
        path = put(sides.new, A, size=0)
        path.write_text(text)
        assert sides.pairs() == [(None, "t/test_a", "n")]

    def test_what_lies_in_another_s_place_is_listed_by_its_path(self, sides):
        path = put(sides.new, A)
        moved = sides.new / "t/test_b"
        path.parent.rename(moved)
        assert sides.pairs() == [(None, A, "n")]


class TestRenames:
    def test_the_same_content_elsewhere(self, sides):
        put(sides.old, A)
        put(sides.new, B)
        assert sides.pairs() == [(A, B, "n")]

    def test_another_view_or_content_is_none(self, sides):
        put(sides.old, A, "n")
        put(sides.new, B, "n", view="other")
        put(sides.old, A, "m", value=3.0)
        put(sides.new, B, "m", value=4.0)
        assert sides.pairs() == [(A, None, "m"), (A, None, "n"), (None, B, "m"), (None, B, "n")]

    def test_of_several_with_the_same_content_each_is_its_namesake(self, sides):
        """A file that was renamed, of whose tests two record the same."""
        for test in ("test_a", "test_b"):
            for name in ("n", "m"):
                put(sides.old, f"t.py::{test}", name)
                put(sides.new, f"v.py::{test}", name)
        assert sides.pairs() == [
            (f"t.py::{test}", f"v.py::{test}", name) for test in ("test_a", "test_b") for name in ("m", "n")
        ]

    def test_where_it_is_not_clear_which_is_which(self, sides):
        for test in ("test_a", "test_b"):
            put(sides.old, f"t.py::{test}")
            put(sides.new, f"t.py::{test}_2")
        assert sides.pairs() == [
            (A, None, "n"),
            (None, f"{A}_2", "n"),
            (B, None, "n"),
            (None, f"{B}_2", "n"),
        ]

    def test_one_that_is_still_there_is_no_rename(self, sides):
        sides.both(A)
        put(sides.new, B)
        assert sides.pairs() == [(None, B, "n")]

    def test_another_check_of_the_same_test(self, sides):
        put(sides.old, A, "n")
        put(sides.new, A, "m")
        assert sides.pairs() == [(A, A, "m")]

    def test_a_variant_that_became_the_common_one(self, sides):
        put(sides.old, A, variant="cuda")
        put(sides.new, A)
        assert sides.pairs() == [(A, A, "n")]


class TestSides:
    def open(self, root, *references, baseline_dir=None):
        with opened_sides(references, root, baseline_dir or root / "baselines") as (before, after):
            return before.label, after.label

    def test_folders(self, sides, monkeypatch):
        monkeypatch.chdir(sides.root)
        put(sides.root / "baselines")
        assert self.open(sides.root, "old", "./new") == ("the folder old", "the folder ./new")
        assert self.open(sides.root, "old") == ("the folder old", "the working tree")

    def test_a_folder_without_baselines(self, sides):
        (sides.root / "empty").mkdir()
        with pytest.raises(ModelvizError, match=r"there are no baselines in the folder .*empty"):
            self.open(sides.root, str(sides.root / "empty"), str(sides.new))

    def test_no_repository(self, sides):
        for references in ((), ("main",), (str(sides.old / "nothing"),)):
            with pytest.raises(ModelvizError, match="is in no git repository: name two folders"):
                self.open(sides.root, *references)

    def test_baselines_at_a_url(self, sides):
        with pytest.raises(ModelvizError, match="the baselines are at s3://bucket, not in git"):
            self.open(sides.root, str(sides.old), baseline_dir="s3://bucket")


def test_no_id_in_a_document_is_taken_for_a_path(sides):
    path = put(sides.new, A)
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "nodeid": "../../../x.py::test"}))
    assert sides.pairs() == [(None, "../../../x.py::test", "n")]
