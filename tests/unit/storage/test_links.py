"""Symbolic links, as bazel's runfiles, DVC and git-annex make them: read through, never written or removed through."""

import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from pytest_modelviz.cli import main
from pytest_modelviz.errors import ModelvizError, UnreadableBaselineError
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.run_result import RunFacts, RunResult
from pytest_modelviz.review.moving import find_moves, move_all
from pytest_modelviz.storage.baseline_files import Files
from pytest_modelviz.storage.local_folder import BaselineFolder, LocalFolder
from pytest_modelviz.storage.names import Location
from pytest_modelviz.storage.renaming import renaming
from pytest_modelviz.storage.results import ResultsFolder
from pytest_modelviz.storage.store import Store

IDS = {"nodeid": "tests/test_net.py::test_a", "name": "n"}
WHERE = Location.of(**IDS)
FOLDER = "tests/test_net/test_a"
PNG = b"\x89PNG\r\n\x1a\n and so on"

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs symbolic links and pipes")


def capture(value: float = 1.0) -> Capture:
    return Capture("v", {"peak": value}, {"map": np.full(300, value, np.float32)})


def peak(store: Store) -> float | None:
    found = store.load(WHERE, **IDS)
    return None if found is None else found.capture.facts["peak"]


def tree(folder: Path) -> dict[str, bytes | str]:
    """Files with their content, links with where they lead."""
    paths = sorted(path for path in folder.rglob("*") if path.is_symlink() or path.is_file())
    return {
        str(path.relative_to(folder)): str(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in paths
    }


@pytest.fixture
def cache(tmp_path):
    """Where the files really are, outside of the project."""
    Store(tmp_path / "cache").save(WHERE, capture(), **IDS, picture=PNG)
    return tmp_path / "cache"


@pytest.fixture(params=["files", "folder", "upper folder", "all", "chain"])
def linked(request, tmp_path, cache):
    """A folder of baselines that is made of links."""
    place = tmp_path / "project/baselines"
    place.mkdir(parents=True)
    if request.param in ("files", "chain"):
        (place / FOLDER).mkdir(parents=True)
        for path in (cache / FOLDER).iterdir():
            target = path
            if request.param == "chain":
                (tmp_path / "hop").mkdir(exist_ok=True)
                (tmp_path / "hop" / path.name).symlink_to(path)
                target = tmp_path / "hop" / path.name
            (place / FOLDER / path.name).symlink_to(target)
    elif request.param == "folder":
        (place / FOLDER).parent.mkdir(parents=True)
        (place / FOLDER).symlink_to(cache / FOLDER)
    elif request.param == "upper folder":
        (place / "tests").symlink_to(cache / "tests")
    else:
        place.rmdir()
        place.symlink_to(cache)
    return place


class TestReading:
    def test_a_linked_baseline_is_a_baseline(self, linked, tmp_path):
        before = tree(tmp_path)
        assert peak(Store(linked)) == 1.0
        assert Store(linked).files(WHERE, **IDS).picture == PNG
        assert Store(linked).digest(WHERE)
        assert tree(tmp_path) == before

    @pytest.mark.parametrize("ending", ["json", "safetensors"])
    def test_what_does_not_check_out_is_refused(self, tmp_path, cache, ending):
        place = tmp_path / "baselines"
        shutil.copytree(cache, place)
        (tmp_path / "secret").write_text("password = 1234\n")
        path = place / FOLDER / f"n.{ending}"
        path.unlink()
        path.symlink_to(tmp_path / "secret")
        with pytest.raises(UnreadableBaselineError) as error:
            peak(Store(place))
        assert "1234" not in str(error.value)

    def test_a_linked_picture_that_is_none_goes_nowhere(self, tmp_path, cache):
        """Of all files it alone has no digest: nothing secret may be copied by it."""
        place = tmp_path / "baselines"
        shutil.copytree(cache, place)
        (tmp_path / "secret").write_text("password = 1234\n")
        (place / FOLDER / "n.png").unlink()
        (place / FOLDER / "n.png").symlink_to(tmp_path / "secret")
        assert Store(place).picture(WHERE) is None
        (tmp_path / "tests").mkdir()
        (tmp_path / "tests/test_new.py").touch()
        moves = find_moves(Store(place), renaming("tests/test_net.py", "tests/test_new.py", tmp_path), tmp_path)
        assert [moved.done for moved in move_all(Store(place), moves)] == ["refused"]
        assert not [name for name, data in tree(place).items() if isinstance(data, bytes) and b"1234" in data]
        assert (tmp_path / "secret").exists()

    @pytest.mark.parametrize("kind", ["pipe", "device", "loop", "folder", "size"])
    def test_what_is_no_file_is_refused_at_once(self, tmp_path, cache, kind):
        place = tmp_path / "baselines"
        shutil.copytree(cache, place)
        path, odd = place / FOLDER / "n.json", tmp_path / "odd"
        path.unlink()
        path.symlink_to({"device": Path("/dev/zero"), "loop": path}.get(kind, odd))
        if kind == "pipe":
            os.mkfifo(odd)
        elif kind == "folder":
            odd.mkdir()
        elif kind == "size":
            with odd.open("wb") as file:
                file.truncate(2**33)

        def read():
            with pytest.raises(UnreadableBaselineError, match=r"n\.json (cannot be read|is absurdly large)"):
                peak(Store(place))
            ended.append(True)

        ended: list[bool] = []
        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        reader.join(timeout=20)
        assert ended

    def test_a_link_to_what_was_not_fetched_is_not_missing(self, linked, cache):
        shutil.rmtree(cache)
        with pytest.raises(UnreadableBaselineError, match=r"is a symbolic link to .*, which is not there: fetch what"):
            peak(Store(linked))


class TestWriting:
    def test_a_linked_file_is_replaced_and_what_it_leads_to_is_not(self, tmp_path, cache):
        place = tmp_path / "baselines"
        (place / FOLDER).mkdir(parents=True)
        for path in (cache / FOLDER).iterdir():
            (place / FOLDER / path.name).symlink_to(path)
        before = tree(cache)
        Store(place).save(WHERE, capture(2.0), **IDS, picture=PNG + b"2")
        assert peak(Store(place)) == 2.0
        assert not [path for path in place.rglob("*") if path.is_symlink()]
        assert tree(cache) == before

    def test_recording_the_same_leaves_the_links(self, linked, tmp_path):
        before = tree(tmp_path)
        Store(linked).save(WHERE, capture(), **IDS, picture=PNG)
        Store(linked).complete_interrupted_write(WHERE)
        assert tree(tmp_path) == before

    @pytest.mark.parametrize("link", ["tests", "tests/test_net", FOLDER])
    @pytest.mark.parametrize("inside", [False, True])
    def test_nothing_is_written_through_a_linked_folder_and_the_advice_is_true(self, tmp_path, cache, link, inside):
        place = tmp_path / "baselines"
        (place / link).parent.mkdir(parents=True)
        target = (place / "elsewhere" if inside else cache) / link
        if inside:
            shutil.copytree(cache, place / "elsewhere")
        (place / link).symlink_to(target)
        before = tree(tmp_path)
        for action in (
            lambda: Store(place).save(WHERE, capture(2.0), **IDS, picture=PNG),
            lambda: Store(place).put(WHERE, Files(b"{}")),
            lambda: Store(place).remove(WHERE, expected_digest=Store(place).digest(WHERE)),
        ):
            with pytest.raises(
                ModelvizError, match="is a symbolic link, and nothing is written or removed through"
            ) as e:
                action()
            assert str(place / link) in str(e.value)
            assert tree(tmp_path) == before
        assert "remove the link and copy its target there" in str(e.value)
        (place / link).unlink()
        shutil.copytree(target, place / link)
        Store(place).save(WHERE, capture(2.0), **IDS, picture=PNG)
        assert peak(Store(place)) == 2.0
        assert peak(Store(cache)) == 1.0

    def test_a_link_where_a_file_is_written_first_is_not_followed(self, tmp_path):
        """Its name can be guessed."""
        outside = tmp_path / "outside"
        folder = BaselineFolder(tmp_path / "baselines")
        (tmp_path / "baselines").mkdir()
        (tmp_path / f"baselines/.n.json.{os.getpid()}.tmp").symlink_to(outside)
        folder.write("n.json", b"1")
        assert folder.read("n.json", 10) == b"1"
        assert not outside.exists()

    def test_tidying_removes_nothing_behind_a_link(self, tmp_path, cache):
        place = tmp_path / "baselines"
        place.mkdir()
        (cache / FOLDER / ".n.0123456789abcdef.safetensors").write_bytes(b"another project's")
        (place / "tests").symlink_to(cache / "tests")
        before = tree(cache)
        with pytest.raises(ModelvizError):
            Store(place).remove(WHERE, expected_digest=Store(place).digest(WHERE))
        assert tree(cache) == before

    def test_an_empty_folder_behind_a_link_stays(self, tmp_path):
        (tmp_path / "outside/empty").mkdir(parents=True)
        (tmp_path / "baselines").mkdir()
        (tmp_path / "baselines/link").symlink_to(tmp_path / "outside")
        BaselineFolder(tmp_path / "baselines").delete("link/empty/nothing.json")
        assert (tmp_path / "outside/empty").is_dir()

    def test_a_removed_link_leaves_what_it_led_to(self, tmp_path, cache):
        place = tmp_path / "baselines"
        (place / FOLDER).mkdir(parents=True)
        for path in (cache / FOLDER).iterdir():
            (place / FOLDER / path.name).symlink_to(path)
        before = tree(cache)
        Store(place).remove(WHERE, expected_digest=Store(place).digest(WHERE))
        assert tree(place) == {}
        assert tree(cache) == before


class TestCandidates:
    """A results folder comes from anybody: it is never left, also for reading."""

    @pytest.mark.parametrize("kind", ["candidate", "copy"])
    def test_links_out_of_the_folder_are_refused(self, tmp_path, cache, kind):
        place = tmp_path / "candidates"
        (place / FOLDER).mkdir(parents=True)
        for path in (cache / FOLDER).iterdir():
            (place / FOLDER / path.name).symlink_to(path)
        with pytest.raises(UnreadableBaselineError, match=r"leads out of .*candidates through a symbolic link"):
            Store(place, kind=kind).load(WHERE, **IDS)
        assert Store(place, kind=kind).picture(WHERE) is None

    def test_it_gets_no_rules_for_git(self, tmp_path):
        Store(tmp_path / "candidates", kind="candidate").save(WHERE, capture(), **IDS)
        LocalFolder(tmp_path / "pictures").write("a.png", b"1")
        assert list(tmp_path.rglob(".gitattributes")) == []


class TestPictures:
    """No digest says what a picture must be: one that is a link may lead to any picture of whoever runs a command."""

    @pytest.fixture
    def project(self, tmp_path):
        (tmp_path / "tests").mkdir()
        (tmp_path / "tests/test_new.py").touch()
        (tmp_path / "private.png").write_bytes(PNG)
        store = Store(tmp_path / "baselines")
        store.save(WHERE, capture(), **IDS)
        (tmp_path / "baselines" / FOLDER / "n.png").symlink_to(tmp_path / "private.png")
        return tmp_path

    def move(self, project: Path, store: Store) -> list[tuple[str, str]]:
        moves = find_moves(store, renaming("tests/test_net.py", "tests/test_new.py", project), project)
        return [(moved.done, moved.reason) for moved in move_all(store, moves)]

    @pytest.mark.parametrize("is_linked", [False, True])
    def test_mv_copies_none_from_elsewhere(self, project, is_linked):
        root = project / "baselines"
        if is_linked:
            root.rename(project / "elsewhere")
            root.symlink_to(project / "elsewhere")
        before = tree(root.resolve())
        ((done, reason),) = self.move(project, Store(root))
        assert (done, "its n.png is a symbolic link" in reason) == ("refused", True)
        assert tree(root.resolve()) == before
        (root / FOLDER / "n.png").unlink()
        shutil.copy(project / "private.png", root / FOLDER / "n.png")
        assert self.move(project, Store(root)) == [("moved", "")]

    def test_mv_copies_none_that_waits_where_it_goes(self, project):
        """As if a move had been cut off there."""
        store, root = Store(project / "baselines"), project / "baselines"
        (root / FOLDER / "n.png").unlink()
        (move,) = find_moves(store, renaming("tests/test_net.py", "tests/test_new.py", project), project)
        there = root / "tests/test_new/test_a"
        shutil.copytree(root / FOLDER, there)
        (there / "n.json").write_bytes(move.text(arriving=True))
        (there / "n.png").symlink_to(project / "private.png")
        ((done, reason),) = self.move(project, store)
        assert (done, "its n.png is a symbolic link" in reason) == ("refused", True)
        assert (there / "n.png").is_symlink()

    def test_prune_keeps_no_copy_of_one_from_elsewhere(self, project):
        (project / "pytest.ini").write_text("[pytest]\n")
        (project / ".modelviz").mkdir()
        ResultsFolder(project / ".modelviz").write(RunResult(RunFacts("R", "2", "3", "linux", "cpu", 1), ()))
        done = CliRunner().invoke(main, ["prune", "--rootdir", str(project), IDS["nodeid"]])
        assert done.output.startswith("removed"), done.output
        kept = [path.name for path in (project / ".modelviz/pruned" / FOLDER).iterdir()]
        assert sorted(kept) == ["n.json", "n.safetensors"]
        assert (project / "private.png").read_bytes() == PNG
