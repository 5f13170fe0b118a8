"""Ids that differ only in case have places of their own everywhere; what was recorded before is still found."""

import time

import numpy as np
import pytest
from folders import CaselessFolder
from hypothesis import given
from hypothesis import strategies as st

from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.review.moving import find_moves, move_all
from pytest_modelviz.storage import formats
from pytest_modelviz.storage.baseline_files import encode_files
from pytest_modelviz.storage.local_folder import LocalFolder
from pytest_modelviz.storage.names import Location, distinct
from pytest_modelviz.storage.orphans import find_orphans
from pytest_modelviz.storage.renaming import renaming
from pytest_modelviz.storage.store import ChangedMeanwhileError, Store

UPPER = {"nodeid": "t.py::test_x[S]", "name": "n"}
LOWER = {"nodeid": "t.py::test_x[s]", "name": "n"}


@pytest.fixture(params=[LocalFolder, CaselessFolder], ids=["told apart", "not told apart"])
def folder(request, tmp_path):
    return request.param(tmp_path / "baselines")


@pytest.fixture
def store(folder):
    return Store(folder)


def capture(value: float) -> Capture:
    return Capture("v", {"peak": value}, {"map": np.full(300, value, np.float32)})


def peak(store: Store, ids: dict[str, str], variant: str | None = None) -> float | None:
    found = store.load(Location.of(**ids, variant=variant), **ids)
    return None if found is None else found.capture.facts["peak"]


def save(store: Store, ids: dict[str, str], value: float, variant: str | None = None) -> None:
    store.save(Location.of(**ids, variant=variant), capture(value), **ids)


def record_as_before(store: Store, ids: dict[str, str], value: float, variant: str | None = None) -> Location:
    """As versions without hashes for capital letters have recorded it."""
    earlier = Location.of(**ids, variant=variant).earlier
    where = Location(earlier.folder, earlier.stem, variant)
    store.save(where, capture(value), **ids)
    return where


class TestNames:
    @pytest.mark.parametrize(
        ("one", "other"),
        [
            (("t.py::test_x[S]", "n"), ("t.py::test_x[s]", "n")),
            (("t.py::test_X", "n"), ("t.py::test_x", "n")),
            (("t.py::TestA::test_X", "n"), ("t.py::TestA::test_x", "n")),
            (("t.py::TestA::test_x[a::B]", "n"), ("t.py::TestA::test_x[a::b]", "n")),
            (("t.py::test_x", "Maps"), ("t.py::test_x", "maps")),
            (("t.py::test_x", "n", "CUDA"), ("t.py::test_x", "n", "cuda")),
            (("t.py::test_x[É]", "n"), ("t.py::test_x[é]", "n")),
            (("t.py::test_x[\u00e9]", "n"), ("t.py::test_x[e\u0301]", "n")),  # composed and decomposed
            (("t.py::test_x[a.]", "n"), ("t.py::test_x[a]", "n")),
            (("t.py::test_x", "n "), ("t.py::test_x", "n")),
            (("t.py::test_x", "n."), ("t.py::test_x", "n")),
            (("t.py::test_x[ß]", "n"), ("t.py::test_x[ss]", "n")),
            (("t.py::test_x[\u0131]", "n"), ("t.py::test_x[i]", "n")),  # Turkish
        ],
    )
    def test_places_differ_in_more_than_case(self, one, other):
        assert str(Location.of(*one).path).casefold() != str(Location.of(*other).path).casefold()

    def test_the_names_of_files_and_classes_stay(self):
        assert (
            str(Location.of("tests/Test_Net.py::TestNet::test_a[x]", "n").path) == "tests/Test_Net/TestNet.test_a[x]/n"
        )

    def test_what_had_a_hash_before_has_the_same(self):
        assert Location.of("t.py::test_x[A b]", "n").earlier is None
        assert Location.of("t.py::test_a", "feature_maps", "cuda").earlier is None

    @given(st.text(), st.text())
    def test_segments_never_collide(self, one, other):
        assert (distinct(one).casefold() == distinct(other).casefold()) == (one == other)

    def test_a_variant_s_common_baseline_is_found_too(self):
        where = Location.of("t.py::test_a", "Maps", "CUDA")
        assert where.common == Location.of("t.py::test_a", "Maps")
        assert where.common.earlier == Location.of("t.py::test_a", "Maps").earlier
        assert Location.of("t.py::test_a", "maps", "CUDA").common.earlier is None


class TestTwins:
    def test_two_recorded_today(self, store):
        save(store, UPPER, 1.0)
        save(store, LOWER, 2.0)
        assert (peak(store, UPPER), peak(store, LOWER)) == (1.0, 2.0)

    def test_the_one_with_capitals_recorded_before(self, store, folder):
        record_as_before(store, UPPER, 1.0)
        assert peak(store, UPPER) == 1.0
        if isinstance(folder, CaselessFolder):
            with pytest.raises(UnreadableBaselineError, match=r"differ only in case.*modelviz mv .t\.py::test_x\[S\]"):
                peak(store, LOWER)
        else:
            assert peak(store, LOWER) is None

    def test_the_advice_keeps_them_apart(self, store, tmp_path):
        record_as_before(store, UPPER, 1.0)
        (tmp_path / "t.py").touch()
        id_ = UPPER["nodeid"]
        (moved,) = move_all(store, find_moves(store, renaming(id_, id_, tmp_path), tmp_path))
        assert moved.done == "moved"
        assert peak(store, LOWER) is None
        save(store, LOWER, 2.0)
        assert (peak(store, UPPER), peak(store, LOWER)) == (1.0, 2.0)

    def test_the_other_one_recorded_before(self, store):
        """What lies at the earlier place of `[S]` is `[s]`'s, where the file system does not tell them apart."""
        save(store, LOWER, 2.0)
        assert peak(store, UPPER) is None
        assert store.digest(Location.of(**UPPER)) is None
        save(store, UPPER, 1.0)
        store.remove(Location.of(**UPPER), expected_digest=store.digest(Location.of(**UPPER)))
        assert (peak(store, UPPER), peak(store, LOWER)) == (None, 2.0)

    @pytest.mark.parametrize("damage", [b"", b"version https://git-lfs", b"{"])
    def test_a_damaged_twin_is_not_taken_for_this_one(self, store, tmp_path, damage):
        save(store, LOWER, 2.0)
        (tmp_path / "baselines/t/test_x[s]/n.json").write_bytes(damage)
        assert peak(store, UPPER) is None
        save(store, UPPER, 1.0)
        assert (tmp_path / "baselines/t/test_x[s]/n.json").read_bytes() == damage


CLASSES = ({"nodeid": "t.py::TestA::test_q", "name": "n"}, {"nodeid": "t.py::Testa::test_q", "name": "n"})


class TestClasses:
    """They have no hash: two that differ only in case have one place where the file system does not tell case."""

    def test_neither_is_taken_for_the_other(self, store, folder):
        one, other = CLASSES
        save(store, one, 1.0)
        if isinstance(folder, CaselessFolder):
            with pytest.raises(UnreadableBaselineError, match="the two ids differ only in case"):
                peak(store, other)
            files = encode_files(Location.of(**other), capture(2.0), **other)
            with pytest.raises(ChangedMeanwhileError):
                store.replace_if_unchanged(Location.of(**other), files, expected_digest=None)
        else:
            assert peak(store, other) is None
        assert peak(store, one) == 1.0

    def test_a_class_that_is_renamed_so_keeps_its_baselines(self, store, folder, tmp_path):
        old, new = CLASSES
        save(store, old, 1.0)
        (tmp_path / "t.py").write_text("class Testa:\n    def test_q(self): ...\n")
        moves = find_moves(store, renaming("t.py::TestA", "t.py::Testa", tmp_path), tmp_path)
        assert [moved.done for moved in move_all(store, moves)] == ["moved"]
        assert peak(store, new) == 1.0
        names = [path.name for path in (tmp_path / "baselines/t").iterdir()]
        assert names == ["TestA.test_q" if isinstance(folder, CaselessFolder) else "Testa.test_q"]

    def test_one_that_has_a_baseline_is_not_overwritten(self, store, folder, tmp_path):
        for value, ids in enumerate(CLASSES):
            if value == 0 or not isinstance(folder, CaselessFolder):
                save(store, ids, float(value))
        (tmp_path / "t.py").write_text("class Testa:\n    def test_q(self): ...\n")
        moves = find_moves(store, renaming("t.py::TestA", "t.py::Testa", tmp_path), tmp_path)
        done = [moved.done for moved in move_all(store, moves)]
        assert done == (["moved"] if isinstance(folder, CaselessFolder) else ["refused"])


@pytest.mark.parametrize("ids", [UPPER, {"nodeid": "t.py::test_a", "name": "Maps"}, LOWER | {"variant": "CUDA"}])
class TestRecordedBefore:
    @pytest.fixture
    def where(self, store, ids):
        self.ids = {key: ids[key] for key in ("nodeid", "name")}
        self.variant = ids.get("variant")
        record_as_before(store, self.ids, 1.0, self.variant)
        return Location.of(**ids)

    def test_it_is_found(self, store, where):
        assert peak(store, self.ids, self.variant) == 1.0
        assert store.files(where, **self.ids).arrays is not None
        assert store.digest(where) is not None
        assert store.display_path(where).endswith(f"{where.earlier.path}.json")

    def test_recorded_anew_it_stays_where_it_is(self, store, where, tmp_path):
        save(store, self.ids, 2.0, self.variant)
        assert peak(store, self.ids, self.variant) == 2.0
        assert store.stems() == [where.earlier.path]
        store.replace_if_unchanged(where, store.files(where, **self.ids), expected_digest=store.digest(where))
        assert store.stems() == [where.earlier.path]
        with pytest.raises(ChangedMeanwhileError):
            store.replace_if_unchanged(where, store.files(where, **self.ids), expected_digest=None)

    def test_a_write_that_was_cut_off_is_finished(self, store, where, tmp_path):
        path = tmp_path / f"baselines/{where.earlier.path}.safetensors"
        digest = formats.sha256(path.read_bytes())
        path.rename(path.with_name(f".{where.earlier.stem}.{digest[:16]}.safetensors"))
        assert peak(store, self.ids, self.variant) == 1.0
        store.complete_interrupted_write(where)
        assert path.exists()

    @pytest.mark.parametrize("damage", [b"", b"<<<<<<< HEAD\n{}\n=======\n{}\n>>>>>>> x\n", None])
    def test_damaged_it_is_unreadable_and_not_missing(self, store, where, tmp_path, damage):
        path = tmp_path / f"baselines/{where.earlier.path}.json"
        path.unlink() if damage is None else path.write_bytes(damage)
        with pytest.raises(UnreadableBaselineError):
            peak(store, self.ids, self.variant)

    def test_it_can_be_removed(self, store, where, tmp_path):
        store.remove(where, expected_digest=store.digest(where))
        assert [path for path in (tmp_path / "baselines").rglob("*") if path.is_file()] == []

    def test_it_is_judged_as_any_other(self, store, where, tmp_path):
        (tmp_path / "t.py").touch()
        assert find_orphans(store, {"t.py": [self.ids["nodeid"]]}, tmp_path) == []
        (orphan,) = find_orphans(store, {"t.py": ["t.py::test_other"]}, tmp_path)
        assert (orphan.nodeid, orphan.baseline) == (self.ids["nodeid"], store.display_path(where))
        assert orphan.baseline_sha256 == store.digest(where)

    def test_another_s_in_its_place_is_told(self, store, where, tmp_path):
        """As a folder lies that was renamed together with its test."""
        path = tmp_path / f"baselines/{where.earlier.path}.json"
        document = formats.decode_json(path.read_bytes())
        path.write_bytes(formats.renamed_json(document, "t.py::test_before"))
        with pytest.raises(
            UnreadableBaselineError, match=r"belongs to another test, .*modelviz mv t\.py::test_before "
        ):
            peak(store, self.ids, self.variant)


def test_the_file_system_of_these_tests_is_as_it_says(tmp_path):
    folder = CaselessFolder(tmp_path)
    folder.write("A/b.json", b"1")
    assert folder.read("a/B.JSON", 10) == b"1"
    assert folder.find(".json") == ["A/b.json"]
    assert time.time() - folder.siblings("a/x")["b.json"] >= 0
