"""The results folder: results.json for programs, candidates, event files. It git-ignores itself. No torch."""

from __future__ import annotations

import collections
import contextlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pytest_modelviz.errors import ModelvizError, UnreadableBaselineError
from pytest_modelviz.storage.folder import LocalFolder
from pytest_modelviz.storage.names import Location, safe
from pytest_modelviz.storage.orphans import location_of
from pytest_modelviz.storage.store import Store
from pytest_modelviz.storage.unfinished import RunMarks, unfinished_line
from pytest_modelviz.text.printable import printable_json
from pytest_modelviz.text.strict_json import parse_json

_NOT_TOLD = ("device", "variant")  # of a check's entry, what the run itself needs, or the candidate says

_LARGEST = 1e300  # of a number that can be written out
_MOST_BYTES, _MOST_VALUES = 128 * 2**20, 5_000_000  # a hundred thousand drifts, as they are told
_TEXTS = ("nodeid", "view", "name", "message", "baseline")
_TEXTS_OR_NONE = ("candidate", "candidate_sha256", "baseline_sha256", "former_nodeid", "cause")

_REQUIRED = ("candidate", "baseline_sha256", "cause", "first_divergence", "error", "tolerance")  # even if they are None

STATUSES = ("match", "drift", "missing", "unreadable", "unstable", "recorded", "not_compared")


@dataclass(frozen=True)
class Candidate:
    """What was captured of one check, as it lies among the candidates."""

    nodeid: str
    name: str
    location: Location


@dataclass(frozen=True)
class ResultsFolder:
    """Where a run writes."""

    root: Path

    @property
    def candidates(self) -> Path:
        return self.root / "candidates"

    @property
    def results(self) -> Path:
        return self.root / "results.json"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def pictures(self) -> Path:
        return self.root / "pictures"

    @property
    def pruned(self) -> Path:
        return self.root / "pruned"

    @property
    def report(self) -> Path:
        return self.root / "report.html"

    @property
    def tensorboard(self) -> Path:
        return self.root / "tensorboard"

    @property
    def marks(self) -> RunMarks:
        return RunMarks(self.root / "unfinished")

    def unfinished(self, documents: Iterable[Mapping[str, Any]] = ()) -> list[str]:
        """The ids of runs that have begun, and of which there are no results here, nor among these `documents`."""
        ended = {path.stem for path in self._run_files()} | {safe(str(one["run"]["id"])) for one in documents}
        return [name for name in self.marks.names() if name not in ended]

    def begin(self, run_id: str) -> None:
        """A run begins. Raises ModelvizError for links, and where the folder cannot be made."""
        self.prepare()
        self.marks.set(run_id)

    def event_folder(self, run_id: str, worker: str) -> Path:
        self.prepare()
        return self.tensorboard / run_id / worker if worker != "main" else self.tensorboard / run_id

    def prepare(self) -> None:
        """Make the folder, with a .gitignore that hides all of it. Raises ModelvizError."""
        self.refuse_links()
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            ignore = self.root / ".gitignore"
            if not os.path.lexists(ignore):
                ignore.write_text("*\n")
        except OSError as error:
            raise self._unwritable(self.root, error) from error

    def refuse_links(self) -> None:
        """What is written here must stay here: raises ModelvizError where a folder of it is a symbolic link."""
        for folder in (self.candidates, self.pictures, self.pruned, self.runs, self.tensorboard, self.marks.root):
            if folder.is_symlink():
                raise ModelvizError(f"{folder} is a symbolic link: remove it, what is written there must stay there")

    def keep_pictures(self, place: PurePosixPath, files: Mapping[str, bytes]) -> None:
        """Write PNG files into the folder for one check's pictures, in place of those that are there."""
        self.prepare()
        folder = LocalFolder(self.pictures)
        try:
            for path in (self.pictures / place).glob("*.png"):
                if path.name not in files:
                    folder.delete(str(place / path.name))
            for name, data in files.items():
                folder.write(str(place / name), data)
        except OSError as error:
            raise self._unwritable(self.pictures / place, error) from error

    def location(self, check: Mapping[str, Any]) -> Location:
        """Where a check's files lie below `candidates` and below the baselines, by its entry in results.json.

        The test's id and the check's name alone say it; the candidate's file name, for which variant it is.
        """
        common = Location.of(check["nodeid"], check["name"])
        stem = PurePosixPath(str(check["candidate"]).replace("\\", "/")).name.removesuffix(".json")
        if check["candidate"] is None or stem == common.stem:
            return common
        candidates = Store(self.candidates, kind="candidate")
        document = candidates.ids(common.folder / stem) if stem.startswith(f"{common.stem}@") else None
        variant = None if document is None else document.get("variant")
        own = Location.of(check["nodeid"], check["name"], variant) if isinstance(variant, str) else common
        return own if own.stem == stem else common

    def pictures_of(self, check: Mapping[str, Any]) -> list[Path]:
        """The pictures that were kept of a check."""
        return self._pictures_at(self.location(check)) if check["candidate"] else []

    def _pictures_at(self, location: Location) -> list[Path]:
        return [] if self.pictures.is_symlink() else sorted((self.pictures / location.path).glob("*.png"))

    def forget_others(self, kept: Iterable[Location]) -> None:
        """Forget earlier runs: what they wrote out, and all candidates with their pictures but those that are `kept`.

        What is none of ours is not touched. Raises ModelvizError for links that lead out.
        """
        self.refuse_links()
        wanted = {location.path for location in kept}
        for written in (self.results, self.report, *self._run_files()):
            with contextlib.suppress(OSError):
                written.unlink(missing_ok=True)
        for candidate in self.stored_candidates():
            if candidate.location.path not in wanted:
                with contextlib.suppress(OSError, ModelvizError):
                    self.discard_candidate(candidate.location)

    def stored_candidates(self) -> list[Candidate]:
        """All candidates that lie here, by what stands in their files."""
        store, found = Store(self.candidates, kind="candidate"), list[Candidate]()
        for stem in store.stems():
            document = store.ids(stem)
            if document is not None and store.where(location_of(document)).path == stem:
                found.append(Candidate(document["nodeid"], document["name"], location_of(document)))
        return found

    def discard_candidate(self, location: Location) -> None:
        """Remove a candidate and its pictures. Raises ModelvizError."""
        folder = LocalFolder(self.pictures)
        for path in self._pictures_at(location):
            with contextlib.suppress(OSError):
                folder.delete(path.relative_to(self.pictures).as_posix())
        Store(self.candidates, kind="candidate", option="--from").discard(location)

    def has_compared(self) -> bool:
        """Whether the results that lie here are of a run that has compared anything."""
        try:
            return any(check["status"] != "not_compared" for check in self.read()["checks"])
        except ModelvizError:
            return False

    def _run_files(self) -> list[Path]:
        return [] if self.runs.is_symlink() else sorted(self.runs.glob("*.json"))

    def documents(self) -> list[dict[str, Any]]:
        """The results of each run that lie here, the last one's first: several where folders were merged.

        Raises ModelvizError where there are none, or some cannot be read.
        """
        found: dict[str, dict[str, Any]] = {}
        paths = self._run_files()
        if os.path.lexists(self.results) or not paths:
            last = self.read()
            found[str(last["run"]["id"])] = last
            paths = [path for path in paths if path.stem != safe(str(last["run"]["id"]))]
        for path in paths:
            document = self._read(path)
            found.setdefault(str(document["run"]["id"]), document)
        return list(found.values())

    def written_at(self) -> float:
        """When the first results that lie here were written, in seconds since the epoch; 0.0 where there are none."""
        paths = [path for path in (self.results, *self._run_files()) if path.is_file()]
        return min((path.stat().st_mtime for path in paths), default=0.0)

    def read(self) -> dict[str, Any]:
        """results.json, with all that its readers count on. Raises ModelvizError with the reason."""
        return self._read(self.results)

    def _read(self, path: Path) -> dict[str, Any]:
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
        if type(schema) is int and schema > 1:
            raise ModelvizError(f"{path} has schema {schema}, newer than this version: upgrade pytest-modelviz")
        if schema != 1 or not _is_sound(document):
            raise ModelvizError(f"{path} was not written by pytest-modelviz: run pytest --modelviz again")
        return dict(document)

    def write(
        self,
        run: Mapping[str, Any],
        checks: Sequence[Mapping[str, Any]],
        orphans: Sequence[Mapping[str, Any]] = (),
        judged: Sequence[str] = (),
    ) -> None:
        """Write results.json, whole or not at all, and the same under the run's own name.

        `judged` are the test files of which the run can say what tests they hold.
        """
        ordered = sorted(checks, key=lambda check: str(check["nodeid"]))
        told = [{key: value for key, value in check.items() if key not in _NOT_TOLD} for check in ordered]
        document: dict[str, Any] = {"schema": 1, "run": dict(run), "totals": totals_of(ordered), "checks": told}
        if judged:
            document["judged_files"] = list(judged)
        if orphans:
            document["orphans"] = list(orphans)
        self._put(document)

    def replace_orphans(self, orphans: Sequence[Mapping[str, Any]], judged: Sequence[str]) -> None:
        """Add to the results that lie here which baselines of these files were found to be orphans since."""
        document = self.read()
        old = document.get("orphans", [])
        rows = [row for row in old if row["nodeid"].partition("::")[0] not in judged]
        if len(rows) < len(old) or orphans:
            files = sorted({*document.get("judged_files", ()), *judged})
            self._put({**document, "judged_files": files, "orphans": [*rows, *orphans]})

    def _put(self, document: Mapping[str, Any]) -> None:
        data = (printable_json(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)) + "\n").encode()
        self.put(self.results, data)
        # folders of several runs that are copied over each other keep the results of all
        self.put(self.runs / f"{safe(str(document['run']['id']))}.json", data)

    def put(self, path: Path, data: bytes) -> None:
        """Write a file of the run, whole or not at all."""
        self.prepare()
        with contextlib.suppress(OSError):
            path.parent.mkdir(exist_ok=True)
        beside = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            with beside.open("xb") as file:
                file.write(data)
            beside.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)
            raise self._unwritable(path, error) from error

    def _unwritable(self, path: Path, error: OSError) -> ModelvizError:
        return ModelvizError(
            f"cannot write into the results folder ({path}: {error.strerror or error}); "
            f"make it writable or choose another with --modelviz-results-dir"
        )


def totals_of(checks: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How many checks have each status."""
    counts = collections.Counter(str(check["status"]) for check in checks)
    return {status: counts[status] for status in STATUSES}


def run_facts(
    run_id: str, workers: int, checks: Sequence[Mapping[str, Any]], lost: Sequence[str] = (), project: str | None = None
) -> dict[str, Any]:
    """The run's part of results.json; `lost` names workers that died, `project` where in its repository it belongs."""
    devices = {device for check in checks for device in str(check["device"]).split(",")}
    return {
        "id": run_id,
        "torch": importlib.metadata.version("torch"),
        "python": platform.python_version(),
        "platform": f"{platform.system()}-{platform.machine()}".lower(),
        "device": ",".join(sorted(devices)) or "cpu",
        "workers": workers,
        **({"lost_workers": list(lost)} if lost else {}),
        **({} if project is None else {"project": project}),
    }


def _is_sound(document: Mapping[str, Any]) -> bool:
    checks, run, totals, orphans = (
        document.get(part, default) for part, default in {"checks": 0, "run": 0, "totals": 0, "orphans": []}.items()
    )
    return (
        isinstance(run, dict)
        and all(
            isinstance(run.get(key), (str, int)) for key in ("id", "torch", "python", "platform", "device", "workers")
        )
        and _are_texts(run.get("lost_workers", []))
        and isinstance(run.get("project", ""), str)
        and _are_texts(document.get("judged_files", []))
        and isinstance(totals, dict)
        and all(type(count) is int for count in totals.values())
        and isinstance(checks, list)
        and all(isinstance(check, dict) and _is_check(check) for check in checks)
        and isinstance(orphans, list)
        and all(isinstance(row, dict) and _is_orphan(row) for row in orphans)
    )


def _is_check(check: Mapping[str, Any]) -> bool:
    first = check.get("first_divergence")
    return (
        all(key in check for key in _REQUIRED)
        and check.get("status") in STATUSES
        and all(isinstance(check.get(key), str) for key in _TEXTS)
        and all(isinstance(check.get(key), (str, type(None))) for key in _TEXTS_OR_NONE)
        and (first is None or (isinstance(first, dict) and isinstance(first.get("layer"), str)))
        and all(_is_number_or_none(check.get(key)) for key in ("error", "tolerance"))
        and isinstance(check.get("commands", {}), dict)
    )


def _is_number_or_none(value: Any) -> bool:
    return value is None or (isinstance(value, (int, float)) and abs(value) < _LARGEST)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _is_orphan(row: Mapping[str, Any]) -> bool:
    return (
        all(isinstance(row.get(key), str) for key in ("nodeid", "view", "name", "baseline"))
        and all(
            key in row and isinstance(row[key], (str, type(None)))
            for key in ("variant", "baseline_sha256", "test_file_sha256", "renamed_to")
        )
        and isinstance(row.get("sources"), dict)
    )
