"""Folders of files on this machine, whose content is untrusted, and what links in them may do."""

import contextlib
import hashlib
import itertools
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.storage.files import files_below, new_file, regular_file
from pytest_modelviz.storage.git import write_attributes

_LOCK_SECONDS = 60.0


class LinkedFolderError(OSError):
    """A folder below the root is a symbolic link, and nothing is written or removed through one."""

    def __init__(self, link: Path) -> None:
        super().__init__(f"the folder {link} is a symbolic link, and nothing is written or removed through a link")


class LocalFolder:
    """A folder of this machine, whose content is untrusted. No symbolic link is followed out of it.

    A file is whole however its process ends. Results, which another run can make again, may be lost if the power fails.
    """

    supports_atomic_rename = True
    _survives_power_loss = False
    _root_may_be_link = True

    def __init__(self, root: Path) -> None:
        self.root = root

    def display_path(self, name: str) -> str:
        return str(self.root / name)

    def read(self, name: str, limit: int) -> bytes:
        path = self.root / name
        try:
            path.stat()  # what is not there, or has a name that no file can have, is not looked for folder by folder
            self._refuse_to_read(path)
            return regular_file(path, limit)
        except ValueError:  # a name that no file can have
            raise FileNotFoundError(path) from None
        except (FileNotFoundError, NotADirectoryError):
            self._refuse_dangling_link(name)
            raise FileNotFoundError(path) from None
        except OSError as error:
            raise UnreadableBaselineError(f"{path.name} cannot be read: {error.strerror or error}") from error

    def forget(self, name: str) -> None:
        """Nothing is cached here."""

    def _refuse_to_read(self, path: Path) -> None:
        # resolve() follows the links of that part of the way which exists
        try:
            inside = path.resolve().is_relative_to(self.root.resolve())
        except RuntimeError:  # links in a circle, until Python 3.13
            inside = False
        if not inside:
            raise UnreadableBaselineError(f"{path.name} leads out of {self.root} through a symbolic link")

    def _refuse_dangling_link(self, name: str) -> None:
        """What a link should lead to is not there: that is not as if nothing had been recorded."""
        for path in self._way(name):
            if path.is_symlink() and not path.exists():
                raise UnreadableBaselineError(
                    f"{path} is a symbolic link to {path.readlink()}, which is not there: fetch what it leads to "
                    f"(as by 'dvc pull' or 'git annex get'), or remove the link"
                )

    def _way(self, name: str) -> list[Path]:
        """The root, each folder below it, and the file. Raises OSError for a name that no file can have."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            (self.root / name).lstat()
        return list(itertools.accumulate(PurePosixPath(name).parts, Path.__truediv__, initial=self.root))

    def is_linked(self, name: str) -> bool:
        path = self.root / name
        with contextlib.suppress(OSError):
            return self._is_reached_by_link(name) or (path.is_file() and path.stat().st_nlink > 1)
        return False

    def _is_reached_by_link(self, name: str) -> bool:
        with contextlib.suppress(OSError):
            return any(path.is_symlink() for path in self._way(name))
        return False

    def _refuse_linked_folder(self, name: str) -> None:
        """The root itself may be a link where the user has chosen it."""
        for path in self._way(name)[1 if self._root_may_be_link else 0 : -1]:
            if path.is_symlink():
                raise LinkedFolderError(path)

    def write(self, name: str, data: bytes) -> None:
        """Write a temporary file, then rename it. A link is replaced, its target is not."""
        self._refuse_linked_folder(name)
        with contextlib.suppress(FileNotFoundError):  # removed by a process that cannot see this one
            self._write(name, data)
            return
        self._write(name, data)

    def _write(self, name: str, data: bytes) -> None:
        path = self.root / name
        beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            with self._new_file(name, beside) as file:
                file.write(data)
                if self._survives_power_loss:
                    file.flush()
                    os.fsync(file.fileno())
            beside.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)
            raise

    def _new_file(self, name: str, beside: Path) -> BinaryIO:
        """A new file beside that of this name, in a folder that is made where there is none."""
        with contextlib.suppress(FileNotFoundError):
            return new_file(beside)
        self.root.mkdir(parents=True, exist_ok=True)
        for folder in self._way(name)[1:-1]:  # mkdir(parents=True) calls itself for each, which may be thousands
            folder.mkdir(exist_ok=True)
        return new_file(beside)

    def move(self, old: str, new: str) -> None:
        if os.path.lexists(self.root / old):
            self._refuse_linked_folder(old)
            self._refuse_linked_folder(new)
        (self.root / old).replace(self.root / new)

    def delete(self, name: str) -> None:
        path = self.root / name
        try:
            self._refuse_linked_folder(name)
        except LinkedFolderError:
            if os.path.lexists(path):
                raise
            return
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # not empty, or gone
            for folder in path.parents:
                if folder == self.root:
                    break
                folder.rmdir()

    def siblings(self, name: str) -> dict[str, float]:
        ages = {}
        now = time.time()
        for entry in (self.root / name).parent.iterdir():
            with contextlib.suppress(OSError):  # gone in between
                ages[entry.name] = now - entry.lstat().st_mtime
        return ages

    def find(self, ending: str) -> list[str]:
        files = files_below(self.root, lambda folder: not folder.name.startswith("."))
        found = [path for path in files if path.name.endswith(ending) and not path.name.startswith(".")]
        return sorted(path.relative_to(self.root).as_posix() for path in found)

    @contextlib.contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """By a lock file outside of the folder, so that nothing of it can be committed.

        Processes that share the folder but no folder for temporary files (containers) do not see each other's locks.
        """
        import filelock

        lock = None
        try:
            lock = filelock.FileLock(self._lock_file(name), timeout=_LOCK_SECONDS)
            lock.acquire()
        except filelock.Timeout:
            raise TimeoutError(f"another process has been writing it for {_LOCK_SECONDS:.0f} seconds") from None
        except OSError:  # no folder for temporary files: better without a lock than not at all
            lock = None
        try:
            yield
        finally:
            if lock is not None:
                lock.release()

    def _lock_file(self, name: str) -> str:
        user = getattr(os, "getuid", lambda: "user")()
        folder = Path(tempfile.gettempdir()) / f"pytest-modelviz-{user}"
        folder.mkdir(mode=0o700, exist_ok=True)
        here, check = (hashlib.sha256(os.fsencode(text)).hexdigest() for text in (self.root.resolve(), name))
        return str(folder / f"{here[:16]}-{check[:1]}.lock")


class BaselineFolder(LocalFolder):
    """The folder of a project's baselines, which has links where a build tool or a data cache has put them.

    They may lead anywhere: a baseline is its own proof, by the digests in it. What is written is a file of its own.
    The first file brings rules for git with it.
    """

    _survives_power_loss = True

    def __init__(self, root: Path, *, configured: bool = True) -> None:
        """The folder itself may be a link only where the user has `configured` it: else it may come with a checkout."""
        super().__init__(root)
        self._root_may_be_link = configured

    def is_linked(self, name: str) -> bool:
        """Hard links are how some data caches fill a folder, which may itself be a link of the user's."""
        with contextlib.suppress(OSError):
            return any(path.is_symlink() for path in self._way(name)[1:])
        return False

    def _refuse_to_read(self, path: Path) -> None:
        """Whatever is a regular file may be read."""

    def write(self, name: str, data: bytes) -> None:
        super().write(name, data)
        write_attributes(self.root)
