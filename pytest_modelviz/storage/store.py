"""Reading and writing baselines in a folder: each is whole at every moment, the old one or the new one.

A baseline is a JSON file that names, by digest, the safetensors file it belongs to. A new safetensors file is first
written beside the old one under its digest; replacing the JSON file is the one step that makes the baseline new; then
the safetensors file takes its proper name, and so does the picture. A reader that finds the JSON file ahead of the
safetensors file takes the one that still bears its digest; the next update gives it its name.

In a folder of this machine writers wait for each other. Behind a URL they cannot: there the file that bears its digest
stays for an hour at least, so that whichever JSON file came last finds what it names.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from pytest_modelviz.errors import ModelvizError, UnreadableBaselineError
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.limits import FIXED, Limits
from pytest_modelviz.storage.earlier import find_baseline
from pytest_modelviz.storage.folder import Folder, LinkedFolderError, LocalFolder, is_running, open_folder
from pytest_modelviz.storage.formats import (
    belongs,
    decode_arrays,
    decode_json,
    encode_arrays,
    encode_json,
    require_whole,
    sha256,
    text_sha256,
)
from pytest_modelviz.storage.line_ends import line_end_damage
from pytest_modelviz.storage.names import Location

_ABANDONED_SECONDS = 3600.0  # a younger unfinished file may be another process's
_ENDINGS = (".json", ".safetensors", ".png")
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Stored:
    """A baseline as read: `digest` identifies its content."""

    capture: Capture
    digest: str


@dataclass(frozen=True)
class Files:
    """A baseline's files as they are: JSON, safetensors and PNG."""

    text: bytes
    arrays: bytes | None = None
    picture: bytes | None = None


class ChangedMeanwhileError(Exception):
    """A baseline is not the one that was compared; it was left alone."""


class Store:
    """A folder of baselines (or of candidates, which have the same layout)."""

    def __init__(
        self,
        place: str | Path | Folder,
        *,
        what: str = "baseline",
        option: str = "--modelviz-baseline-dir",
        configured: bool = True,
    ) -> None:
        """`what` is kept at this `place`, and `option` chooses it.

        Where nobody has `configured` the place, it is not written through a link either.

        Only baselines may be reached through symbolic links, and bring rules for git: what a run keeps may come from
        anybody's.
        """
        if isinstance(place, (str, Path)):
            place = open_folder(place, configured=configured) if what == "baseline" else LocalFolder(Path(place))
        self._folder, self._what, self._option = place, what, option

    @property
    def root(self) -> str:
        """The folder or URL as people write it."""
        return self._folder.shown("").rstrip("/")

    def where(self, location: Location) -> Location:
        """Where a check's baseline lies: at its location, or where an earlier version has recorded it."""
        return find_baseline(self._folder, location)

    def shown(self, location: Location) -> str:
        """The JSON file of a baseline as people write it."""
        return self.at(self.where(location).path)

    def at(self, path: PurePosixPath) -> str:
        """The JSON file of whatever lies at exactly this path, as people write it."""
        return self._folder.shown(f"{path}.json")

    def load(self, location: Location, *, nodeid: str, name: str, limits: Limits = FIXED) -> Stored | None:
        """The baseline of a check, None where there is none; raises UnreadableBaselineError.

        Nothing is unpacked that is beyond the limits: that is an OversizedBaselineError.
        """
        location = self.where(location)
        files = self._files(location, limits)
        return None if files is None else _stored(files, location, nodeid, name, limits)

    def files(self, location: Location, *, nodeid: str, name: str) -> Files | None:
        """The files of a baseline as they are, found whole; raises UnreadableBaselineError."""
        location = self.where(location)
        files = self._files(location)
        if files is None:
            return None
        _owned(files, location, nodeid, name)
        if files.arrays is not None:
            require_whole(files.arrays)
        return Files(files.text, files.arrays, self.picture(location))

    def _files(self, location: Location, limits: Limits = FIXED) -> Files | None:
        """JSON and safetensors that belong together.

        What does not is looked at again while nobody writes: somebody may just have been replacing it.
        """
        try:
            return self._read(location, limits)
        except UnreadableBaselineError:
            self._forget(location)
            with contextlib.suppress(TimeoutError), self._folder.locked(str(location.path)):
                return self._read(location, limits)
            raise

    def _read(self, location: Location, limits: Limits) -> Files | None:
        try:
            text = self._folder.read(f"{location.path}.json", limits.json_bytes)
        except FileNotFoundError:
            self._refuse_remains(location)
            return None
        wanted = decode_json(text, limits).get("data_sha256")
        return Files(text, None if wanted is None else self._data(location, str(wanted), limits))

    def _refuse_remains(self, location: Location) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._folder.read(f"{location.path}.safetensors", FIXED.array_bytes)
            raise UnreadableBaselineError(f"{location.stem}.json is missing beside its safetensors file")

    def _data(self, location: Location, wanted: str, limits: Limits) -> bytes:
        """The safetensors file of this digest, under its name or, where a write was cut off, still under its digest."""
        found = None
        places = (f"{location.path}.safetensors", _staged(location, wanted))
        for name in places if self._folder.settles else reversed(places):
            with contextlib.suppress(FileNotFoundError):
                data = self._folder.read(name, limits.array_bytes)
                if sha256(data) == wanted:
                    return data
                found = data
        if found is None:
            raise UnreadableBaselineError("its safetensors file is missing: restore it from version control")
        damage = line_end_damage(found, wanted)
        if damage is not None:
            raise UnreadableBaselineError(f"its safetensors file is damaged: {damage}")
        require_whole(found)  # says what is wrong with it, if it can tell
        raise UnreadableBaselineError(
            "its safetensors file does not belong to its JSON file (half of a merge, or a damaged file): "
            "restore both from version control, or record it anew"
        )

    def _forget(self, location: Location) -> None:
        for ending in ("json", "safetensors"):
            self._folder.forget(f"{location.path}.{ending}")

    def digest(self, location: Location) -> str | None:
        """What identifies the content of a baseline, whatever state it is in; None where there is none.

        Of what cannot even be read, a word that is no digest.
        """
        location = self.where(location)
        self._forget(location)
        try:
            return text_sha256(self._folder.read(f"{location.path}.json", FIXED.json_bytes))
        except FileNotFoundError:
            return None
        except UnreadableBaselineError:
            return "unreadable"

    def picture(self, location: Location) -> bytes | None:
        """The stored picture, as it is. No digest vouches for it: what a link leads to must at least be a picture."""
        name = f"{self.where(location).path}.png"
        try:
            data = self._folder.read(name, FIXED.array_bytes)
        except (OSError, UnreadableBaselineError):
            return None
        return data if data.startswith(_PNG) or not self._folder.is_linked(name) else None

    def stored_picture(self, location: Location, limit: int) -> bytes | None:
        """The file that lies there as the picture, whatever it is; raises UnreadableBaselineError."""
        try:
            return self._folder.read(f"{self.where(location).path}.png", limit)
        except FileNotFoundError:
            return None

    def linked(self, location: Location) -> str | None:
        """The name of a file that is a link, or is reached through a link; None where there is none."""
        path = self.where(location).path
        names = (f"{path}{ending}" for ending in _ENDINGS)
        return next((PurePosixPath(name).name for name in names if self._folder.is_linked(name)), None)

    def is_complete(self, location: Location, files: Files) -> bool:
        """Whether exactly these files lie there, and nothing that a write which was cut off has left."""
        location = self.where(location)
        contents = dict(zip(_ENDINGS, (files.text, files.arrays, files.picture), strict=True))
        return not self._leftovers(location, None) and all(
            self._holds_text(f"{location.path}{ending}", data)
            if ending == ".json" and data is not None
            else self._holds(f"{location.path}{ending}", data)
            if data is not None
            else not self._exists(f"{location.path}{ending}")
            for ending, data in contents.items()
        )

    def _exists(self, name: str) -> bool:
        return PurePosixPath(name).name in self._folder.siblings(name)

    def save(
        self, location: Location, capture: Capture, *, nodeid: str, name: str, picture: bytes | None = None
    ) -> str:
        """Write a baseline, all or nothing; identical files are left alone. Returns the JSON file as people write it.

        Raises ModelvizError where that is not possible; then the old one is as it was.
        """
        self.put(location, replace(encode_files(location, capture, nodeid=nodeid, name=name), picture=picture))
        return self.shown(location)

    def put(self, location: Location, files: Files) -> None:
        """Write a baseline's files, all or nothing. Raises ModelvizError."""
        location = self.where(location)
        with self._told("write", location), self._folder.locked(str(location.path)):
            self._replace(location, files)

    def put_instead(self, location: Location, files: Files, of: str | None) -> None:
        """Write a baseline's files in place `of` the baseline with this digest; None: where there is none.

        Raises ChangedMeanwhileError where something else has taken that one's place, and ModelvizError.
        """
        location = self.where(location)
        with self._told("write", location), self._folder.locked(str(location.path)):
            if self.digest(location) != of:
                raise ChangedMeanwhileError(self.shown(location))
            self._replace(location, files)

    def remove(self, location: Location, *, only: str) -> None:
        """Remove a baseline, if it is still the one of this digest; else raises ChangedMeanwhileError."""
        location = self.where(location)
        with self._told("remove", location), self._folder.locked(str(location.path)):
            if self.digest(location) != only:
                raise ChangedMeanwhileError(self.shown(location))
            self._tidy(location, None, every=True)
            # the JSON file goes last: as long as it is there, what is left can be found and removed again
            for ending in ("png", "safetensors", "json"):
                self._folder.delete(f"{location.path}.{ending}")

    def discard(self, location: Location) -> None:
        """Remove what lies there, if anything does."""
        digest = self.digest(location)
        if digest is not None:
            self.remove(location, only=digest)

    @contextlib.contextmanager
    def _told(self, verb: str, location: Location) -> Iterator[None]:
        try:
            yield
        except LinkedFolderError as error:
            raise ModelvizError(
                f"cannot {verb} the {self._what} {self.shown(location)}: {error}. Put a real folder in its place "
                f"(remove the link, and copy there what it led to), or choose another with {self._option}; what is "
                f"named by that may itself be a link"
            ) from error
        except OSError as error:
            raise ModelvizError(
                f"cannot {verb} the {self._what} {self.shown(location)}: {error.strerror or error}. The old one, if "
                f"any, is unchanged; make the folder writable or choose another with {self._option}"
            ) from error

    @contextlib.contextmanager
    def _told_afterwards(self, location: Location) -> Iterator[None]:
        """What goes wrong when the baseline is written already."""
        try:
            yield
        except OSError as error:
            raise ModelvizError(
                f"the {self._what} {self.shown(location)} is written, but not all that belongs beside it "
                f"({error.strerror or error}): remove what is in the way, and write it again"
            ) from error

    def _replace(self, location: Location, files: Files) -> None:
        folder, path = self._folder, location.path
        data, staged = f"{path}.safetensors", None
        image, picture = f"{path}.png", None
        same = self._holds_text(f"{path}.json", files.text)
        # where writers cannot be kept apart, the proper name is anybody's: what a new JSON file names lies beside it
        if files.arrays is not None and not (self._holds(data, files.arrays) and (same or folder.settles)):
            staged = _staged(location, sha256(files.arrays))
        if folder.settles and files.picture is not None and not self._holds(image, files.picture):
            picture = _staged(location, text_sha256(files.text), "png")
        beside = {name: content for name, content in ((staged, files.arrays), (picture, files.picture)) if name}
        with self._leaving_nothing(beside):
            for name, content in beside.items():
                folder.write(name, content or b"")
            if not same:
                folder.write(f"{path}.json", files.text)
        with self._told_afterwards(location):
            if files.arrays is None:
                folder.delete(data)
            elif staged is not None:
                self._settle(staged, data, files.arrays)
            if files.picture is None:
                folder.delete(image)
            elif picture is not None:
                self._settle(picture, image, files.picture)
            elif not self._holds(image, files.picture):
                folder.write(image, files.picture)
            self._tidy(location, staged)

    @contextlib.contextmanager
    def _leaving_nothing(self, beside: Mapping[str, bytes | None]) -> Iterator[None]:
        """Where a baseline cannot be written, take away again what was written beside it, and was not there before."""
        new = [name for name, content in beside.items() if not self._holds(name, content or b"")]
        try:
            yield
        except OSError:
            for name in new:
                with contextlib.suppress(OSError):
                    self._folder.delete(name)
            raise

    def _settle(self, staged: str, proper: str, data: bytes) -> None:
        """Give a file that was written beside its proper name."""
        if self._folder.settles:
            with contextlib.suppress(FileNotFoundError):  # tidied away by somebody who could not see the lock
                self._folder.move(staged, proper)
                return
        self._folder.write(proper, data)

    def finish(self, location: Location) -> None:
        """Give a baseline's files their proper names, where a write was cut off after the JSON file was replaced.

        What else interrupted writes have left of it is removed; the unfinished files of running processes stay.
        """
        if not self._folder.settles:
            return
        location = self.where(location)
        with self._told("write", location), self._folder.locked(str(location.path)):
            text = self._folder.read(f"{location.path}.json", FIXED.json_bytes)
            wanted = {"safetensors": decode_json(text).get("data_sha256"), "png": text_sha256(text)}
            for ending, digest in wanted.items():
                if digest is not None:
                    with contextlib.suppress(FileNotFoundError, UnreadableBaselineError):
                        self._finish(_staged(location, digest, ending), f"{location.path}.{ending}", digest)
            with contextlib.suppress(OSError):  # all that counts is in its place
                self._tidy(location, None)

    def _finish(self, staged: str, proper: str, digest: str) -> None:
        """Give a file its proper name if it is what it is called for: anybody may have laid it there."""
        data = self._folder.read(staged, FIXED.array_bytes)
        is_it = data.startswith(_PNG) if proper.endswith(".png") else sha256(data) == digest
        if is_it:
            self._folder.move(staged, proper)

    def _tidy(self, location: Location, staged: str | None, *, every: bool = False) -> None:
        """Remove what interrupted writes of this very baseline left behind; another check's are another's."""
        for name in self._leftovers(location, staged, every=every):
            self._folder.delete(str(location.folder / name))

    def _leftovers(self, location: Location, staged: str | None, *, every: bool = False) -> list[str]:
        found = []
        stem = re.escape(location.stem)
        bears_digest = re.compile(rf"\.{stem}\.[0-9a-f]{{16}}\.(safetensors|png)")
        unfinished = re.compile(rf"\.{{1,2}}{stem}\.([0-9a-f]{{16}}\.)?(json|png|safetensors)\.(?P<writer>\d+)\.tmp")
        for name, age in self._folder.siblings(f"{location.path}.json").items():
            old = every or age > _ABANDONED_SECONDS
            mine = bears_digest.fullmatch(name) and (old or self._folder.settles)
            begun = unfinished.fullmatch(name)
            abandoned = begun and (old or (self._folder.settles and not is_running(int(begun["writer"]))))
            if (mine and not (staged or "").endswith(f"/{name}")) or abandoned:
                found.append(name)
        return found

    def _holds(self, name: str, data: bytes) -> bool:
        try:
            return self._folder.read(name, len(data)) == data
        except (FileNotFoundError, UnreadableBaselineError):
            return False

    def _holds_text(self, name: str, text: bytes) -> bool:
        """Whether a file says this, whatever its line ends."""
        try:
            return text_sha256(self._folder.read(name, FIXED.json_bytes)) == text_sha256(text)
        except (FileNotFoundError, UnreadableBaselineError):
            return False

    def stems(self) -> list[PurePosixPath]:
        """Where baselines lie, by the names of their JSON files without the ending."""
        return [PurePosixPath(name).with_suffix("") for name in self._folder.find(".json")]

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
        return [name for name in names if name.endswith(_ENDINGS) and not name.startswith(".")]

    def ids(self, stem: PurePosixPath) -> dict[str, Any] | None:
        """The document of a baseline that lies there, None for what is none of ours or damaged."""
        try:
            return decode_json(self._folder.read(f"{stem}.json", FIXED.json_bytes))
        except (FileNotFoundError, UnreadableBaselineError):
            return None


def encode_files(location: Location, capture: Capture, *, nodeid: str, name: str) -> Files:
    """A baseline's files, but for its picture. Raises ModelvizError for what cannot be stored."""
    arrays = encode_arrays(capture.arrays)
    digest = None if arrays is None else sha256(arrays)
    text = encode_json(capture, nodeid=nodeid, name=name, variant=location.variant, data_sha256=digest)
    return Files(text, arrays, None)


def _owned(files: Files, location: Location, nodeid: str, name: str, limits: Limits = FIXED) -> dict[str, Any]:
    """The document, which is this check's."""
    document = decode_json(files.text, limits)
    belongs(document, nodeid=nodeid, name=name, variant=location.variant)
    return document


def _stored(files: Files, location: Location, nodeid: str, name: str, limits: Limits) -> Stored:
    document = _owned(files, location, nodeid, name, limits)
    arrays = {} if files.arrays is None else decode_arrays(files.arrays, limits)
    environment = {str(key): str(value) for key, value in document["environment"].items()}
    return Stored(Capture(document["view"], document["facts"], arrays, environment), text_sha256(files.text))


def _staged(location: Location, digest: str, ending: str = "safetensors") -> str:
    return str(location.folder / f".{location.stem}.{digest[:16]}.{ending}")
