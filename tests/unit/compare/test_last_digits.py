"""An update keeps a baseline only where all that it holds is what would be recorded, number by number."""

import copy
import dataclasses
import json
import zlib

import numpy as np
import pytest
import torch
from forgery_subjects import SUBJECTS
from torch import nn

from pytest_modelviz.compare.last_digits import differs_in_last_digits, has_same_noise
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.noise import packed_noise
from pytest_modelviz.records.sketch_version import EARLIER_VERSION
from pytest_modelviz.records.trace_arrays import pack_trace, stated_version, unpack_trace
from pytest_modelviz.records.trace_structure import needs_version
from pytest_modelviz.views.base import measured
from pytest_modelviz.views.training_curve.capture import TrainingCurveView

TRACED = [
    name for name in SUBJECTS if name.partition(" ")[0] not in ("model_summary", "model_graph", "a", "training_curve")
] + ["training_curve"]


def captured(name):
    view, _ = SUBJECTS[name]()
    return view.capture()


def is_noise(baseline, actual, **options):
    return differs_in_last_digits(baseline, actual, Tolerances(scale=0.1, **options))


def off(capture, factor):
    """All numbers of a capture times this."""
    arrays = {}
    for key, values in capture.arrays.items():
        floating = values.dtype.kind == "f"
        arrays[key] = (values * values.dtype.type(factor)).astype(values.dtype) if floating else values
    return dataclasses.replace(capture, arrays=arrays)


@pytest.mark.parametrize("name", SUBJECTS)
def test_the_last_digits_are_noise(name):
    capture = captured(name)
    assert is_noise(copy.deepcopy(capture), capture)
    assert is_noise(off(capture, 1 + 2e-7), capture)
    if capture.arrays:
        assert not is_noise(off(capture, 1.2), capture, rtol=0.5)
        key = next(iter(capture.arrays))
        assert not is_noise(dataclasses.replace(capture, arrays={key: capture.arrays[key]}), capture) or (
            len(capture.arrays) == 1
        )


CHANGES = {
    "signature": lambda trace: next(iter(trace.modules.values())).config.update(forward="x, mask"),
    "default": lambda trace: next(iter(trace.modules.values())).config.update(defaults="mask=None"),
    "state": lambda trace: next(iter(trace.modules.values())).config.update(rewritten="weight"),
    "weights": lambda trace: [module.weights.clear() for module in trace.modules.values()] and trace.weights.clear(),
    "a weight": lambda trace: trace.weights.update(
        {key: dataclasses.replace(record, sketch=-record.sketch) for key, record in list(trace.weights.items())[:1]}
    ),
    "results": lambda trace: trace.tensors.update(
        {key: dataclasses.replace(record, sketch=record.sketch * 1.01) for key, record in trace.tensors.items()}
    ),
    "a call": lambda trace: trace.calls.pop() if trace.calls else trace.modules.popitem(),
    "a tie": lambda trace: setattr(trace.structure, "ties", (("a", "b"),)),
}


@pytest.mark.parametrize("name", TRACED)
@pytest.mark.parametrize("change", CHANGES)
def test_nothing_that_a_trace_says_otherwise_is_noise(name, change):
    capture = captured(name)
    trace = unpack_trace(dict(capture.arrays))
    if change == "results" and not trace.tensors:
        pytest.skip("it holds none")
    CHANGES[change](trace)
    arrays = {**capture.arrays, **pack_trace(trace)}
    assert not is_noise(dataclasses.replace(capture, arrays=arrays), capture)


UNREAD = {
    "a key": lambda structure: structure.update(approved="by a maintainer"),
    "a key of a tensor": lambda structure: next(iter(structure["tensors"].values())).update(note="x"),
    "a tensor of no call": lambda structure: structure["tensors"].update(x={"d": "float32", "s": [0], "n": 0}),
}


@pytest.mark.parametrize("key", ["trace.structure", "shadow.structure"])
@pytest.mark.parametrize("change", UNREAD)
def test_nothing_that_is_read_by_nobody_is_noise(key, change):
    capture = captured("feature_maps in bfloat16")
    structure = json.loads(zlib.decompress(capture.arrays[key].tobytes()))

    def baseline():
        text = json.dumps(structure, separators=(",", ":")).encode()
        arrays = {**capture.arrays, key: np.frombuffer(zlib.compress(text, 1), np.uint8)}
        unpack_trace(arrays)  # it is not damaged
        return dataclasses.replace(capture, arrays=arrays)

    assert is_noise(baseline(), capture)  # compressed otherwise, as on another machine
    UNREAD[change](structure)
    assert not is_noise(baseline(), capture)


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        (np.array([1.0, np.nan, np.inf]), np.array([1.0, np.nan, np.inf]), True),
        (np.array([1.0, np.nan]), np.array([1.0, 2.0]), False),
        (np.array([1.0, 1e-6]), np.array([1.0, 2e-6]), False),
        (np.array([1.0, 1e-8]), np.array([1.0, 2e-8]), True),
        (np.array([1 + 1e-6]), np.array([1.0]), True),
        (np.array([1.0], np.float32), np.array([1.0]), False),
        (np.array([1.0]), np.array([[1.0]]), False),
        (np.array([3]), np.array([4]), False),
        (np.array([[[3, 200]]], np.uint8), np.array([[[4, 199]]], np.uint8), True),  # pixels
        (np.array([[[[3, 200]]]], np.uint8), np.array([[[[4, 199]]]], np.uint8), True),
        (np.array([[[3]]], np.uint8), np.array([[[5]]], np.uint8), False),
        (np.array([3, 200], np.uint8), np.array([4, 200], np.uint8), False),  # text
        (np.array([[3, 200]], np.uint8), np.array([[4, 200]], np.uint8), False),
        (np.array([True]), np.array([False]), False),
        (np.array([1 + 1j]), np.array([1 + 2j]), False),
        (np.zeros(0), np.zeros(0), True),
    ],
)
def test_numbers_are_compared_one_by_one(before, after, same):
    captures = (Capture("plain", {}, {"x": values}) for values in (before, after))
    assert is_noise(*captures) is same


@pytest.mark.parametrize(
    ("name", "key", "same"),
    [
        ("saliency_map in bfloat16", "float32.trace.structure", False),
        ("training_curve", "parameters.names", False),
        ("feature_maps", "profiles.shapes", False),
        ("feature_maps", "profiles.levels", True),
        ("feature_maps", "input", True),
    ],
)
def test_of_bytes_only_those_that_are_rounded_may_be_off_by_one(name, key, same):
    view, _ = SUBJECTS[name]()
    capture = measured(view, view.capture())
    values = capture.arrays[key].copy()
    values.flat[-1] ^= 1
    baseline = dataclasses.replace(capture, arrays={**capture.arrays, key: values})
    assert is_noise(capture, capture)
    assert is_noise(baseline, capture) is same


def test_sketches_of_a_large_tensor_are_packed_as_their_own_version_does():
    torch.manual_seed(0)
    model = nn.Linear(300, 300)  # of 90,000 weights
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step(number):
        loss = model(torch.ones(1, 300)).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    capture = TrainingCurveView(step, steps=2, model=model, optimizer=optimizer).capture()
    assert stated_version(capture.arrays) == EARLIER_VERSION
    assert needs_version(unpack_trace(capture.arrays))
    assert is_noise(capture, capture)


def test_facts_are_part_of_it():
    assert not is_noise(Capture("plain", {"forward": "x"}), Capture("plain", {"forward": "x, mask"}))
    assert not is_noise(Capture("plain", {}), Capture("plain", {"smooth": True}))


@pytest.mark.parametrize(
    ("stated", "same"),
    [
        ({"trace.noise": [1e-6, np.nan, np.inf]}, True),
        ({"trace.noise": [1.9e-6, np.nan, np.inf]}, True),
        ({"trace.noise": [1e-4, np.nan, np.inf]}, False),  # a forged one does not survive an update
        ({"trace.noise": [1e-6, 1e-6, np.inf]}, False),
        ({"trace.noise": [1e-6, np.nan, 1.0]}, False),
        ({"trace.noise": [1e-6, np.nan]}, False),
        ({}, False),  # a baseline of an earlier version is recorded anew
        ({"trace.noise": [1e-6, np.nan, np.inf], "explanation.noise": [0.1]}, False),
    ],
)
def test_a_baseline_is_kept_only_if_it_states_the_noise_that_is_measured(stated, same):
    measured = Capture("plain", {}, {"trace.noise": packed_noise([1e-6, None, np.inf])})
    baseline = Capture("plain", {}, {key: packed_noise(noise) for key, noise in stated.items()})
    assert has_same_noise(baseline, measured) is same
