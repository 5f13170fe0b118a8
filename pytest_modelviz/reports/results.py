"""The results folder: results.json for programs, candidates, event files. It git-ignores itself. No torch."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_modelviz.errors import ModelvizError

STATUSES = ("match", "drift", "missing", "unreadable", "unstable", "recorded", "not_compared")


@dataclass(frozen=True)
class ResultsFolder:
    """Where a run writes."""

    root: Path

    @property
    def candidates(self) -> Path:
        return self.root / "candidates"

    @property
    def tensorboard(self) -> Path:
        return self.root / "tensorboard"

    def event_folder(self, run_id: str, worker: str) -> Path:
        self.prepare()
        return self.tensorboard / run_id / worker if worker != "main" else self.tensorboard / run_id

    def prepare(self) -> None:
        """Make the folder, with a .gitignore that hides all of it."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            ignore = self.root / ".gitignore"
            if not ignore.exists():
                ignore.write_text("*\n")
        except OSError as error:
            raise ModelvizError(
                f"cannot write into the results folder {self.root}: {error.strerror or error}; "
                f"make it writable or choose another with --modelviz-results-dir"
            ) from error

    def write(self, run: Mapping[str, Any], checks: Iterable[Mapping[str, Any]]) -> dict[str, int]:
        """Write results.json, whole or not at all; returns the totals by status."""
        ordered = sorted(checks, key=lambda check: str(check["nodeid"]))
        totals = {status: sum(check["status"] == status for check in ordered) for status in STATUSES}
        document = {"schema": 1, "run": dict(run), "totals": totals, "checks": ordered}
        self.prepare()
        path = self.root / "results.json"
        beside = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            beside.write_text(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")
            beside.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)
            raise ModelvizError(f"cannot write {path}: {error.strerror or error}") from error
        return totals
