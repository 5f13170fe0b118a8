"""The results folder: results.json for programs, candidates, event files. It git-ignores itself. No torch."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_modelviz.errors import ModelvizError

_FOR_THE_RUN = ("device",)  # of a check's entry, what stands in the run's facts

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
            raise self._unwritable(self.root, error) from error

    def clear(self) -> None:
        """Forget the last run: its results.json, and those candidates that it names. Nothing else is touched."""
        try:
            last = json.loads(self.results.read_bytes())
            candidates = [check["candidate"] for check in last["checks"] if check["candidate"]]
        except (OSError, ValueError, KeyError, TypeError):
            return
        with contextlib.suppress(OSError):
            for name in candidates:
                parts = Path(str(name)).parts
                if "candidates" not in parts:
                    continue
                # the last run may have been made from another place: what counts is the way below `candidates`
                below = parts[len(parts) - parts[::-1].index("candidates") :]
                path = self.candidates.joinpath(*below)
                if ".." not in below and path.resolve().is_relative_to(self.candidates.resolve()):
                    for ending in (".json", ".safetensors", ".png"):
                        path.with_suffix(ending).unlink(missing_ok=True)
            self.results.unlink(missing_ok=True)

    def write(self, run: Mapping[str, Any], checks: Sequence[Mapping[str, Any]]) -> dict[str, int]:
        """Write results.json, whole or not at all; returns the totals by status."""
        ordered = sorted(checks, key=lambda check: str(check["nodeid"]))
        totals = {status: sum(check["status"] == status for check in ordered) for status in STATUSES}
        told = [{key: value for key, value in check.items() if key not in _FOR_THE_RUN} for check in ordered]
        document = {"schema": 1, "run": dict(run), "totals": totals, "checks": told}
        self.prepare()
        beside = self.results.with_suffix(f".{os.getpid()}.tmp")
        try:
            text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
            beside.write_bytes(text.encode("utf-8", "backslashreplace"))
            beside.replace(self.results)
        except OSError as error:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)
            raise self._unwritable(self.results, error) from error
        return totals

    def _unwritable(self, path: Path, error: OSError) -> ModelvizError:
        return ModelvizError(
            f"cannot write into the results folder ({path}: {error.strerror or error}); "
            f"make it writable or choose another with --modelviz-results-dir"
        )


def run_facts(run_id: str, workers: int, checks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The run's part of results.json."""
    devices = {device for check in checks for device in str(check["device"]).split(",")}
    return {
        "id": run_id,
        "torch": importlib.metadata.version("torch"),
        "python": platform.python_version(),
        "platform": f"{platform.system()}-{platform.machine()}".lower(),
        "device": ",".join(sorted(devices)) or "cpu",
        "workers": workers,
    }
