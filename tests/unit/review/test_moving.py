"""Baselines of renamed tests are moved whole, never over another, never lost."""

import shutil
from dataclasses import replace

import fsspec
import numpy as np
import pytest
from folders import CaselessFolder

from pytest_modelviz.errors import ForeignBaselineError, ModelvizError
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.review.moving import find_moves, move_all
from pytest_modelviz.storage import formats
from pytest_modelviz.storage import local_folder as folder_module
from pytest_modelviz.storage.names import Location
from pytest_modelviz.storage.renaming import renaming
from pytest_modelviz.storage.store import Store

OLD, NEW = "t.py::test_old", "t.py::test_new"


def save(store: Store, nodeid: str, value: float = 1.0, name: str = "n", variant: str | None = None) -> None:
    capture = Capture("v", {"peak": value}, {"map": np.full(300, value, np.float32)}, {"torch": "2"})
    store.save(Location.of(nodeid, name, variant), capture, nodeid=nodeid, name=name, picture=b"picture")


def peak(store: Store, nodeid: str, name: str = "n", variant: str | None = None) -> float | None:
    found = store.load(Location.of(nodeid, name, variant), nodeid=nodeid, name=name)
    return None if found is None else found.capture.facts["peak"]


@pytest.fixture(params=["folder", "memory"])
def store(request, tmp_path):
    (tmp_path / "t.py").touch()
    if request.param == "folder":
        return Store(tmp_path / "baselines")
    fsspec.filesystem("memory").store.clear()
    return Store("memory://models/baselines")


def move(store: Store, old: str, new: str, tmp_path, **options) -> dict[str, str]:
    moves = find_moves(store, renaming(old, new, tmp_path), tmp_path)
    return {
        one.nodeid + ("" if one.name == "n" else f" {one.name}"): one.done for one in move_all(store, moves, **options)
    }


def contents(folder) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


class TestMoving:
    def test_every_check_and_variant_goes_with_its_test(self, store, tmp_path):
        save(store, OLD, 1.0)
        save(store, OLD, 2.0, name="other")
        save(store, OLD, 3.0, variant="cuda")
        save(store, f"{OLD}[p]", 4.0)
        assert set(move(store, OLD, NEW, tmp_path).values()) == {"moved"}
        assert peak(store, NEW) == 1.0
        assert peak(store, NEW, "other") == 2.0
        assert peak(store, NEW, variant="cuda") == 3.0
        assert peak(store, f"{NEW}[p]") == 4.0
        assert store.picture(Location.of(NEW, "n")) == b"picture"
        assert not [stem for stem in store.stems() if "test_old" in str(stem)]

    def test_only_the_id_changes(self, tmp_path):
        store = Store(tmp_path / "baselines")
        (tmp_path / "t.py").touch()
        save(store, OLD)
        before = contents(tmp_path / "baselines")
        move(store, OLD, NEW, tmp_path)
        wanted = {
            name.replace("test_old", "test_new"): data.replace(b"test_old", b"test_new")
            for name, data in before.items()
        }
        assert contents(tmp_path / "baselines") == wanted
        assert not (tmp_path / "baselines/t/test_old").exists()
        move(store, NEW, OLD, tmp_path)
        assert contents(tmp_path / "baselines") == before

    def test_a_dry_run_says_the_same_and_does_nothing(self, store, tmp_path):
        save(store, OLD)
        save(store, f"{OLD}[p]")
        assert set(move(store, OLD, NEW, tmp_path, dry_run=True).values()) == {"would be moved"}
        assert (peak(store, OLD), peak(store, NEW)) == (1.0, None)
        assert set(move(store, OLD, NEW, tmp_path).values()) == {"moved"}

    @pytest.mark.parametrize("dry_run", [True, False])
    def test_where_one_has_a_baseline_there_none_is_moved(self, store, tmp_path, dry_run):
        save(store, OLD)
        save(store, f"{OLD}[p]")
        save(store, f"{OLD}[q]")
        for parameter in "pq":
            save(store, f"{NEW}[{parameter}]", 2.0)
        assert move(store, OLD, NEW, tmp_path, dry_run=dry_run) == {f"{OLD}[{one}]": "refused" for one in "pq"}
        assert [peak(store, f"{OLD}{one}") for one in ("", "[p]", "[q]")] == [1.0, 1.0, 1.0]
        assert [peak(store, f"{NEW}{one}") for one in ("", "[p]", "[q]")] == [None, 2.0, 2.0]

    def test_nor_where_two_go_to_one_place(self, store, tmp_path):
        """A baseline of today's beside what an earlier version has recorded of the same test, and differs."""
        upper = "t.py::test_Old"
        earlier = Location.of(upper, "n").earlier
        save(store, upper, 1.0)
        store.save(Location(earlier.folder, earlier.stem), Capture("v", {"peak": 2.0}), nodeid=upper, name="n")
        before = store.stems()
        assert set(move(store, upper, NEW, tmp_path).values()) == {"refused"}
        assert store.stems() == before

    def test_a_group_that_was_cut_off_goes_on(self, store, tmp_path):
        """One has been moved already, and one is on its way: neither is another's."""
        ids = [f"{OLD}[{one}]" for one in "abc"]
        for number, nodeid in enumerate(ids):
            save(store, nodeid, float(number))
        moves = find_moves(store, renaming(OLD, NEW, tmp_path), tmp_path)
        move_all(store, moves[:1])
        target = moves[1].destination
        files = store.files(moves[1].source, nodeid=ids[1], name="n")
        store.put(target, replace(files, text=moves[1].text(arriving=True)))
        assert set(move(store, OLD, NEW, tmp_path).values()) == {"moved"}
        assert [peak(store, nodeid.replace("old", "new")) for nodeid in ids] == [0.0, 1.0, 2.0]
        assert not [stem for stem in store.stems() if "test_old" in str(stem)]

    def test_what_had_no_parameters_and_has_some_now_is_one_test(self, store, tmp_path):
        save(store, OLD, 1.0)
        save(store, f"{OLD}[y]", 2.0)
        assert move(store, OLD, f"{OLD}[x]", tmp_path) == {OLD: "moved"}
        assert (peak(store, f"{OLD}[x]"), peak(store, f"{OLD}[y]")) == (1.0, 2.0)

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("t.py::TestA::test_q", "t.py::TestB::test_q"),
            ("t.py::TestA", "t.py::TestB"),
            ("t.py::TestA", "u.py::TestA"),
            ("t.py::TestGone", "t.py::TestB"),  # a class that is there, with its tests elsewhere
            ("t.py::test_old", "t.py::test_new"),
            ("t.py::test_old*", "t.py::test_new*"),
            ("t.py::test_old[[]*", "t.py::test_typo[[]*"),
            (".", "deep"),
        ],
    )
    def test_from_a_test_that_is_there_it_is_refused(self, store, tmp_path, old, new):
        (tmp_path / "deep").mkdir()
        source = "class TestA:\n    def test_q(self): ...\nclass TestB(TestA): ...\nclass TestGone: ...\n"
        source += "def test_old(): ...\n"
        for file in ("t.py", "u.py", "deep/t.py"):
            (tmp_path / file).write_text(source)
        for nodeid in ("t.py::TestA::test_q", "t.py::TestGone::test_q", OLD, f"{OLD}[p]"):
            save(store, nodeid)
        before = store.stems()
        with pytest.raises(
            ModelvizError, match=r"t\.py::(TestA::test_q|TestA|TestGone|test_old) is still there: rename"
        ):
            move(store, old, new, tmp_path)
        assert store.stems() == before

    def test_a_file_that_the_file_system_spells_otherwise_is_the_same(self, store, tmp_path):
        """As `T.py` and `t.py` on Windows and macOS."""
        (tmp_path / "t.py").write_text("def test_old(): ...\n")
        (tmp_path / "T.py").hardlink_to(tmp_path / "t.py")
        save(store, OLD)
        assert move(store, OLD, "T.py::test_old", tmp_path) == {OLD: "moved"}

    def test_a_baseline_that_is_there_is_never_overwritten(self, store, tmp_path):
        save(store, OLD, 1.0)
        save(store, NEW, 2.0)
        assert move(store, OLD, NEW, tmp_path) == {OLD: "refused"}
        assert (peak(store, OLD), peak(store, NEW)) == (1.0, 2.0)

    def test_nor_one_that_cannot_be_read(self, tmp_path):
        store = Store(tmp_path / "baselines")
        (tmp_path / "t.py").touch()
        save(store, OLD)
        save(store, NEW, 2.0)
        (tmp_path / "baselines/t/test_new/n.json").write_bytes(b"<<<<<<< x")
        before = contents(tmp_path / "baselines")
        assert move(store, OLD, NEW, tmp_path) == {OLD: "refused"}
        assert contents(tmp_path / "baselines") == before

    def test_nor_one_that_an_earlier_version_has_recorded(self, store, tmp_path):
        save(store, OLD, 1.0)
        upper = "t.py::test_New"
        earlier = Location.of(upper, "n").earlier
        capture = Capture("v", {"peak": 2.0})
        store.save(Location(earlier.folder, earlier.stem), capture, nodeid=upper, name="n")
        assert move(store, OLD, upper, tmp_path) == {OLD: "refused"}
        assert (peak(store, OLD), peak(store, upper)) == (1.0, 2.0)

    def test_a_damaged_one_is_left_alone(self, tmp_path):
        store = Store(tmp_path / "baselines")
        (tmp_path / "t.py").touch()
        save(store, OLD)
        (tmp_path / "baselines/t/test_old/n.safetensors").write_bytes(b"version https://git-lfs")
        before = contents(tmp_path / "baselines")
        (moved,) = move_all(store, find_moves(store, renaming(OLD, NEW, tmp_path), tmp_path))
        assert moved.refused
        assert "git lfs pull" in moved.reason
        assert contents(tmp_path / "baselines") == before

    def test_tests_that_take_each_other_s_names_in_a_row(self, store, tmp_path):
        for number in range(3):
            save(store, f"t.py::test{'_x' * number}", float(number))
        for dry_run, word in ((True, "would be moved"), (False, "moved")):
            assert set(move(store, "t.py::test*", "t.py::test_x*", tmp_path, dry_run=dry_run).values()) == {word}
        assert [peak(store, f"t.py::test{'_x' * number}") for number in range(4)] == [None, 0.0, 1.0, 2.0]

    def test_what_lies_where_it_belongs_stays(self, store, tmp_path):
        save(store, OLD)
        assert move(store, OLD, OLD, tmp_path) == {OLD: "already there"}
        assert peak(store, OLD) == 1.0

    def test_what_the_dead_have_left_there_goes(self, tmp_path):
        (tmp_path / "t.py").touch()
        store = Store(tmp_path / "baselines")
        save(store, OLD)
        unfinished = tmp_path / "baselines/t/test_old/.n.json.999999999.tmp"
        unfinished.write_bytes(b"half")
        assert move(store, OLD, OLD, tmp_path, dry_run=True) == {OLD: "already there"}
        assert unfinished.exists()
        assert move(store, OLD, OLD, tmp_path) == {OLD: "already there"}
        assert not unfinished.exists()

    def test_a_name_that_no_baseline_has(self, store, tmp_path):
        (tmp_path / "sub").mkdir()
        (tmp_path / "sub/t.py").touch()
        save(store, "sub/t.py::test_old")
        with pytest.raises(ModelvizError, match=r"no baseline in .*baselines belongs to 't.py::nothing'$"):
            move(store, "t.py::nothing", NEW, tmp_path)
        with pytest.raises(ModelvizError, match=r"did you mean 'sub/t\.py::test_old'\?"):
            move(store, OLD, NEW, tmp_path)

    def test_a_test_file_that_is_not_there(self, store, tmp_path):
        save(store, OLD)
        with pytest.raises(ModelvizError, match=r"there is no typo\.py in .*: rename the tests first"):
            move(store, "t.py", "typo.py", tmp_path)
        assert peak(store, OLD) == 1.0


class TestAfterFilesWereMoved:
    """`git mv` has moved the baselines' folder already; or a copy has been made of it."""

    @pytest.fixture
    def place(self, tmp_path):
        (tmp_path / "t.py").touch()
        (tmp_path / "u.py").touch()
        for nodeid in (OLD, f"{OLD}[p]"):
            save(Store(tmp_path / "baselines"), nodeid)
        return tmp_path / "baselines"

    def test_the_check_says_how_to_mend_it(self, place, tmp_path):
        (place / "t").rename(place / "u")
        with pytest.raises(ForeignBaselineError) as error:
            peak(Store(place), "u.py::test_old")
        told = "it belongs to another test, 't.py::test_old'; if that one is called 'u.py::test_old' now: "
        assert str(error.value) == told + "modelviz mv t.py::test_old u.py::test_old"

    def test_a_moved_file(self, place, tmp_path):
        (place / "t").rename(place / "u")
        arrays = contents(place)["u/test_old/n.safetensors"]
        (tmp_path / "t.py").unlink()
        assert move(Store(place), "t.py", "u.py", tmp_path) == {OLD: "moved", f"{OLD}[p]": "moved"}
        assert (peak(Store(place), "u.py::test_old"), peak(Store(place), "u.py::test_old[p]")) == (1.0, 1.0)
        assert contents(place)["u/test_old/n.safetensors"] == arrays

    def test_a_moved_test(self, place, tmp_path):
        (place / "t/test_old").rename(place / "t/test_new")
        assert move(Store(place), OLD, NEW, tmp_path) == {OLD: "moved", f"{OLD}[p]": "moved"}
        assert (peak(Store(place), NEW), peak(Store(place), f"{NEW}[p]")) == (1.0, 1.0)

    def test_a_moved_file_with_a_renamed_test(self, place, tmp_path):
        (place / "t").rename(place / "u")
        move(Store(place), OLD, "u.py::test_new", tmp_path)
        assert peak(Store(place), "u.py::test_new") == 1.0
        assert not (place / "u/test_old").exists()

    def test_a_copy_by_hand(self, place, tmp_path):
        shutil.copytree(place / "t", place / "u")
        (tmp_path / "t.py").unlink()
        assert set(move(Store(place), "t.py", "u.py", tmp_path).values()) <= {"moved", "already there"}
        assert peak(Store(place), "u.py::test_old") == 1.0
        assert not (place / "t").exists()

    def test_a_copy_elsewhere_is_left_alone(self, place, tmp_path):
        shutil.copytree(place / "t", place / "backup/t")
        before = contents(place / "backup")
        (tmp_path / "t.py").unlink()
        move(Store(place), "t.py", "u.py", tmp_path)
        assert peak(Store(place), "u.py::test_old") == 1.0
        assert contents(place / "backup") == before

    def test_two_that_both_lie_elsewhere_are_no_guess(self, place, tmp_path):
        shutil.copytree(place / "t", place / "x/t")
        (place / "t").rename(place / "y")
        (tmp_path / "t.py").unlink()
        with pytest.raises(ModelvizError, match=r"both belong to t\.py::test_old"):
            move(Store(place), "t.py", "u.py", tmp_path)


class TestStoppedOrHindered:
    def test_stopped_at_any_moment_nothing_is_lost_and_it_goes_on(self, tmp_path, monkeypatch):
        steps = {"count": 0, "last": 10**9}

        class Stopped(BaseException):
            pass

        def step(action):
            def counted(*args, **kwargs):
                steps["count"] += 1
                if steps["count"] > steps["last"]:
                    raise Stopped
                return action(*args, **kwargs)

            return counted

        for name in ("write", "move", "delete"):
            monkeypatch.setattr(folder_module.LocalFolder, name, step(getattr(folder_module.LocalFolder, name)))
        (tmp_path / "t.py").touch()
        places = set()
        for last in range(30):
            store = Store(tmp_path / str(last))
            steps["last"] = 10**9
            save(store, OLD)
            steps.update(count=0, last=last)
            try:
                move(store, OLD, NEW, tmp_path)
                finished = True
            except Stopped:
                finished = False
            steps["last"] = 10**9
            found = {id_ for id_ in (OLD, NEW) if id_ == NEW or not finished if self.is_whole(store, id_)}
            assert found
            places.add(frozenset(found))
            if finished:
                break
            move(store, OLD, NEW, tmp_path)
            assert peak(store, NEW) == 1.0
            assert not (tmp_path / str(last) / "t/test_old").exists()
        assert finished
        assert frozenset({OLD, NEW}) in places

    @staticmethod
    def is_whole(store: Store, nodeid: str) -> bool:
        try:
            return peak(store, nodeid) == 1.0
        except Exception:
            return False

    @pytest.mark.parametrize("dry_run", [True, False])
    def test_what_only_says_that_it_has_come_from_there_is_not_moved(self, store, tmp_path, dry_run):
        """A move that was cut off after the old file was removed looks like this, and so does a forged file."""
        save(store, NEW)
        save(store, f"{OLD}[p]")
        location = Location.of(NEW, "n")
        files = store.files(location, nodeid=NEW, name="n")
        document = formats.decode_json(files.text)
        store.put(location, replace(files, text=formats.renamed_json(document, NEW, moved_from=OLD)))
        done = move(store, OLD, NEW, tmp_path, dry_run=dry_run)
        assert done == {OLD + "[p]": "would be moved" if dry_run else "moved", NEW: "already there"}
        assert ("moved_from" in formats.decode_json(store.files(location, nodeid=NEW, name="n").text)) is dry_run

    def test_a_disk_that_is_full(self, tmp_path, monkeypatch):
        (tmp_path / "t.py").touch()
        store = Store(tmp_path / "baselines")
        save(store, OLD)

        def full(self, name, data):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(folder_module.LocalFolder, "write", full)
        (moved,) = move_all(store, find_moves(store, renaming(OLD, NEW, tmp_path), tmp_path))
        assert "No space left on device" in moved.reason
        assert peak(store, OLD) == 1.0

    def test_an_old_place_that_cannot_be_cleared(self, tmp_path, monkeypatch):
        (tmp_path / "t.py").touch()
        store = Store(tmp_path / "baselines")
        save(store, OLD)
        with monkeypatch.context() as patch:
            patch.setattr(
                folder_module.LocalFolder, "delete", lambda *_: (_ for _ in ()).throw(PermissionError(13, "Denied"))
            )
            (moved,) = move_all(store, find_moves(store, renaming(OLD, NEW, tmp_path), tmp_path))
        assert moved.refused
        assert "it is in its new place, but also still in its old one" in moved.reason
        assert (peak(store, OLD), peak(store, NEW)) == (1.0, 1.0)
        assert move(store, OLD, NEW, tmp_path) == {OLD: "moved"}
        assert (peak(store, OLD), peak(store, NEW)) == (None, 1.0)

    def test_names_that_differ_only_in_case_where_those_are_one(self, tmp_path):
        """The old place and the new one are the same files: nothing must be removed."""
        (tmp_path / "t.py").touch()
        store = Store(CaselessFolder(tmp_path / "baselines"))
        save(store, "t.py::TestNet::test_a")
        assert move(store, "t.py::TestNet", "t.py::Testnet", tmp_path) == {"t.py::TestNet::test_a": "moved"}
        assert peak(store, "t.py::Testnet::test_a") == 1.0
        assert len(contents(tmp_path / "baselines")) == 3


def test_a_renamed_file_says_the_same(tmp_path):
    """The seal does not cover the id; all else, also what this version does not know, stays."""
    path = Store(tmp_path).save(
        Location.of(OLD, "n"), Capture("v", {"é\ud800": [1.5, None]}, {}, {"b": "1"}), nodeid=OLD, name="n"
    )
    data = (tmp_path / path).read_bytes()
    document = formats.decode_json(data)
    assert formats.renamed_json(document, OLD) == data
    extended = {**document, "later": {"x": [1]}}
    again = formats.decode_json(formats.renamed_json(extended, NEW))
    assert again == {**extended, "nodeid": NEW}


class TestNamesThatNoFileCanHave:
    @pytest.mark.parametrize("name", ["x" * 300, "/".join(["d"] * 3000)], ids=["long", "deep"])
    @pytest.mark.parametrize("test", ["", "::test_a"])
    def test_are_one_clear_error(self, tmp_path, name, test):
        (tmp_path / "t.py").touch()
        for old, new in ((f"t.py{test}", f"{name}.py{test}"), (f"{name}.py{test}", f"t.py{test}")):
            with pytest.raises(
                ModelvizError, match="is not a test file, folder or test id: no file can have this name"
            ):
                renaming(old, new, tmp_path)

    def test_also_where_a_pattern_makes_them(self, store, tmp_path):
        save(store, f"{'a' * 200}.py::test_a")
        with pytest.raises(ModelvizError, match=f"there is no {'b' * 100}{'a' * 200}.py in"):
            move(store, "*.py", f"{'b' * 100}*.py", tmp_path)
