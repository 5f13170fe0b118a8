"""Folders of files: on this machine, or behind a URL that fsspec knows. Files are read and replaced as a whole.

Names are relative, with `/`. Failures are OSErrors; the store says what they mean for a baseline.
"""

import contextlib
from pathlib import Path
from typing import Protocol

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.storage.local_folder import BaselineFolder


class Folder(Protocol):
    """A folder of files.

    `supports_atomic_rename` says whether writers can be kept apart here and files moved in one step.
    """

    supports_atomic_rename: bool

    def display_path(self, name: str) -> str:
        """The path or URL of a file, as shown to users."""

    def read(self, name: str, limit: int) -> bytes:
        """A whole file of at most `limit` bytes; raises FileNotFoundError, UnreadableBaselineError, OSError."""

    def forget(self, name: str) -> None:
        """Read this file again next time: another process may have changed it."""

    def write(self, name: str, data: bytes) -> None:
        """Replace a file in one step, folders included."""

    def move(self, old: str, new: str) -> None:
        """Give a file another name, in one step."""

    def delete(self, name: str) -> None:
        """Remove a file, if it is there, and the folders that it leaves empty."""

    def siblings(self, name: str) -> dict[str, float]:
        """The files of the folder in which `name` lies: file name -> age in seconds."""

    def find(self, ending: str) -> list[str]:
        """All files whose names end so, hidden ones left out; sorted."""

    def is_linked(self, name: str) -> bool:
        """Whether a file is a link, or is reached through one."""

    def locked(self, name: str) -> contextlib.AbstractContextManager[None]:
        """Keep others from writing `name` for the while, where that is possible."""


def open_folder(location: str | Path, *, configured: bool) -> Folder:
    """The folder of baselines at a path or an fsspec URL; `configured` says whether the user chose it.

    Raises ModelvizError where the URL's package is not installed.
    """
    url = str(location)
    if "://" not in url:
        return BaselineFolder(Path(location), configured=configured)
    import fsspec

    from pytest_modelviz.storage.remote import RemoteFolder

    try:
        files, root = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise ModelvizError(f"cannot open {url}: {error}") from error
    except Exception as error:  # whatever the package for this protocol raises: bad credentials, a host not found
        raise ModelvizError(f"cannot open {url} ({type(error).__name__}: {error})") from error
    return RemoteFolder(files, str(root), url)
