"""Baselines that versions before this one have recorded elsewhere: found there, and left there.

Until capital letters were given a hash, ids that differ only in case shared a place where the file system does not tell
them apart. So the owner of what lies there has to be looked at.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.limits import FIXED
from pytest_modelviz.storage.folder import Folder
from pytest_modelviz.storage.formats import decode_json
from pytest_modelviz.storage.names import EarlierLocation, Location

_ENDINGS = (".json", ".safetensors")


def find_baseline(folder: Folder, location: Location) -> Location:
    """Where a check's baseline lies: at its location or, if there is none, at its earlier one; the first if nowhere."""
    earlier = location.earlier
    if earlier is None or _is_taken(folder, location.path) or not _is_taken(folder, earlier.path):
        return location
    return Location(earlier.folder, earlier.stem, location.variant) if _is_own(folder, earlier) else location


def _is_taken(folder: Folder, path: PurePosixPath) -> bool:
    """Whether anything lies there, in whatever state: nothing of it is read, unless what is read is kept."""
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


def _is_own(folder: Folder, earlier: EarlierLocation) -> bool:
    """Whether what lies there is this check's to read, and to complain about, or that of a twin but for case."""
    try:
        document = decode_json(folder.read(f"{earlier.path}.json", FIXED.json_bytes))
    except (FileNotFoundError, UnreadableBaselineError):  # then the way it is spelled on the disk says whose it is
        return _is_spelled_so(folder, earlier.path)
    found = (document["nodeid"], document["name"], document.get("variant"))
    return found == earlier.owner or repr(found).casefold() != repr(earlier.owner).casefold()


def _is_spelled_so(folder: Folder, path: PurePosixPath) -> bool:
    """Whether what lies there has this very name on the disk, case included.

    Where another case leads to nothing, it has. Only else all that is there has to be listed.
    """
    other_case = PurePosixPath(str(path).swapcase())
    if other_case != path and not _is_taken(folder, other_case):
        return True
    return any(f"{path}{ending}" in folder.find(ending) for ending in _ENDINGS)
