"""The results folder: results.json for programs, candidates, event files. It git-ignores itself. No torch."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from pytest_modelviz.errors import ModelvizError, UnreadableBaselineError
from pytest_modelviz.records.check_result import CheckResult, Status
from pytest_modelviz.records.orphan import OrphanRecord
from pytest_modelviz.records.run_result import SCHEMA, RunResult
from pytest_modelviz.storage.details import DetailFiles, document_bytes
from pytest_modelviz.storage.discarded import DiscardNotes
from pytest_modelviz.storage.event_folders import EventFolders
from pytest_modelviz.storage.files import HIDES_ALL, words_of_gitignore
from pytest_modelviz.storage.local_folder import LocalFolder
from pytest_modelviz.storage.names import Location, safe
from pytest_modelviz.storage.picture_files import PictureFiles, composites
from pytest_modelviz.storage.run_marks import RunMarks, unfinished_line
from pytest_modelviz.storage.store import Store
from pytest_modelviz.text.strict_json import parse_json

_HEAD = 64  # bytes: the schema comes first
_MOST_BYTES, _MOST_VALUES = 128 * 2**20, 5_000_000  # a hundred thousand drifts


class _Inside:
    """A file or folder of the results folder, as an attribute."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, folder: ResultsFolder, owner: type[ResultsFolder]) -> Path:
        return folder.root / self._name


@dataclass(frozen=True)
class ResultsFolder:
    """The folder that a run writes to. It may itself be a link only where the user has `configured` it."""

    root: Path
    configured: bool = True

    candidates = _Inside("candidates")
    results = _Inside("results.json")
    runs = _Inside("runs")
    pictures = _Inside("pictures")
    pruned = _Inside("pruned")
    report = _Inside("report.html")
    tensorboard = _Inside("tensorboard")

    @property
    def stored_candidates(self) -> Store:
        return Store(self.candidates, kind="candidate", option="--from")

    @property
    def details(self) -> DetailFiles:
        return DetailFiles(self.root / "details")

    @property
    def discarded(self) -> DiscardNotes:
        return DiscardNotes(self.root / "discarded")

    @property
    def diff(self) -> ResultsFolder:
        """The folder within it for the results of `modelviz diff`, with nothing but these."""
        return ResultsFolder(self.root / "diff", configured=False)

    @property
    def marks(self) -> RunMarks:
        return RunMarks(self.root / "unfinished")

    def unfinished(self, runs: Iterable[RunResult] = ()) -> list[str]:
        """The ids of runs that have begun, and of which there are no results here, nor among these."""
        ended = {path.stem for path in self._run_files()} | {safe(result.run.id) for result in runs}
        return [name for name in self.marks.names() if name not in ended]

    def begin(self, run_id: str) -> None:
        """A run begins. Raises ModelvizError for links, and where the folder cannot be made."""
        self.prepare()
        self.marks.set(run_id)

    @property
    def event_folders(self) -> EventFolders:
        return EventFolders(self.tensorboard)

    def event_folder(self, run: str, worker: str) -> Path:
        """The folder for the event files of one process of a run, by the name of the run's folder."""
        self.prepare()
        return self.tensorboard / run / worker if worker != "main" else self.tensorboard / run

    def prepare(self) -> None:
        """Make the folder, with a .gitignore that hides all of it. Raises ModelvizError."""
        self.refuse_links()
        with self._writing(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            ignore = self.root / ".gitignore"
            if not os.path.lexists(ignore):
                ignore.write_text("*\n")

    def refuse_others(self) -> None:
        """Raises ModelvizError where the folder holds files and was not made by a run: they are the user's."""
        if not self.root.is_dir() or words_of_gitignore(self.root)[:1] == [HIDES_ALL]:
            return
        # one with results was restored without its hidden files
        if any(path.name != ".gitignore" for path in self.root.iterdir()) and self._last() is None:
            raise ModelvizError(
                f"{self.root} holds files that no run of this plugin wrote; the results folder is for its runs alone: "
                f"name another folder (--modelviz-results-dir), or empty this one"
            )

    def refuse_links(self) -> None:
        """What is written here must stay here: raises ModelvizError where a folder of it is a symbolic link."""
        if self.root.is_symlink() and not self.configured:
            raise ModelvizError(
                f"{self.root} is a symbolic link, which may have come with the project: remove it, or name the folder "
                f"that it leads to with --modelviz-results-dir"
            )
        folders = (self.candidates, self.pictures, self.details.root, self.pruned, self.runs, self.tensorboard)
        for folder in (*folders, self.discarded.root, self.marks.root):
            if folder.is_symlink():
                raise ModelvizError(f"{folder} is a symbolic link: remove it, nothing is written through links")

    def keep_pictures(self, path: PurePosixPath, files: Mapping[str, bytes]) -> None:
        """Write PNG files into the folder for one check's pictures, in place of those that are there."""
        self.prepare()
        with self._writing(self.pictures / path):
            PictureFiles(self.pictures).keep(path, files)

    def location(self, check: CheckResult) -> Location:
        """The location of a check's files below `candidates` and below the baselines, by its result.

        The test's id and the check's name alone say it; the candidate's file name, for which variant it is.
        """
        return self.stored_candidates.location(check, check.candidate)

    def pictures_of(self, check: CheckResult) -> list[Path]:
        """The pictures that were kept of a check; files with parts of one are not among them."""
        is_pictured = check.candidate or check.compared_with
        return composites(PictureFiles(self.pictures).at(self.location(check).path)) if is_pictured else []

    def picture_bytes(self, path: Path, limit: int) -> bytes:
        """One of these pictures; raises OSError, and UnreadableBaselineError where it is larger, or no plain file."""
        return PictureFiles(self.pictures).read(path, limit)

    def forget_others(self, current: Iterable[Location], run_id: str) -> None:
        """Forget what earlier runs wrote out, and all candidates with their pictures but those that are `current`.

        A run that has not ended may still report one of them: it is noted which run has superseded that. Files of other
        names, and what others have put into `runs`, are not touched. Raises ModelvizError for links that lead out.
        """
        self.refuse_links()
        current_paths = {location.path for location in current}
        note = f"superseded {run_id}" if set(self.marks.names()) - {safe(run_id)} else ""
        self.discarded.forget_others(current_paths)
        for written in (self.results, self.report, *self._run_files()):
            with contextlib.suppress(OSError):
                written.unlink(missing_ok=True)
        for location, _ in list(self.stored_candidates.documents()):
            if location.path not in current_paths:
                with contextlib.suppress(OSError, ModelvizError):
                    PictureFiles(self.pictures).discard(location.path)
                    self.discard_candidate(location, note)

    def discard_candidate(self, location: Location, note: str = "", *, captured: str | None = None) -> None:
        """Remove a candidate, and note why: `rejected`, or `superseded` and the run. Raises ModelvizError.

        `captured` is the digest of the candidate that is meant, where another may have taken its place.
        """
        candidates = self.stored_candidates
        digest = candidates.digest(location)
        if digest is not None:
            candidates.remove(location, expected_digest=digest)
        if note:
            self.discarded.write(location.path, captured or digest, note)

    def has_compared(self) -> bool:
        """Whether the results are of a run that has compared anything."""
        last = self._last()
        return last is not None and any(check.status is not Status.NOT_COMPARED for check in last.checks)

    def _run_files(self) -> list[Path]:
        return [] if self.runs.is_symlink() else sorted(filter(_is_of_a_run, self.runs.glob("*.json")))

    def all_runs(self) -> list[RunResult]:
        """The results of each run in the folder, the last one's first: several where folders were merged.

        Raises ModelvizError where there are none, or some cannot be read.
        """
        runs: dict[str, RunResult] = {}
        paths = self._run_files()
        if os.path.lexists(self.results) or not paths:
            last = self.read()
            runs[last.run.id] = last
            paths = [path for path in paths if path.stem != safe(last.run.id)]
        for path in paths:
            result = self.read(path)
            runs.setdefault(result.run.id, result)
        return list(runs.values())

    def written_at(self) -> float:
        """When the first results were written, in seconds since the epoch; 0.0 where there are none."""
        paths = [path for path in (self.results, *self._run_files()) if path.is_file()]
        return min((path.stat().st_mtime for path in paths), default=0.0)

    def _last(self) -> RunResult | None:
        try:
            return self.read()
        except ModelvizError:
            return None

    def read(self, of_run: Path | None = None) -> RunResult:
        """The results of the last run, or of another one, by its file. Raises ModelvizError with the reason."""
        path = of_run or self.results
        name = path.relative_to(self.root).as_posix()
        try:
            document = parse_json(LocalFolder(self.root).read(name, _MOST_BYTES), most_values=_MOST_VALUES)
        except FileNotFoundError:
            died = unfinished_line(self.unfinished())
            raise ModelvizError(
                f"there are no results in {self.root}: run pytest --modelviz first, or name their folder with --from"
                f"{died and '; '}{died}"
            ) from None
        except (UnreadableBaselineError, ValueError, RecursionError) as error:
            raise ModelvizError(f"{path} cannot be read ({error}): run pytest --modelviz again") from error
        schema = document.get("schema") if isinstance(document, dict) else None
        if type(schema) is int and schema > SCHEMA:
            raise ModelvizError(f"{path} has schema {schema}, newer than this version: upgrade pytest-modelviz")
        try:
            if schema != SCHEMA:
                raise ValueError("it has no schema")
            return RunResult.from_json(document)
        except ValueError as error:
            raise ModelvizError(f"{path} was not written by pytest-modelviz: run pytest --modelviz again") from error

    def write(self, result: RunResult) -> None:
        """Write results.json, whole or not at all, and the same under the run's own name."""
        data = document_bytes(result.to_json())
        self.put(self.results, data)
        # folders of several runs that are copied over each other keep the results of all
        self.put(self.runs / f"{safe(result.run.id)}.json", data)

    def replace_orphans(self, orphans: Sequence[OrphanRecord], judged_files: Sequence[str]) -> None:
        """Add to the results which baselines of these files were found to be orphans since."""
        last = self.read()
        others = [orphan for orphan in last.orphans if orphan.test_file not in judged_files]
        if len(others) < len(last.orphans) or orphans:
            files = tuple(sorted({*last.judged_files, *judged_files}))
            self.write(replace(last, judged_files=files, orphans=(*others, *orphans)))

    def put(self, path: Path, data: bytes) -> None:
        """Write a file of the run, whole or not at all."""
        self.prepare()
        with self._writing(path):
            LocalFolder(self.root).write(path.relative_to(self.root).as_posix(), data)

    @contextlib.contextmanager
    def _writing(self, path: Path) -> Iterator[None]:
        """What the system raises becomes a ModelvizError."""
        try:
            yield
        except OSError as error:
            raise ModelvizError(
                f"cannot write into the results folder ({path}: {error.strerror or error}); "
                f"make it writable or choose another with --modelviz-results-dir"
            ) from error


def _is_of_a_run(path: Path) -> bool:
    """Whether a file holds the results of a run, or what is left of such, as far as its beginning says.

    A folder of this name may be another tool's, too.
    """
    if not path.is_file():  # a pipe would never end
        return not path.is_dir()
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD).strip()
    except OSError:
        return True
    return not head or b'"schema"' in head
