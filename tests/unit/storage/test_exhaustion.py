"""Small files that would take much memory or time: refused before they are unpacked, and read in linear time."""

import contextlib
import functools
import json
import subprocess
import sys
import time
import tracemalloc
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from recorded_views import VIEWS
from torch import nn

from pytest_modelviz.compare.bracketed import in_one_order
from pytest_modelviz.compare.ignored import lasting_config, lasting_modules
from pytest_modelviz.compare.naming import renames, tie_findings
from pytest_modelviz.compare.stored import stored_trace
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.compare.volatile import normalised
from pytest_modelviz.errors import ModelvizError, OversizedBaselineError, UnreadableBaselineError
from pytest_modelviz.probe.modules import observed_modules
from pytest_modelviz.records.call_order import calls_of
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.limits import FIXED, MOST_NESTED, SMALL, Limits, is_structure
from pytest_modelviz.records.trace_arrays import SKETCH_VERSION, _parsed, unpack_trace
from pytest_modelviz.records.verdict import Verdict
from pytest_modelviz.reports.html import write_report
from pytest_modelviz.run.check import Check
from pytest_modelviz.run.session import Session
from pytest_modelviz.run.settings import Mode, Settings
from pytest_modelviz.storage.formats import (
    content_digest,
    decode_arrays,
    decode_json,
    encode_json,
    require_whole,
    sha256,
)
from pytest_modelviz.storage.limits import limits_for, structure_size
from pytest_modelviz.storage.local_folder import LocalFolder
from pytest_modelviz.storage.names import Location
from pytest_modelviz.storage.results import ResultsFolder
from pytest_modelviz.storage.store import Store
from pytest_modelviz.text.side_by_side import split_items
from pytest_modelviz.views.feature_maps.records import layer_rows
from pytest_modelviz.views.model_graph.records import split_reference
from pytest_modelviz.views.model_summary.compare import compare_trees
from pytest_modelviz.views.training_curve.optimizer_comparison import optimizer_findings
from pytest_modelviz.views.training_curve.optimizer_records import OptimizerRecord

IDS = {"nodeid": "t.py::test", "name": "n"}
WHERE = Location.of(**IDS)
MEGABYTE = 2**20


def peak(action) -> int:
    """The most bytes that were allocated at once."""
    tracemalloc.start()
    try:
        with pytest.raises(UnreadableBaselineError, match=r"absurdly large|absurd number"):
            action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def bomb(*sides: int, arrays: int = 1) -> bytes:
    """A few kilobytes of safetensors that unpack to zeros of this shape."""
    packed = np.frombuffer(zlib.compress(bytes(2 * int(np.prod(sides))), 9), np.uint8)
    shape = ",".join(map(str, sides))
    return bytes(safetensors.numpy.save({f"picture.{at}|float16[{shape}]": packed for at in range(arrays)}))


def structure(text: bytes) -> dict[str, np.ndarray]:
    return {
        "trace.structure": np.frombuffer(zlib.compress(text, 9), np.uint8),
        "trace.sketches": np.zeros(0, np.float32),
        "trace.wide": np.zeros(0, np.float64),
    }


def document(facts: str) -> bytes:
    head = '{"schema": 1, "nodeid": "t.py::test", "name": "n", "view": "v", "environment": {}, "content_sha256": "'
    return f'{head}{sha256(f"[{facts}, null]".encode())}", "facts": {facts}}}'.encode()


class TestBeforeItIsUnpacked:
    def test_arrays_are_added_up(self):
        one = bomb(1024, 1024, 8)
        assert len(one) < 20_000
        assert decode_arrays(one)["picture.0"].nbytes == 16 * MEGABYTE
        several = bomb(1024, 1024, 8, arrays=4)
        assert peak(lambda: decode_arrays(several, Limits(array_bytes=60 * MEGABYTE))) < MEGABYTE

    def test_also_where_nothing_but_their_soundness_is_wanted(self):
        data = bomb(1024, 1024, 8)
        tracemalloc.start()
        try:
            require_whole(data)
            assert tracemalloc.get_traced_memory()[1] < MEGABYTE
        finally:
            tracemalloc.stop()
        with pytest.raises(UnreadableBaselineError, match="damaged"):
            require_whole(bomb(1024, 1024).replace(b"float16[1024,1024]", b"float16[1024,1023]"))

    def test_values_are_counted(self):
        text = document('{"a": [' + "[]," * 2_000_000 + "0]}")
        assert len(text) < 6 * MEGABYTE
        assert peak(lambda: decode_json(text, SMALL._replace(json_bytes=len(text)))) < MEGABYTE

    def test_names_of_arrays_are_counted(self):
        data = bytes(safetensors.numpy.save({f"{'n' * 100}{at}": np.zeros(0, np.uint8) for at in range(20_000)}))
        assert peak(lambda: decode_arrays(data, SMALL)) < MEGABYTE

    @pytest.mark.parametrize("text", [b" " * 12 * MEGABYTE, b"[" + b"[]," * 600_000 + b"0]"])
    def test_the_structure_of_a_trace_is_measured(self, text):
        data = bytes(safetensors.numpy.save(structure(text)))
        assert peak(lambda: decode_arrays(data, SMALL)) < MEGABYTE
        size, count = structure_size(structure(text), FIXED)
        assert (size, count) == (len(text), text.count(b",") + text.count(b"["))

    def test_a_trace_refuses_it_also_by_itself(self):
        with pytest.raises(UnreadableBaselineError, match="more than the"):
            stored_trace(structure(b"[" + b"[]," * 3_100_000 + b"0]"))

    def test_a_file_that_says_it_is_empty(self, tmp_path):
        """The system makes it up as it is read, and a link may lead to it."""
        made_up = Path("/proc/self/smaps")
        if not made_up.exists() or made_up.stat().st_size:
            pytest.skip("there is no such file on this system")
        path = tmp_path / f"{WHERE.path}.json"
        path.parent.mkdir(parents=True)
        path.symlink_to(made_up)
        with pytest.raises(UnreadableBaselineError, match="absurdly large"):
            Store(tmp_path).load(WHERE, **IDS, limits=SMALL._replace(json_bytes=100))
        with pytest.raises(UnreadableBaselineError, match="not valid JSON"):
            Store(tmp_path).load(WHERE, **IDS)


class Recorder:
    """A view whose capture is given."""

    view = "v"

    def __init__(self, capture: Capture) -> None:
        self.captured = capture

    def capture(self):
        return self.captured

    def compare(self, baseline, actual, tolerances):
        same = baseline.facts == actual.facts and baseline.arrays.keys() == actual.arrays.keys()
        return Verdict(same, 1, int(not same), 0.0, 0.0)

    def picture(self, actual, baseline=None, verdict=None):
        return []

    def describe(self, actual):
        return ""


def status(folder, capture: Capture, mode: Mode = Mode.COMPARE) -> tuple[str, str]:
    settings = Settings(mode, folder, folder / "baselines", folder / ".modelviz")
    check = Check(IDS["nodeid"], "t", "t.py::test", IDS["name"], Recorder(capture), settings)
    result = Session("run").check(check)[1]
    return result.status, result.message


class TestWhatACheckReads:
    def test_four_times_what_it_captures_and_small_ones_always(self):
        assert limits_for(Capture("v", {})) == SMALL
        large = Capture("v", {"a": "x" * 2 * MEGABYTE, "b": [0] * 200_000}, {"a": np.zeros(10 * MEGABYTE, np.uint8)})
        found = limits_for(large)
        assert 8 * MEGABYTE < found.json_bytes < 11 * MEGABYTE
        assert found.json_values == 4 * 200_002
        assert 40 * MEGABYTE < found.array_bytes < 41 * MEGABYTE
        assert found.structure_bytes == SMALL.structure_bytes
        assert limits_for(Capture("v", {}, {"a": np.zeros(300 * MEGABYTE, np.uint8)})).array_bytes == FIXED.array_bytes
        deep = limits_for(Capture("v", {}, structure(b"[" + b"1234567," * 400_000 + b"0]")))
        assert (deep.structure_bytes, deep.structure_values) == (4 * 3_200_003, 4 * 400_001)
        odd: list[object] = []
        odd.append(odd)
        assert limits_for(Capture("v", {"a": odd, (1, 2): object()})) == SMALL

    def test_a_baseline_beyond_that_is_unreadable_and_can_be_replaced(self, tmp_path):
        small, large = Capture("v", {"a": 1}), Capture("v", {"a": ["x" * 100] * 60_000})
        assert status(tmp_path, large, Mode.UPDATE) == ("recorded", "")
        assert status(tmp_path, large)[0] == "match"
        assert status(tmp_path, replace(large, facts={"a": ["y" * 100] * 30_000}))[0] == "drift"
        found, message = status(tmp_path, small)
        assert found == "unreadable"
        assert "absurdly large" in message
        assert "more than 4 times what this check captures now" in message
        assert status(tmp_path, small, Mode.UPDATE)[0] == "unreadable"
        assert status(tmp_path, small, Mode.UPDATE_ALL)[0] == "recorded"
        assert status(tmp_path, small)[0] == "match"

    def test_a_baseline_that_unpacks_to_much_is_unreadable(self, tmp_path):
        small = Capture("v", {"a": 1}, {"picture.0": np.zeros((2, 2), np.float16)})
        status(tmp_path, small, Mode.UPDATE)
        path = tmp_path / f"baselines/{WHERE.path}.json"
        data = bomb(1024, 1024, 20)
        path.with_suffix(".safetensors").write_bytes(data)
        forged = {**json.loads(path.read_text()), "data_sha256": sha256(data)}
        path.write_text(json.dumps({**forged, "content_sha256": content_digest(forged)}))
        found, message = status(tmp_path, small)
        assert found == "unreadable"
        assert "'picture.0' above all" in message

    def test_little_memory_is_enough(self, tmp_path):
        """The command line under a limit of the system, with a candidate that would unpack to a gigabyte."""
        resource = pytest.importorskip("resource")
        data = bomb(1024, 1024, 128, arrays=4)
        made = json.loads(encode_json(Capture("v", {}), nodeid="t.py::test", name="n", data_sha256=sha256(data)))
        path = tmp_path / f".modelviz/candidates/{WHERE.path}.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(made))
        path.with_suffix(".safetensors").write_bytes(data)
        values = document('{"a": [' + "[]," * 20_000_000 + "0]}")
        path.with_name("other.json").write_bytes(values)
        (tmp_path / "t.py").write_text("")
        (tmp_path / "pytest.ini").write_text("[pytest]\n")
        check = {
            "nodeid": "t.py::test",
            "view": "v",
            "name": "n",
            "status": "missing",
            "message": "n: no baseline",
            "baseline": f"baselines/{WHERE.path}.json",
            "candidate": f".modelviz/candidates/{WHERE.path}.json",
            "baseline_sha256": None,
            "cause": None,
            "first_divergence": None,
            "error": None,
            "tolerance": None,
        }
        run = {"id": "r", "torch": "2", "python": "3", "platform": "p", "device": "cpu", "workers": 1}
        (tmp_path / ".modelviz/results.json").write_text(
            json.dumps({"schema": 1, "run": run, "totals": {}, "checks": [check]})
        )
        most = 700 * MEGABYTE  # numpy and its libraries reserve half of that
        limit = f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({most}, {most})); "
        for command in ("list", "accept", "report"):
            code = f"{limit}from pytest_modelviz.cli import main; main({[command]!r})"
            ran = subprocess.run(
                [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
            )
            assert "MemoryError" not in ran.stderr, ran.stderr
            if command == "accept":
                assert "absurdly large" in ran.stdout
            assert ran.returncode == (1 if command == "accept" else 0), ran.stdout + ran.stderr
        assert resource
        assert not (tmp_path / "baselines").exists()


class TestPictures:
    def test_pictures_of_one_place_are_shown_once(self, tmp_path):
        """However many checks claim them: they are of one."""
        results = ResultsFolder(tmp_path)
        check = {
            "nodeid": "t.py::test",
            "view": "v",
            "name": "n",
            "status": "drift",
            "message": "n drifted",
            "baseline": "b",
            "candidate": f"candidates/{WHERE.path}.json",
            "baseline_sha256": None,
            "cause": None,
            "first_divergence": None,
            "error": None,
            "tolerance": None,
        }
        run = {"id": "r", "torch": "2", "python": "3", "platform": "p", "device": "cpu", "workers": 1}
        results.prepare()
        document = {"schema": 1, "run": run, "totals": {}, "checks": [check] * 2000}
        (tmp_path / "results.json").write_text(json.dumps(document))
        side = (1).to_bytes(4, "big")
        results.keep_pictures(
            WHERE.path, {f"{at:03}.png": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + 2 * side for at in range(200)}
        )
        started = time.process_time()
        page = write_report(results).read_text()
        assert time.process_time() - started < 20
        assert page.count("data:image/png") == 200
        assert page.count("200 more pictures") == 1999

    def test_a_report_holds_no_picture_that_no_browser_can_bear(self, tmp_path):
        results = ResultsFolder(tmp_path)
        check = {
            "nodeid": "t.py::test",
            "view": "v",
            "name": "n",
            "status": "drift",
            "message": "n drifted",
            "baseline": "b",
            "candidate": f"candidates/{WHERE.path}.json",
            "baseline_sha256": None,
            "cause": None,
            "first_divergence": None,
            "error": None,
            "tolerance": None,
        }
        run = {"id": "r", "torch": "2", "python": "3", "platform": "p", "device": "cpu", "workers": 1}
        results.prepare()
        (tmp_path / "results.json").write_text(json.dumps({"schema": 1, "run": run, "totals": {}, "checks": [check]}))
        head = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"

        def png(width: int, height: int) -> bytes:
            return head + width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes(8)

        folder = tmp_path / "pictures" / WHERE.path
        folder.mkdir(parents=True)
        files = {"a": png(100, 100), "b": png(100_000, 100_000), "c": png(2**31, 1), "d": head, "e": b"<script>"}
        for name, data in files.items():
            (folder / f"{name}.png").write_bytes(data)
        page = write_report(results).read_text()
        assert page.count("data:image/png") == 1
        assert "4 more pictures" in page


def optimizer(**members):
    """One of a baseline: its schedules are given by their steps, all with the same value."""
    schedules = {key: {str(step): 0.1 for step in steps} for key, steps in members.pop("schedules", {}).items()}
    document = {"name": "", "class": "SGD", "options": {}, "groups": [], "schedulers": [], "schedules": schedules}
    return OptimizerRecord.from_json({**document, **members})


@functools.cache
def captured(view):
    return VIEWS[view].capture()


def beside_itself(view, change):
    """What a view makes of a capture whose facts were changed, beside the same as it was."""
    actual = captured(view)
    facts = json.loads(json.dumps(actual.facts))
    change(facts)
    baseline = replace(actual, facts=facts)
    VIEWS[view].picture(actual, baseline, VIEWS[view].compare(baseline, actual, Tolerances()))


def trace(*, modules=(), sketch=8, sharing=0, sides=1, calls=0, dtype="float32"):
    """The arrays of a trace whose tensor is passed to the model so many times."""
    row = {"d": dtype, "s": [1] * sides, "n": sketch}
    shared = {f"t{at}": {**row, "n": 0, "same": [0, sketch]} for at in range(sharing)}
    document = {
        "sketch": SKETCH_VERSION,
        "modules": {name: ["A", {}, {}] for name in ("", *modules)},
        "calls": [["", at, 0, {"x": "t"}, None] for at in range(calls)],
        "tensors": {"t": row, **shared},
        "weights": {},
        "ties": [],
    }
    arrays = structure(json.dumps(document).encode())
    return {**arrays, "trace.sketches": np.zeros(sketch, np.float32)}


LINEAR = {
    "items in a list": lambda n: split_items(", " * n),
    "nested items": lambda n: split_items("[, " * n),
    "results of an operator": lambda n: split_reference("[0" * n + "]"),
    "a text that does not end": lambda n: normalised("'" + "/a" * n),
    "escaped quotation marks": lambda n: in_one_order("\\'" * n),
    "brackets": lambda n: in_one_order("'" + "['a'," * n),
    "machinery": lambda n: lasting_modules({"a": {f"c{at}": "<MyTrainer 00000001>" for at in range(n)}}),
    "shared objects": lambda n: lasting_modules({"a": {f"c{at}": f"<A {at:08x}>" for at in range(n)}}),
    "layers that are gone": lambda n: renames({f"x{at}": {} for at in range(n)}, {"y": {"class": "B"}}),
    "ties": lambda n: tie_findings([[f"a{at}", f"b{at}"] for at in range(n)], [["a", "b"]]),
    "deep names of attributes": lambda n: lasting_config({f"x{'.a' * n}": "1"}, ("*.foo", "*.b.*")),
    "a deep container of kernels": lambda n: beside_itself(
        "kernel_maps", lambda facts: facts["containers"].update({f"x{'.a' * n}": "L"})
    ),
    "a deep layer": lambda n: beside_itself(
        "model_summary", lambda facts: facts["layers"].update({f"x{'.a' * 10 * n}": {"class": "B", "calls": 1}})
    ),
    "a deep module of a graph": lambda n: beside_itself(
        "model_graph", lambda facts: facts["modules"].update({f"x{'.a' * 10 * n}": {"class": "B"}})
    ),
    "a deep operator": lambda n: beside_itself(
        "model_graph",
        lambda facts: facts["operators"].update({f"x{'.a' * n}/relu": {"operator": "relu", "out": "float32[1]"}}),
    ),
    "calls by short names": lambda n: calls_of({"": ["x" * n], "x" * n: [".a"] * n}, ["", "x" * n, f"{'x' * n}.a"]),
    "steps of a schedule": lambda n: optimizer_findings(*[[optimizer(schedules={"0.lr": range(n)})]] * 2),
    "options in an option of a long name": lambda n: optimizer_findings(
        *[[optimizer(options={"x" * n: {f"a{at}": 1 for at in range(n)}})]] * 2
    ),
    "tensors that share a wide sketch": lambda n: unpack_trace(trace(sketch=100 * n, sharing=n // 10)),
    "tensors of many sides": lambda n: layer_rows(unpack_trace(trace(sides=n, calls=n // 4))),
    "a dtype of many letters": lambda n: layer_rows(unpack_trace(trace(dtype=f"float8_e1m1{'a' * n}", calls=n // 4))),
    "layers": lambda n: compare_trees(
        {"layers": {"": {"class": "A", "calls": 1}, **{f"x{at}": {"class": "B", "calls": 1} for at in range(n // 4)}}},
        {"layers": {"": {"class": "A", "calls": 1, "runs": ["y"]}, "y": {"class": "B", "calls": 1}}},
    ),
}


@pytest.mark.unwatched
@pytest.mark.parametrize("what", LINEAR)
def test_time_grows_no_faster_than_the_file(what):
    """What took seconds to hours: the sizes are those that a small model's check reads."""
    for view in ("kernel_maps", "model_summary", "model_graph"):
        captured(view)  # what they import takes ten seconds where memory is traced
    started = time.process_time()
    tracemalloc.start()
    try:
        with contextlib.suppress(UnreadableBaselineError):
            LINEAR[what](20_000)
        assert tracemalloc.get_traced_memory()[1] < 250 * MEGABYTE
    finally:
        tracemalloc.stop()
    assert time.process_time() - started < 10


def test_names_deeper_than_any_model_s_are_refused():
    model = inner = nn.Sequential()
    for _ in range(MOST_NESTED):
        inner.append(nn.Sequential())
        inner = inner[0]
    assert len(list(observed_modules(model))) == MOST_NESTED + 1
    inner.append(nn.ReLU())
    with pytest.raises(ModelvizError, match="lies too deep"):
        list(observed_modules(model))
    for name in (f"x{'.a' * MOST_NESTED}", "x" * 20_000):
        with pytest.raises(UnreadableBaselineError, match="nested absurdly deeply"):
            unpack_trace(trace(modules=[name]))


def test_calls_that_stand_for_millions_are_refused():
    runs = {"": [".a"] * 1000, "a": [".b"] * 1000, "a.b": ["a"]}
    tracemalloc.start()
    try:
        with pytest.raises(UnreadableBaselineError, match="order of its calls"):
            calls_of(runs, ["", "a", "a.b"], needed=10)
        assert tracemalloc.get_traced_memory()[1] < 100 * MEGABYTE
    finally:
        tracemalloc.stop()
    assert len(calls_of({"": ["a"] * 99_000}, ["", "a"], needed=10) or ()) == 99_001
    assert len(calls_of({"": ["a"] * 300_000}, ["", "a"], needed=100_000) or ()) == 300_001


def test_damaged_baselines_of_an_earlier_version_are_not_looked_for_in_all_of_them(tmp_path, monkeypatch):
    """Names with capital letters lay elsewhere once, and of a damaged file only its name says whose it is."""
    for number in range(20):
        path = tmp_path / f"t/test_n[A{number}]/n.json"
        path.parent.mkdir(parents=True)
        path.write_text("{")
    monkeypatch.setattr(LocalFolder, "find", lambda folder, ending: pytest.fail("it lists all baselines"))
    store = Store(tmp_path)
    for number in range(20):
        location = Location.of(f"t.py::test_n[A{number}]", "n")
        if (tmp_path / "T").exists():
            pytest.skip("a file system that does not tell upper from lower case")
        assert str(store.where(location).path) == f"t/test_n[A{number}]/n"


@pytest.mark.parametrize(
    "name", ["trace.structure", "shadow.structure", "float32.trace.structure", "float32.shadow.structure"]
)
def test_bytes_and_values_of_a_structure_are_limited_each_for_itself(name):
    text = b"[" + b"1," * 200_000 + b"1]"
    arrays = {name: np.frombuffer(zlib.compress(text), np.uint8)}
    size, count = structure_size(arrays, SMALL._replace(structure_bytes=10**9, structure_values=10**9))
    assert (size, count >= 200_000) == (len(text), True)
    for limits in ({"structure_bytes": 10}, {"structure_values": 10}):
        unlimited = {"structure_bytes": 10**9, "structure_values": 10**9}
        assert structure_size(arrays, SMALL._replace(**{**unlimited, **limits}))[0] < size


@pytest.mark.parametrize("prefix", ["trace", "shadow", "anything.else"])
def test_what_is_unpacked_as_a_structure_is_what_is_measured(prefix):
    packed = np.frombuffer(zlib.compress(b"[1, 2]"), np.uint8)
    for name, array in ((f"{prefix}.structure", packed), (f"{prefix}.structure", packed[None]), (prefix, packed)):
        is_measured = structure_size({name: array}, FIXED)[0] > 0
        assert is_measured == is_structure(name, array) == (name != prefix and array.ndim == 1)
    assert _parsed({f"{prefix}.structure": packed}, prefix) == [1, 2]
    with pytest.raises(UnreadableBaselineError, match="not a byte string"):
        _parsed({f"{prefix}.structure": packed[None]}, prefix)


def test_the_picture_of_a_layer_that_is_called_so_is_no_structure():
    assert not is_structure("picture.net.structure", np.zeros((8, 4, 4), np.float16))


def test_too_large_is_an_error_of_its_own():
    assert issubclass(OversizedBaselineError, UnreadableBaselineError)
