"""A folder of files as a commit of a git repository holds it, to be read like one on this machine."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple, NoReturn

from pytest_modelviz.errors import ModelvizError, OversizedBaselineError, UnreadableBaselineError
from pytest_modelviz.storage.files import regular_file
from pytest_modelviz.storage.formats import sha256

_POINTER = re.compile(rb"version https://git-lfs[^\n]*\n(?:ext-[^\n]*\n)*oid sha256:(?P<id>[0-9a-f]{64})\n")
_MOST_POINTER_BYTES = 1024
_HEADER = re.compile(rb"[0-9a-f]+ (?P<kind>blob|tree) (?P<size>\d+)\n")
_MOST_TREE_BYTES = 16 * 2**20  # of one folder
_MOST_LISTED_BYTES, _ENTRY_BYTES = 16 * 2**20, 100  # of all paths in a folder, and what an entry takes beside its path
_LINK = "120000"
PARTIAL = (
    "this clone is a partial one and lacks what the baselines were, and nothing is fetched here: run 'git fetch "
    "--refetch --no-filter origin', or clone without --filter (in actions/checkout: without 'filter')"
)


@dataclass(frozen=True)
class Blob:
    """The content of a file, by its object's id. That of a link is where it leads to."""

    id: str
    is_link: bool = False


class TreeEntry(NamedTuple):
    """A line of a folder; `mode` is git's."""

    mode: str
    id: str

    @property
    def is_tree(self) -> bool:
        return self.mode.lstrip("0") == "40000"

    @property
    def is_file(self) -> bool:
        """Whether it is a file or a link, not a submodule."""
        return self.mode.startswith(("100", "120"))


class GitObjects(contextlib.AbstractContextManager["GitObjects"]):
    """The objects of a repository, read by two processes of git, each of which is started when it is first needed.

    One that a partial clone lacks is a ModelvizError.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str] | None = None, *, is_partial: bool = False
    ) -> None:
        self._command, self._environment, self.is_partial = command, environment, is_partial
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
        return self._ask("--batch-check", blob.id)[0]

    def read(self, blob: Blob) -> bytes:
        """The whole content; raises OSError where it cannot be had."""
        return self._content(*self._ask("--batch", blob.id))

    def entries(self, tree: str) -> dict[str, TreeEntry]:
        """What is directly in a folder, by its name.

        Raises OSError where it cannot be read, and ModelvizError for what git itself does not check out.
        """
        size, answers = self._ask("--batch", tree, kind=b"tree")
        if size > _MOST_TREE_BYTES:
            self._end("--batch")
            raise ModelvizError(f"the folder {tree} is absurdly large ({size} bytes)")
        data, digest_bytes = self._content(size, answers), len(tree) // 2
        found: dict[str, TreeEntry] = {}
        at = 0
        while at < size:
            space, zero = data.find(b" ", at), data.find(b"\0", at)
            if not at < space < zero:
                raise OSError("a folder in it is damaged")
            mode, text = data[at:space].decode("ascii", "replace"), os.fsdecode(data[space + 1 : zero])
            at = zero + 1 + digest_bytes
            if text in found or text in ("", ".", "..") or "/" in text:
                raise ModelvizError(
                    f"the folder {tree} in git has two entries with the name {text!r}, or one that is no name: it was "
                    f"not made by git, see 'git fsck'"
                )
            found[text] = TreeEntry(mode, data[zero + 1 : at].hex())
        return found

    def files(self, tree: str) -> dict[str, Blob]:
        """All files in a folder and the folders in it, by their paths; raises as `entries`."""
        found: dict[str, Blob] = {}
        left, folders = _MOST_LISTED_BYTES, [("", tree)]
        while folders:
            folder, tree = folders.pop()
            for name, entry in self.entries(tree).items():
                path = f"{folder}{name}"
                left -= len(path) + _ENTRY_BYTES
                if left < 0:
                    raise ModelvizError(f"there are too many files in the folder to be listed, {len(found)} and more")
                if entry.is_tree:
                    folders.append((f"{path}/", entry.id))
                elif entry.is_file:
                    found[path] = Blob(entry.id, entry.mode == _LINK)
        return found

    @staticmethod
    def _content(size: int, answers: IO[bytes]) -> bytes:
        data = answers.read(size)
        if len(data) < size or answers.read(1) != b"\n":
            raise OSError("git ended before it was read")
        return data

    def _ask(self, option: str, name: str, kind: bytes = b"blob") -> tuple[int, IO[bytes]]:
        """The size of an object's content, and from where to read what follows."""
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
            requests.write(f"{name}\n".encode())
            requests.flush()
            found = _HEADER.fullmatch(answers.readline())
        if found is None or found["kind"] != kind:
            self._end(option)  # it may have ended by itself, where it could not fetch the object
            if self.is_partial:
                raise ModelvizError(PARTIAL)
            raise OSError("its content is not in this clone, which is damaged: clone it again")
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
            if not (blob.is_link or self._objects.is_partial) and self._objects.size(blob) <= _MOST_POINTER_BYTES:
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
