"""The folder `details` of the results: a JSON file for each check that did not match, with all that is known of it."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.storage.discarded import forget_other_files
from pytest_modelviz.storage.local_folder import LocalFolder
from pytest_modelviz.text.printable import printable_json
from pytest_modelviz.text.strict_json import JsonValue, parse_json

_MOST_BYTES, _MOST_VALUES = 32 * 2**20, 2_000_000  # of one check: a model of a hundred thousand layers


def document_bytes(document: Mapping[str, JsonValue]) -> bytes:
    """A JSON document for programs, as the files of a results folder hold it."""
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
    return (printable_json(text) + "\n").encode()


@dataclass(frozen=True)
class DetailFiles:
    """The files below `root`, each at the location of its check."""

    root: Path

    def keep(self, path: PurePosixPath, document: Mapping[str, JsonValue]) -> Path:
        """Write the document of a check; returns its file. Raises OSError."""
        LocalFolder(self.root).write(f"{path}.json", document_bytes(document))
        return self.root / f"{path}.json"

    def read(self, path: PurePosixPath) -> Mapping[str, JsonValue] | None:
        """The document of a check; None where there is none that can be read: a downloaded file may hold anything."""
        try:
            document = parse_json(LocalFolder(self.root).read(f"{path}.json", _MOST_BYTES), most_values=_MOST_VALUES)
        except (OSError, UnreadableBaselineError, ValueError, RecursionError):
            return None
        return document if isinstance(document, Mapping) else None

    def size(self, path: PurePosixPath) -> int:
        """How large the document of a check is, in bytes; 0 where there is none."""
        try:
            return (self.root / f"{path}.json").stat().st_size
        except (OSError, ValueError):  # untrusted results may name a test whose files no system can hold
            return 0

    def forget_others(self, current: Collection[PurePosixPath]) -> None:
        """Remove all documents but those of these checks."""
        forget_other_files(self.root, ".json", current)
