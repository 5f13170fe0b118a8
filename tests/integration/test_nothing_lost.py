"""Killed, crowded, full, read-only, gone: each check keeps its old baseline or has its new one, whole.

Linux and macOS: processes are forked, so that a hundred moments cost seconds.
"""

import contextlib
import gc
import os
import random
import resource
import shutil
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.storage.names import Location
from pytest_modelviz.storage.store import Store

pytestmark = [pytest.mark.unwatched, pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")]

KILLS_OF_A_STORE = 100
KILLS_OF_A_RUN = 12
CHECKS = [(f"t.py::test_{number}", Location.of(f"t.py::test_{number}", "n")) for number in range(4)]


def capture(value: int) -> Capture:
    return Capture("v", {"value": value}, {"values": np.full(5000, value, np.float32)})


def save(store: Store, value: int) -> None:
    for nodeid, where in CHECKS:
        store.save(where, capture(value), nodeid=nodeid, name="n", picture=bytes([value % 256]) * 1000)


def whole(store: Store) -> set[int]:
    """The values of all baselines, each found whole."""
    values = set()
    for nodeid, where in CHECKS:
        found = store.load(where, nodeid=nodeid, name="n").capture
        assert set(found.arrays["values"]) == {found.facts["value"]}
        values.add(found.facts["value"])
    return values


def hidden(folder: Path) -> list[str]:
    """What a write may leave beside a baseline."""
    return [path.name for path in folder.rglob(".*") if path.name != ".gitattributes"]


def forked(action) -> int:
    """Run in a process of its own; returns its pid."""
    pid = os.fork()
    if pid == 0:
        sys.settrace(None)  # what coverage sees here is lost
        gc.disable()  # it would copy all memory that is shared with the test
        with contextlib.suppress(BaseException):
            action()
            os._exit(0)
        os._exit(1)
    return pid


def ended(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_an_update_killed_at_a_hundred_moments(tmp_path):
    store = Store(tmp_path)
    save(store, 0)
    started = time.perf_counter()
    save(store, 1)
    once = time.perf_counter() - started
    draw = random.Random(0)
    seen = set()
    for number in range(1, KILLS_OF_A_STORE + 1):
        pid = forked(lambda number=number: [save(Store(tmp_path), number * 10 + at) for at in range(10)])
        time.sleep(draw.uniform(0, 4 * once))
        os.kill(pid, signal.SIGKILL)
        ended(pid)
        seen |= whole(store)
    assert len(seen) > KILLS_OF_A_STORE / 10  # many were killed in the middle of writing
    save(store, 1)
    left = [name for name in hidden(tmp_path) if not name.endswith(".tmp")]
    assert left == []  # unfinished files an hour old are removed by the next update of that check


def test_a_whole_run_killed_while_it_updates(project):
    """The real thing: pytest --modelviz-update, killed; then every check is whole, old or new."""
    names = [f"test_{number}" for number in range(6)]
    project.test(
        "from net import *\n"
        + "".join(f"def {name}(feature_maps):\n    feature_maps(load(), photo())\n" for name in names)
    )
    project.run("--modelviz-update").assert_outcomes(passed=6)
    old = project.files()
    project.fault("weight")
    whole_run = time.perf_counter()
    assert ended(forked(lambda: project.run("--modelviz-update").assert_outcomes(passed=6))) == 0
    whole_run = time.perf_counter() - whole_run
    new = project.files()
    draw = random.Random(1)
    mixed = 0
    for _ in range(KILLS_OF_A_RUN):
        for name, data in old.items():
            (project.path / "baselines" / name).write_bytes(data)
        pid = forked(lambda: project.run("--modelviz-update"))
        time.sleep(draw.uniform(0.2, 1.0) * whole_run)
        os.kill(pid, signal.SIGKILL)
        ended(pid)
        store = Store(project.path / "baselines")
        states = set()
        for name in names:
            ids = {"nodeid": f"test_net.py::{name}", "name": "feature_maps"}
            files = store.files(Location.of(*ids.values()), **ids)
            stem = f"test_net/{name}/feature_maps"
            versions = [(side[f"{stem}.json"], side[f"{stem}.safetensors"]) for side in (old, new)]
            states.add(versions.index((files.text, files.arrays)))
        mixed += states == {0, 1}
    assert mixed  # some were killed between the first check and the last
    project.run("--modelviz-update").assert_outcomes(passed=6)
    assert {name: data for name, data in project.files().items() if not name.rpartition("/")[2].startswith(".")} == new


@pytest.mark.parametrize("option", ["--modelviz-update", "--modelviz-update-missing", "--modelviz-update-all"])
def test_an_update_that_finds_all_done_tidies_what_the_dead_have_left(project, option):
    project.test()
    project.run_once("--modelviz-update")
    before = project.files()
    folder = project.path / "baselines/test_net/test_net"
    (folder / ".model_summary.json.999999999.tmp").write_bytes(b"half")
    (folder / f".cam_map.png.{os.getppid()}.tmp").write_bytes(b"of a running process")
    project.run("--modelviz").assert_outcomes(passed=1)
    assert (folder / ".model_summary.json.999999999.tmp").exists()  # a comparison writes nothing
    project.run(option).assert_outcomes(passed=1)
    assert set(project.files()) == {*before, f"test_net/test_net/.cam_map.png.{os.getppid()}.tmp"}


def test_two_updates_at_once_do_not_mix_files(tmp_path):
    store = Store(tmp_path)
    save(store, 0)
    writers = [forked(lambda at=at: [save(Store(tmp_path), at * 1000 + n) for n in range(60)]) for at in (1, 2, 3)]
    reads = 0
    while any(os.waitpid(pid, os.WNOHANG) == (0, 0) for pid in writers[-1:]):
        whole(store)  # also while they write
        reads += 1
    assert [ended(pid) for pid in writers[:-1]] == [0, 0]
    assert reads > 5
    assert whole(store)
    assert hidden(tmp_path) == []


def test_two_updates_at_once_without_a_common_lock(tmp_path, monkeypatch):
    """As in containers that share a folder and no /tmp: each sees no lock of the other's."""
    store = Store(tmp_path / "baselines")
    save(store, 0)

    def update(at: int) -> None:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        monkeypatch.setattr("os.getuid", lambda: at)
        for number in range(40):
            with contextlib.suppress(ModelvizError):
                save(Store(tmp_path / "baselines"), at * 1000 + number)

    for pid in [forked(lambda at=at: update(at)) for at in (1, 2)]:
        assert ended(pid) == 0
    save(store, 7)  # whatever has happened, the next update is whole
    assert whole(store) == {7}


def as_nobody(action) -> int:
    """In a process without root's rights, whom no folder is read-only."""

    def run() -> None:
        if os.geteuid() == 0:
            os.setgid(65534)
            os.setuid(65534)
        action()

    return ended(forked(run))


@pytest.fixture
def open_path(tmp_path):
    """A folder that everybody may reach."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o755)
    return tmp_path


def fails_with(message: str, store: Store, value: int) -> None:
    with pytest.raises(ModelvizError, match=message):
        save(store, value)
    assert whole(store) == {0}


def test_a_read_only_folder(open_path):
    store = Store(open_path / "baselines")
    save(store, 0)
    for path in (open_path / "baselines").rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    assert (
        as_nobody(
            lambda: fails_with("cannot write the baseline .*Permission denied.*--modelviz-baseline-dir", store, 1)
        )
        == 0
    )
    assert whole(store) == {0}


def test_a_full_disk(tmp_path):
    """No file may grow beyond 8 KB in this process: the system itself fails in the middle of a write."""
    store = Store(tmp_path)
    save(store, 0)

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
        fails_with("cannot write the baseline .*File too large.* unchanged", store, 1)

    assert ended(forked(limited)) == 0
    assert whole(store) == {0}
    assert hidden(tmp_path) == []


def test_a_disk_of_its_own_that_is_full(tmp_path):
    if os.geteuid() != 0 or os.system(f"mount -t tmpfs -o size=64k tmpfs {tmp_path} 2>/dev/null") != 0:
        pytest.skip("needs the right to mount a small disk")
    try:
        store = Store(tmp_path)
        nodeid, where = CHECKS[0]
        store.save(where, capture(0), nodeid=nodeid, name="n")
        (tmp_path / "filler").write_bytes(b"x" * 24_000)
        with pytest.raises(ModelvizError, match="No space left on device"):
            store.save(where, capture(1), nodeid=nodeid, name="n")
        assert store.load(where, nodeid=nodeid, name="n").capture.facts == {"value": 0}
    finally:
        os.system(f"umount {tmp_path}")


@pytest.mark.parametrize("folder", [".modelviz", "baselines"])
def test_a_folder_that_vanishes_in_the_middle_of_a_run(project, folder):
    project.test(
        "import shutil\nfrom net import *\n"
        "def test_a(feature_maps):\n    feature_maps(load(), photo())\n"
        f"def test_b(feature_maps):\n    shutil.rmtree({folder!r})\n    feature_maps(load(), photo())\n"
    )
    project.run("--modelviz-update", "-k", "test_a")
    if folder == "baselines":
        project.run_once("--modelviz-update").assert_outcomes(passed=2)
        assert len(project.files()) == 3  # those of test_b, which came after
    else:
        project.run("--modelviz").assert_outcomes(passed=1, failed=1)
        assert project.statuses() == {"feature_maps": "missing"}
        assert len(project.files(".modelviz/candidates")) == 3


def test_event_files_that_cannot_be_written_to_their_end_are_told_and_all_else_stands(project, monkeypatch):
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    def full(writer):
        raise OSError(28, "No space left on device")

    project.test()
    project.run("--modelviz-update")
    project.fault("weight")
    monkeypatch.setattr(EventFileWriter, "close", full)
    result = project.run("--modelviz")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["cannot write event files into *: No space left on device; make it writable or *"])
    assert set(project.statuses().values()) == {"match", "drift"}


def test_a_trend_that_cannot_be_written_is_told_and_all_else_stands(project):
    project.test()
    project.run_once("--modelviz-update")
    (project.path / ".modelviz/tensorboard").mkdir(exist_ok=True)
    (project.path / ".modelviz/tensorboard/0_trend").write_text("in the way")
    result = project.run("--modelviz")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["cannot write into the results folder (*0_trend*); make it writable or *"])
    assert set(project.statuses().values()) == {"match"}


def test_a_results_folder_that_cannot_be_written_loses_nothing(project):
    project.test()
    project.run_once("--modelviz-update")
    before = project.files()
    shutil.rmtree(project.path / ".modelviz")
    (project.path / ".modelviz").write_text("in the way")
    project.fault("weight")
    result = project.run("--modelviz")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*cannot write into the results folder *"])
    assert project.files() == before
