"""Where files lie: a folder of this machine, or a URL that fsspec knows. Files are read and replaced as a whole.

Names are relative, with `/`. What cannot be done is an OSError; the store says what that means for a baseline.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, TypeVar

from pytest_modelviz.errors import ModelvizError, UnreadableBaselineError

_LOCK_SECONDS = 60.0
# Stores whose files appear whole or not at all when they are written; with others a file is written beside and moved.
_WHOLE_WRITES = frozenset({"memory", "s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oci", "oss"})

Answer = TypeVar("Answer")


class Folder(Protocol):
    """A place for files.

    `settles` says whether writers can be kept apart here and files moved in one step.
    """

    settles: bool

    def shown(self, name: str) -> str:
        """A file as people write it."""

    def read(self, name: str, limit: int) -> bytes:
        """A whole file of at most `limit` bytes; raises FileNotFoundError, UnreadableBaselineError, OSError."""

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

    def locked(self, name: str) -> contextlib.AbstractContextManager[None]:
        """Keep others from writing `name` for the while, where that is possible."""


def open_folder(place: str | Path) -> Folder:
    """The folder at a path or an fsspec URL. Raises ModelvizError where the URL's package is not installed."""
    url = str(place)
    if "://" not in url:
        return LocalFolder(Path(place))
    import fsspec

    try:
        files, root = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise ModelvizError(f"cannot open {url}: {error}") from error
    except Exception as error:  # whatever the package for this protocol raises: bad credentials, a host not found
        raise ModelvizError(f"cannot open {url} ({type(error).__name__}: {error})") from error
    return RemoteFolder(files, str(root), url)


class LocalFolder:
    """A folder of this machine. It is never left through a symbolic link."""

    settles = True

    def __init__(self, root: Path) -> None:
        self.root = root

    def shown(self, name: str) -> str:
        return str(self.root / name)

    def read(self, name: str, limit: int) -> bytes:
        path = self.root / name
        try:
            if self._leads_out(path):
                raise UnreadableBaselineError(f"{path.name} leads out of the baseline folder through a symbolic link")
            size = path.stat().st_size
            if size > limit:
                raise UnreadableBaselineError(f"{path.name} is absurdly large ({size} bytes)")
            if not path.is_file():  # a pipe would never end
                raise UnreadableBaselineError(f"{path.name} cannot be read: it is no file")
            return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise FileNotFoundError(path) from None
        except OSError as error:
            raise UnreadableBaselineError(f"{path.name} cannot be read: {error.strerror or error}") from error

    def _leads_out(self, path: Path) -> bool:
        # resolve() follows the links of that part of the way which exists
        try:
            return not path.resolve().is_relative_to(self.root.resolve())
        except RuntimeError:  # links in a circle, until Python 3.13
            return True

    def write(self, name: str, data: bytes) -> None:
        """Write beside, flush to the disk, then move into place."""
        path = self.root / name
        if self._leads_out(path.parent) or path.is_symlink():
            raise OSError(f"{path.name} or its folder is a symbolic link: remove the link")
        path.parent.mkdir(parents=True, exist_ok=True)
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

    def move(self, old: str, new: str) -> None:
        (self.root / old).replace(self.root / new)

    def delete(self, name: str) -> None:
        path = self.root / name
        if self._leads_out(path.parent):
            raise OSError(f"{path} leads out of {self.root} through a symbolic link")
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
        found = []
        for folder, folders, names in os.walk(self.root):
            folders[:] = [name for name in folders if not name.startswith(".")]
            below = PurePosixPath(Path(folder).relative_to(self.root).as_posix())
            found += [str(below / name) for name in names if name.endswith(ending) and not name.startswith(".")]
        return sorted(found)

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


class RemoteFolder:
    """A folder behind a URL. What was read once is kept for as long as this object lives."""

    settles = False

    def __init__(self, files: Any, root: str, url: str) -> None:
        """`files` is fsspec's file system, `root` the folder's path in it, `url` how people call it."""
        self._files, self._root, self._url = files, root.rstrip("/"), url.rstrip("/")
        self._kept: dict[str, bytes] = {}

    def shown(self, name: str) -> str:
        return f"{self._url}/{name}"

    def _at(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _ask(self, what: str, name: str, action: Callable[[], Answer]) -> Answer:
        """Every package behind fsspec has exceptions of its own: all but "not found" are one error here."""
        try:
            return action()
        except (FileNotFoundError, NotADirectoryError):
            raise FileNotFoundError(self.shown(name)) from None
        except Exception as error:
            raise ModelvizError(
                f"cannot {what} {self.shown(name)} ({type(error).__name__}: {error}). Each baseline there is whole, "
                f"the old one or the new one; check the address, the credentials and the network"
            ) from error

    def read(self, name: str, limit: int) -> bytes:
        if name not in self._kept:
            # one byte more than allowed tells a file that is too large, in a single request
            data = self._ask("read", name, lambda: self._first_bytes(self._at(name), limit + 1))
            if len(data) > limit:
                raise UnreadableBaselineError(f"{PurePosixPath(name).name} is absurdly large (over {limit} bytes)")
            self._kept[name] = data
        return self._kept[name]

    def _first_bytes(self, path: str, count: int) -> bytes:
        try:
            return bytes(self._files.cat_file(path, start=0, end=count))
        except OSError as error:
            # of an empty object S3 has no first bytes
            if error.errno == errno.EINVAL and self._files.info(path).get("size") == 0:
                return b""
            raise

    def forget(self, name: str) -> None:
        """Read this file anew next time: somebody else may have changed it."""
        self._kept.pop(name, None)

    def write(self, name: str, data: bytes) -> None:
        self.forget(name)
        protocols = self._files.protocol
        whole = not _WHOLE_WRITES.isdisjoint((protocols,) if isinstance(protocols, str) else protocols)
        self._ask("write", name, lambda: self._write(self._at(name), data, whole))

    def _write(self, path: str, data: bytes, whole: bool) -> None:
        if whole:
            self._files.pipe_file(path, data)
            return
        folder, _, last = path.rpartition("/")
        beside = f"{folder}/.{last}.{os.getpid()}.tmp"
        self._files.makedirs(folder, exist_ok=True)
        self._files.pipe_file(beside, data)
        self._files.mv(beside, path)

    def move(self, old: str, new: str) -> None:
        self.forget(old)
        self.forget(new)
        self._ask("write", new, lambda: self._files.mv(self._at(old), self._at(new)))

    def delete(self, name: str) -> None:
        self.forget(name)
        with contextlib.suppress(FileNotFoundError):
            self._ask("remove", name, lambda: self._files.rm_file(self._at(name)))

    def siblings(self, name: str) -> dict[str, float]:
        folder = self._at(name).rpartition("/")[0]
        now = time.time()
        ages = {}
        self._files.invalidate_cache(folder)
        for entry in self._ask("list", name, lambda: self._files.ls(folder, detail=True)):
            times = [entry.get(key) for key in ("LastModified", "mtime", "modified", "updated", "created")]
            stamp = next((at.timestamp() if hasattr(at, "timestamp") else at for at in times if at is not None), None)
            # of unknown age: as if it were new, so that nobody takes it for abandoned
            age = now - stamp if isinstance(stamp, (int, float)) else 0.0
            ages[str(entry["name"]).rstrip("/").rpartition("/")[2]] = age
        return ages

    def find(self, ending: str) -> list[str]:
        try:
            found = self._ask("list", "", lambda: self._files.find(self._root))
        except FileNotFoundError:
            return []
        start = len(self._files._strip_protocol(self._root).rstrip("/")) + 1
        names = [self._files._strip_protocol(path)[start:] for path in found]
        return sorted(name for name in names if name.endswith(ending) and not re.search(r"(^|/)\.", name))

    @contextlib.contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """No store behind a URL can keep others out: the store of baselines does without."""
        yield
