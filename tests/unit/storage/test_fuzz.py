"""Damaged files, thousands of them: each ends as a clean "unreadable" or as the capture that was recorded.

MODELVIZ_FORGERIES sets how many: thirty times as many are damaged, and ten times as many forged.
"""

import json
import os
import random
import zlib

import numpy as np
import pytest
from recorded_views import IDS, VIEWS, WHERE, outcome

from pytest_modelviz.records.capture import Capture
from pytest_modelviz.storage.formats import content_digest, decode_json, encode_arrays, sha256
from pytest_modelviz.storage.store import Store

FORGERIES = int(os.environ.get("MODELVIZ_FORGERIES", "100"))
DAMAGED_FILES = 30 * FORGERIES  # over all views
FORGED_FILES = 10 * FORGERIES  # changed with care, by somebody who mends the digests


@pytest.fixture(scope="module", params=VIEWS)
def recorded(request, tmp_path_factory):
    """(view, what it captured, the folder and files of its baseline)"""
    folder = tmp_path_factory.mktemp("baselines")
    view = VIEWS[request.param]
    capture = view.capture()
    Store(folder).save(WHERE, capture, **IDS)
    files = {path: path.read_bytes() for path in sorted(folder.rglob("[!.]*.*")) if path.is_file()}
    return view, capture, folder, files


def damaged(data: bytes, draw: random.Random) -> bytes:
    """What disks, networks, editors and merges do to files."""
    at, other = sorted(draw.randrange(len(data) + 1) for _ in range(2))
    kind = draw.randrange(9)
    if kind == 0:
        return data[:at]
    if kind == 1:
        return data[:at] + data[other:]
    if kind == 2:
        return data[:at] + data[at:other] * 2 + data[other:]
    if kind == 3:
        return data[:at] + bytes(draw.randrange(256) for _ in range(draw.randrange(1, 9))) + data[at:]
    if kind == 4:
        return data[:at] + bytes(other - at) + data[other:]
    if kind == 5:
        return draw.choice([b"", b"\0" * 64, b"version https://git-lfs\n", b"\x80\x04K\x01.", data + data, data[::-1]])
    if kind == 6:  # digits are what people edit
        digits = [index for index, byte in enumerate(data) if chr(byte).isdigit()] or [0]
        chosen = draw.choice(digits)
        return data[:chosen] + str(draw.randrange(10)).encode() + data[chosen + 1 :]
    flips = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 8))):
        flips[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return bytes(flips)


def same(one: Capture, other: Capture) -> bool:
    """Equal in all that is compared or shown; the environment never makes a check fail."""
    return (
        one.view == other.view
        and json.dumps(one.facts) == json.dumps(other.facts)
        and set(one.arrays) == set(other.arrays)
        and all(np.array_equal(one.arrays[key], other.arrays[key], equal_nan=True) for key in one.arrays)
    )


def test_damage_is_unreadable_or_harmless(recorded):
    view, capture, folder, files = recorded
    draw = random.Random(view.view)
    harmless = 0
    for _ in range(DAMAGED_FILES // len(VIEWS) + 1):
        path, data = draw.choice(list(files.items()))
        path.write_bytes(damaged(data, draw))
        try:
            found = outcome(view, folder, capture)
        finally:
            path.write_bytes(data)
        if found is not None:
            harmless += 1
            assert same(found[0], capture)
            assert found[1].matched
    assert 0 < harmless < DAMAGED_FILES // len(VIEWS) / 2
    assert same(outcome(view, folder, capture)[0], capture)


def forged(value: object, draw: random.Random) -> object:
    """The same JSON value with one place of it replaced."""
    strange = [None, -1, 0, 1, 2**63, 2**70, 1e308, "", "x", "\ud800", [], {}, [[]], True, {"a": 1}, "conv1"]
    if isinstance(value, dict) and value and draw.random() < 0.9:
        key = draw.choice(list(value))
        changed = dict(value)
        kind = draw.randrange(12)
        if kind == 0:
            del changed[key]
        elif kind == 1:
            changed[str(key) + "x"] = changed.pop(key)
        else:
            changed[key] = forged(value[key], draw)
        return changed
    if isinstance(value, list) and value and draw.random() < 0.9:
        at = draw.randrange(len(value))
        kind = draw.randrange(12)
        if kind == 0:
            return value[:at] + value[at + 1 :]
        if kind == 1:
            return value[:at] + [value[at]] * 2 + value[at:]
        return [*value[:at], forged(value[at], draw), *value[at + 1 :]]
    return draw.choice(strange)


def forged_arrays(arrays, draw: random.Random):
    arrays = dict(arrays)
    key = draw.choice(list(arrays))
    values = arrays[key]
    if key == "trace.structure" and draw.random() < 0.9:
        structure = forged(json.loads(zlib.decompress(values.tobytes())), draw)
        arrays[key] = np.frombuffer(zlib.compress(json.dumps(structure).encode()), np.uint8)
        return arrays
    kind = draw.randrange(8)
    if kind == 0:
        del arrays[key]
    elif kind == 1:
        arrays[key + "x"] = arrays.pop(key)
    elif kind == 2:
        arrays[key] = values.reshape(-1)[: draw.randrange(values.size + 1)]
    elif kind == 3:
        arrays[key] = values.astype(draw.choice([np.float64, np.int8, np.bool_, np.uint8, np.float16]))
    elif kind == 4:
        arrays[key] = np.full_like(values, draw.choice([0, 1, 127]))
    elif kind == 5 and values.dtype.kind == "f":
        arrays[key] = np.full_like(values, draw.choice([np.nan, np.inf, -np.inf]))
    elif kind == 6:
        arrays[key] = values.reshape((1, *values.shape))
    else:
        arrays[key] = np.zeros(draw.choice([(0,), (0, 3), (2, 0, 2), (1, 1, 1)]), values.dtype)
    return arrays


def test_forged_files_raise_nothing_but_unreadable(recorded):
    """Files whose digests are right may say anything: drift, match or unreadable, never a traceback."""
    view, capture, folder, files = recorded
    draw = random.Random(view.view + "forged")
    text_path = next(path for path in files if path.suffix == ".json")
    readable = 0
    with np.errstate(all="ignore"):
        for _ in range(FORGED_FILES // len(VIEWS)):
            document = json.loads(files[text_path])
            if capture.arrays and draw.random() < 0.6:
                data = encode_arrays(forged_arrays(capture.arrays, draw))
                document["data_sha256"] = sha256(data)
                text_path.with_suffix(".safetensors").write_bytes(data)
            if draw.random() < 0.5 or not capture.arrays:
                document["facts"] = forged(document["facts"], draw)
            document["content_sha256"] = content_digest(document)
            text_path.write_text(json.dumps(document))
            try:
                readable += outcome(view, folder, capture) is not None
            except Exception as error:  # which file it was is lost otherwise
                raise AssertionError(
                    f"{type(error).__name__}: {error}\n{json.dumps(document['facts'])[:500]}"
                ) from error
    for path, data in files.items():
        path.write_bytes(data)
    assert readable
    assert decode_json(files[text_path])
