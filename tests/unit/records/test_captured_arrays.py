"""A trace that is compared as it was captured is the one that its baseline would be read as."""

import dataclasses
import json
import unittest.mock
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from traces_by_hand import trace
from zoo import ZOO, SmallNet, images

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.records import trace_arrays
from pytest_modelviz.records.captured_arrays import compared_names
from pytest_modelviz.records.sketch_version import EARLIER_VERSION, SKETCH_VERSION, sketched_as
from pytest_modelviz.records.trace_arrays import captured_arrays, pack_trace, stated_version, unpack_trace
from pytest_modelviz.records.trace_structure import packed_names
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView


def as_plain_data(value):
    """A trace as nested tuples that can be compared, with the order of its tables."""
    if isinstance(value, np.ndarray):
        return str(value.dtype), value.shape, value.tobytes()
    if dataclasses.is_dataclass(value):
        return tuple(as_plain_data(getattr(value, field.name)) for field in dataclasses.fields(value))
    if isinstance(value, Mapping):
        return tuple((key, as_plain_data(item)) for key, item in value.items())
    return tuple(map(as_plain_data, value)) if isinstance(value, (list, tuple)) else value


@pytest.mark.parametrize("version", [EARLIER_VERSION, SKETCH_VERSION])
@pytest.mark.parametrize("name", ZOO)
def test_what_is_compared_is_what_would_be_read_back(name, version):
    torch.manual_seed(0)
    with sketched_as(version):
        arrays = FeatureMapsView(ZOO[name].build(), ZOO[name].input()).capture().arrays
    assert as_plain_data(unpack_trace(arrays)) == as_plain_data(unpack_trace(dict(arrays)))
    assert stated_version(arrays) == stated_version(dict(arrays))


@pytest.mark.parametrize("version", [EARLIER_VERSION, SKETCH_VERSION])
def test_sketches_of_large_tensors_keep_their_version_until_they_are_packed(version):
    model, image = torch.nn.Conv2d(3, 8, 3, padding=1), torch.rand(1, 3, 128, 128)
    with sketched_as(version):
        arrays = FeatureMapsView(model, image).capture().arrays
    assert stated_version(arrays) == stated_version(dict(arrays)) == version
    assert as_plain_data(unpack_trace(arrays)) == as_plain_data(unpack_trace(dict(arrays)))


def test_what_nothing_refers_to_is_not_compared():
    own = trace()
    key = next(iter(own.tensors))
    own.tensors["extra"], own.structure.weights["extra"] = own.tensors[key], own.tensors[key]
    arrays = captured_arrays(own, {"map": np.ones(2)})
    assert "extra" not in unpack_trace(arrays).tensors
    assert "extra" not in unpack_trace(arrays).weights
    assert arrays["map"].tolist() == [1.0, 1.0]
    assert len(arrays) == len(list(arrays)) == 4


def test_a_match_packs_nothing():
    view = FeatureMapsView(SmallNet(), images())
    baseline = view.capture()
    stored = dataclasses.replace(baseline, arrays=dict(baseline.arrays))
    with unittest.mock.patch.object(trace_arrays, "pack_trace") as packing:
        assert view.compare(stored, view.capture(), Tolerances()).matched
    assert not packing.called


@pytest.mark.parametrize("name", ZOO)
def test_calls_are_left_in_the_order_of_events(name):
    torch.manual_seed(0)
    own = FeatureMapsView(ZOO[name].build(), ZOO[name].input()).capture().arrays.trace
    left = [(id(event.call), id(event.parent)) for event in own.events() if event.kind == "leave"]
    assert [(id(call), id(parent)) for call, parent in own.left()] == left
    assert len(left) == len(own.calls)


def test_facts_are_plain_json():
    facts = FeatureMapsView(SmallNet(), images()).capture().facts
    assert json.loads(json.dumps(facts))["layers"] == facts["layers"]


def test_names_are_known_before_anything_is_packed_or_pictured():
    made = []

    def pictures():
        made.append("pictures")
        return {"input": np.zeros(3)}

    with unittest.mock.patch.object(trace_arrays, "pack_trace") as packing:
        arrays = captured_arrays(trace(), {"map": np.ones(2)}, pictures)
        assert {"trace.structure", "trace.sketches", "trace.wide", "map"} == set(compared_names(arrays))
        assert "trace.structure" in arrays
        assert "map" in arrays
        assert arrays["map"].tolist() == [1.0, 1.0]
        assert not packing.called
    assert not made
    assert arrays["trace.structure"].dtype == np.uint8
    assert not made
    assert arrays["input"].tolist() == [0.0, 0.0, 0.0]
    assert "other" not in arrays
    assert list(arrays) == ["trace.structure", "trace.sketches", "trace.wide", "map", "input"]
    assert made == ["pictures"]
    assert set(compared_names(dict(arrays))) == set(arrays)


@pytest.mark.parametrize("name", ZOO)
def test_a_trace_is_packed_into_the_arrays_that_are_named(name):
    torch.manual_seed(0)
    view = FeatureMapsView(ZOO[name].build(), ZOO[name].input())
    capture = view.capture()
    own, recorded = capture.arrays.trace, unpack_trace(dict(view.with_noise(capture).arrays))
    for each in (own, recorded):
        assert packed_names(each) == pack_trace(each).keys()
