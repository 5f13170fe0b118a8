"""What a baseline of a few megabytes can hold takes no longer to compare than its size, however it was made up."""

import time
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from traces_by_hand import tensor

from pytest_modelviz.compare.diagnosis import compare_traces
from pytest_modelviz.compare.ignored import lasting_modules
from pytest_modelviz.compare.naming import baseline_namer, renames
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.records.findings import RenameFinding
from pytest_modelviz.records.structure import LENT, REWRITTEN, ModelStructure, ModuleRecord
from pytest_modelviz.records.tensors import TensorRecord
from pytest_modelviz.records.trace import Call, ForwardTrace, Leaf
from pytest_modelviz.views.model_summary import passes
from pytest_modelviz.views.model_summary.compare import compare_trees

MEGABYTE = 2**20
X = {"x": Leaf(tensor="x")}


def record(class_name: str = "Linear", weights: dict[str, str] | None = None, **config: str) -> ModuleRecord:
    return ModuleRecord(class_name, config, weights or {})


def trace(
    modules: dict[str, ModuleRecord],
    calls: list[Call],
    tensors: dict[str, TensorRecord] | None = None,
    weights: dict[str, TensorRecord] | None = None,
    ties: tuple[tuple[str, ...], ...] = (),
) -> ForwardTrace:
    structure = ModelStructure({"": record("Net"), **modules}, weights or {}, ties)
    root = Call("", 0, 0, X, {"": Leaf(tensor="end")})
    return ForwardTrace(structure, [root, *calls], {"x": tensor(1.0), "end": tensor(1.0), **(tensors or {})})


def called(layer: str, out: str = "x", index: int = 0) -> Call:
    return Call(layer, index, 1, X, {"": Leaf(tensor=out)})


def layers(count: int, shift: float = 0.0, **config: str) -> tuple[dict, list, dict]:
    """Modules that are called in turn, with results that are off by so much, the last one's far off."""
    names = [f"l{at}" for at in range(count)]
    tensors = {name: tensor(1.0 + shift * (1e5 if name == names[-1] else 1)) for name in names}
    return {name: record(**config) for name in names}, [called(name, name) for name in names], tensors


def junk(count: int, class_name: str = "Linear") -> dict[str, ModuleRecord]:
    return {f"junk{at}": record(class_name) for at in range(count)}


def long_class_names(n):
    modules, calls, tensors = layers(n // 20)
    return trace(junk(10, "1 " * 10 * n), []), trace(modules, calls, tensors)


def modules_that_are_never_called(n):
    (modules, calls, tensors), (others, again, outputs) = layers(n // 40), layers(n // 40, shift=5e-5)
    return trace({**modules, **junk(n)}, calls, tensors), trace(others, again, outputs)


def a_long_configuration(n):
    (modules, calls, tensors), (others, again, outputs) = layers(n // 40), layers(n // 40, shift=5e-5)
    entered = [replace(call, inputs={"x": call.outputs[""]}) for call in calls]
    entered_again = [replace(call, inputs={"x": call.outputs[""]}) for call in again]
    sides = trace(modules, entered, tensors), trace(others, entered_again, outputs)
    sides[0].modules[""] = record("Net", weights=None, a="'1', 2.0, " * n)
    sides[1].modules[""] = record("Net", weights=None, a="2.0, '1', ")
    return sides


def objects_in_a_long_configuration(n):
    modules = {f"l{at}": record(extra_repr="1", config=f"<A {at:08x}>") for at in range(n // 20)}
    others = {f"l{at}": record(extra_repr="2", config=f"<A {at + n:08x}>") for at in range(n // 20)}
    held = {f"k{at}": "1" for at in range(10 * n)}
    return trace({"junk": record(**held), **modules}, []), trace(others, [])


def a_call_with_many_arguments(n):
    arguments = {f"a{at}": Leaf(literal="1") for at in range(n)}
    given = {**arguments, f"weight{LENT}": Leaf(literal="1")}
    modules = {"a": record()}
    return tuple(trace(modules, [Call("a", 0, 1, inputs, {})]) for inputs in (given, arguments))


def deep_paths_of_arguments(n):
    inputs = {f"x{'.a' * n}{at}": Leaf(literal="1") for at in range(100)}
    calls = [Call("a", 0, 1, arguments, {}) for arguments in (inputs, {"y": Leaf(literal="1")})]
    return (
        trace({"a": record(forward="x, z")}, [calls[0]]),
        trace({"a": record(forward="y, w")}, [calls[1]]),
    )


def a_long_signature(n):
    names = [f"a{at}" for at in range(n)]
    made_up = {"forward": ", ".join(names), "defaults": "\n".join(f"{name}=1" for name in names)}
    calls = [[Call("a", at, 1, {name: Leaf(literal="1")}, {}) for at in range(n // 40)] for name in ("a1", "x")]
    return trace({"a": record(**made_up)}, calls[0]), trace({"a": record(forward="x", defaults="x=1")}, calls[1])


def many_weights_of_another_shape(n):
    weights = {f"w{at}": f"w{at}" for at in range(n // 4)}
    tables = [{key: tensor(*range(sides)) for key in weights} for sides in (1, 2)]
    modules = {"a": record(weights=weights, **{REWRITTEN: "\n".join(f"x{at}" for at in range(n))})}
    return trace(modules, [], weights=tables[0]), trace({"a": record(weights=weights)}, [], weights=tables[1])


def containers_and_many_calls(n):
    modules = {f"s{at}": record("Sequential") for at in range(n // 20)}
    others = [called("other", index=at) for at in range(5 * n)]
    modules["other"] = record()
    return trace(modules, others), trace(modules, [called(f"s{at}") for at in range(n // 20)])


def many_results_after_the_passes_part(n):
    values = np.random.default_rng(0).standard_normal((n // 10, 61)).astype(np.float32)
    sketches = {f"t{at}": TensorRecord("float32", (100,), row) for at, row in enumerate(values)}
    others = {key: replace(sketch, sketch=sketch.sketch[::-1]) for key, sketch in sketches.items()}
    modules = {"a": record(), "b": record(), **junk(n)}
    calls = [called(f"junk{at}", f"t{at % len(sketches)}") for at in range(n)]
    again = [called("b", key, at) for at, key in enumerate(others)]
    return trace(modules, calls, sketches), trace(modules, again, others)


def many_ties(n):
    weights = {f"w{at}": f"w{at}" for at in range(n // 40)}
    tables = [{key: tensor(value) for key in weights} for value in (1.0, 2.0)]
    ties = tuple((f"a{at}", f"b{at}") for at in range(3 * n))
    (before, *calls), (after, *again) = layers(1), layers(1, shift=1.0)
    before["l0"] = after["l0"] = record(weights=weights)
    return trace(before, *calls, tables[0], ties), trace(after, *again, tables[1])


def interchangeable_calls_inside_each_other(n):
    calls = []
    for depth in range(1, n // 4):
        for kind in "pq":
            calls.append(Call("a", len(calls), depth, {**X, "kind": Leaf(literal=kind)}, {"": Leaf(tensor="x")}))
    return trace({"a": record()}, calls[:1]), trace({"a": record()}, calls)


FORGERIES = [
    long_class_names,
    modules_that_are_never_called,
    a_long_configuration,
    objects_in_a_long_configuration,
    a_call_with_many_arguments,
    deep_paths_of_arguments,
    a_long_signature,
    many_weights_of_another_shape,
    containers_and_many_calls,
    many_results_after_the_passes_part,
    many_ties,
    interchangeable_calls_inside_each_other,
]


@pytest.mark.unwatched
@pytest.mark.parametrize("forgery", FORGERIES)
def test_no_trace_takes_long(forgery):
    baseline, actual = forgery(20_000)
    started = time.process_time()
    compare_traces(baseline, actual, Tolerances())
    assert time.process_time() - started < 5


@pytest.mark.unwatched
def test_objects_in_objects_take_little_room():
    config = {f"x{'.a' * at}": f"<A {at:08x}>" for at in range(500)}
    tracemalloc.start()
    try:
        lasting_modules({"a": config})
        assert tracemalloc.get_traced_memory()[1] < 12 * MEGABYTE
    finally:
        tracemalloc.stop()


def rows(prefix: str, count: int, config: str) -> dict[str, dict[str, str]]:
    return {f"{prefix}{at}": {"class": "B", "config": config.format(at)} for at in range(count)}


@pytest.mark.unwatched
@pytest.mark.parametrize("config", ["{}", "0.{:06}1234567", "1 " * 100 + "{}"])
def test_subtrees_that_differ_in_numbers_alone(config):
    started = time.process_time()
    assert renames(rows("gone", 5_000, f"a={config}"), rows("new", 3_000, f"a={config}, 1")) == []
    renames(rows("gone", 5_000, f"a={config}"), rows("new", 3_000, f"a=-{config}"))
    assert time.process_time() - started < 5


def test_modules_are_known_again_by_all_that_is_in_them():
    before = {"a": {"scale": "0.12345678"}, "a.x": {}, "b": {"scale": "0.5"}, "b.x": {}, "c": {"scale": "0.5"}}
    after = {
        "d": {"scale": "0.5"},
        "d.x": {},
        "e": {"scale": "0.12345679"},
        "e.x": {},
        "f": {"scale": "0.5"},
        "f.y": {},
    }
    found = renames(before, after)
    assert found == [RenameFinding("e", before="a"), RenameFinding("d", before="b")]
    old_name = baseline_namer(found)
    assert [old_name(name) for name in ("", "e", "e.x.y", "ee", "d", "f")] == ["", "a", "a.x.y", "ee", "b", "f"]


def test_whether_a_number_was_computed_is_said_by_the_actual_text_alone():
    written, computed = {"a": {"decay": "0.99999"}}, {"b": {"decay": "0.9999912345"}}
    assert renames(written, computed) == [RenameFinding("b", before="a")]
    assert renames({"b": computed["b"]}, {"a": written["a"]}) == []


def test_names_are_found_in_time():
    renamed = [RenameFinding(f"new{at}", before=f"old{at}") for at in range(20_000)]
    started = time.process_time()
    old_name = baseline_namer(renamed)
    assert {old_name(f"new{at}.x") for at in range(20_000)} == {f"old{at}.x" for at in range(20_000)}
    assert time.process_time() - started < 5


def test_calls_of_a_summary_share_what_is_said_of_them(monkeypatch):
    """A small file may claim a hundred thousand calls: each takes no more than the call itself."""
    made = []
    monkeypatch.setattr(passes, "Leaf", lambda **options: made.append(options) or Leaf(**options))
    row = {"class": "Linear", "calls": 1}
    for count in (3, 3000):
        passes._marks.cache_clear()
        made.clear()
        before = {"": {"class": "Net", "calls": 1, "runs": ["a"] * count}, "a": {**row, "out": ["float32[1]"]}}
        after = {**before, "a": {**row, "out": ["float32[2]"]}}
        verdict = compare_trees({"layers": before}, {"layers": after})
        assert (verdict.matched, verdict.first.layer, verdict.cause) == (False, "a", "computation")
        assert 0 < len(made) <= 8
