"""Captures as bytes and back: JSON that a person can review, safetensors for what is compared.

Reading executes nothing and trusts nothing: each way in which a file can be wrong has its own message. numpy is
imported with the first array: a command that only lists baselines starts without it.
"""

import codecs
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from pytest_modelviz.errors import ForeignBaselineError, ModelvizError, OversizedBaselineError, UnreadableBaselineError
from pytest_modelviz.records.capture import Array, Capture
from pytest_modelviz.records.limits import FIXED, Limits
from pytest_modelviz.storage.limits import require_structure
from pytest_modelviz.storage.renaming import foreign_reason
from pytest_modelviz.text.strict_json import TooManyValuesError, parse_json

SCHEMA = 1

_SEAL = "content_sha256"  # the key of a document's digest of its content
_KEYS = {"schema", "nodeid", "view", "name", "variant", "data_sha256", "environment", "facts", _SEAL}  # of a recording
_PARTS = {"view": str, "facts": dict, "environment": dict}
_CONFLICT = b"<<<<<<< ", b">>>>>>> "
_LENGTH_BYTES = 8  # a safetensors file begins with the length of its header
_ROWS_FROM = 2  # below this depth a value takes one line


def encode_json(
    capture: Capture, *, nodeid: str, name: str, variant: str | None = None, data_sha256: str | None = None
) -> bytes:
    """The reviewable file: one line for each layer, no digits that are noise, a stable order.

    It carries a digest of its content, so that damage, and what a merge has put together, is noticed.
    """
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "nodeid": nodeid,
        "view": capture.view,
        "name": name,
        **({} if variant is None else {"variant": variant}),
        **({} if data_sha256 is None else {"data_sha256": data_sha256}),
        "environment": dict(sorted(capture.environment.items())),
        "facts": capture.facts,
    }
    try:
        document[_SEAL] = content_digest(parse_json(_encoded(document)))
    except (TypeError, ValueError, RecursionError) as error:
        raise ModelvizError(f"the capture cannot be stored: its facts are not JSON ({error})") from error
    text = _encoded({key: document[key] for key in sorted(document, key=lambda key: key in ("environment", "facts"))})
    _require_room("JSON", len(text), FIXED.json_bytes)
    return text


def _require_room(content: str, size: int, most: int) -> None:
    """Nothing is recorded that could not be read again."""
    if size > most:
        raise ModelvizError(
            f"the capture cannot be stored: it takes {size} bytes of {content}, and at most {most} are "
            f"ever read. Check a part of the model, or fewer layers"
        )


def _encoded(document: Mapping[str, Any]) -> bytes:
    return (_render(document, 0) + "\n").encode("utf-8", "backslashreplace")


def renamed_json(document: Mapping[str, Any], nodeid: str, *, moved_from: str | None = None) -> bytes:
    """The file of a document, for a test that is called `nodeid` now. What is compared stays under its seal.

    `moved_from` is its old id, for as long as the baseline lies under that one too.
    """
    head = {"schema": document["schema"], "nodeid": nodeid}
    moved = {} if moved_from is None else {"moved_from": moved_from}
    rest = {key: value for key, value in document.items() if key not in (*head, "moved_from")}
    return _encoded({**head, **moved, **rest})


def unknown_keys(data: bytes) -> list[str]:
    """The keys of a reviewable file that no recording of this version has: not compared, and covered by no digest.

    `moved_from` is one of them: what is recorded has come from nowhere.
    """
    return sorted(decode_json(data).keys() - _KEYS)


def has_metadata(arrays: bytes) -> bool:
    """Whether safetensors bytes that can be read hold texts beside their arrays, which this version does not write."""
    length = int.from_bytes(arrays[:_LENGTH_BYTES], "little")
    return "__metadata__" in parse_json(arrays[_LENGTH_BYTES : _LENGTH_BYTES + length])


def content_digest(document: Mapping[str, Any]) -> str:
    """The digest of what is compared, however it is laid out in the file.

    Whose baseline it is stays outside, so that a renamed test can be given its baseline by hand; so does the
    environment, which never makes a check fail.
    """
    content = [document.get("facts"), document.get("data_sha256")]
    return sha256(json.dumps(content, allow_nan=False, check_circular=False).encode())  # what was parsed has no cycles


def text_sha256(data: bytes) -> str:
    """The digest of a text file, the same if it was given other line ends or a byte order mark."""
    return sha256(data.removeprefix(codecs.BOM_UTF8).replace(b"\r\n", b"\n"))


def encode_arrays(arrays: Mapping[str, Array]) -> bytes | None:
    """Safetensors bytes, the same for the same arrays; None where there are none."""
    if not arrays:
        return None
    import numpy as np
    import safetensors.numpy

    from pytest_modelviz.storage.compression import compressed

    stored = compressed({key: arrays[key] for key in sorted(arrays)})
    _require_room("arrays", sum(array.nbytes for array in arrays.values()), FIXED.array_bytes)
    ordered = {key: np.require(array, requirements="C") for key, array in stored.items()}
    try:
        return bytes(safetensors.numpy.save(ordered))
    except Exception as error:  # its own, which says nothing of which array
        odd = [key for key, array in ordered.items() if not _is_storable(array)]
        names = ", ".join(f"{key!r} ({ordered[key].dtype})" for key in odd) or error
        raise ModelvizError(f"the capture cannot be stored: the arrays {names}") from error


def _is_storable(array: Array) -> bool:
    import safetensors.numpy

    try:
        safetensors.numpy.save({"one": array})
    except Exception:
        return False
    return True


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


def decode_json(data: bytes, limits: Limits = FIXED) -> dict[str, Any]:
    """Parse and check the reviewable file; raises UnreadableBaselineError with the reason and the remedy."""
    if len(data) > limits.json_bytes:
        raise OversizedBaselineError(f"it is absurdly large ({len(data)} bytes)")
    data = data.removeprefix(codecs.BOM_UTF8)
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise UnreadableBaselineError("it is not valid JSON (something converted it to UTF-16): restore it")
    if not data.strip(b" \t\r\n\0"):
        raise UnreadableBaselineError("it is empty: restore it from version control")
    _refuse_pointer(data)
    if _has_conflict(data):
        raise UnreadableBaselineError("it holds a merge conflict: take one side, or record it anew")
    try:
        document = parse_json(data, most_values=limits.json_values)
        whole = isinstance(document, dict) and document.get(_SEAL) == content_digest(document)
    except TooManyValuesError as error:
        raise OversizedBaselineError(f"it is absurdly large ({error})") from error
    except (ValueError, RecursionError) as error:
        raise UnreadableBaselineError(f"it is not valid JSON ({error}): restore it from version control") from error
    if not isinstance(document, dict) or type(document.get("schema")) is not int or document["schema"] < 1:
        raise UnreadableBaselineError("it was not written by pytest-modelviz")
    if document["schema"] > SCHEMA:
        raise UnreadableBaselineError(
            f"it has schema {document['schema']}, newer than this version knows ({SCHEMA}): upgrade pytest-modelviz"
        )
    if not isinstance(document.get("nodeid"), str) or not isinstance(document.get("name"), str):
        raise UnreadableBaselineError("it does not say which test it belongs to")
    if not all(isinstance(document.get(part), kind) for part, kind in _PARTS.items()):
        raise UnreadableBaselineError("parts of it are missing")
    digest = document.get("data_sha256", "0" * 64)
    if not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}", digest):
        raise UnreadableBaselineError("its digest is damaged")
    if not whole:
        raise UnreadableBaselineError(
            f"its content is not what was recorded: it was damaged, edited or merged, or its keys were sorted by a "
            f"formatter (its {_SEAL} says so). Restore it from version control, or record it anew"
        )
    return document


def require_owner(document: Mapping[str, Any], *, nodeid: str, name: str, variant: str | None = None) -> None:
    """Make sure that a document is of this check of this test; raises UnreadableBaselineError."""
    owner = document["nodeid"]
    if owner != nodeid:
        raise ForeignBaselineError(foreign_reason(owner, nodeid), owner)
    if document["name"] != name:
        raise UnreadableBaselineError(f"it belongs to another check, {document['name']!r}")
    if document.get("variant") != variant:
        raise UnreadableBaselineError(f"it belongs to another variant, {document.get('variant')!r}")


def decode_arrays(data: bytes, limits: Limits = FIXED) -> Mapping[str, Array]:
    """Parse safetensors bytes; raises UnreadableBaselineError, before anything is unpacked that is too large."""
    from pytest_modelviz.storage.compression import expanded

    arrays = expanded(_stored_arrays(data, limits), limits.array_bytes)
    require_structure(arrays, limits)
    return arrays


def require_whole(data: bytes) -> None:
    """Raises UnreadableBaselineError for safetensors bytes that `decode_arrays` would refuse; keeps nothing of them."""
    from pytest_modelviz.storage.compression import require_expandable

    require_expandable(_stored_arrays(data, FIXED), FIXED.array_bytes)


def _stored_arrays(data: bytes, limits: Limits) -> dict[str, Array]:
    """The arrays as they stand in the file."""
    if len(data) > limits.array_bytes:
        raise OversizedBaselineError(f"its safetensors file is absurdly large ({len(data)} bytes)")
    _refuse_pointer(data)
    _require_header(data, limits)
    import safetensors.numpy
    from safetensors import SafetensorError

    try:
        stored = dict(safetensors.numpy.load(data))
    # the last three: a shape whose size overflows, a dtype for which a package is missing, a size beyond memory
    except (SafetensorError, ValueError, KeyError, TypeError, OverflowError, ImportError, MemoryError) as error:
        raise UnreadableBaselineError(f"its safetensors file is damaged ({error})") from error
    return stored


def _require_header(data: bytes, limits: Limits) -> None:
    """Checks the list of arrays at the start of the file: no name occurs twice, and there are not absurdly many."""
    length = int.from_bytes(data[:_LENGTH_BYTES], "little")
    if limits.header_bytes < length <= len(data):
        raise OversizedBaselineError(f"its safetensors file names an absurd number of arrays ({length} bytes of names)")
    try:
        parse_json(data[_LENGTH_BYTES : _LENGTH_BYTES + length])
    except (ValueError, RecursionError) as error:
        raise UnreadableBaselineError(f"its safetensors file is damaged ({error})") from error


def _has_conflict(data: bytes) -> bool:
    """Whether a line begins as git marks one side of a merge conflict."""
    if not any(marker in data for marker in _CONFLICT):
        return False
    return any(line.startswith(_CONFLICT) for line in data.splitlines())


def _refuse_pointer(data: bytes) -> None:
    if data.startswith(b"version https://git-lfs"):
        raise UnreadableBaselineError("it is a Git LFS pointer, not the file itself: run 'git lfs pull'")
