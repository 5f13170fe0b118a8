"""The results folder: results.json for programs, candidates, event files. It git-ignores itself. No torch."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pytest_modelviz.baselines.folder import LocalFolder
from pytest_modelviz.baselines.names import Location
from pytest_modelviz.baselines.store import Store
from pytest_modelviz.errors import ModelvizError, UnreadableBaselineError

_NOT_TOLD = ("device", "variant")  # of a check's entry, what the run itself needs, or the candidate says

_LARGEST = 1e300  # of a number that can be written out
_MOST_BYTES = 256 * 2**20
_TEXTS = ("nodeid", "view", "name", "message", "baseline")
_TEXTS_OR_NONE = ("candidate", "baseline_sha256", "cause")

STATUSES = ("match", "drift", "missing", "unreadable", "unstable", "recorded", "not_compared")


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
        for folder in (self.candidates, self.pictures, self.pruned, self.tensorboard):
            if folder.is_symlink():
                raise ModelvizError(f"{folder} is a symbolic link: remove it, what is written there must stay there")

    def keep_pictures(self, place: PurePosixPath, files: Mapping[str, bytes]) -> None:
        """Write PNG files into the folder for one check's pictures."""
        self.prepare()
        folder = LocalFolder(self.pictures)
        try:
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
        candidates = Store(self.candidates, what="candidate")
        document = candidates.ids(common.folder / stem) if stem.startswith(f"{common.stem}@") else None
        variant = None if document is None else document.get("variant")
        own = Location.of(check["nodeid"], check["name"], variant) if isinstance(variant, str) else common
        return own if own.stem == stem else common

    def pictures_of(self, check: Mapping[str, Any]) -> list[Path]:
        """The pictures that were kept of a check."""
        folder = self.pictures / self.location(check).path
        return sorted(folder.glob("*.png")) if check["candidate"] and not self.pictures.is_symlink() else []

    def clear(self) -> None:
        """Forget the last run: its results.json, report.html, and the candidates that it names, with their pictures.

        Nothing else is touched. Raises ModelvizError for links that lead out.
        """
        self.refuse_links()
        try:
            checks = self.read()["checks"]
        except ModelvizError:
            return
        with contextlib.suppress(OSError, ModelvizError):
            pictures = LocalFolder(self.pictures)
            for check in checks:
                if check["candidate"]:
                    for path in self.pictures_of(check):
                        pictures.delete(path.relative_to(self.pictures).as_posix())
                    Store(self.candidates, what="candidate").discard(self.location(check))
            for written in (self.results, self.report):
                written.unlink(missing_ok=True)

    def read(self) -> dict[str, Any]:
        """results.json, with all that its readers count on. Raises ModelvizError with the reason."""
        try:
            document = json.loads(LocalFolder(self.root).read(self.results.name, _MOST_BYTES), parse_constant=_refuse)
        except FileNotFoundError:
            raise ModelvizError(
                f"there are no results in {self.root}: run pytest --modelviz first, or name their folder with --from"
            ) from None
        except (UnreadableBaselineError, ValueError, RecursionError) as error:
            raise ModelvizError(f"{self.results} cannot be read ({error}): run pytest --modelviz again") from error
        schema = document.get("schema") if isinstance(document, dict) else None
        if type(schema) is int and schema > 1:
            raise ModelvizError(f"{self.results} has schema {schema}, newer than this version: upgrade pytest-modelviz")
        if schema != 1 or not _is_sound(document):
            raise ModelvizError(f"{self.results} was not written by pytest-modelviz: run pytest --modelviz again")
        return dict(document)

    def write(
        self, run: Mapping[str, Any], checks: Sequence[Mapping[str, Any]], orphans: Sequence[Mapping[str, Any]] = ()
    ) -> dict[str, int]:
        """Write results.json, whole or not at all; returns the totals by status."""
        ordered = sorted(checks, key=lambda check: str(check["nodeid"]))
        totals = {status: sum(check["status"] == status for check in ordered) for status in STATUSES}
        told = [{key: value for key, value in check.items() if key not in _NOT_TOLD} for check in ordered]
        document: dict[str, Any] = {"schema": 1, "run": dict(run), "totals": totals, "checks": told}
        if orphans:
            document["orphans"] = list(orphans)
        text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        self.put(self.results, text.encode("utf-8", "backslashreplace"))
        return totals

    def put(self, path: Path, data: bytes) -> None:
        """Write a file of the run, whole or not at all."""
        self.prepare()
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


def run_facts(
    run_id: str, workers: int, checks: Sequence[Mapping[str, Any]], lost: Sequence[str] = ()
) -> dict[str, Any]:
    """The run's part of results.json; `lost` names workers that died."""
    devices = {device for check in checks for device in str(check["device"]).split(",")}
    return {
        "id": run_id,
        "torch": importlib.metadata.version("torch"),
        "python": platform.python_version(),
        "platform": f"{platform.system()}-{platform.machine()}".lower(),
        "device": ",".join(sorted(devices)) or "cpu",
        "workers": workers,
        **({"lost_workers": list(lost)} if lost else {}),
    }


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a JSON number")


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
        check.get("status") in STATUSES
        and all(isinstance(check.get(key), str) for key in _TEXTS)
        and all(isinstance(check.get(key), (str, type(None))) for key in _TEXTS_OR_NONE)
        and (first is None or (isinstance(first, dict) and isinstance(first.get("layer"), str)))
        and all(_is_number_or_none(check.get(key)) for key in ("error", "tolerance"))
    )


def _is_number_or_none(value: Any) -> bool:
    return value is None or (isinstance(value, (int, float)) and abs(value) < _LARGEST)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _is_orphan(row: Mapping[str, Any]) -> bool:
    return (
        all(isinstance(row.get(key), str) for key in ("nodeid", "view", "name", "baseline"))
        and all(
            isinstance(row.get(key), (str, type(None)))
            for key in ("variant", "baseline_sha256", "test_file_sha256", "renamed_to")
        )
        and isinstance(row.get("sources"), dict)
    )
