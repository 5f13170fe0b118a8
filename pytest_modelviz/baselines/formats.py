"""Captures as bytes and back: JSON that a person can review, safetensors for what is compared.

Reading executes nothing and trusts nothing: each way in which a file can be wrong has its own message.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from pytest_modelviz.capture import Array, Capture
from pytest_modelviz.errors import UnreadableBaselineError

SCHEMA = 1
MAX_JSON_BYTES = 64 * 2**20
MAX_ARRAY_BYTES = 512 * 2**20

_ROWS_FROM = 2  # below this depth a value stands on one line


def encode_json(capture: Capture, *, nodeid: str, name: str, data_sha256: str | None) -> bytes:
    """The reviewable file: one line for each layer, no digits that are noise, a stable order."""
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "nodeid": nodeid,
        "view": capture.view,
        "name": name,
        "data_sha256": data_sha256,
        "environment": dict(sorted(capture.environment.items())),
        "facts": capture.facts,
    }
    if data_sha256 is None:
        del document["data_sha256"]
    return (_render(document, 0) + "\n").encode("utf-8", "backslashreplace")


def encode_arrays(arrays: Mapping[str, Array]) -> bytes | None:
    """Safetensors bytes, the same for the same arrays; None where there are none."""
    if not arrays:
        return None
    ordered = {key: np.ascontiguousarray(arrays[key]) for key in sorted(arrays)}
    return bytes(safetensors.numpy.save(ordered))


def _render(value: Any, depth: int) -> str:
    indent = "  " * (depth + 1)
    if isinstance(value, Mapping) and value and (depth < _ROWS_FROM or _is_table(value)):
        rows = [
            f"{indent}{json.dumps(str(key), ensure_ascii=False)}: {_render(v, depth + 1)}" for key, v in value.items()
        ]
        return "{\n" + ",\n".join(rows) + "\n" + "  " * depth + "}"
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _is_table(value: Mapping[str, Any]) -> bool:
    """A mapping of mappings: its entries stand on lines of their own."""
    return all(isinstance(row, Mapping) for row in value.values())


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def decode_json(data: bytes, *, nodeid: str, name: str) -> dict[str, Any]:
    """Parse and check the reviewable file; raises UnreadableBaselineError with the reason and the remedy."""
    if len(data) > MAX_JSON_BYTES:
        raise UnreadableBaselineError(f"it is absurdly large ({len(data)} bytes)")
    if not data.strip():
        raise UnreadableBaselineError("it is empty: restore it from version control")
    _refuse_pointer(data)
    if any(line.startswith((b"<<<<<<< ", b">>>>>>> ")) for line in data.splitlines()):
        raise UnreadableBaselineError("it holds a merge conflict: take one side, or record it anew")
    try:
        document = json.loads(data.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise UnreadableBaselineError(f"it is not valid JSON ({error}): restore it from version control") from error
    if not isinstance(document, dict) or type(document.get("schema")) is not int or document["schema"] < 1:
        raise UnreadableBaselineError("it was not written by pytest-modelviz")
    if document["schema"] > SCHEMA:
        raise UnreadableBaselineError(
            f"it has schema {document['schema']}, newer than this version knows ({SCHEMA}): upgrade pytest-modelviz"
        )
    if document.get("nodeid") != nodeid:
        raise UnreadableBaselineError(
            f"it belongs to another test, {document.get('nodeid')!r}: if it was moved on purpose, record it anew"
        )
    if document.get("name") != name or not isinstance(document.get("view"), str):
        raise UnreadableBaselineError(f"it belongs to another check, {document.get('name')!r}")
    if not isinstance(document.get("facts"), dict) or not isinstance(document.get("environment", {}), dict):
        raise UnreadableBaselineError("parts of it are missing")
    digest = document.get("data_sha256", "0" * 64)
    if not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}", digest):
        raise UnreadableBaselineError("its digest is damaged")
    return document


def decode_arrays(data: bytes) -> dict[str, Array]:
    """Parse safetensors bytes; raises UnreadableBaselineError."""
    if len(data) > MAX_ARRAY_BYTES:
        raise UnreadableBaselineError(f"its safetensors file is absurdly large ({len(data)} bytes)")
    _refuse_pointer(data)
    try:
        return dict(safetensors.numpy.load(data))
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise UnreadableBaselineError(f"its safetensors file is damaged ({error})") from error


def _refuse_pointer(data: bytes) -> None:
    if data.startswith(b"version https://git-lfs"):
        raise UnreadableBaselineError("it is a Git LFS pointer, not the file itself: run 'git lfs pull'")


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def plain_number(value: float) -> float | None:
    """A number as JSON can hold it: None stands for what is infinite or not a number."""
    return value if math.isfinite(value) else None
