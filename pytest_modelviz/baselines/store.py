"""Reading and writing baselines in a folder: each is whole at every moment, the old one or the new one.

A baseline is a JSON file that names, by digest, the safetensors file it belongs to. A new safetensors file is first
written beside the old one under its digest; replacing the JSON file is the one step that makes the baseline new; then
the safetensors file takes its proper name. A reader that finds the JSON file ahead of the safetensors file takes the
one that still bears its digest. Pictures are for people and are replaced last.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

from pytest_modelviz.baselines.formats import (
    MAX_ARRAY_BYTES,
    MAX_JSON_BYTES,
    decode_arrays,
    decode_json,
    encode_arrays,
    encode_json,
    sha256,
)
from pytest_modelviz.baselines.names import Location
from pytest_modelviz.capture import Capture
from pytest_modelviz.errors import ModelvizError, UnreadableBaselineError

_ABANDONED_SECONDS = 3600.0  # a younger unfinished file may be another process's


@dataclass(frozen=True)
class Stored:
    """A baseline as read: `digest` identifies its content."""

    capture: Capture
    digest: str


class Store:
    """A folder of baselines (or of candidates, which have the same layout)."""

    def __init__(self, root: Path, *, what: str = "baseline", option: str = "--modelviz-baseline-dir") -> None:
        """`what` is kept here and `option` chooses the folder: for messages."""
        self.root, self._what, self._option = root, what, option

    def json_path(self, location: Location) -> Path:
        return self.root / location.folder / f"{location.stem}.json"

    def load(self, location: Location, *, nodeid: str, name: str) -> Stored | None:
        """The baseline of a check, None where there is none; raises UnreadableBaselineError."""
        path = self.json_path(location)
        try:
            data = _read(path, MAX_JSON_BYTES, self.root)
        except FileNotFoundError:
            if path.with_suffix(".safetensors").exists():
                raise UnreadableBaselineError(f"{path.name} is missing beside its safetensors file") from None
            return None
        document = decode_json(data, nodeid=nodeid, name=name)
        wanted = document.get("data_sha256")
        arrays = {} if wanted is None else decode_arrays(self._data(path, str(wanted)))
        environment = {str(key): str(value) for key, value in document.get("environment", {}).items()}
        return Stored(Capture(document["view"], document["facts"], arrays, environment), sha256(data))

    def _data(self, path: Path, wanted: str) -> bytes:
        """The safetensors file of this digest, under its name or, where a write was cut off, still under its digest."""
        found = None
        for candidate in (path.with_suffix(".safetensors"), _staged(path, wanted)):
            with contextlib.suppress(FileNotFoundError):
                data = _read(candidate, MAX_ARRAY_BYTES, self.root)
                if sha256(data) == wanted:
                    return data
                found = data
        if found is None:
            raise UnreadableBaselineError("its safetensors file is missing: restore it from version control")
        decode_arrays(found)  # says what is wrong with it, if it can tell
        raise UnreadableBaselineError(
            "its safetensors file does not belong to its JSON file (half of a merge, or a damaged file): "
            "restore both from version control, or record it anew"
        )

    def picture(self, location: Location) -> bytes | None:
        """The stored picture, as it is."""
        try:
            return self.json_path(location).with_suffix(".png").read_bytes()
        except OSError:
            return None

    def save(
        self, location: Location, capture: Capture, *, nodeid: str, name: str, picture: bytes | None = None
    ) -> Path:
        """Write a baseline, all or nothing; identical files are left alone. Returns the JSON file's path."""
        path = self.json_path(location)
        arrays = encode_arrays(capture.arrays)
        digest = None if arrays is None else sha256(arrays)
        text = encode_json(capture, nodeid=nodeid, name=name, data_sha256=digest)
        try:
            self._refuse_escape(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._replace(path, text, arrays, digest, picture)
        except OSError as error:
            raise ModelvizError(
                f"cannot write the {self._what} {path}: {error.strerror or error}. The old one, if any, is unchanged; "
                f"make the folder writable or choose another with {self._option}"
            ) from error
        return path

    def _replace(
        self, path: Path, text: bytes, arrays: bytes | None, digest: str | None, picture: bytes | None
    ) -> None:
        data_path, staged = path.with_suffix(".safetensors"), None
        if arrays is not None and digest is not None and not _holds(data_path, arrays):
            staged = _staged(path, digest)
            _write(staged, arrays)
        if not _holds(path, text):
            _write(path, text)
        if staged is not None:
            staged.replace(data_path)
        if arrays is None:
            data_path.unlink(missing_ok=True)
        image = path.with_suffix(".png")
        if picture is None:
            image.unlink(missing_ok=True)
        elif not _holds(image, picture):
            _write(image, picture)
        _tidy(path)

    def _refuse_escape(self, path: Path) -> None:
        # resolve() follows the links of that part of the way which exists
        if not path.parent.resolve().is_relative_to(self.root.resolve()) or path.is_symlink():
            raise ModelvizError(
                f"{path} leads out of {self.root} through a symbolic link: replace the link by a folder"
            )


def _tidy(path: Path) -> None:
    """Remove what interrupted writes of this very file left behind; another check's are another's."""
    staged = re.compile(rf"\.{re.escape(path.stem)}\.[0-9a-f]{{16}}\.safetensors")
    unfinished = re.compile(rf"\.{re.escape(path.stem)}\.(json|png|[0-9a-f]{{16}}\.safetensors)\.\d+\.tmp")
    for entry in list(path.parent.iterdir()):
        old = unfinished.fullmatch(f".{entry.name.lstrip('.')}")
        if staged.fullmatch(entry.name) or (old and time.time() - entry.stat().st_mtime > _ABANDONED_SECONDS):
            entry.unlink(missing_ok=True)


def _staged(path: Path, digest: str) -> Path:
    return path.with_name(f".{path.stem}.{digest[:16]}.safetensors")


def _read(path: Path, limit: int, root: Path) -> bytes:
    """Bytes of a file inside `root`, with errors that say what is in the way."""
    if not path.resolve().is_relative_to(root.resolve()):
        raise UnreadableBaselineError(f"{path.name} leads out of the baseline folder through a symbolic link")
    try:
        if path.stat().st_size > limit:
            raise UnreadableBaselineError(f"{path.name} is absurdly large ({path.stat().st_size} bytes)")
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(path) from None
    except OSError as error:
        raise UnreadableBaselineError(f"{path.name} cannot be read: {error.strerror or error}") from error


def _holds(path: Path, data: bytes) -> bool:
    try:
        return path.read_bytes() == data
    except OSError:
        return False


def _write(path: Path, data: bytes) -> None:
    """Write beside, flush to the disk, then move into place."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise
