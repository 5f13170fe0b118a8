"""A folder behind a URL, by fsspec: the methods of a local folder, without locks or atomic renames."""

import contextlib
import errno
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import Any, TypeVar

from pytest_modelviz.errors import ModelvizError, OversizedBaselineError

# Stores whose files appear whole or not at all when they are written; with others a file is written beside and moved.
_WHOLE_WRITES = frozenset({"memory", "s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oci", "oss"})

Answer = TypeVar("Answer")


class RemoteFolder:
    """A folder behind a URL. Files that were read are cached for the lifetime of this object."""

    supports_atomic_rename = False

    def __init__(self, files: Any, root: str, url: str) -> None:
        """`files` is fsspec's file system, `root` the folder's path in it, `url` its name for users."""
        self._files, self._root, self._url = files, root.rstrip("/"), url.rstrip("/")
        self._cache: dict[str, bytes] = {}

    def display_path(self, name: str) -> str:
        return f"{self._url}/{name}"

    def _at(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _ask(self, verb: str, name: str, action: Callable[[], Answer]) -> Answer:
        """Every package behind fsspec has exceptions of its own: all but "not found" are one error here."""
        try:
            return action()
        except (FileNotFoundError, NotADirectoryError):
            raise FileNotFoundError(self.display_path(name)) from None
        except Exception as error:
            raise ModelvizError(
                f"cannot {verb} {self.display_path(name)} ({type(error).__name__}: {error}). Each baseline there is "
                f"whole, the old one or the new one; check the address, the credentials and the network"
            ) from error

    def read(self, name: str, limit: int) -> bytes:
        if name not in self._cache:
            # one byte more than allowed shows that a file is too large, in a single request
            data = self._ask("read", name, lambda: self._first_bytes(self._at(name), limit + 1))
            if len(data) > limit:
                raise OversizedBaselineError(f"{PurePosixPath(name).name} is absurdly large (over {limit} bytes)")
            self._cache[name] = data
        return self._cache[name]

    def _first_bytes(self, path: str, count: int) -> bytes:
        try:
            return bytes(self._files.cat_file(path, start=0, end=count))
        except OSError as error:
            # of an empty object S3 has no first bytes
            self._files.invalidate_cache()
            if error.errno == errno.EINVAL and self._files.info(path).get("size") == 0:
                return b""
            raise

    def forget(self, name: str) -> None:
        """Read this file again next time: another process may have changed it."""
        self._cache.pop(name, None)

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
            # of unknown age: treated as new, so that it does not count as abandoned
            age = now - stamp if isinstance(stamp, (int, float)) else 0.0
            ages[str(entry["name"]).rstrip("/").rpartition("/")[2]] = age
        return ages

    def find(self, ending: str) -> list[str]:
        try:
            paths = self._ask("list", "", lambda: self._files.find(self._root))
        except FileNotFoundError:
            return []
        start = len(self._files._strip_protocol(self._root).rstrip("/")) + 1
        names = [self._files._strip_protocol(path)[start:] for path in paths]
        return sorted(name for name in names if name.endswith(ending) and not re.search(r"(^|/)\.", name))

    def is_linked(self, name: str) -> bool:
        return False

    @contextlib.contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """No store behind a URL can keep others out: the store of baselines does without."""
        yield
