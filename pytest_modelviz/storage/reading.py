"""Reading the files of a baseline, so that they belong together also while somebody replaces them."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.limits import FIXED, Limits
from pytest_modelviz.storage.baseline_files import PNG_SIGNATURE, Files, staged_name
from pytest_modelviz.storage.folder import Folder
from pytest_modelviz.storage.formats import decode_json, require_whole, sha256, text_sha256
from pytest_modelviz.storage.line_ends import line_end_damage
from pytest_modelviz.storage.names import Location


@dataclass(frozen=True)
class BaselineReader:
    """Reads what lies at exactly the locations that it is given."""

    folder: Folder

    def files(self, location: Location, limits: Limits = FIXED) -> Files | None:
        """JSON and safetensors that belong together; None where there is no baseline.

        What does not is looked at again while nobody writes: somebody may just have been replacing it. Raises
        UnreadableBaselineError.
        """
        try:
            return self._read(location, limits)
        except UnreadableBaselineError:
            self._forget(location)
            with contextlib.suppress(TimeoutError), self.folder.locked(str(location.path)):
                return self._read(location, limits)
            raise

    def _read(self, location: Location, limits: Limits) -> Files | None:
        try:
            text = self.folder.read(f"{location.path}.json", limits.json_bytes)
        except FileNotFoundError:
            self._refuse_remains(location)
            return None
        wanted = decode_json(text, limits).get("data_sha256")
        return Files(text, None if wanted is None else self._arrays(location, str(wanted), limits))

    def _refuse_remains(self, location: Location) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.folder.read(f"{location.path}.safetensors", FIXED.array_bytes)
            raise UnreadableBaselineError(f"{location.stem}.json is missing beside its safetensors file")

    def _arrays(self, location: Location, wanted: str, limits: Limits) -> bytes:
        """The safetensors file of this digest, under its name or, where a write was cut off, still under its digest."""
        found = None
        names = (f"{location.path}.safetensors", staged_name(location, wanted))
        for name in names if self.folder.supports_atomic_rename else reversed(names):
            with contextlib.suppress(FileNotFoundError):
                data = self.folder.read(name, limits.array_bytes)
                if sha256(data) == wanted:
                    return data
                found = data
        if found is None:
            raise UnreadableBaselineError("its safetensors file is missing: restore it from version control")
        damage = line_end_damage(found, wanted)
        if damage is not None:
            raise UnreadableBaselineError(f"its safetensors file is damaged: {damage}")
        require_whole(found)  # says what is wrong with it, if it can tell
        raise UnreadableBaselineError(
            "its safetensors file does not belong to its JSON file (half of a merge, or a damaged file): "
            "restore both from version control, or record it anew"
        )

    def _forget(self, location: Location) -> None:
        for ending in ("json", "safetensors"):
            self.folder.forget(f"{location.path}.{ending}")

    def digest(self, location: Location) -> str | None:
        """What identifies the content of a baseline, whatever state it is in; None where there is none.

        Of what cannot even be read, a word that is no digest.
        """
        self._forget(location)
        try:
            return text_sha256(self.folder.read(f"{location.path}.json", FIXED.json_bytes))
        except FileNotFoundError:
            return None
        except UnreadableBaselineError:
            return "unreadable"

    def picture(self, location: Location) -> bytes | None:
        """The stored picture, as it is. No digest vouches for it: what a link leads to must at least be a picture."""
        name = f"{location.path}.png"
        try:
            data = self.folder.read(name, FIXED.array_bytes)
        except (OSError, UnreadableBaselineError):
            return None
        return data if data.startswith(PNG_SIGNATURE) or not self.folder.is_linked(name) else None
