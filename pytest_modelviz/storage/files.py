"""Single files of this machine, and where they lie. What another may have put there is read with care."""

import contextlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from pytest_modelviz.errors import OversizedBaselineError, UnreadableBaselineError

_MOST_RULES_BYTES = 64 * 2**10
HIDES_ALL = b"*"  # the first rule for git in folders of results, caches and environments
_CHUNK = 64 * 2**10


def regular_file(path: Path, limit: int) -> bytes:
    """A whole file of at most `limit` bytes; a pipe or a device would never end."""
    information = path.stat()
    if information.st_size > limit:
        raise OversizedBaselineError(f"{path.name} is absurdly large ({information.st_size} bytes)")
    if not stat.S_ISREG(information.st_mode):
        raise UnreadableBaselineError(f"{path.name} cannot be read: it is not a file")
    # the system makes some files up as they are read (/proc), and says that they are empty
    data, most = [], information.st_size + 1
    with path.open("rb", buffering=0) as file:
        while limit >= 0 and (chunk := file.read(min(limit + 1, max(most, _CHUNK)))):
            data.append(chunk)
            limit -= len(chunk)
    if limit < 0:
        raise OversizedBaselineError(f"{path.name} is absurdly large (at least {sum(map(len, data))} bytes)")
    return b"".join(data)


def new_file(path: Path) -> BinaryIO:
    """A new file; whatever has that name, perhaps a link, is not written into."""
    try:
        return path.open("xb")
    except FileExistsError:  # left by a process of this number that was killed
        path.unlink()
        return path.open("xb")


def files_below(root: Path, enters: Callable[[Path], bool]) -> Iterator[Path]:
    """All files in a folder and in those below it that are entered, links not being followed, however deep they are.

    `os.walk` calls itself for each folder until Python 3.12.
    """
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                path = folder / entry.name
                if not entry.is_dir(follow_symlinks=False):
                    yield path
                elif enters(path):
                    waiting.append(path)


def words_of_gitignore(folder: Path) -> list[bytes]:
    """What a folder's own rules for git say, word by word; nothing where there are none, or no such file."""
    try:
        return regular_file(folder / ".gitignore", _MOST_RULES_BYTES).split()
    except (OSError, UnreadableBaselineError):
        return []


def lies_in(path: Path, folders: Iterable[Path]) -> bool:
    """Whether a path is one of these folders or leads into one, however it is spelled and through whatever links.

    False for a path where nothing is.
    """
    if _identity(path) is None:
        return False
    identities = {_identity(folder) for folder in folders} - {None}
    resolved = path.resolve()
    return any(_identity(each) in identities for each in {path, *path.parents, resolved, *resolved.parents})


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino
