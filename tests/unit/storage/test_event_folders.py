"""How the folders of runs are called, and which of them are removed."""

import os

import pytest

from pytest_modelviz.storage.event_folders import KEPT_RUNS, KEPT_STEPS, EventFolders, run_name
from pytest_modelviz.storage.git_revision import Revision

RUN = "2026-11-27_12-36-19.123456_4242"
EVENTS = "events.out.tfevents.1.host"
OWN = "2026-11-27_12-36-30"  # the folder of a run later than all others here


class TestName:
    @pytest.mark.parametrize(
        ("revision", "name"),
        [
            (None, ""),
            (Revision("a1b2c3d4e5", "main", False), "_main_a1b2c3d"),
            (Revision("a1b2c3d4e5", "main", True), "_main_a1b2c3d-dirty"),
            (Revision("a1b2c3d4e5", None, True), "_a1b2c3d-dirty"),
            (Revision("a1b2c3d4e5", "../../fix/*?:x", False), "_fix-x_a1b2c3d"),
            (Revision("a1b2c3d4e5", "..", False), "_a1b2c3d"),
            (Revision("a1b2c3d4e5", "b" * 300, False), f"_{'b' * 40}_a1b2c3d"),
        ],
    )
    def test_time_branch_and_commit(self, revision, name):
        assert run_name(RUN, revision) == f"2026-11-27_12-36-19{name}"

    def test_two_runs_of_one_second(self, tmp_path):
        folders = EventFolders(tmp_path / "tensorboard")
        names = [folders.claim(run, None) for run in (RUN, f"{RUN}1", f"{RUN}2")]
        assert names == ["2026-11-27_12-36-19", "2026-11-27_12-36-19-2", "2026-11-27_12-36-19-3"]
        assert (folders.root / names[1] / "run.txt").read_text() == f"run {RUN}1\n"

    def test_where_nothing_can_be_made_it_is_the_run_s_id(self, tmp_path):
        (tmp_path / "tensorboard").write_text("")
        assert EventFolders(tmp_path / "tensorboard").claim(RUN, None) == RUN


def test_only_a_folder_without_events_is_released(tmp_path):
    folders = EventFolders(tmp_path)
    empty, used = (folders.claim(RUN, None) for _ in range(2))
    (tmp_path / used / EVENTS).touch()
    for name in (empty, used, "none"):
        folders.release(name)
    assert [path.name for path in tmp_path.iterdir()] == [used]


class TestTrend:
    def test_steps_go_on_from_the_last_file(self, tmp_path):
        folders = EventFolders(tmp_path)
        for expected in (1, 2, 3):
            with folders.next_step() as step:
                assert step == expected
                folders.trend_file(step).parent.mkdir(exist_ok=True)
                folders.trend_file(step).touch()
        (tmp_path / "0_trend" / "events.out.tfevents.99999999999.else").touch()
        with folders.next_step() as step:
            assert step == 4

    @pytest.mark.parametrize("forged", [10**14, 10**15 - 1, 10**7])
    def test_a_step_that_no_run_can_have_reached_does_not_count(self, tmp_path, forged):
        folders = EventFolders(tmp_path)
        folders.trend_file(3).parent.mkdir()
        for step in (3, forged):
            folders.trend_file(step).touch()
        with folders.next_step() as step:
            assert step == 4

    def test_the_last_steps_are_kept(self, tmp_path):
        folders = EventFolders(tmp_path)
        folders.trend_file(1).parent.mkdir(parents=True)
        for step in range(1, KEPT_STEPS + 3):
            folders.trend_file(step).touch()
        folders.prune(OWN)
        assert not folders.trend_file(2).exists()
        assert folders.trend_file(3).exists()


class TestPrune:
    @pytest.fixture
    def folders(self, tmp_path):
        """The folders of more runs than are kept, each with a worker's."""
        folders = EventFolders(tmp_path / "tensorboard")
        for second in range(KEPT_RUNS + 2):
            name = folders.claim(f"2026-11-27_12-36-{second:02}.000000_1", None)
            (folders.root / name / "gw0").mkdir()
            (folders.root / name / "gw0" / EVENTS).touch()
        return folders

    def names(self, folders) -> list[str]:
        return sorted(path.name for path in folders.root.iterdir())

    def test_the_last_runs_are_kept(self, folders):
        before = self.names(folders)
        folders.prune(OWN)
        assert self.names(folders) == before[2:]
        assert len(before[2:]) == KEPT_RUNS

    def test_folders_of_an_earlier_version_count(self, folders):
        old = folders.root / "2025-01-01_00-00-00.123456_77"
        (old / "gw1").mkdir(parents=True)
        (old / "gw1" / EVENTS).touch()
        folders.prune(OWN)
        assert not old.exists()

    @pytest.mark.parametrize("name", ["2025-01-01_mine", "notes", "2025-01-01_00-00-00_main_a1b2c3d"])
    def test_a_folder_that_no_run_has_made_stays(self, folders, name):
        (folders.root / name).mkdir()
        (folders.root / name / EVENTS).touch()
        folders.prune(OWN)
        assert (folders.root / name / EVENTS).exists()

    def test_other_files_in_a_run_s_folder_stay(self, folders):
        mine = folders.root / self.names(folders)[0] / "notes.txt"
        mine.touch()
        folders.prune(OWN)
        assert [path.name for path in mine.parent.rglob("*")] == ["notes.txt"]

    def test_no_link_is_followed(self, folders, tmp_path):
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / EVENTS).touch()
        (outside / "run.txt").write_text(f"run {RUN}\n")
        oldest = folders.root / self.names(folders)[0]
        (oldest / "linked").symlink_to(outside)
        (folders.root / "2025-01-01_00-00-00.123456_77").symlink_to(outside)
        (folders.root / "0_trend").symlink_to(outside)
        folders.prune(OWN)
        assert (outside / EVENTS).exists()
        assert (outside / "run.txt").exists()
        assert not (oldest / "gw0").exists()

    def test_folders_of_runs_to_come_do_not_take_the_place_of_the_own(self, folders):
        own = folders.claim(f"{OWN}.000000_1", None)
        (folders.root / own / EVENTS).touch()
        for number in range(KEPT_RUNS + 5):
            folders.claim(f"9999-01-01_00-00-{number}.000000_1", None)
        before = [name for name in self.names(folders) if name < "9"]
        folders.prune(own)
        assert [name for name in self.names(folders) if name < "9"] == before[-KEPT_RUNS:]

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
    def test_a_mark_that_is_no_file_is_not_read(self, folders):
        """Reading it would never end."""
        (folders.root / "2025").mkdir()
        os.mkfifo(folders.root / "2025/run.txt")
        folders.prune(OWN)
        assert "2025" in self.names(folders)
