"""Damage that git does to a binary file for which it changes line ends, recognised by what it leaves.

On checkout git writes CRLF for LF (`core.autocrlf`, `eol=crlf`): taking that back gives the file. On commit it writes
LF for CRLF: what was taken out is lost.
"""

from __future__ import annotations

import json
from typing import Any

from pytest_modelviz.storage.formats import sha256

_LENGTH_BYTES = 8  # a safetensors file begins with the length of its header
_LONGEST_HEADER = 100 * 2**20
_RULE = "let .gitattributes in the folder of the baselines say '*.safetensors binary'"


def line_end_damage(data: bytes, wanted: str) -> str | None:
    """What has happened to a safetensors file that should have the digest `wanted`; None if it is something else."""
    undone = data.replace(b"\r\n", b"\n")
    if undone != data and sha256(undone) == wanted:
        return (
            "git has changed its line ends on checkout (LF became CRLF), as if it were text; what is committed is "
            f"whole: {_RULE}, then remove the file and check it out again"
        )
    missing = _missing_bytes(undone)
    line_feeds = undone.count(b"\n")
    converted = data in (undone, undone.replace(b"\n", b"\r\n"))
    if missing is not None and 0 < missing <= line_feeds and converted:
        return (
            f"its content is {missing} bytes shorter than its header says, as when git takes it for text and makes LF "
            f"of each CRLF on commit: what is committed lacks them too. {_RULE[0].upper()}{_RULE[1:]}, and record it "
            f"anew (or restore it, if it was only cut off)"
        )
    return None


def _missing_bytes(data: bytes) -> int | None:
    """How much shorter the file is than its header says; None where the header makes no sense."""
    length = int.from_bytes(data[:_LENGTH_BYTES], "little")
    if not 0 < length <= min(_LONGEST_HEADER, len(data)):
        return None
    try:
        header: dict[str, Any] = json.loads(data[_LENGTH_BYTES : _LENGTH_BYTES + length])
        ends = [int(entry["data_offsets"][1]) for name, entry in header.items() if name != "__metadata__"]
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return None
    return _LENGTH_BYTES + length + max(ends, default=0) - len(data)
