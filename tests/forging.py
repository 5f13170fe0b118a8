"""Baselines as somebody would forge them who knows the format: valid, sealed, and not what was recorded.

`forged` changes a capture in a few places: its facts and arrays as they come, and its trace with knowledge of what
each part is for. What people read is made to fit again, as a forger would.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import random
import re
import zlib

import numpy as np

from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.tensors import TensorRecord
from pytest_modelviz.records.trace import ForwardTrace, Leaf
from pytest_modelviz.records.trace_arrays import pack_trace, unpack_trace
from pytest_modelviz.views.activation_maximization.records import climb_rows
from pytest_modelviz.views.feature_maps.records import layer_rows
from pytest_modelviz.views.training_curve.records import Training

GIANT = 9.9e7
SHADOW = "float32."  # begins the names of what belongs to an explanation in single precision
FACTORS = (1 + 2e-6, 1 + 9e-5, 1.0049, 1.0145, 1.1, 0.9, 0.0, -1.0, 1e30, 1e-30)
DTYPES = ("float16", "bfloat16", "float8_e4m3fn", "float8_bogus", "int64", "bool", "complex64", "qint8", "", "float64")
WORDS = ("Sequential", "*rest", "x, *rest", "forward", "x", "<Net>", "0", "", "float32[1, 4]", " (not saved)", "in")
CONFIG = ("forward", "defaults", "unsaved", "rewritten", "extra_repr")
NUMBERS = (None, -1, 0, 1, 2, 0.5, 1e-9, 1e30, 1e300, 2**63, 10**400, True, float("1e308"))


def forged(capture: Capture, draw: random.Random) -> Capture:
    """The capture with one to six changes."""
    facts, arrays = copy.deepcopy(dict(capture.facts)), {key: value.copy() for key, value in capture.arrays.items()}
    environment = dict(capture.environment)
    for _ in range(draw.choice((1, 1, 2, 3, 6))):
        kinds = ["facts"]
        if arrays:
            kinds += ["array", "array"]
        if "trace.structure" in arrays:
            kinds += ["trace"] * 6
        kind = draw.choice(kinds)
        if kind == "facts":
            facts = forged_value(facts, draw)
            if not isinstance(facts, dict):
                return dataclasses.replace(capture, facts={})
        elif kind == "array":
            arrays = forged_array(arrays, draw)
        elif SHADOW + "trace.structure" in arrays and draw.random() < 0.5:
            shadow = {key.removeprefix(SHADOW): array for key, array in arrays.items() if key.startswith(SHADOW)}
            arrays |= {SHADOW + key: array for key, array in forged_trace(shadow, draw).items()}
        else:
            arrays = forged_trace(arrays, draw)
    if draw.random() < 0.3:
        environment |= {"float32_precision": draw.choice(("tf32", "bf16")), "device": "cuda:0"}
    if draw.random() < 0.8:
        facts = retold(capture.view, facts, arrays)
    return dataclasses.replace(capture, facts=facts, arrays=arrays, environment=environment)


def told_of_map(raw: np.ndarray) -> dict:
    return {"peak": float(f"{float(np.abs(raw).max(initial=0.0)):.4g}"), "shape": list(raw.shape)}


def retold(view: str, facts: dict, arrays: dict) -> dict:
    """The facts with what people read made to fit the arrays again, as far as that can be."""
    facts = dict(facts)
    try:
        if view == "feature_maps":
            facts["layers"] = layer_rows(unpack_trace(arrays))
        elif view == "cam_map":
            facts |= told_of_map(arrays["map"])
            if SHADOW + "map" in arrays:
                facts["float32"] = {**facts["float32"], **told_of_map(arrays[SHADOW + "map"])}
        elif view == "training_curve":
            training = Training.from_arrays(arrays)
            facts |= {"steps": training.step_rows(), "parameters": training.parameter_rows()}
        elif view == "activation_maximization":
            facts["climbs"] = climb_rows(facts["filters"], arrays["curves"])
    except Exception:
        return facts
    return facts


def forged_value(value, draw: random.Random):
    """A JSON value with one part of it replaced, left out, doubled, renamed or exchanged with a neighbour."""
    if isinstance(value, dict) and value and draw.random() < 0.93:
        key, kind, changed = draw.choice(list(value)), draw.randrange(16), dict(value)
        if kind == 0:
            del changed[key]
        elif kind == 1:
            changed[draw.choice((str(key) + "x", *WORDS, *map(str, value)))] = changed.pop(key)
        elif kind == 2:
            other = draw.choice(list(value))
            changed[key], changed[other] = changed[other], changed[key]
        elif kind == 3:
            changed[draw.choice((*WORDS, *CONFIG))] = copy.deepcopy(value[key])
        else:
            changed[key] = forged_value(value[key], draw)
        return changed
    if isinstance(value, list) and value and draw.random() < 0.93:
        at, kind = draw.randrange(len(value)), draw.randrange(10)
        if kind == 0:
            return value[:at] + value[at + 1 :]
        if kind == 1:
            return [*value[:at], copy.deepcopy(value[at]), *value[at:]]
        return [*value[:at], forged_value(value[at], draw), *value[at + 1 :]]
    if isinstance(value, (int, float)) and not isinstance(value, bool) and draw.random() < 0.7:
        return draw.choice((value * 2, -value, value + 1, 1e300, 1e-300, 0))
    if isinstance(value, str) and draw.random() < 0.6:
        return forged_text(value, draw)
    return draw.choice((*NUMBERS, *WORDS, [], {}))


def forged_text(text: str, draw: random.Random) -> str:
    """A text with its numbers, or one of them, made near every other, or with a dtype of few digits."""
    new = draw.choice(("1000000e+999", "9" * 400, "0.9999450", "1e308", "1", "-1", "0x7f0000000000", "1700000000.123"))
    if draw.random() < 0.2:
        return draw.choice((*DTYPES, "cuda:0", "device(type='cuda', index=0)", "/tmp/x", f"{text} ", f"{text}, {text}"))
    return re.sub(r"(?<![\w.])\d[\d.]*(?:e-\d+)?(?![\w.])", new, text, count=draw.choice((0, 1)))


def forged_array(arrays: dict, draw: random.Random) -> dict:
    """One array scaled, with giants, emptied, cut, of another dtype, exchanged with another, or left out."""
    key, arrays = draw.choice(list(arrays)), dict(arrays)
    values, kind = arrays[key], draw.randrange(12)
    if kind == 0:
        del arrays[key]
    elif kind == 1:
        other = draw.choice(list(arrays))
        arrays[key], arrays[other] = arrays[other], arrays[key]
    elif kind == 2:
        arrays[key] = values.astype(draw.choice([np.float64, np.float32, np.float16, np.int64, np.uint8]))
    elif kind == 3:
        arrays[key] = values.reshape(-1)[: draw.randrange(values.size + 1)]
    elif values.dtype.kind == "f" and values.size:
        flat = values.astype(values.dtype).reshape(-1).copy()
        first, last = sorted(draw.randrange(flat.size + 1) for _ in range(2))
        with np.errstate(all="ignore"):
            if kind < 7:
                flat[first:last] *= draw.choice(FACTORS)
            elif kind < 10:
                flat[first:last] = draw.choice((0.0, 1.0, GIANT, 1e30, 1e300, np.nan, np.inf, -np.inf))
            else:
                flat = flat * draw.choice(FACTORS)
        arrays[key] = flat.reshape(values.shape)
    elif values.size:
        arrays[key] = np.full_like(values, draw.choice((0, 1, 127)))
    return arrays


def forged_trace(arrays: dict, draw: random.Random) -> dict:
    """The trace with what decides how it is compared changed: calls, leaves, dtypes, configuration, weights."""
    try:
        trace = unpack_trace(arrays)
    except Exception:  # what an earlier change has left is no trace any more
        return arrays
    for _ in range(draw.choice((1, 1, 2, 4))):
        change_trace(trace, draw)
    try:
        packed = pack_trace(trace)
    except (TypeError, ValueError, KeyError, AttributeError):
        return arrays
    if draw.random() < 0.1:
        structure = json.loads(zlib.decompress(packed["trace.structure"].tobytes()))
        text = json.dumps(forged_value(structure, draw))
        packed["trace.structure"] = np.frombuffer(zlib.compress(text.encode()), np.uint8)
    return {**arrays, **packed}


def change_trace(trace: ForwardTrace, draw: random.Random) -> None:
    names, tensors = list(trace.modules), list(trace.tensors)
    if not names:
        return
    kind = draw.randrange(18)
    if kind == 0 and trace.calls:  # a call that nobody made
        del trace.calls[draw.randrange(len(trace.calls))]
    elif kind == 1 and trace.calls:
        at = draw.randrange(len(trace.calls))
        trace.calls.insert(at, dataclasses.replace(draw.choice(trace.calls)))
    elif kind == 2 and trace.calls:
        call = draw.choice(trace.calls)
        call.depth = max(0, call.depth + draw.choice((-1, 1)))
    elif kind in (3, 4, 5) and trace.calls:  # something beside what was given or returned
        call, key = draw.choice(trace.calls), f"giant{draw.randrange(99)}"
        value = draw.choice((GIANT, 1.0, 0.0, 1e30, np.nan))
        dtype = draw.choice(("float32", *DTYPES))
        trace.tensors[key] = TensorRecord(dtype, draw.choice(((1,), ())), np.array([value], np.float32))
        path = draw.choice(("rest[0]", "x", "input", "", "[0]", "other", "b.weight, given by its caller"))
        if draw.random() < 0.5:
            call.inputs = {path: Leaf(tensor=key), **call.inputs}
            trace.modules[call.layer].config["forward"] = draw.choice(("*rest", "x, *rest", "*args", "input"))
        else:
            call.outputs = {path: Leaf(tensor=key), **(call.outputs or {})}
    elif kind == 6 and trace.calls and tensors:  # a leaf less, or another in its place
        call = draw.choice(trace.calls)
        leaves = dict(call.inputs if draw.random() < 0.5 else call.outputs or {})
        if leaves:
            path = draw.choice(list(leaves))
            change = draw.choice((None, Leaf(tensor=draw.choice(tensors)), Leaf(literal="<Net>"), Leaf(literal="1")))
            if change is None:
                del leaves[path]
            else:
                leaves[path] = change
            if draw.random() < 0.5:
                call.inputs = leaves
            else:
                call.outputs = leaves
    elif kind == 7 and trace.weights:  # weights that are not to be compared
        for name in names if draw.random() < 0.5 else [draw.choice(names)]:
            trace.modules[name].weights.clear()
        if draw.random() < 0.5:
            trace.weights.clear()
            for module in trace.modules.values():
                module.weights.clear()
    elif kind in (8, 9):
        config = trace.modules[draw.choice(names)].config
        config[draw.choice(CONFIG)] = draw.choice(("running_mean\nrunning_var\nweight\nbias\ntable", "x=1", *WORDS))
    elif kind == 10:
        name = draw.choice(names)
        other = draw.choice(("Sequential", "ModuleList", "LSTM"))
        trace.modules[name] = dataclasses.replace(trace.modules[name], class_name=other)
    elif kind == 11 and tensors:
        key = draw.choice(tensors)
        trace.tensors[key] = dataclasses.replace(trace.tensors[key], dtype=draw.choice(DTYPES))
    elif kind == 12 and tensors:
        table = draw.choice([table for table in (trace.tensors, trace.weights, trace.gradients) if table])
        factor = draw.choice(FACTORS)
        chosen = list(table) if draw.random() < 0.5 else [draw.choice(list(table))]
        for key in chosen:
            with np.errstate(all="ignore"):
                sketch = (table[key].sketch * factor).astype(table[key].sketch.dtype)
            table[key] = dataclasses.replace(table[key], sketch=sketch)
    elif kind == 13 and tensors:
        key = draw.choice(tensors)
        places = draw.choice(({"+1e9": (1, 5)}, {"nan": (1, 5)}, {"-1e30": (2, 2), "+inf": (1, 1)}))
        trace.tensors[key] = dataclasses.replace(trace.tensors[key], value_fingerprints=places)
    elif kind == 14 and tensors:
        key = draw.choice(tensors)
        record = trace.tensors[key]
        sketch = draw.choice((record.sketch[:0], np.concatenate([record.sketch] * 2), record.sketch[::-1]))
        trace.tensors[key] = dataclasses.replace(record, sketch=sketch)
    elif kind == 15 and len(names) > 1:
        name = draw.choice(names)
        module = trace.modules.pop(name)
        if draw.random() < 0.7:
            new = draw.choice(("other", f"{name}.x", *names))
            trace.modules.setdefault(new, module)
            for call in trace.calls:
                call.layer = new if call.layer == name else call.layer
        else:
            trace.calls[:] = [call for call in trace.calls if call.layer != name]
    elif kind == 17:
        config = trace.modules[draw.choice(names)].config
        for key in list(config):
            config[key] = forged_text(config[key], draw)
    elif kind == 16 and trace.weights:
        table = trace.modules[draw.choice(names)].weights
        if table:
            table[draw.choice(list(table))] = draw.choice(list(trace.weights))
