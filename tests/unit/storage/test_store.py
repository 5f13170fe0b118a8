"""Names, formats and the store."""

import hashlib
import json
import os
import pickle
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_modelviz.errors import ModelvizError, UnreadableBaselineError
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.limits import Limits
from pytest_modelviz.storage import formats, local_folder
from pytest_modelviz.storage.formats import decode_json, text_sha256
from pytest_modelviz.storage.names import Location, safe
from pytest_modelviz.storage.store import Store

IDS = {"nodeid": "tests/test_net.py::test_a", "name": "feature_maps"}
WHERE = Location.of(**IDS)


def capture(value: float = 1.0, **facts: object) -> Capture:
    arrays = {"map": np.full((2, 3), value, np.float32), "bytes": np.arange(4, dtype=np.uint8)}
    return Capture("feature_maps", {"peak": value, **facts}, arrays, {"torch": "2.15.0"})


def files(folder) -> dict[str, bytes]:
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".gitattributes"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def document(**changes: object) -> bytes:
    """A small baseline's JSON file, with changes made by somebody else."""
    made = json.loads(formats.encode_json(Capture("v", {"peak": 1}), nodeid="t", name="n"))
    return json.dumps({**made, **changes}, indent=1).encode()


def json_file(folder) -> Path:
    return folder / "tests/test_net/test_a/feature_maps.json"


class TestNames:
    def test_readable_names_stay(self):
        assert Location.of("tests/test_net.py::test_classifier[resnet18]", "cam_map") == Location(
            folder=PurePosixPath("tests/test_net/test_classifier[resnet18]"), stem="cam_map"
        )
        assert str(Location.of("test_a.py::TestNet::test_b[x::y-1]", "n").folder).startswith(
            "test_a/TestNet.test_b[x__y-1]-"
        )

    @pytest.mark.parametrize(
        ("one", "other"),
        [("a-b", "a_b"), ("a/b", "a_b"), ("a b", "a_b"), ("é", "_"), ("x" * 300, "x" * 301), ("a:b", "a|b")],
    )
    def test_ids_that_look_alike_have_folders_of_their_own(self, one, other):
        assert Location.of(f"t.py::test[{one}]", "n") != Location.of(f"t.py::test[{other}]", "n")

    def test_classes_functions_and_parameters_do_not_run_into_each_other(self):
        places = [Location.of(f"t.py::{test}", "n") for test in ("A::test", "A::test[x]", "test[A::x]", "A.test[x]")]
        assert len({str(place.folder) for place in places}) >= 3  # `A::test[x]` cannot be told from a function `A.test`

    @pytest.mark.parametrize("name", ["..", ".", "", "con", "NUL.txt", ".hidden", "a.", "a/../b", "a\\b", "a\0b", "🙂"])
    def test_what_a_file_system_cannot_take_is_made_safe(self, name):
        made = safe(name)
        assert made != name
        assert made.strip(".")
        assert not set(made) & set('/\\\0:*?"<>|')

    @given(st.text(), st.text())
    def test_names_never_collide_nor_leave_their_folder(self, one, other):
        assert (safe(one) == safe(other)) == (one == other)
        assert "/" not in safe(one)
        assert safe(one) not in (".", "..", "")
        assert len(safe(one)) <= 140


class TestFormats:
    def test_one_layer_a_line(self):
        facts = {
            "totals": {"a": 1, "b": 2},
            "layers": {"conv": {"class": "Conv2d", "out": [1, 2]}, "bn": {"class": "BN"}},
        }
        text = formats.encode_json(Capture("v", facts), nodeid="t", name="n").decode()
        assert text.splitlines()[-7:] == [
            '    "totals": {"a": 1, "b": 2},',
            '    "layers": {',
            '      "conv": {"class": "Conv2d", "out": [1, 2]},',
            '      "bn": {"class": "BN"}',
            "    }",
            "  }",
            "}",
        ]
        assert json.loads(text)["schema"] == 1
        assert json.loads(text)["facts"] == facts

    def test_the_same_capture_gives_the_same_bytes_whatever_the_order(self):
        one = capture()
        turned = Capture(one.view, one.facts, dict(reversed(one.arrays.items())), one.environment)
        assert formats.encode_arrays(one.arrays) == formats.encode_arrays(turned.arrays)

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (b"", "is empty"),
            (b"  \n", "is empty"),
            (b"\0\0\0\0", "is empty"),  # as some file systems leave it when the power fails
            (b"{", "not valid JSON"),
            (b"\xff\xfe{\0}\0", "not valid JSON .something converted it to UTF-16"),
            (b"\xef\xbb\xbf", "is empty"),
            (b"\xef\xbb\xbf<<<<<<< HEAD\n{}\n=======\n{}\n>>>>>>> theirs\n", "merge conflict"),
            (b'{"a": NaN}', "NaN is not a JSON number"),
            (b'{"facts": 1e999}', "not valid JSON"),
            (b"[" * 100_000, "not valid JSON"),
            (b"9" * 100_000, "not valid JSON"),
            (b"[1]", "not written by pytest-modelviz"),
            (b'{"schema": "1"}', "not written by pytest-modelviz"),
            (b'{"schema": true}', "not written by pytest-modelviz"),
            (b'{"schema": 0}', "not written by pytest-modelviz"),
            (b'{"schema": 2}', "schema 2, newer than this version knows"),
            (b'{"schema": 1, "name": "n"}', "does not say which test"),
            (b'{"schema": 1, "nodeid": "t", "name": "n", "view": "v"}', "parts of it are missing"),
            (document(facts=[]), "parts of it are missing"),
            (document(data_sha256="0"), "digest is damaged"),
            (document(facts={"peak": 2}), "not what was recorded"),
            (document(content_sha256=None), "not what was recorded"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
            (b"<<<<<<< HEAD\n{}\n=======\n{}\n>>>>>>> theirs\n", "merge conflict"),
            (pickle.dumps({"schema": 1}), "not valid JSON"),
        ],
    )
    def test_each_way_to_be_wrong_has_its_message(self, data, message):
        with pytest.raises(UnreadableBaselineError, match=message):
            formats.decode_json(data)

    @pytest.mark.parametrize(
        ("ids", "message"),
        [
            ({"nodeid": "other"}, "belongs to another test, 't'"),
            ({"nodeid": "T"}, "differ only in case"),
            ({"name": "other"}, "belongs to another check, 'n'"),
            ({"variant": "cuda"}, "belongs to another variant, None"),
        ],
    )
    def test_another_check_s_baseline_is_told(self, ids, message):
        found = formats.decode_json(document())
        formats.require_owner(found, nodeid="t", name="n")
        with pytest.raises(UnreadableBaselineError, match=message):
            formats.require_owner(found, **{"nodeid": "t", "name": "n", **ids})

    def test_other_line_ends_and_layouts_are_the_same_content(self):
        text = document()
        turned = text.replace(b"\n", b"\r\n")
        assert formats.decode_json(turned) == formats.decode_json(text)
        assert formats.text_sha256(turned) == formats.text_sha256(text)
        assert formats.decode_json(json.dumps(json.loads(text)).encode()) == formats.decode_json(text)
        marked = b"\xef\xbb\xbf" + turned
        assert formats.decode_json(marked) == formats.decode_json(text)
        assert formats.text_sha256(marked) == formats.text_sha256(text)

    def test_a_file_with_other_line_ends_or_a_mark_is_the_same_baseline(self, tmp_path):
        path = Path(Store(tmp_path).save(WHERE, capture(), **IDS, picture=b"png"))
        digest = Store(tmp_path).digest(WHERE)
        changed = b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n")
        path.write_bytes(changed)
        assert Store(tmp_path).digest(WHERE) == Store(tmp_path).load(WHERE, **IDS).digest == digest
        Store(tmp_path).save(WHERE, capture(), **IDS, picture=b"png")
        assert path.read_bytes() == changed  # recording what is there already changes no byte
        Store(tmp_path).save(WHERE, capture(2.0), **IDS, picture=b"png")
        assert Store(tmp_path).load(WHERE, **IDS).capture.facts["peak"] == 2.0

    def test_what_is_compared_is_sealed_by_hand(self):
        """The digest is that of the JSON of [facts, data_sha256]."""
        wanted = hashlib.sha256(b'[{"peak": 1}, null]').hexdigest()
        assert json.loads(document())["content_sha256"] == wanted

    @given(
        st.dictionaries(
            st.text(), st.one_of(st.text(), st.integers(), st.floats(allow_nan=False, width=32)), max_size=4
        )
    )
    def test_any_facts_come_back(self, facts):
        facts = {key: value for key, value in facts.items() if not (isinstance(value, float) and abs(value) == np.inf)}
        text = formats.encode_json(Capture("v", facts), nodeid="t", name="n")
        assert formats.decode_json(text)["facts"] == facts

    def test_absurd_sizes_are_refused(self):
        with pytest.raises(UnreadableBaselineError, match="absurdly large"):
            formats.decode_json(b"x" * 11, Limits(json_bytes=10))
        with pytest.raises(UnreadableBaselineError, match="absurdly large"):
            formats.decode_arrays(b"x" * 11, Limits(array_bytes=10))

    @given(st.binary(max_size=200))
    def test_arbitrary_bytes_are_unreadable_and_nothing_worse(self, data):
        with pytest.raises(UnreadableBaselineError):
            formats.decode_json(data)
        with pytest.raises(UnreadableBaselineError):
            formats.decode_arrays(data)


class TestStore:
    def test_what_is_saved_comes_back(self, tmp_path):
        Store(tmp_path).save(WHERE, capture(), **IDS, picture=b"png")
        assert sorted(files(tmp_path)) == [
            f"tests/test_net/test_a/feature_maps.{ending}" for ending in ("json", "png", "safetensors")
        ]
        again = Store(tmp_path).load(WHERE, **IDS)
        assert again.capture.facts == capture().facts
        assert again.capture.environment == {"torch": "2.15.0"}
        assert np.array_equal(again.capture.arrays["map"], capture().arrays["map"])
        assert again.digest == formats.sha256((tmp_path / "tests/test_net/test_a/feature_maps.json").read_bytes())

    def test_nothing_there_is_none(self, tmp_path):
        assert Store(tmp_path).load(WHERE, **IDS) is None
        assert Store(tmp_path / "missing").load(WHERE, **IDS) is None

    def test_saving_the_same_again_touches_no_file(self, tmp_path):
        path = Path(Store(tmp_path).save(WHERE, capture(), **IDS, picture=b"png"))
        for file in path.parent.iterdir():
            os.utime(file, (1, 1))
        Store(tmp_path).save(WHERE, capture(), **IDS, picture=b"png")
        assert {file.stat().st_mtime for file in path.parent.iterdir()} == {1}

    def test_a_capture_without_arrays_or_picture_leaves_none_behind(self, tmp_path):
        Store(tmp_path).save(WHERE, capture(), **IDS, picture=b"png")
        Store(tmp_path).save(WHERE, Capture("feature_maps", {}), **IDS)
        assert [name.rpartition("/")[2] for name in files(tmp_path)] == ["feature_maps.json"]
        assert Store(tmp_path).load(WHERE, **IDS).capture.arrays == {}

    def test_stopped_at_any_moment_it_is_whole(self, tmp_path, monkeypatch):
        """Every step that changes a file is made the last one in turn."""
        steps = {"count": 0, "last": 10**9}
        replace, write, unlink = Path.replace, local_folder.LocalFolder.write, Path.unlink

        class Stopped(BaseException):
            pass

        def step(action):
            def counted(*args, **kwargs):
                steps["count"] += 1
                if steps["count"] > steps["last"]:
                    raise Stopped
                return action(*args, **kwargs)

            return counted

        monkeypatch.setattr(Path, "replace", step(replace))
        monkeypatch.setattr(local_folder.LocalFolder, "write", step(write))
        monkeypatch.setattr(Path, "unlink", step(unlink))
        seen = set()
        for last in range(40):
            place = tmp_path / str(last)
            steps["last"] = 10**9
            Store(place).save(WHERE, capture(1.0), **IDS, picture=b"old")
            steps.update(count=0, last=last)
            try:
                Store(place).save(WHERE, capture(2.0), **IDS, picture=b"new")
                finished = True
            except Stopped:
                finished = False
            steps["last"] = 10**9
            found = Store(place).load(WHERE, **IDS).capture
            assert found.facts["peak"] == found.arrays["map"][0, 0]
            seen.add(found.facts["peak"])
            Store(place).save(WHERE, capture(3.0), **IDS, picture=b"next")  # and the next one tidies up
            assert Store(place).load(WHERE, **IDS).capture.facts["peak"] == 3.0
            assert not [name for name in files(place) if "/." in name and name.endswith(".safetensors")]
            if finished:
                break
        assert finished
        assert seen == {1.0, 2.0}

    def test_what_was_cut_off_is_finished_by_the_next_update(self, tmp_path, monkeypatch):
        old, new = b"\x89PNG\r\n\x1a\nold", b"\x89PNG\r\n\x1a\nnew"
        where = Path(Store(tmp_path).save(WHERE, capture(1.0), **IDS, picture=old)).parent
        with monkeypatch.context() as patch:
            patch.setattr(local_folder.LocalFolder, "move", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                Store(tmp_path).save(WHERE, capture(2.0), **IDS, picture=new)
        assert len(list(where.iterdir())) == 5
        Store(tmp_path).complete_interrupted_write(WHERE)
        assert len(list(where.iterdir())) == 3
        assert (where / "feature_maps.png").read_bytes() == new
        assert Store(tmp_path).load(WHERE, **IDS).capture.facts["peak"] == 2.0
        Store(tmp_path).complete_interrupted_write(WHERE)  # nothing is left to do

    @pytest.mark.parametrize("ending", ["safetensors", "png"])
    def test_what_somebody_laid_there_under_the_name_of_an_interrupted_write_is_not_taken(self, tmp_path, ending):
        path = Path(Store(tmp_path).save(WHERE, capture(1.0), **IDS, picture=b"\x89PNG\r\n\x1a\nold"))
        whole = {one.name: one.read_bytes() for one in path.parent.iterdir()}
        text = path.read_bytes()
        digest = decode_json(text)["data_sha256"] if ending == "safetensors" else text_sha256(text)
        (path.parent / f".{path.stem}.{digest[:16]}.{ending}").write_bytes(b"garbage")
        Store(tmp_path).complete_interrupted_write(WHERE)
        assert {one.name: one.read_bytes() for one in path.parent.iterdir()} == whole

    def test_to_finish_tidies_what_the_dead_have_left(self, tmp_path):
        store, where = Store(tmp_path), Location.of("t.py::test_a", "n")
        store.save(where, capture(), nodeid="t.py::test_a", name="n", picture=b"p")
        whole = files(tmp_path)
        folder = tmp_path / "t/test_a"
        dead = [".n.json.999999999.tmp", "..n.0123456789abcdef.safetensors.999999999.tmp", ".n.0123456789abcdef.png"]
        for name in dead:
            (folder / name).write_bytes(b"half")
        others = [f".n.json.{os.getppid()}.tmp", ".m.json.999999999.tmp"]  # of a running process, of another check
        for name in others:
            (folder / name).write_bytes(b"half")
        store.complete_interrupted_write(where)
        left = {path.name for path in folder.iterdir()}
        assert left == {*others, "n.json", "n.safetensors", "n.png"}
        assert {name: data for name, data in files(tmp_path).items() if name in whole} == whole

    def test_to_finish_needs_no_right_to_tidy(self, tmp_path, monkeypatch):
        store, where = Store(tmp_path), Location.of("t.py::test_a", "n")
        store.save(where, capture(), nodeid="t.py::test_a", name="n")
        (tmp_path / "t/test_a/.n.json.999999999.tmp").write_bytes(b"half")

        def refuse(*_: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("pytest_modelviz.storage.local_folder.LocalFolder.delete", refuse)
        store.complete_interrupted_write(where)
        assert store.load(where, nodeid="t.py::test_a", name="n") is not None

    @pytest.mark.parametrize("ending", ["json", "safetensors"])
    def test_whether_there_is_anything_of_a_test(self, tmp_path, ending):
        store = Store(tmp_path)
        for nodeid in ("t.py::test_a[1]", "t.py::test_b", "t.py::TestA::test_q[1]"):
            store.save(Location.of(nodeid, "n", "cuda"), capture(), nodeid=nodeid, name="n")
            (tmp_path / Location.of(nodeid, "n", "cuda").folder / f"n@cuda.{ending}").unlink()
        found = [
            name for name in ("t.py::test_a[1]", "t.py::test_b", "t.py::TestA::test_q[1]") if store.holds_test(name)
        ]
        assert len(found) == 3
        for nodeid in ("t.py::test_a1", "t.py::test_a", "u.py::test_b", "t.py::TestA", "t.py", "*", "\0", "a/" * 3000):
            assert not store.holds_test(nodeid)

    def test_where_an_earlier_version_has_recorded_it_only_if_it_is_its_own(self, tmp_path):
        store, nodeid = Store(tmp_path), "t.py::test_a[S]"
        earlier = Location.of(nodeid, "n").earlier
        where = Location(earlier.folder, earlier.stem)
        store.save(where, capture(), nodeid="t.py::test_other", name="n")
        assert not store.holds_test(nodeid)
        store.save(where, capture(), nodeid=nodeid, name="n")
        assert store.holds_test(nodeid)

    def test_a_full_disk_at_the_picture_changes_nothing(self, tmp_path, monkeypatch):
        Store(tmp_path).save(WHERE, capture(1.0), **IDS, picture=b"old")
        before = files(tmp_path)
        write = local_folder.LocalFolder.write

        def full(self, name, data):
            if name.endswith(".png"):
                raise OSError(28, "No space left on device")
            write(self, name, data)

        monkeypatch.setattr(local_folder.LocalFolder, "write", full)
        with pytest.raises(ModelvizError, match=r"No space left on device\. The old one, if any, is unchanged"):
            Store(tmp_path).save(WHERE, capture(2.0), **IDS, picture=b"new")
        assert {name: data for name, data in files(tmp_path).items() if "/." not in name} == before

    def test_mixed_files_are_told(self, tmp_path):
        path = Path(Store(tmp_path).save(WHERE, capture(1.0), **IDS))
        data = path.with_suffix(".safetensors")
        other = Path(Store(tmp_path / "other").save(WHERE, capture(2.0), **IDS)).with_suffix(".safetensors")
        data.write_bytes(other.read_bytes())
        with pytest.raises(UnreadableBaselineError, match="does not belong to its JSON file"):
            Store(tmp_path).load(WHERE, **IDS)
        data.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
        with pytest.raises(UnreadableBaselineError, match="git lfs pull"):
            Store(tmp_path).load(WHERE, **IDS)
        data.write_bytes(other.read_bytes()[:-4])
        with pytest.raises(UnreadableBaselineError, match="safetensors file is damaged"):
            Store(tmp_path).load(WHERE, **IDS)
        data.unlink()
        with pytest.raises(UnreadableBaselineError, match="safetensors file is missing"):
            Store(tmp_path).load(WHERE, **IDS)

    def test_a_lost_json_file_is_told(self, tmp_path):
        Path(Store(tmp_path).save(WHERE, capture(), **IDS)).unlink()
        with pytest.raises(UnreadableBaselineError, match=r"feature_maps\.json is missing beside"):
            Store(tmp_path).load(WHERE, **IDS)

    def test_a_file_that_cannot_be_replaced_leaves_nothing_beside_it(self, tmp_path):
        (tmp_path / "tests/test_net/test_a/feature_maps.json").mkdir(parents=True)
        with pytest.raises(ModelvizError, match="cannot write the baseline"):
            Store(tmp_path).save(WHERE, capture(), **IDS, picture=b"png")
        assert files(tmp_path) == {}

    def test_what_it_leaves_alone_it_takes_not_away_either(self, tmp_path, monkeypatch):
        """A write that was cut off has left the numbers beside; another one of the same numbers fails."""
        path = Path(Store(tmp_path).save(WHERE, capture(1.0), **IDS))
        data = path.with_suffix(".safetensors")
        staged = data.with_name(f".feature_maps.{formats.sha256(data.read_bytes())[:16]}.safetensors")
        data.rename(staged)
        write = local_folder.LocalFolder.write

        def full(self, name, data):
            if name.endswith(".json"):
                raise OSError(28, "No space left on device")
            write(self, name, data)

        monkeypatch.setattr(local_folder.LocalFolder, "write", full)
        with pytest.raises(ModelvizError, match="No space left"):
            Store(tmp_path).save(WHERE, capture(1.0, more=1), **IDS)
        assert Store(tmp_path).load(WHERE, **IDS).capture.facts["peak"] == 1.0

    def test_a_folder_in_the_way_is_told(self, tmp_path):
        (tmp_path / "tests/test_net/test_a/feature_maps.json").mkdir(parents=True)
        with pytest.raises(UnreadableBaselineError, match="cannot be read"):
            Store(tmp_path).load(WHERE, **IDS)

    def test_a_place_that_cannot_be_written_keeps_the_old_baseline(self, tmp_path, monkeypatch):
        Store(tmp_path).save(WHERE, capture(1.0), **IDS)
        before = files(tmp_path)

        def full(self, *args):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(local_folder.os, "fsync", full)
        with pytest.raises(
            ModelvizError, match=r"cannot write the baseline .*No space left on device.*--modelviz-baseline-dir"
        ):
            Store(tmp_path).save(WHERE, capture(2.0), **IDS)
        assert files(tmp_path) == before

    def test_a_file_in_place_of_the_folder_is_told(self, tmp_path):
        (tmp_path / "baselines").write_text("a file")
        with pytest.raises(ModelvizError, match="cannot write the baseline"):
            Store(tmp_path / "baselines").save(WHERE, capture(), **IDS)
        assert Store(tmp_path / "baselines").load(WHERE, **IDS) is None

    @pytest.mark.parametrize("limits", [Limits(json_bytes=10), Limits(array_bytes=10)])
    def test_too_large_a_file_is_not_read(self, tmp_path, limits):
        Store(tmp_path).save(WHERE, capture(), **IDS)
        with pytest.raises(UnreadableBaselineError, match="absurdly large"):
            Store(tmp_path).load(WHERE, **IDS, limits=limits)


class RecordingFolder(local_folder.LocalFolder):
    """Notes what is written and deleted; writers cannot be kept apart in it, as behind a URL."""

    supports_atomic_rename = False

    def __init__(self, root):
        super().__init__(root)
        self.written, self.deleted = [], []

    def write(self, name, data):
        self.written.append(PurePosixPath(name).name)
        super().write(name, data)

    def delete(self, name):
        self.deleted.append(PurePosixPath(name).name)
        super().delete(name)


class TestWhereWritersCannotBeKeptApart:
    def test_saving_the_same_again_writes_nothing(self, tmp_path):
        recording = RecordingFolder(tmp_path)
        Store(recording).save(WHERE, capture(), **IDS, picture=b"a picture")
        recording.written.clear()
        Store(recording).save(WHERE, capture(), **IDS, picture=b"a picture")
        assert recording.written == []

    def test_what_a_new_json_file_names_lies_beside_it_also_where_the_proper_one_is_the_same(self, tmp_path):
        """Whoever replaces the proper one meanwhile does not take away what this JSON file names."""
        recording = RecordingFolder(tmp_path)
        Store(recording).save(WHERE, capture(), **IDS)
        recording.written.clear()
        Store(recording).save(WHERE, capture(other=1), **IDS)
        staged, text, proper = recording.written
        assert (text, proper) == ("feature_maps.json", "feature_maps.safetensors")
        assert staged.startswith(".feature_maps.")


def test_the_json_file_is_removed_last(tmp_path):
    """As long as it is there, what is left of a removal that was cut off can be found, and removed again."""
    recording = RecordingFolder(tmp_path)
    store = Store(recording)
    store.save(WHERE, capture(), **IDS, picture=b"a picture")
    recording.deleted.clear()
    store.remove(WHERE, expected_digest=store.digest(WHERE))
    assert sorted(recording.deleted[:-1])[-2:] == ["feature_maps.png", "feature_maps.safetensors"]
    assert recording.deleted[-1] == "feature_maps.json"
    assert files(tmp_path) == {}
