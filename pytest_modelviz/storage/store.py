"""The store of baselines, by checks: loading, replacing and removing them, in words that say what to do.

`writing` and `reading` keep their files consistent, `folder` knows where those are.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from pytest_modelviz.errors import ModelvizError, UnreadableBaselineError
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.check_result import CheckResult
from pytest_modelviz.records.limits import FIXED, Limits
from pytest_modelviz.storage.baseline_files import ENDINGS, Files, Stored, decode_files, decode_owned, encode_files
from pytest_modelviz.storage.folder import Folder, open_folder
from pytest_modelviz.storage.formats import decode_json, require_whole
from pytest_modelviz.storage.local_folder import LinkedFolderError, LocalFolder
from pytest_modelviz.storage.names import Location
from pytest_modelviz.storage.reading import BaselineReader, find_baseline
from pytest_modelviz.storage.writing import BaselineWriter, UnfinishedWriteError


class ChangedMeanwhileError(Exception):
    """A baseline is not the one that was compared; it was left alone."""


class Store:
    """A folder of baselines (or of candidates, which have the same layout)."""

    def __init__(
        self,
        root: str | Path | Folder,
        *,
        kind: str = "baseline",
        option: str = "--modelviz-baseline-dir",
        configured: bool = True,
    ) -> None:
        """`kind` says what is stored below this `root`, and `option` chooses it.

        Where nobody has `configured` the root, it is not written through a link either.

        Only baselines may be reached through symbolic links, and bring rules for git: a results folder is untrusted.
        """
        if isinstance(root, (str, Path)):
            root = open_folder(root, configured=configured) if kind == "baseline" else LocalFolder(Path(root))
        self._folder, self._kind, self._option = root, kind, option
        self._reader, self._writer = BaselineReader(root), BaselineWriter(root)

    @property
    def root(self) -> str:
        """The folder or URL, as shown to users."""
        return self._folder.display_path("").rstrip("/")

    def where(self, location: Location) -> Location:
        """Where a check's baseline is: at its location, or where an earlier version has recorded it."""
        return find_baseline(self._folder, location)

    def display_path(self, location: Location) -> str:
        """The JSON file of a baseline, as shown to users."""
        return self.at(self.where(location).path)

    def at(self, path: PurePosixPath) -> str:
        """The JSON file at exactly this path, as shown to users."""
        return self._folder.display_path(f"{path}.json")

    def load(self, location: Location, *, nodeid: str, name: str, limits: Limits = FIXED) -> Stored | None:
        """The baseline of a check, None where there is none; raises UnreadableBaselineError.

        Nothing is unpacked that is beyond the limits: that is an OversizedBaselineError.
        """
        location = self.where(location)
        files = self._reader.files(location, limits)
        return None if files is None else decode_files(files, location, nodeid=nodeid, name=name, limits=limits)

    def files(self, location: Location, *, nodeid: str, name: str) -> Files | None:
        """The files of a baseline as they are, found whole; raises UnreadableBaselineError."""
        location = self.where(location)
        files = self._reader.files(location)
        if files is None:
            return None
        decode_owned(files, location, nodeid=nodeid, name=name)
        if files.arrays is not None:
            require_whole(files.arrays)
        return replace(files, picture=self._reader.picture(location))

    def digest(self, location: Location) -> str | None:
        """The digest of a baseline's JSON file, valid or not; None where there is none."""
        return self._reader.digest(self.where(location))

    def picture(self, location: Location) -> bytes | None:
        """The stored picture, as it is; None where there is none that can be read."""
        return self._reader.picture(self.where(location))

    def stored_picture(self, location: Location, limit: int) -> bytes | None:
        """The file in the place of the picture, whatever it holds; raises UnreadableBaselineError."""
        try:
            return self._folder.read(f"{self.where(location).path}.png", limit)
        except FileNotFoundError:
            return None

    def linked(self, location: Location) -> str | None:
        """The name of a file that is a link, or is reached through a link; None where there is none."""
        path = self.where(location).path
        names = (f"{path}{ending}" for ending in ENDINGS)
        return next((PurePosixPath(name).name for name in names if self._folder.is_linked(name)), None)

    def has_linked_picture(self, location: Location) -> bool:
        """Whether the picture is reached through a link. No digest says what it must be: it may be any picture."""
        return self._folder.is_linked(f"{self.where(location).path}.png")

    def is_complete(self, location: Location, files: Files) -> bool:
        """Whether exactly these files are there, and no leftovers of an interrupted write."""
        return self._writer.is_complete(self.where(location), files)

    def save(
        self, location: Location, capture: Capture, *, nodeid: str, name: str, picture: bytes | None = None
    ) -> str:
        """Write a baseline, all or nothing; identical files are left alone. Returns the path of the JSON file.

        Raises ModelvizError where that is not possible; then the old one is as it was.
        """
        self.put(location, replace(encode_files(location, capture, nodeid=nodeid, name=name), picture=picture))
        return self.display_path(location)

    def put(self, location: Location, files: Files) -> None:
        """Write a baseline's files, all or nothing. Raises ModelvizError."""
        with self._locked("write", location) as own:
            self._writer.replace(own, files)

    def replace_if_unchanged(self, location: Location, files: Files, *, expected_digest: str | None) -> None:
        """Write a baseline's files in place of the baseline with this digest; None: where there is none.

        Raises ChangedMeanwhileError where something else has taken that one's place, and ModelvizError.
        """
        with self._locked("write", location) as own:
            self._require_unchanged(own, expected_digest)
            self._writer.replace(own, files)

    def remove(self, location: Location, *, expected_digest: str) -> None:
        """Remove a baseline, if it is still the one of this digest; else raises ChangedMeanwhileError."""
        with self._locked("remove", location) as own:
            self._require_unchanged(own, expected_digest)
            self._writer.remove(own)

    def _require_unchanged(self, own: Location, expected_digest: str | None) -> None:
        if self._reader.digest(own) != expected_digest:
            raise ChangedMeanwhileError(self.at(own.path))

    def complete_interrupted_write(self, location: Location) -> None:
        """Give a baseline's files their final names, where a write was interrupted after the JSON file was replaced.

        Where writers cannot be kept apart, those files may be another's, and stay.
        """
        if self._folder.supports_atomic_rename:
            with self._locked("write", location) as own:
                self._writer.complete(own)

    @contextlib.contextmanager
    def _locked(self, verb: str, location: Location) -> Iterator[Location]:
        """Where a check's baseline is, while no other process writes it. Failures become ModelvizErrors."""
        location = self.where(location)
        try:
            with self._folder.locked(str(location.path)):
                yield location
        except LinkedFolderError as error:
            raise ModelvizError(
                f"cannot {verb} the {self._kind} {self.display_path(location)}: {error}. Put a real folder in its "
                f"place (remove the link and copy its target there), or choose another with {self._option}; a folder "
                f"named by that option may itself be a link"
            ) from error
        except UnfinishedWriteError as error:
            raise ModelvizError(
                f"the {self._kind} {self.display_path(location)} was written, but not everything beside it "
                f"({error}): remove what is in the way, and write it again"
            ) from error
        except OSError as error:
            raise ModelvizError(
                f"cannot {verb} the {self._kind} {self.display_path(location)}: {error.strerror or error}. The old "
                f"one, if any, is unchanged; make the folder writable or choose another with {self._option}"
            ) from error

    def stems(self) -> list[PurePosixPath]:
        """The paths of all baselines' JSON files, without the ending."""
        return [PurePosixPath(name).with_suffix("") for name in self._folder.find(".json")]

    def documents(self) -> Iterator[tuple[Location, dict[str, Any]]]:
        """All baselines at the locations that their ids give, each with its document."""
        for stem in self.stems():
            document = self.ids(stem)
            if document is not None and self.where(location := Location.of_document(document)).path == stem:
                yield location, document

    def location(self, check: CheckResult, path: str | None) -> Location:
        """The location of a check's files, given the `path` that its result says they have here.

        The test's id and the check's name alone say it; the path's file name, for which variant it is.
        """
        common = Location.of(check.nodeid, check.name)
        if path is None:
            return common
        stem = PurePosixPath(path.replace("\\", "/")).name.removesuffix(".json")
        document = self.ids(common.folder / stem) if stem.startswith(f"{common.stem}@") else None
        own = common if document is None else Location.of_document({**document, "name": check.name}, check.nodeid)
        return own if own.stem == stem else common

    def holds_test(self, nodeid: str) -> bool:
        """Whether there is anything of this test, in whatever state. Its own folders are looked into, no others."""
        location = Location.of(nodeid, "")
        if self._named(location.folder):
            return True
        earlier = location.earlier.folder if location.earlier else location.folder
        documents = [self.ids(earlier / PurePosixPath(name).stem) for name in self._named(earlier)]
        return any(document is None or document["nodeid"] == nodeid for document in documents)

    def _named(self, folder: PurePosixPath) -> list[str]:
        """The files of checks in a folder."""
        try:
            names = self._folder.siblings(f"{folder}/_")
        except OSError:  # there is no such folder
            return []
        return [name for name in names if name.endswith(ENDINGS) and not name.startswith(".")]

    def ids(self, stem: PurePosixPath) -> dict[str, Any] | None:
        """The document of the baseline at a path; None for what is no baseline, or damaged."""
        try:
            return decode_json(self._folder.read(f"{stem}.json", FIXED.json_bytes))
        except (FileNotFoundError, UnreadableBaselineError):
            return None
