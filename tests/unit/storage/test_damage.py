"""Damage that must not raise: re-sealed baselines and results folders with values that no version records."""

import json
import math
import os
import random
import re
import zlib

import numpy as np
import pytest
import safetensors.numpy
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from recorded_views import IDS, VIEWS, WHERE, outcome
from torch import nn

from pytest_modelviz.cli import main
from pytest_modelviz.errors import ModelvizError, UnreadableBaselineError
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.verdict import Verdict
from pytest_modelviz.run.check import Check
from pytest_modelviz.run.session import Session
from pytest_modelviz.run.settings import Mode, Settings
from pytest_modelviz.storage import baseline_files, definitions
from pytest_modelviz.storage.compression import compressed
from pytest_modelviz.storage.formats import (
    content_digest,
    decode_arrays,
    decode_json,
    encode_arrays,
    encode_json,
    has_metadata,
    require_whole,
    sha256,
)
from pytest_modelviz.storage.names import Location
from pytest_modelviz.storage.results import ResultsFolder
from pytest_modelviz.storage.store import Store
from pytest_modelviz.text.natural import natural
from pytest_modelviz.text.strict_json import TooManyValuesError, parse_json
from pytest_modelviz.views.model_summary.capture import ModelSummaryView
from pytest_modelviz.views.training_curve.optimizer_records import OptimizerRecord

FORGERIES = int(os.environ.get("MODELVIZ_FORGERIES", "75"))  # of each view
FORGED_RESULTS = 40
STRANGE = (
    *(None, True, -1, 0, 2**63, 2**70, 10**299, 1e308, -1e308, 5e-324, 1.5),
    *("", "\ud800", "\0", "9" * 5000, "conv1²", "٣", "nan", "1e999", "=", "{before}", "<A 00000000>", "x" * 100_000),
    *("float32[1, " + "9" * 30 + "]", "float32[" + "9" * 5000 + "]", "float32[-1]", "float8_bogus", "float64"),
    *([], {}, [[]], {"a": 1}, [None], [[[[[[1]]]]]]),
)


def forged(value: object, draw: random.Random) -> object:
    """The same JSON value with one place of it changed."""
    if isinstance(value, dict) and value and draw.random() < 0.92:
        key, changed = draw.choice(list(value)), dict(value)
        kind = draw.randrange(14)
        if kind == 0:
            del changed[key]
        elif kind == 1:
            changed[str(draw.choice(STRANGE))] = changed.pop(key)
        else:
            changed[key] = forged(value[key], draw)
        return changed
    if isinstance(value, list) and value and draw.random() < 0.92:
        at = draw.randrange(len(value))
        kind = draw.randrange(10)
        if kind == 0:
            return value[:at] + value[at + 1 :]
        if kind == 1:
            return value[:at] + [value[at]] * 50 + value[at:]
        return [*value[:at], forged(value[at], draw), *value[at + 1 :]]
    return draw.choice(STRANGE)


def forged_arrays(arrays, draw: random.Random):
    arrays = dict(arrays)
    key = draw.choice(list(arrays))
    values = arrays[key]
    if key == "trace.structure":
        structure = forged(json.loads(zlib.decompress(values.tobytes())), draw)
        arrays[key] = np.frombuffer(zlib.compress(json.dumps(structure).encode()), np.uint8)
    elif values.dtype.kind == "f" and draw.random() < 0.7:
        largest = np.finfo(values.dtype).max
        changed = values.copy()
        changed.reshape(-1)[: draw.choice((1, values.size))] = draw.choice((np.nan, np.inf, largest, -largest, 0, -0.0))
        arrays[key] = changed
    else:
        arrays[key] = draw.choice((values.reshape(-1)[:1], values[None], values.astype(np.float16), values[:0]))
    return arrays


@pytest.mark.parametrize("name", VIEWS)
def test_extreme_values_raise_nothing_but_unreadable(name, tmp_path):
    """Without the safety net that the session has: each reader says itself what is wrong."""
    view = VIEWS[name]
    capture, draw, unreadable = view.capture(), random.Random(name), 0
    for _ in range(FORGERIES):
        facts, arrays = json.loads(json.dumps(capture.facts)), capture.arrays
        if arrays and draw.random() < 0.6:
            arrays = forged_arrays(arrays, draw)
        if not arrays or draw.random() < 0.5:
            facts = forged(facts, draw)
        if not isinstance(facts, dict):
            continue
        Store(tmp_path).save(WHERE, Capture(name, facts, arrays), **IDS)
        with np.errstate(all="ignore"):
            unreadable += outcome(view, tmp_path, capture) is None
    assert unreadable


def sealed(facts: str) -> bytes:
    """A baseline's file whose facts are this text, with a digest that agrees as far as one can be made."""
    document = {"schema": 1, "nodeid": "t.py::test", "name": "n", "view": "v", "environment": {}, "facts": {}}
    loose = json.loads(facts)
    content = json.dumps([loose, None]).encode()
    text = json.dumps({**document, "content_sha256": sha256(content)})
    return text.replace('"facts": {}', f'"facts": {facts}').encode()


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ('{"layers": {"a": {"calls": 1e999}}}', "the number 1e999 is too large"),
        ('{"scale": -1e999}', "too large"),
        ('{"scale": 1' + "0" * 400 + "}", "has 401 digits"),
        ('{"a": 1, "a": 2}', "'a' stands twice"),
        ('{"layers": {"conv1": {}, "b": {}, "conv1": {}}}', "'conv1' stands twice"),
        ('{"a": ' + "[" * 200 + "]" * 200 + "}", "more than 64 levels deep"),
        ('{"a": ' + '{"a": ' * 200 + "1" + "}" * 200 + "}", "more than 64 levels deep"),
    ],
)
def test_what_json_allows_and_readers_cannot_bear_is_unreadable(facts, reason):
    with pytest.raises(UnreadableBaselineError, match=reason):
        decode_json(sealed(facts))


def test_a_document_named_twice_is_not_what_a_reviewer_sees(tmp_path):
    """Of two facts of one name json takes the last, and people read the first."""
    text = encode_json(Capture("v", {"a": 1}), nodeid="t", name="n")
    twice = text.replace(b'"facts"', b'"facts": {"a": 2},\n  "facts"')
    assert json.loads(twice)["facts"] == json.loads(text)["facts"]
    with pytest.raises(UnreadableBaselineError, match="stands twice"):
        decode_json(twice)


def test_nothing_is_recorded_that_could_not_be_read():
    deep: object = 1
    for _ in range(100):
        deep = [deep]
    for facts in ({"a": 10**400}, {"a": deep}, {1: "a", "1": "b"}, {"a": math.inf}):
        with pytest.raises(ModelvizError, match="cannot be stored"):
            encode_json(Capture("v", facts), nodeid="t", name="n")
    assert decode_json(encode_json(Capture("v", {"a": 10**299, "b": "\ud800"}), nodeid="t", name="n"))


def test_values_are_counted_before_they_are_read():
    with pytest.raises(TooManyValuesError, match="up to 11 values"):
        parse_json(b"[" + b"[]," * 5 + b"0]", most_values=10)
    assert parse_json(b"[" + b"[]," * 5 + b"0]", most_values=11) == [[], [], [], [], [], 0]


class TestNames:
    def test_a_number_of_any_length_has_a_place(self):
        long, longer = f"layer{'9' * 5000}", f"layer1{'0' * 5000}"
        assert sorted(["layer10", longer, "layer9", long, "layer"], key=natural) == [
            *("layer", "layer9", "layer10", long, longer)
        ]

    @given(st.lists(st.text("0123456789.a٣²", max_size=6)))
    def test_the_order_is_that_of_numbers(self, names):
        def counted(name: str) -> list[tuple[int, int, str]]:
            return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in re.split(r"(\d+)", name) if p]

        assert sorted(names, key=natural) == sorted(names, key=counted)

    @pytest.mark.parametrize("name", ["conv1²", "conv٣", "conv" + "9" * 5000, "½", "Ⅷ"])
    def test_a_model_may_call_its_layers_so(self, name, tmp_path):
        model = nn.Sequential()
        model.add_module(name, nn.Linear(2, 2))
        model.add_module("other10", nn.Linear(2, 2))
        view = ModelSummaryView(model, input_data=torch.rand(1, 2))
        capture = view.capture()
        Store(tmp_path).save(WHERE, capture, **IDS)
        assert outcome(view, tmp_path, capture)[1].matched

    def test_the_step_of_a_schedule_is_one_that_a_training_has(self):
        stored = {"name": "", "class": "SGD", "options": {}, "groups": [], "schedulers": []}
        OptimizerRecord.from_json({**stored, "schedules": {"0.lr": {"10": 1.0}}})
        with pytest.raises(UnreadableBaselineError, match="schedules"):
            OptimizerRecord.from_json({**stored, "schedules": {"0.lr": {"9" * 5000: 1.0}}})


class Touchy:
    """A view of somebody's own that counts on what it has recorded."""

    view = "touchy"

    def __init__(self, value: object = 1.0, *, broken: bool = False) -> None:
        self.value, self.broken = value, broken

    def capture(self):
        return Capture(self.view, {"value": self.value, "rows": {"a": 1}})

    def compare(self, baseline, actual, tolerances):
        if self.broken:
            raise RuntimeError("a bug of the view")
        error = abs(float(baseline.facts["value"]) - float(actual.facts["value"]))
        return Verdict(error == 0.0, 1, int(error > 0), error, 0.0)

    def picture(self, actual, baseline=None, verdict=None):
        if baseline is not None:
            assert baseline.facts["rows"]["a"] == 1, "rows"
        return []

    def describe(self, actual):
        return ""


class TestWhateverAViewRaises:
    """What it raises about a baseline, and not about its own capture, is damage of the baseline."""

    def check(self, folder, view, mode=Mode.COMPARE):
        settings = Settings(mode, folder, folder / "baselines", folder / ".modelviz")
        check = Check("t.py::test", "test", "t.py::test", "n", view, settings)
        return Session("run").check(check)[1]

    def recorded(self, folder, facts):
        view = Touchy()
        assert self.check(folder, view, Mode.UPDATE).status == "recorded"
        path = folder / "baselines/t/test/n.json"
        document = {**json.loads(path.read_text()), "facts": facts}
        path.write_text(json.dumps({**document, "content_sha256": content_digest(document)}))
        return view

    @pytest.mark.parametrize(
        ("facts", "reason"),
        [
            ({"value": None, "rows": {"a": 1}}, "TypeError"),
            ({"rows": {"a": 1}}, "KeyError"),
            ({"value": "x", "rows": {"a": 1}}, "ValueError"),
            ({"value": 2.0, "rows": {"a": 2}}, "AssertionError: rows"),  # raised while it is drawn
        ],
    )
    def test_it_is_unreadable_with_the_reason(self, tmp_path, facts, reason):
        view = self.recorded(tmp_path, facts)
        result = self.check(tmp_path, view)
        assert result.status == "unreadable"
        assert f"cannot be compared ({reason}" in result.message
        assert "--modelviz-update-all" in result.message
        assert self.check(tmp_path, view, Mode.UPDATE).status != "match"
        assert self.check(tmp_path, view, Mode.UPDATE_ALL).status == "recorded"
        assert self.check(tmp_path, view).status == "match"

    def test_a_bug_of_the_view_is_not_the_baselines_fault(self, tmp_path):
        self.recorded(tmp_path, {"value": 1.0, "rows": {"a": 1}})
        with pytest.raises(RuntimeError, match="a bug of the view"):
            self.check(tmp_path, Touchy(broken=True))


def results() -> dict[str, object]:
    check = {
        "nodeid": "test_a.py::test_a",
        "view": "v",
        "name": "n",
        "status": "drift",
        "seconds": 0.1,
        "message": "n drifted",
        "layers": {"compared": 1, "drifted": 1},
        "error": 0.3,
        "tolerance": 0.1,
        "first_divergence": {"layer": "a", "class": "A", "call": 0, "error": 0.3, "tolerance": 0.1},
        "cause": "weights",
        "environment_changes": {},
        "baseline": "baselines/test_a/test_a/n.json",
        "candidate": ".modelviz/candidates/test_a/test_a/n.json",
        "candidate_sha256": None,
        "baseline_sha256": None,
        "tensorboard_tags": [],
        "commands": {"accept": "modelviz accept x"},
    }
    orphan = {
        "nodeid": "test_a.py::gone",
        "view": "v",
        "name": "n",
        "variant": None,
        "baseline": "b",
        "baseline_sha256": "0" * 64,
        "test_file_sha256": None,
        "sources": {},
        "renamed_to": "test_a.py::new",
    }
    run = {"id": "r1", "torch": "2", "python": "3", "platform": "p", "device": "cpu", "workers": 1}
    document = {"schema": 1, "run": run, "totals": {"drift": 1}, "checks": [check, {**check, "status": "match"}]}
    return {**document, "orphans": [orphan], "judged_files": ["test_a.py"]}


COMMANDS = ("list", "list --json", "show", "show --json", "report", "orphans", "prune --dry-run", "accept", "reject")


def run_all(folder, monkeypatch) -> set[int]:
    """The exit codes of all commands; each error they have is one line."""
    monkeypatch.chdir(folder)
    codes = set()
    for command in COMMANDS:
        found = CliRunner().invoke(main, command.split())
        if found.exception is not None and not isinstance(found.exception, SystemExit):
            raise AssertionError(f"modelviz {command}") from found.exception
        codes.add(found.exit_code)
    return codes


def project(folder, text: str):
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_a.py").write_text("")
    Store(folder / ".modelviz/candidates", kind="candidate").save(
        Location.of("test_a.py::test_a", "n"), Capture("v", {"a": 1}), nodeid="test_a.py::test_a", name="n"
    )
    (folder / ".modelviz/results.json").write_text(text, errors="surrogatepass")


def test_forged_results_are_told_in_one_line(tmp_path, monkeypatch):
    draw, codes = random.Random(5), set()
    for number in range(FORGED_RESULTS):
        folder = tmp_path / str(number)
        folder.mkdir()
        project(folder, json.dumps(forged(results(), draw)))
        codes |= run_all(folder, monkeypatch)
    assert codes == {0, 1}


IMPOSSIBLE_FILES = {
    "long name": f"{'a' * 300}.py::t",
    "long path": f"{'a/' * 3000}b.py::t",
    "long path of long names": f"{('a' * 300 + '/') * 300}b.py::t",
    "nothing": "",
    "a NUL": "a\0.py::t",
    "half a pair": "\ud800.py::t",
    "outside": f"{'../' * 50}etc/passwd::t",
    "a device": "/dev/zero::t",
    "long test": f"test_a.py::{'t' * 100_000}",
    "brackets": f"test_a.py::t[{'[' * 10_000}",
}


@pytest.mark.parametrize("nodeid", IMPOSSIBLE_FILES.values(), ids=IMPOSSIBLE_FILES)
def test_ids_whose_file_no_system_has(nodeid, tmp_path, monkeypatch):
    """In results, and in a baseline, whose seal leaves its test out so that it can be renamed by hand."""
    document = results()
    for part in (document["checks"][0], document["orphans"][0]):
        part["nodeid"] = nodeid
    document["judged_files"] = [nodeid.partition("::")[0]]
    document["orphans"][0]["sources"] = {nodeid.partition("::")[0]: "0" * 64}
    project(tmp_path, json.dumps(document))
    run_all(tmp_path, monkeypatch)
    baseline = tmp_path / "baselines/t/test/n.json"
    baseline.parent.mkdir(parents=True)
    baseline.write_bytes(encode_json(Capture("v", {"a": 1}), nodeid=nodeid, name="n"))
    run_all(tmp_path, monkeypatch)
    for new in ("test_a.py", "b.py::t"):
        found = CliRunner().invoke(main, ["mv", "*", new] if "::" not in new else ["mv", nodeid, new])
        assert isinstance(found.exception, (SystemExit, type(None))), found.exception
    settings = Settings(Mode.COMPARE, tmp_path, tmp_path / "baselines", tmp_path / ".modelviz")
    view = VIEWS["model_summary"]
    result = Session("run").check(Check("t.py::test", "t", "t.py::test", "n", view, settings))[1]
    assert (result.status, "it belongs to another test" in result.message) == ("unreadable", True)


@pytest.mark.parametrize("file", ["baselines/evil.py", "./baselines/evil.py", ".modelviz/evil.py", "link/evil.py"])
def test_no_file_among_baselines_or_results_is_parsed(file, tmp_path, monkeypatch):
    for name in ("baselines/t/test", ".modelviz"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name.partition("/")[0] / "evil.py").write_text("def test_a(): ...\n")
    (tmp_path / "link").symlink_to("baselines")
    baseline = encode_json(Capture("v", {"a": 1}), nodeid=f"{file}::test_a", name="n")
    (tmp_path / "baselines/t/test/n.json").write_bytes(baseline)
    parsed = []
    monkeypatch.setattr(definitions, "_parsed_file", parsed.append)
    settings = Settings(Mode.COMPARE, tmp_path, tmp_path / "baselines", tmp_path / ".modelviz")
    check = Check("t.py::test", "t", "t.py::test", "n", VIEWS["model_summary"], settings)
    result = Session("run").check(check)[1]
    assert (result.status, "it belongs to another test" in result.message, parsed) == ("unreadable", True, [])


@pytest.mark.parametrize("character", ["\0", "\ud800"])
def test_texts_of_results_that_can_be_in_no_name(character, tmp_path, monkeypatch):
    for key in ("id", "nodeid", "name", "baseline", "candidate", "candidate_sha256", "message", "view"):
        document = results()
        for part in (document["run"], *document["checks"], *document["orphans"]):
            if key in part:
                part[key] = f".modelviz/candidates/n@a{character}.json"
        (tmp_path / key).mkdir()
        project(tmp_path / key, json.dumps(document))
        assert run_all(tmp_path / key, monkeypatch) <= {0, 1}


@pytest.mark.parametrize("shape", ["0,999999999,999999999,9", "0", "9,0,999999999,999999999", "4,0,3", "0,4,3"])
@pytest.mark.parametrize("dtype", ["float16", "uint8"])
def test_packed_arrays_of_impossible_shapes(dtype, shape, tmp_path):
    packed = np.frombuffer(zlib.compress(b""), np.uint8)
    data = safetensors.numpy.save({f"picture.x|{dtype}[{shape}]": packed})
    if "9" in shape:
        for read in (decode_arrays, require_whole):
            with pytest.raises(UnreadableBaselineError, match=r"picture\.x"):
                read(data)
    else:
        require_whole(data)
        assert decode_arrays(data)["picture.x"].shape == tuple(map(int, shape.split(",")))


def test_whatever_reading_arrays_raises_is_damage(monkeypatch, tmp_path):
    monkeypatch.setattr(baseline_files, "decode_arrays", lambda *_: {}["what nobody has thought of"])
    Store(tmp_path).save(WHERE, Capture("v", {}, {"a": np.zeros(1)}), **IDS)
    with pytest.raises(UnreadableBaselineError, match="its arrays are damaged"):
        Store(tmp_path).load(WHERE, **IDS)


@pytest.mark.parametrize("key", ["candidate", "baseline_sha256", "cause", "first_divergence", "error", "tolerance"])
def test_a_check_that_lacks_something_is_not_read(tmp_path, key):
    document = results()
    del document["checks"][0][key]
    project(tmp_path, json.dumps(document))
    with pytest.raises(ModelvizError, match="was not written by pytest-modelviz"):
        ResultsFolder(tmp_path / ".modelviz").read()


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('"seconds": 0.1', '"seconds": 1e999', "too large"),
        ('"seconds": 0.1', '"seconds": 1' + "0" * 5000, "digits"),
        ('"seconds": 0.1', '"seconds": ' + "[" * 300 + "]" * 300, "levels deep"),
        ('"status": "drift"', '"status": "drift", "status": "match"', "stands twice"),
    ],
)
def test_results_are_read_as_strictly_as_baselines(tmp_path, monkeypatch, old, new, reason):
    project(tmp_path, json.dumps(results()))
    assert run_all(tmp_path, monkeypatch) == {0}
    project(tmp_path, json.dumps(results()).replace(old, new, 1))
    with pytest.raises(ModelvizError, match=reason):
        ResultsFolder(tmp_path / ".modelviz").read()
    assert run_all(tmp_path, monkeypatch) == {1}


def test_arrays_of_one_name_are_refused():
    row = {"dtype": "U8", "shape": [2], "data_offsets": [2, 4]}
    header = f'{{"a": {json.dumps(row)}, "a": {json.dumps({**row, "shape": [4], "data_offsets": [0, 4]})}}}'.encode()
    twice = len(header).to_bytes(8, "little") + header + bytes(4)
    assert safetensors.numpy.load(twice)["a"].size == 4  # the library takes the last
    with pytest.raises(UnreadableBaselineError, match="stands twice"):
        decode_arrays(twice)
    maps = np.zeros((64, 64), np.float16)
    ((key, packed),) = compressed({"a": maps}).items()
    with pytest.raises(UnreadableBaselineError, match="'a' occurs twice"):
        decode_arrays(safetensors.numpy.save({"a": maps, key: packed}))


def test_what_a_later_version_has_added_is_passed_over(tmp_path):
    document = results()
    for part in (document, document["run"], document["checks"][0], document["orphans"][0]):
        part["later"] = {"anything": [1]}
    project(tmp_path, json.dumps(document))
    folder = ResultsFolder(tmp_path / ".modelviz")
    read = folder.read()
    folder.write(read)
    assert folder.read() == read


@pytest.mark.parametrize("key", ["status", "cause"])
def test_what_no_version_of_today_knows_is_not_read(tmp_path, key):
    document = results()
    document["checks"][0][key] = "later"
    project(tmp_path, json.dumps(document))
    with pytest.raises(ModelvizError, match="was not written by pytest-modelviz"):
        ResultsFolder(tmp_path / ".modelviz").read()


def test_nothing_stands_behind_a_compressed_array():
    ((key, array),) = compressed({"picture": np.zeros((64, 64), np.float16)}).items()
    decode_arrays(safetensors.numpy.save({key: array}))
    longer = safetensors.numpy.save({key: np.concatenate([array, np.frombuffer(b"more", np.uint8)])})
    for read in (decode_arrays, require_whole):
        with pytest.raises(UnreadableBaselineError, match="'picture' is damaged"):
            read(longer)


def test_texts_beside_arrays_are_found():
    arrays = {"values": np.zeros(3, np.float32)}
    assert not has_metadata(encode_arrays(arrays))
    assert has_metadata(safetensors.numpy.save(arrays, metadata={"approved": "by a maintainer"}))
