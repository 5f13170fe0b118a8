"""Baselines behind URLs: in memory, in a folder, and on a real S3 server that runs for the tests."""

import contextlib
import datetime
import socket
import subprocess
import sys
import time

import fsspec
import numpy as np
import pytest
import s3fs  # up front: pytester forgets what an inner run imported, and fsspec would keep two of them

from pytest_modelviz.errors import ModelvizError, UnreadableBaselineError
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.limits import Limits
from pytest_modelviz.storage import remote as remote_module
from pytest_modelviz.storage import store as store_module
from pytest_modelviz.storage import writing
from pytest_modelviz.storage.folder import open_folder
from pytest_modelviz.storage.names import Location
from pytest_modelviz.storage.remote import RemoteFolder
from pytest_modelviz.storage.store import ChangedMeanwhileError, Store

pytestmark = pytest.mark.unwatched

IDS = {"nodeid": "tests/test_net.py::test_a", "name": "feature_maps"}
WHERE = Location.of(**IDS)
STEM = "tests/test_net/test_a/feature_maps"


@pytest.fixture(scope="module")
def s3_server():
    """moto's server on a free port of this machine, in a process of its own: pytester's runs forget modules."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(600):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            break
        assert server.poll() is None, "moto's server has ended"
        time.sleep(0.1)
    yield f"http://127.0.0.1:{port}"
    server.kill()
    server.wait()


@pytest.fixture
def s3(s3_server, monkeypatch, tmp_path):
    """The URL of an empty bucket's folder, with the address and the credentials where users have them."""
    for key, value in {
        "AWS_ENDPOINT_URL": s3_server,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",  # nobody's
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(key, value)
    s3fs.S3FileSystem.clear_instance_cache()
    bucket = f"bucket-{abs(hash(tmp_path))}"
    s3fs.S3FileSystem().mkdir(bucket)
    return f"s3://{bucket}/models/baselines"


@pytest.fixture
def memory():
    fsspec.filesystem("memory").store.clear()
    return "memory://models/baselines"


@pytest.fixture(params=["memory", "file", "s3"])
def url(request, tmp_path):
    return f"file://{tmp_path}/shots" if request.param == "file" else request.getfixturevalue(request.param)


def capture(value: float = 1.0) -> Capture:
    return Capture("feature_maps", {"peak": value}, {"map": np.full(500, value, np.float32)}, {"torch": "2.15.0"})


def peak(store: Store) -> float:
    found = store.load(WHERE, **IDS).capture
    assert set(found.arrays["map"]) == {found.facts["peak"]}
    return found.facts["peak"]


def test_the_life_of_a_baseline(project, url):
    project.test()
    options = (f"--modelviz-baseline-dir={url}",)
    place = url.removeprefix("file://")

    project.run("--modelviz", *options).assert_outcomes(failed=1)
    assert project.check("feature_maps")["baseline"] == f"{place}/test_net/test_net/feature_maps.json"
    project.run("--modelviz-update", *options).assert_outcomes(passed=1)
    project.run("--modelviz", *options).assert_outcomes(passed=1)
    before = Store(place).digest(Location.of("test_net.py::test_net", "feature_maps"))
    project.run("--modelviz-update-all", *options).assert_outcomes(passed=1)
    assert Store(place).digest(Location.of("test_net.py::test_net", "feature_maps")) == before

    project.fault("weight")
    result = project.run("--modelviz", *options)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"  accept    modelviz accept --run * --baseline-dir {place} test_net.py::test_net"])
    done = project.modelviz("accept")
    assert done.exit_code == 1
    assert "name the folder with --baseline-dir" in done.output
    done = project.modelviz("accept", "--baseline-dir", url)
    assert (done.exit_code, done.output.count("accepted")) == (0, 2), done.output
    project.run("--modelviz", *options).assert_outcomes(passed=1)

    project.test("from net import *\ndef test_other(model_summary):\n    model_summary(load())\n")
    project.run("--modelviz-update", *options).stdout.fnmatch_lines(["3 orphans: baselines of 1 test that is gone*"])
    done = project.modelviz("prune", "--baseline-dir", url)
    assert (done.exit_code, done.output.count("removed")) == (0, 3), done.output
    project.run("--modelviz", *options).stdout.no_fnmatch_line("*gone*")
    assert not (project.path / "baselines").exists()


def test_by_ini(project, memory):
    project.test()
    project.pytester.makeini(f"[pytest]\nmodelviz_baseline_dir = {memory}\n")
    project.run("--modelviz")
    assert project.modelviz("accept").exit_code == 0
    project.run("--modelviz").assert_outcomes(passed=1)


def test_what_is_read_once_is_kept_for_the_run(memory, monkeypatch):
    Store(memory).save(WHERE, capture(), **IDS)
    store, asked = Store(memory), []
    files = store._folder._files
    cat = type(files).cat_file
    monkeypatch.setattr(
        type(files), "cat_file", lambda self, path, *a, **k: asked.append(path) or cat(self, path, *a, **k)
    )
    assert [peak(store) for _ in range(3)] == [1.0] * 3
    assert len(asked) == 2  # JSON and safetensors, once
    store.save(WHERE, capture(2.0), **IDS)
    assert peak(store) == 2.0


def test_a_write_that_stops_at_any_moment_is_whole(url, monkeypatch):
    """Each operation that changes something is made the last one in turn."""
    if url.startswith("file"):
        pytest.skip("a folder of this machine is tested by tests/unit/storage/test_store.py")
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
        monkeypatch.setattr(RemoteFolder, name, step(getattr(RemoteFolder, name)))
    seen = set()
    for last in range(30):
        place = f"{url}/{last}"
        steps["last"] = 10**9
        Store(place).save(WHERE, capture(1.0), **IDS, picture=b"old")
        steps.update(count=0, last=last)
        try:
            Store(place).save(WHERE, capture(2.0), **IDS, picture=b"new")
            finished = True
        except Stopped:
            finished = False
        seen.add(peak(Store(place)))
        if finished:
            break
    assert finished
    assert seen == {1.0, 2.0}


def test_two_updates_at_once_do_not_mix_files(memory, monkeypatch):
    """Whatever the order of two writers' operations: what the last JSON file names is there."""
    write = RemoteFolder.write
    for overtaken in range(8):
        Store(memory).save(WHERE, capture(0.0), **IDS)
        count = [0]

        def slow(self, name, data, *, overtaken=overtaken, count=count):
            count[0] += 1
            if count[0] == overtaken + 1:  # meanwhile, another one does it all
                monkeypatch.setattr(RemoteFolder, "write", write)
                Store(memory).save(WHERE, capture(2.0), **IDS)
                monkeypatch.setattr(RemoteFolder, "write", slow)
            write(self, name, data)

        monkeypatch.setattr(RemoteFolder, "write", slow)
        Store(memory).save(WHERE, capture(1.0), **IDS)
        monkeypatch.setattr(RemoteFolder, "write", write)
        assert peak(Store(memory)) in (1.0, 2.0)


def test_what_a_new_json_file_names_lies_beside_it_anew(memory, monkeypatch):
    """Numbers recorded hours ago, only the words are new: meanwhile another writer tidies up."""
    Store(memory).save(WHERE, capture(1.0), **IDS)
    files = fsspec.filesystem("memory")
    for path in files.find("/models"):
        files.store[path].created -= datetime.timedelta(hours=2)
    write, renamed = RemoteFolder.write, capture(1.0)
    renamed = Capture(renamed.view, {**renamed.facts, "model": "renamed"}, renamed.arrays, renamed.environment)

    def overtaken(self, name, data):
        if name.endswith(".json"):
            monkeypatch.setattr(RemoteFolder, "write", write)
            Store(memory).save(WHERE, capture(2.0), **IDS)
        write(self, name, data)

    monkeypatch.setattr(RemoteFolder, "write", overtaken)
    Store(memory).save(WHERE, renamed, **IDS)
    assert peak(Store(memory)) == 1.0


def test_what_was_replaced_stays_for_an_hour(memory, monkeypatch):
    Store(memory).save(WHERE, capture(1.0), **IDS)
    Store(memory).save(WHERE, capture(2.0), **IDS)
    files = fsspec.filesystem("memory")

    def staged() -> int:
        return len([path for path in files.find("/models") if "/." in path])

    assert staged() == 2
    monkeypatch.setattr(writing, "_ABANDONED_SECONDS", -1.0)
    Store(memory).save(WHERE, capture(3.0), **IDS)
    assert staged() == 1
    assert peak(Store(memory)) == 3.0


def test_a_store_that_shows_half_written_files_gets_them_moved_into_place(memory, monkeypatch):
    monkeypatch.setattr(remote_module, "_WHOLE_WRITES", frozenset())
    moved = []
    files = fsspec.filesystem("memory")
    move = type(files).mv
    monkeypatch.setattr(type(files), "mv", lambda self, old, new, **k: moved.append(new) or move(self, old, new, **k))
    Store(memory).save(WHERE, capture(), **IDS)
    assert peak(Store(memory)) == 1.0
    assert f"/models/baselines/{STEM}.json" in moved
    assert not [path for path in files.find("/models") if path.endswith(".tmp")]


def test_baselines_copied_there_by_hand_are_read(tmp_path, memory):
    Store(tmp_path).save(WHERE, capture(), **IDS)
    fsspec.filesystem("memory").put(f"{tmp_path}/", "/models/baselines/", recursive=True)
    assert peak(Store(memory)) == 1.0


def test_damage_and_size_are_told(url):
    if url.startswith("file"):
        pytest.skip("a folder of this machine is tested by tests/unit/storage/test_store.py")
    Store(url).save(WHERE, capture(), **IDS)
    files, root = fsspec.core.url_to_fs(url)
    files.pipe_file(f"{root}/{STEM}.json", b"")
    with pytest.raises(UnreadableBaselineError, match="is empty"):
        Store(url).load(WHERE, **IDS)
    files.pipe_file(f"{root}/{STEM}.json", b"version https://git-lfs")
    with pytest.raises(UnreadableBaselineError, match="git lfs pull"):
        Store(url).load(WHERE, **IDS)
    with pytest.raises(UnreadableBaselineError, match="absurdly large"):
        Store(url).load(WHERE, **IDS, limits=Limits(json_bytes=10))
    files.rm_file(f"{root}/{STEM}.json")
    with pytest.raises(UnreadableBaselineError, match=r"feature_maps\.json is missing"):
        Store(url).load(WHERE, **IDS)


def test_somebody_else_s_change_is_seen_before_a_write(url):
    store = Store(url.removeprefix("file://"))
    store.save(WHERE, capture(1.0), **IDS)
    compared = store.load(WHERE, **IDS).digest
    files = store.files(WHERE, **IDS)
    Store(url.removeprefix("file://")).save(WHERE, capture(2.0), **IDS)
    with pytest.raises(ChangedMeanwhileError):
        store.replace_if_unchanged(WHERE, files, expected_digest=compared)
    with pytest.raises(ChangedMeanwhileError):
        store.remove(WHERE, expected_digest=compared)
    assert peak(Store(url.removeprefix("file://"))) == 2.0


def test_a_network_that_fails_is_one_clear_error(memory, monkeypatch):
    store = Store(memory)
    store.save(WHERE, capture(), **IDS)

    def broken(self, *args, **kwargs):
        raise RuntimeError("connection reset by peer")

    for name, action in {
        "cat_file": lambda: Store(memory).load(WHERE, **IDS),
        "pipe_file": lambda: store.save(WHERE, capture(2.0), **IDS),
        "find": store.stems,
    }.items():
        with monkeypatch.context() as patch:
            patch.setattr(type(store._folder._files), name, broken)
            with pytest.raises(ModelvizError, match=r"memory://models/baselines.*connection reset by peer.*is whole"):
                action()
    assert peak(Store(memory)) == 1.0


def test_a_network_that_fails_fails_the_test_and_the_run_goes_on(project, s3, monkeypatch):
    project.test("from net import *\ndef test_net(model_summary):\n    model_summary(load())\ndef test_other(): pass\n")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # nobody listens
    s3fs.S3FileSystem.clear_instance_cache()
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    result = project.run("--modelviz", f"--modelviz-baseline-dir={s3}")
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(
        [
            "*ModelvizError: cannot read s3://*check the address, the credentials and the network*",
            "cannot list s3://*check the address, the credentials and the network",
        ]
    )
    assert project.results["checks"] == []  # written all the same


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("nosuch://bucket/x", "nosuch://bucket/x*is neither"),
        ("s3://", "takes a URL of a folder, such as s3://bucket/baselines"),
        ("s3:///", "takes a URL of a folder"),
    ],
)
def test_a_wrong_url_ends_the_run_before_it_begins(project, place, message):
    result = project.run("--modelviz", f"--modelviz-baseline-dir={place}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: modelviz: --modelviz-baseline-dir takes *{message.partition('takes ')[2]}*"])


def test_a_package_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(ModelvizError, match=r"cannot open gs://bucket/x: .*gcsfs"):
        open_folder("gs://bucket/x", configured=True)


def test_a_run_opens_its_bucket_once_for_all_checks(project, memory, monkeypatch):
    project.test()
    project.run("--modelviz-update", f"--modelviz-baseline-dir={memory}")
    opened, opening = [], store_module.open_folder

    def counted(place, **options):
        opened.append(str(place))
        return opening(place, **options)

    monkeypatch.setattr(store_module, "open_folder", counted)
    project.run("--modelviz", f"--modelviz-baseline-dir={memory}").assert_outcomes(passed=1)
    assert opened.count(memory) == 2  # once more when it looks for orphans
