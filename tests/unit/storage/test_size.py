"""How baselines are laid out in files: nothing lies there twice, and every way back gives what was there."""

from __future__ import annotations

import io

import numpy as np
import pytest
import safetensors.numpy
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from PIL import Image

from pytest_modelviz.compare.stored import stored_trace
from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.pictures.composite import sheet
from pytest_modelviz.pictures.exhibits import pictures_of
from pytest_modelviz.pictures.files import png_bytes
from pytest_modelviz.records.structure import ModelStructure, ModuleRecord
from pytest_modelviz.records.tensors import TensorRecord
from pytest_modelviz.records.trace import Call, ForwardTrace, Leaf
from pytest_modelviz.records.trace_arrays import pack_trace
from pytest_modelviz.storage.compression import compressed, expanded
from pytest_modelviz.storage.formats import decode_arrays, encode_arrays
from pytest_modelviz.storage.names import Location
from pytest_modelviz.storage.store import Store
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView

WIDE = 2**24


def trace(*sketches: np.ndarray) -> ForwardTrace:
    records = {str(at): TensorRecord("float32", (1000,), sketch) for at, sketch in enumerate(sketches)}
    weights = {f"w{at}": TensorRecord("float32", (1000,), sketch) for at, sketch in enumerate(sketches)}
    modules = {"": ModuleRecord("Net", {}, {key: key for key in weights})}
    call = Call("", 0, 0, {key: Leaf(tensor=key) for key in records}, {})
    return ForwardTrace(ModelStructure(modules, weights), [call], records)


def test_equal_sketches_lie_there_once_and_come_back_each():
    one, two, short = np.arange(251, dtype=np.float32), np.ones(251, np.float32), np.zeros(3, np.float32)
    wide = np.arange(20, dtype=np.float64)
    made = trace(one, two, one.copy(), short, short, wide, wide)
    arrays = pack_trace(made)
    assert arrays["trace.sketches"].size == 2 * 251 + 4 * 3
    assert arrays["trace.wide"].size == 20
    read = stored_trace(arrays)
    for before, after in ((made.tensors, read.tensors), (made.weights, read.weights)):
        assert list(before) == list(after)
        assert all(np.array_equal(before[key].sketch, after[key].sketch) for key in before)
        assert all(before[key].sketch.dtype == after[key].sketch.dtype for key in before)


def test_numbers_that_differ_in_sign_or_nan_are_not_the_same():
    zeros, negative = np.zeros(251, np.float32), -np.zeros(251, np.float32)
    assert pack_trace(trace(zeros, negative))["trace.sketches"].size == 2 * 251


@pytest.mark.parametrize("same", [[0, 252], [-1, 5], [1, -5], [200, 100], [0], [0, 251, 1], "ab", [None, 3]])
def test_a_record_that_shares_what_is_not_there_is_damaged(same):
    import json
    import zlib

    arrays = pack_trace(trace(np.arange(251, dtype=np.float32)))
    structure = json.loads(zlib.decompress(arrays["trace.structure"].tobytes()))
    structure["weights"]["w0"]["same"] = same
    arrays["trace.structure"] = np.frombuffer(zlib.compress(json.dumps(structure).encode()), np.uint8)
    with pytest.raises(UnreadableBaselineError):
        stored_trace(arrays)


@given(
    arrays_of.arrays(
        st.sampled_from([np.float16, np.uint8, np.float32]), arrays_of.array_shapes(max_dims=4, max_side=40)
    )
)
def test_arrays_come_back_bit_for_bit(array):
    (back,) = expanded(compressed({"picture.a": array}), WIDE).values()
    assert (back.dtype, back.shape, back.tobytes()) == (array.dtype, array.shape, array.tobytes())


def test_photographs_and_maps_take_less_room_and_what_is_compared_lies_there_as_it_is():
    ramp = np.add.outer(np.arange(96), np.arange(96)).astype(np.uint8)
    photo = np.stack([ramp, ramp // 2, 255 - ramp], axis=-1)
    maps = np.maximum(np.sin(np.arange(8192)).reshape(8, 32, 32), 0).astype(np.float16)
    arrays = {"input": photo, "picture.relu": maps, "trace.sketches": np.zeros(4096, np.float32)}
    data = encode_arrays(arrays)
    assert len(data) < photo.nbytes / 4 + maps.nbytes + 4096 * 4
    stored = safetensors.numpy.load(data)
    assert np.array_equal(stored["trace.sketches"], arrays["trace.sketches"])
    back = decode_arrays(data)
    assert back.keys() == arrays.keys()
    assert all(np.array_equal(back[key], arrays[key]) for key in arrays)
    earlier = safetensors.numpy.save(arrays)  # as it was written before
    assert all(np.array_equal(decode_arrays(earlier)[key], arrays[key]) for key in arrays)


@pytest.mark.parametrize(
    ("key", "data", "message"),
    [
        ("picture.a|float16[32,32]", b"no zlib", "damaged"),
        ("picture.a|float16[32,33]", None, "damaged"),  # fewer numbers than its key says
        ("picture.a|float16[32,31]", None, "damaged"),  # more
        ("picture.a|float16[99999,99999]", None, "absurdly large"),
        ("picture.a|uint8[" + ",".join(["9" * 9] * 8) + "]", None, "of a shape that no array has"),
    ],
)
def test_what_was_not_written_so_is_damaged(key, data, message):
    whole = compressed({"a": np.zeros((32, 32), np.float16)})["a|float16[32,32]"].tobytes()
    with pytest.raises(UnreadableBaselineError, match=message):
        expanded({key: np.frombuffer(data or whole, np.uint8)}, WIDE)


def test_what_was_packed_is_laid_out_once_and_in_its_place():
    maps = np.zeros((32, 32), np.float16)
    arrays = expanded({"z": np.zeros(2), **compressed({"a": maps, "b": maps + 1})}, WIDE)
    assert (list(arrays), len(arrays), "a" in arrays, "c" in arrays) == (["z", "a", "b"], 3, True, False)
    assert arrays["b"].tolist() == (maps + 1).tolist()
    assert arrays["b"] is arrays["b"]
    assert list(arrays) == ["z", "a", "b"]
    with pytest.raises(KeyError):
        arrays["c"]


@pytest.mark.parametrize(
    "key", ["a|b", "a|float32[2]", "a|float16[]", "|float16[2", "a|float16[2]", "a|uint8[" + "9" * 5000 + "]"]
)
def test_an_array_of_somebody_s_own_may_be_called_anything(key):
    array = np.zeros(2, np.float32)
    assert expanded({key: array}, WIDE)[key] is array


def test_a_picture_keeps_its_colours():
    ramp = np.tile(np.linspace(0, 255, 200, dtype=np.uint8)[None, :, None], (50, 1, 3))
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    for image, most in ((ramp, 0.0), (noise, 30.0)):
        back = np.asarray(Image.open(io.BytesIO(png_bytes(image))).convert("RGB")).astype(float)
        assert np.sqrt(((back - image) ** 2).mean()) <= most


def test_the_baseline_of_a_resnet_50_is_small(tmp_path):
    from torchvision.models import resnet50

    torch.manual_seed(0)
    view = FeatureMapsView(resnet50(weights=None).eval(), torch.rand(1, 3, 224, 224))
    capture = view.capture()
    picture = png_bytes(sheet(pictures_of(view.picture(capture))))
    where = Location.of("test_net.py::test_net", "feature_maps", None)
    Store(tmp_path).save(where, capture, nodeid="test_net.py::test_net", name="feature_maps", picture=picture)
    sizes = {path.suffix: path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()}
    assert {".json", ".safetensors", ".png"} <= set(sizes)
    assert sum(sizes.values()) < 350_000  # 401 KB before
