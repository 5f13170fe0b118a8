"""A folder of files as a commit of a git repository holds it, to be read like one on this machine."""

from __future__ import annotations

import contextlib
import hashlib
import math
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import NoReturn

from pytest_modelviz.errors import OversizedBaselineError, UnreadableBaselineError
from pytest_modelviz.storage.files import regular_file
from pytest_modelviz.storage.formats import sha256

_POINTER = re.compile(rb"version https://git-lfs[^\n]*\n(?:ext-[^\n]*\n)*oid sha256:(?P<id>[0-9a-f]{64})\n")
_MOST_POINTER_BYTES = 1024


@dataclass(frozen=True)
class Blob:
    """The content of a file: its object's id, and its size in bytes. That of a link is where it leads to."""

    id: str
    size: int
    is_link: bool = False


class GitObjects:
    """The objects of a repository, read from one process of git, which is started for the first one."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self._command, self._environment = [*command, "cat-file", "--batch"], environment
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> GitObjects:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def read(self, blob: Blob) -> bytes:
        """The whole content; raises OSError where it cannot be had."""
        if self._process is None:
            self._process = subprocess.Popen(  # noqa: S603  # git
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=self._environment,
            )
        requests, answers = self._process.stdin, self._process.stdout
        if requests is None or answers is None:
            raise OSError("git was started without pipes")
        requests.write(f"{blob.id}\n".encode())
        requests.flush()
        if answers.readline().split() != [blob.id.encode(), b"blob", str(blob.size).encode()]:
            raise OSError("its content is not in this clone: fetch it, as by 'git fetch --refetch'")
        data = answers.read(blob.size)
        if len(data) < blob.size or answers.read(1) != b"\n":
            raise OSError("git ended before it was read")
        return data


class GitTree:
    """A folder as it was in a commit, which nothing writes. It is a `Folder` whose names are those of `blobs`.

    What Git LFS has stored elsewhere is found among its `large_files` of this clone.
    """

    supports_atomic_rename = True

    def __init__(self, objects: GitObjects, where: str, blobs: Mapping[str, Blob], large_files: Path) -> None:
        self._objects, self._where, self._blobs, self._large_files = objects, where, blobs, large_files

    def display_path(self, name: str) -> str:
        """As `git show` takes it."""
        return f"{self._where}{name}"

    def read(self, name: str, limit: int) -> bytes:
        blob = self._blobs.get(name)
        if blob is None:
            raise FileNotFoundError(name)
        file = PurePosixPath(name).name
        if blob.size > limit:
            raise OversizedBaselineError(f"{file} is absurdly large ({blob.size} bytes)")
        if blob.is_link:
            raise UnreadableBaselineError(f"{file} is a symbolic link, and what it leads to is not part of a revision")
        try:
            data = self._objects.read(blob)
        except OSError as error:
            raise UnreadableBaselineError(f"{file} cannot be read: {error}") from error
        pointer = _POINTER.match(data) if blob.size <= _MOST_POINTER_BYTES else None
        return data if pointer is None else self._large_file(file, pointer["id"].decode(), limit)

    def _large_file(self, file: str, digest: str, limit: int) -> bytes:
        with contextlib.suppress(OSError):
            data = regular_file(self._large_files / digest[:2] / digest[2:4] / digest, limit)
            if sha256(data) == digest:
                return data
        revision = self._where.partition(":")[0]
        raise UnreadableBaselineError(
            f"{file} is a Git LFS pointer, and what it stands for is not in this clone: run 'git lfs fetch origin "
            f"{revision}'"
        )

    def content_ids(self, name: str) -> frozenset[str]:
        """By what a file's content can be told without reading it whole; see `content_ids`."""
        blob = self._blobs.get(name)
        if blob is None:
            return frozenset()
        pointer = None
        if blob.size <= _MOST_POINTER_BYTES and not blob.is_link:
            with contextlib.suppress(OSError):
                pointer = _POINTER.match(self._objects.read(blob))
        return frozenset({blob.id} if pointer is None else {blob.id, pointer["id"].decode()})

    def forget(self, name: str) -> None:
        """Nothing changes here."""

    def siblings(self, name: str) -> dict[str, float]:
        folder = PurePosixPath(name).parent
        paths = (PurePosixPath(path) for path in self._blobs)
        return {path.name: math.inf for path in paths if path.parent == folder}

    def find(self, ending: str) -> list[str]:
        return sorted(name for name in self._blobs if name.endswith(ending) and not f"/{name}".count("/."))

    def is_linked(self, name: str) -> bool:
        return name in self._blobs and self._blobs[name].is_link

    def locked(self, name: str) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def write(self, name: str, data: bytes) -> NoReturn:
        self._refuse(name)

    def move(self, old: str, new: str) -> NoReturn:
        self._refuse(old)

    def delete(self, name: str) -> NoReturn:
        self._refuse(name)

    def _refuse(self, name: str) -> NoReturn:
        raise OSError(f"{self.display_path(name)} is part of a revision, which does not change")


def content_ids(data: bytes) -> frozenset[str]:
    """The ids that git and Git LFS give to a file with this content: by SHA-1, by SHA-256, and of the bare content."""
    blob = b"blob %d\0%s" % (len(data), data)
    sha1 = hashlib.sha1(blob, usedforsecurity=False).hexdigest()
    return frozenset({sha1, sha256(blob), sha256(data)})
