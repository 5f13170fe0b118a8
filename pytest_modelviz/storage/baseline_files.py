"""The files of one baseline as bytes, and a capture as such files and back. Reads and writes nothing."""

from dataclasses import dataclass, field
from typing import Any

from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.limits import FIXED, Limits
from pytest_modelviz.storage.formats import (
    decode_arrays,
    decode_json,
    encode_arrays,
    encode_json,
    require_owner,
    sha256,
    text_sha256,
)
from pytest_modelviz.storage.names import Location

ENDINGS = (".json", ".safetensors", ".png")
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Files:
    """A baseline's files as they are: JSON, safetensors and PNG.

    `is_cut_off` says that the write was interrupted before the arrays got their final name. `document` is the JSON
    file as `decode_json` reads it, where that has been done already.
    """

    text: bytes
    arrays: bytes | None = None
    picture: bytes | None = None
    is_cut_off: bool = False
    document: dict[str, Any] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Stored:
    """A baseline as read: `digest` identifies its content; `is_cut_off` is that of its files."""

    capture: Capture
    digest: str
    is_cut_off: bool = False


def encode_files(location: Location, capture: Capture, *, nodeid: str, name: str) -> Files:
    """A baseline's files, but for its picture. Raises ModelvizError for what cannot be stored."""
    arrays = encode_arrays(capture.arrays)
    digest = None if arrays is None else sha256(arrays)
    text = encode_json(capture, nodeid=nodeid, name=name, variant=location.variant, data_sha256=digest)
    return Files(text, arrays, None)


def decode_owned(files: Files, location: Location, *, nodeid: str, name: str, limits: Limits = FIXED) -> dict[str, Any]:
    """The document in the JSON file; raises UnreadableBaselineError where it is not this check's."""
    document = decode_json(files.text, limits) if files.document is None else files.document
    require_owner(document, nodeid=nodeid, name=name, variant=location.variant)
    return document


def decode_files(files: Files, location: Location, *, nodeid: str, name: str, limits: Limits) -> Stored:
    """The capture in a baseline's files; raises UnreadableBaselineError.

    Any other exception counts as damage, too: the content is untrusted, and not every defect can be foreseen.
    """
    document = decode_owned(files, location, nodeid=nodeid, name=name, limits=limits)
    try:
        arrays = {} if files.arrays is None else decode_arrays(files.arrays, limits)
    except UnreadableBaselineError:
        raise
    except Exception as error:
        raise UnreadableBaselineError(f"its arrays are damaged ({type(error).__name__}: {str(error)[:200]})") from error
    environment = {str(key): str(value) for key, value in document["environment"].items()}
    capture = Capture(document["view"], document["facts"], arrays, environment)
    return Stored(capture, text_sha256(files.text), files.is_cut_off)


def staged_name(location: Location, digest: str, ending: str = "safetensors") -> str:
    """The name under which a file waits for its proper one; it bears a digest, so that its JSON file can find it."""
    return str(location.folder / f".{location.stem}.{digest[:16]}.{ending}")
