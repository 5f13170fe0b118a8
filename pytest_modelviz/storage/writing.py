"""Writing the files of a baseline: it is whole at every moment, the old one or the new one.

A baseline is a JSON file that names, by digest, the safetensors file it belongs to. A new safetensors file is first
written beside the old one under its digest; replacing the JSON file is the one step that makes the baseline new; then
the safetensors file takes its final name, and so does the picture. A reader that finds the JSON file ahead of the
safetensors file takes the one that still bears its digest; the next update gives it its name.

In a folder of this machine writers wait for each other. Behind a URL they cannot: there the file that bears its digest
stays for an hour at least, so that whichever JSON file came last finds what it names.
"""

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.limits import FIXED
from pytest_modelviz.storage.baseline_files import ENDINGS, PNG_SIGNATURE, Files, staged_name
from pytest_modelviz.storage.folder import Folder
from pytest_modelviz.storage.formats import decode_json, sha256, text_sha256
from pytest_modelviz.storage.names import Location

_ABANDONED_SECONDS = 3600.0  # a younger unfinished file may be another process's


class UnfinishedWriteError(OSError):
    """The JSON file is written, but not all other files of the baseline are."""


@dataclass(frozen=True)
class BaselineWriter:
    """Writes at exactly the locations that it is given, which the caller has locked. What fails is an OSError."""

    folder: Folder

    def replace(self, location: Location, files: Files) -> None:
        """Write a baseline's files; those that are there already are left alone.

        Raises UnfinishedWriteError where the baseline itself is new already.
        """
        folder, path = self.folder, location.path
        data, staged = f"{path}.safetensors", None
        image, picture = f"{path}.png", None
        same = self._holds_text(f"{path}.json", files.text)
        # where writers cannot be kept apart, the final name is anybody's: what a new JSON file names lies beside it
        if files.arrays is not None and not (
            self._holds(data, files.arrays) and (same or folder.supports_atomic_rename)
        ):
            staged = staged_name(location, sha256(files.arrays))
        if folder.supports_atomic_rename and files.picture is not None and not self._holds(image, files.picture):
            picture = staged_name(location, text_sha256(files.text), "png")
        beside = {name: content for name, content in ((staged, files.arrays), (picture, files.picture)) if name}
        with self._cleaning_up(beside):
            for name, content in beside.items():
                folder.write(name, content or b"")
            if not same:
                folder.write(f"{path}.json", files.text)
        with _as_unfinished():
            for final, waiting, content in ((data, staged, files.arrays), (image, picture, files.picture)):
                if content is None:
                    folder.delete(final)
                elif waiting is not None:
                    self._give_final_name(waiting, final, content)
                elif not self._holds(final, content):
                    folder.write(final, content)
            self._remove_leftovers(location, staged)

    @contextlib.contextmanager
    def _cleaning_up(self, beside: Mapping[str, bytes | None]) -> Iterator[None]:
        """Remove the new temporary files again, if the baseline cannot be written."""
        new = [name for name, content in beside.items() if not self._holds(name, content or b"")]
        try:
            yield
        except OSError:
            for name in new:
                with contextlib.suppress(OSError):
                    self.folder.delete(name)
            raise

    def _give_final_name(self, staged: str, final: str, data: bytes) -> None:
        """Give a temporary file its final name."""
        if self.folder.supports_atomic_rename:
            with contextlib.suppress(FileNotFoundError):  # removed by a process that could not see the lock
                self.folder.move(staged, final)
                return
        self.folder.write(final, data)

    def remove(self, location: Location) -> None:
        """Remove a baseline, and all that interrupted writes have left of it."""
        self._remove_leftovers(location, None, every=True)
        # the JSON file goes last: as long as it is there, what is left can be found and removed again
        for ending in reversed(ENDINGS):
            self.folder.delete(f"{location.path}{ending}")

    def complete(self, location: Location) -> None:
        """Give a baseline's files their final names, where a write was interrupted after the JSON file was replaced.

        What else interrupted writes have left of it is removed; the unfinished files of running processes stay.
        """
        text = self.folder.read(f"{location.path}.json", FIXED.json_bytes)
        digests = {"safetensors": decode_json(text).get("data_sha256"), "png": text_sha256(text)}
        for ending, digest in digests.items():
            if digest is not None:
                with contextlib.suppress(FileNotFoundError, UnreadableBaselineError):
                    self._complete(staged_name(location, digest, ending), f"{location.path}.{ending}", digest)
        with contextlib.suppress(OSError):  # all that counts is under its final name
            self._remove_leftovers(location, None)

    def _complete(self, staged: str, final: str, digest: str) -> None:
        """Give a file its final name if its content is what its name says: it is untrusted."""
        data = self.folder.read(staged, FIXED.array_bytes)
        if data.startswith(PNG_SIGNATURE) if final.endswith(".png") else sha256(data) == digest:
            self.folder.move(staged, final)

    def is_complete(self, location: Location, files: Files) -> bool:
        """Whether exactly these files are there, and no leftovers of an interrupted write."""
        contents = zip(ENDINGS, (files.text, files.arrays, files.picture), strict=True)
        return not self._leftovers(location, None) and all(
            not self._exists(f"{location.path}{ending}")
            if data is None
            else (self._holds_text if ending == ".json" else self._holds)(f"{location.path}{ending}", data)
            for ending, data in contents
        )

    def _remove_leftovers(self, location: Location, staged: str | None, *, every: bool = False) -> None:
        """Remove what interrupted writes of this very baseline left behind; another check's are another's."""
        for name in self._leftovers(location, staged, every=every):
            self.folder.delete(str(location.folder / name))

    def _leftovers(self, location: Location, staged: str | None, *, every: bool = False) -> list[str]:
        leftovers = []
        stem = re.escape(location.stem)
        bears_digest = re.compile(rf"\.{stem}\.[0-9a-f]{{16}}\.(safetensors|png)")
        unfinished = re.compile(rf"\.{{1,2}}{stem}\.([0-9a-f]{{16}}\.)?(json|png|safetensors)\.(?P<writer>\d+)\.tmp")
        is_exclusive = self.folder.supports_atomic_rename
        for name, age in self.folder.siblings(f"{location.path}.json").items():
            old = every or age > _ABANDONED_SECONDS
            staged_here = bears_digest.fullmatch(name) and (old or is_exclusive)
            begun = unfinished.fullmatch(name)
            abandoned = begun and (old or (is_exclusive and not _is_running(int(begun["writer"]))))
            if (staged_here and not (staged or "").endswith(f"/{name}")) or abandoned:
                leftovers.append(name)
        return leftovers

    def _exists(self, name: str) -> bool:
        return PurePosixPath(name).name in self.folder.siblings(name)

    def _holds(self, name: str, data: bytes) -> bool:
        try:
            return self.folder.read(name, len(data)) == data
        except (FileNotFoundError, UnreadableBaselineError):
            return False

    def _holds_text(self, name: str, text: bytes) -> bool:
        """Whether a file says this, whatever its line ends."""
        try:
            return text_sha256(self.folder.read(name, FIXED.json_bytes)) == text_sha256(text)
        except (FileNotFoundError, UnreadableBaselineError):
            return False


@contextlib.contextmanager
def _as_unfinished() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UnfinishedWriteError(str(error.strerror or error)) from error


def _is_running(pid: int) -> bool:
    """Whether there is a process with this id; assumed where the system cannot tell."""
    if os.name != "posix":  # elsewhere the question would end it
        return True
    try:
        os.kill(pid, 0)
    except (OSError, OverflowError) as error:
        return not isinstance(error, ProcessLookupError)
    return True
