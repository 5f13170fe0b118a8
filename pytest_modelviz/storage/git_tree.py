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
from typing import IO, NoReturn

from pytest_modelviz.errors import OversizedBaselineError, UnreadableBaselineError
from pytest_modelviz.storage.files import regular_file
from pytest_modelviz.storage.formats import sha256

_POINTER = re.compile(rb"version https://git-lfs[^\n]*\n(?:ext-[^\n]*\n)*oid sha256:(?P<id>[0-9a-f]{64})\n")
_MOST_POINTER_BYTES = 1024
_HEADER = re.compile(rb"[0-9a-f]+ blob (?P<size>\d+)\n")


@dataclass(frozen=True)
class Blob:
    """The content of a file, by its object's id. That of a link is where it leads to."""

    id: str
    is_link: bool = False


class GitObjects(contextlib.AbstractContextManager["GitObjects"]):
    """The objects of a repository, read by two processes of git, each of which is started when it is first needed."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self._command, self._environment = command, environment
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __exit__(self, *error: object) -> None:
        for option in [*self._processes]:
            self._end(option)

    def _end(self, option: str) -> None:
        process = self._processes.pop(option)
        process.kill()
        process.communicate()

    def size(self, blob: Blob) -> int:
        """The number of bytes; raises OSError where that cannot be had."""
        return self._ask("--batch-check", blob)[0]

    def read(self, blob: Blob) -> bytes:
        """The whole content; raises OSError where it cannot be had."""
        size, answers = self._ask("--batch", blob)
        data = answers.read(size)
        if len(data) < size or answers.read(1) != b"\n":
            raise OSError("git ended before it was read")
        return data

    def _ask(self, option: str, blob: Blob) -> tuple[int, IO[bytes]]:
        """The size of the content, and from where to read what follows."""
        if option not in self._processes:
            self._processes[option] = subprocess.Popen(  # noqa: S603  # git
                [*self._command, "cat-file", option],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=self._environment,
            )
        requests, answers = self._processes[option].stdin, self._processes[option].stdout
        if requests is None or answers is None:
            raise OSError("git was started without pipes")
        found = None
        with contextlib.suppress(BrokenPipeError):
            requests.write(f"{blob.id}\n".encode())
            requests.flush()
            found = _HEADER.fullmatch(answers.readline())
        if found is None:
            self._end(option)  # it may have ended by itself, where it could not fetch the object
            raise OSError("its content is not in this clone: fetch it, as by 'git fetch --refetch'")
        return int(found["size"]), answers


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
        if blob.is_link:
            raise UnreadableBaselineError(f"{file} is a symbolic link, and what it leads to is not part of a revision")
        try:
            size = self._objects.size(blob)
            if size > limit:
                raise OversizedBaselineError(f"{file} is absurdly large ({size} bytes)")
            data = self._objects.read(blob)
        except OSError as error:
            raise UnreadableBaselineError(f"{file} cannot be read: {error}") from error
        pointer = _POINTER.match(data) if size <= _MOST_POINTER_BYTES else None
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
        with contextlib.suppress(OSError):
            if not blob.is_link and self._objects.size(blob) <= _MOST_POINTER_BYTES:
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
