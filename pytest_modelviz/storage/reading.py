"""Reading the files of a baseline, so that they belong together also while another process replaces them.

Baselines that earlier versions recorded at another path are found there, and left there. Before capital letters were
hashed, ids that differ only in case shared a path on file systems that ignore case, so that the owner of such a file
has to be checked.
"""

import contextlib
from dataclasses import dataclass
from pathlib import PurePosixPath

from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.limits import FIXED, Limits
from pytest_modelviz.storage.baseline_files import PNG_SIGNATURE, Files, staged_name
from pytest_modelviz.storage.folder import Folder
from pytest_modelviz.storage.formats import decode_json, require_whole, sha256, text_sha256
from pytest_modelviz.storage.git import line_end_damage
from pytest_modelviz.storage.names import Location

_ENDINGS = (".json", ".safetensors")


@dataclass(frozen=True)
class BaselineReader:
    """Reads the files at exactly the given locations."""

    folder: Folder

    def files(self, location: Location, limits: Limits = FIXED) -> Files | None:
        """JSON and safetensors that belong together; None where there is no baseline.

        Files that do not match are read again under the lock: another process may have been replacing them. Raises
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
        document = decode_json(text, limits)
        digest = document.get("data_sha256")
        if digest is None:
            return Files(text, document=document)
        name, arrays = self._arrays(location, str(digest), limits)
        waits = name != f"{location.path}.safetensors"
        is_cut_off = waits and self.folder.supports_atomic_rename
        return Files(text, arrays, is_cut_off=is_cut_off, document=document)

    def _refuse_remains(self, location: Location) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.folder.read(f"{location.path}.safetensors", FIXED.array_bytes)
            raise UnreadableBaselineError(f"{location.stem}.json is missing beside its safetensors file")

    def _arrays(self, location: Location, digest: str, limits: Limits) -> tuple[str, bytes]:
        """The safetensors file of this digest: its own name or, where a write was cut off, one with its digest."""
        other = None
        names = (f"{location.path}.safetensors", staged_name(location, digest))
        for name in names if self.folder.supports_atomic_rename else reversed(names):
            with contextlib.suppress(FileNotFoundError):
                data = self.folder.read(name, limits.array_bytes)
                if sha256(data) == digest:
                    return name, data
                other = data
        if other is None:
            raise UnreadableBaselineError("its safetensors file is missing: restore it from version control")
        damage = line_end_damage(other, digest)
        if damage is not None:
            raise UnreadableBaselineError(f"its safetensors file is damaged: {damage}")
        require_whole(other)  # says what is wrong with it, if it can tell
        raise UnreadableBaselineError(
            "its safetensors file does not belong to its JSON file (half of a merge, or a damaged file): "
            "restore both from version control, or record it anew"
        )

    def _forget(self, location: Location) -> None:
        for ending in _ENDINGS:
            self.folder.forget(f"{location.path}{ending}")

    def digest(self, location: Location) -> str | None:
        """The digest of a baseline's JSON file, valid or not; None where there is none.

        `unreadable` for a file that cannot even be read.
        """
        self._forget(location)
        try:
            return text_sha256(self.folder.read(f"{location.path}.json", FIXED.json_bytes))
        except FileNotFoundError:
            return None
        except UnreadableBaselineError:
            return "unreadable"

    def picture(self, location: Location) -> bytes | None:
        """The stored picture, as it is. It has no digest: the target of a link must at least be a picture."""
        name = f"{location.path}.png"
        try:
            data = self.folder.read(name, FIXED.array_bytes)
        except (OSError, UnreadableBaselineError):
            return None
        return data if data.startswith(PNG_SIGNATURE) or not self.folder.is_linked(name) else None


def find_baseline(folder: Folder, location: Location) -> Location:
    """Where a check's baseline is: at its location or, if there is none, at its earlier one; the first if nowhere."""
    earlier = location.earlier
    if earlier is None or _is_taken(folder, location.path) or not _is_taken(folder, earlier.path):
        return location
    return earlier if _is_own(folder, earlier.path, location.owner) else location


def _is_taken(folder: Folder, path: PurePosixPath) -> bool:
    """Whether there is any such file, in whatever state. It is not read, unless the folder caches what it reads."""
    most = 0 if folder.supports_atomic_rename else FIXED.array_bytes
    for ending in _ENDINGS:
        try:
            folder.read(f"{path}{ending}", most)
        except FileNotFoundError:
            continue
        except UnreadableBaselineError:
            pass
        return True
    return False


def _is_own(folder: Folder, path: PurePosixPath, owner: object) -> bool:
    """Whether the file is this check's, or at least not that of a test whose id differs only in case."""
    try:
        document = decode_json(folder.read(f"{path}.json", FIXED.json_bytes))
    except (FileNotFoundError, UnreadableBaselineError):  # then the way it is spelled on the disk says whose it is
        return _is_spelled_so(folder, path)
    actual = (document["nodeid"], document["name"], document.get("variant"))
    return actual == owner or repr(actual).casefold() != repr(owner).casefold()


def _is_spelled_so(folder: Folder, path: PurePosixPath) -> bool:
    """Whether the file has this very name on the disk, case included.

    It has if there is none under the name in the other case; only else the folder has to be listed.
    """
    other_case = PurePosixPath(str(path).swapcase())
    if other_case != path and not _is_taken(folder, other_case):
        return True
    return any(f"{path}{ending}" in folder.find(ending) for ending in _ENDINGS)
