"""What a run has come to: the entries of all checks, the orphans, what was lost; written and told at its end.

Knows no pytest. Everything here comes from plain data that any process of the run can have sent.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.reports.terminal_summary import TerminalSummary, summary_lines
from pytest_modelviz.run.project import path_in_repository
from pytest_modelviz.run.settings import Mode, Settings
from pytest_modelviz.storage.names import Location
from pytest_modelviz.storage.results import ResultsFolder, run_facts, totals_of

# Of a test that ran several times over, the worst is told. Where several are as bad, the last.
_WORST_LAST = ("not_compared", "match", "recorded", "unstable", "unreadable", "missing", "drift")


class RunSummary:
    """The entries of a run, by test, attempt and check, and what is to be said about the run as a whole.

    A test that is run again because it failed is one attempt, of which the last run counts; a test that was collected
    several times is several. `workers` counts the processes, `lost` names those that died.
    """

    def __init__(self, run_id: str, settings: Settings) -> None:
        self._run_id, self._settings = run_id, settings
        self._results = ResultsFolder(settings.results_dir)
        self._entries: dict[str, dict[str, dict[str, dict[str, Any]]]] = {}
        self._files: dict[str, list[str]] | None = None
        self._sources: set[str] = set()
        self._run: set[str] = set()
        self._orphans: list[dict[str, Any]] = []
        self._errors: list[str] = []
        self._judged: list[str] = []
        self._totals: dict[str, int] | None = None
        self._written = False
        self._began = False
        self.workers = 1
        self.lost: list[str] = []
        self.failures: list[str] = []

    def begin(self) -> None:
        """Leave a mark in the results folder until there are results: a run may die without a word."""
        if self._settings.mode is not Mode.OFF:
            with contextlib.suppress(ModelvizError):  # a folder that cannot be written is told at the end
                self._results.begin(self._run_id)
                self._began = True

    def start_test(self, test: str, attempt: str) -> None:
        """An attempt at a test begins, perhaps once more: what it has told before does not count."""
        self._entries.get(test, {}).pop(attempt, None)
        self._run.add(test)

    def add_results(self, test: str, attempt: str, entries: Iterable[dict[str, Any]]) -> None:
        """Keep the entries of a test's checks."""
        for entry in entries:
            self._entries.setdefault(test, {}).setdefault(attempt, {})[entry["name"]] = entry

    def add_collection(self, files: Mapping[str, list[str]], sources: Iterable[str]) -> None:
        """A process has collected these test files whole, and loaded these modules of the project for it."""
        self._sources.update(sources)
        seen = files if self._files is None else self._files
        self._files = {file: sorted({*ids, *seen[file]}) for file, ids in files.items() if file in seen}

    @property
    def entries(self) -> list[dict[str, Any]]:
        """All entries, by test id; those of one test in the order in which they were made."""
        rows: list[dict[str, Any]] = []
        for attempts in self._entries.values():
            checks: dict[str, dict[str, Any]] = {}
            for entry in (entry for attempt in attempts.values() for entry in attempt.values()):
                known = checks.get(entry["name"])
                if known is None or _rank(entry) >= _rank(known):
                    checks[entry["name"]] = entry
            rows += checks.values()
        return sorted(rows, key=lambda entry: str(entry["nodeid"]))

    def add_error(self, trouble: str) -> None:
        """Say at the end what went wrong beside the checks, if anything did."""
        if trouble and trouble not in self._errors:
            self._errors.append(trouble)

    def fail(self, trouble: str) -> None:
        """The run as a whole has failed, whatever its tests did."""
        self.add_error(trouble)
        self.failures.append(trouble)

    def write(self, *, ended: bool) -> bool:
        """Write what is to be kept of the run; returns whether the run as a whole has failed.

        `ended` says whether all tests had their turn: else nobody can tell which baselines are orphans.
        """
        compares = self._settings.mode is not Mode.OFF
        failed = self._failed_requirement()
        if compares or self._entries:
            if ended and not self.lost:
                try:
                    self._judge_orphans()
                except ModelvizError as error:  # the baselines cannot be listed: the results stand all the same
                    self._errors.append(str(error))
            try:
                self._write()
            except ModelvizError as error:
                self._errors.append(str(error))
            self._look_at_git()
        self._refuse_rival_recordings()
        return failed or bool(self.failures or (self._orphans and self._settings.orphans == "fail"))

    def _write(self) -> None:
        """A run that has compared nothing leaves what the last one found to be decided, and adds orphans to it."""
        entries = self.entries
        self._totals = totals_of(entries)
        if not any(entry["status"] != "not_compared" for entry in entries) and self._results.has_compared():
            if self._judged:
                self._results.replace_orphans(self._orphans, self._judged)
            self._end()
            if not self._judged:
                return
        else:
            self._results.forget_others(
                Location.of(entry["nodeid"], entry["name"], entry["variant"]) for entry in entries if entry["candidate"]
            )
            project = path_in_repository(self._settings.rootdir)
            facts = run_facts(self._run_id, self.workers, entries, self.lost, project)
            self._results.write(facts, entries, self._orphans, self._judged)
            self._written = True
            self._results.marks.clear()
        if self._settings.html:
            self._write_report()

    def _end(self) -> None:
        if self._began:
            self._results.marks.remove(self._run_id)

    def _refuse_rival_recordings(self) -> None:
        """A test that was run several times over and recorded something else each time has no baseline."""
        for attempts in self._entries.values():
            digests: dict[tuple[str, Any], dict[str | None, str]] = {}
            for entry in (entry for attempt in attempts.values() for entry in attempt.values()):
                if entry["status"] == "recorded":
                    recorded = digests.setdefault((entry["name"], entry["variant"]), {})
                    recorded[entry["baseline_sha256"]] = entry["nodeid"]
            for (name, _), recorded in digests.items():
                if len(recorded) > 1:
                    self.fail(
                        f"{next(iter(recorded.values()))} was run more than once, and its {name} recorded differently "
                        f"each time: only the last is kept. Make it the same every time, and record it anew"
                    )

    def _failed_requirement(self) -> bool:
        compared = any(entry["status"] != "not_compared" for entry in self.entries)
        if not self._settings.require or compared:
            return False
        hint = "" if self._settings.mode is not Mode.OFF else " (--modelviz was not given)"
        self._errors.append(f"this run compared nothing{hint}, and --modelviz-require asks for more")
        return True

    def _judge_orphans(self) -> None:
        if self._settings.mode is Mode.OFF or self._settings.orphans == "ignore" or not self._files:
            return
        from pytest_modelviz.storage.orphans import digests, find_orphans, suggest_renames
        from pytest_modelviz.storage.store import Store

        self._judged = sorted(self._files)
        store = Store(self._settings.baseline_dir)
        alive = self._run | {entry["nodeid"] for entry in self.entries}  # also what was never collected
        rows = find_orphans(store, self._files, self._settings.rootdir)
        self._orphans = [row for row in rows if row["nodeid"] not in alive]
        if not self._orphans:
            return
        candidates = Store(self._results.candidates, kind="candidate")
        new = []
        for entry in self.entries:
            if entry["status"] in ("missing", "recorded"):
                location = Location.of(entry["nodeid"], entry["name"], entry["variant"])
                new.append((candidates if entry["candidate"] else store, location.path))
        suggest_renames(self._orphans, store, new)
        judged_by = digests(self._settings.rootdir, self._sources)
        for row in self._orphans:
            row["sources"] = judged_by
            row["baseline"] = self._settings.display_path(row["baseline"])

    def _look_at_git(self) -> None:
        """Say so where git ignores what was recorded."""
        root = self._settings.rootdir
        written = [root / entry["baseline"] for entry in self.entries if entry["status"] == "recorded"]
        if written:
            from pytest_modelviz.storage.git import ignored_warning

            self.add_error(ignored_warning(self._settings.baseline_dir, written, root))

    def _write_report(self) -> None:
        from pytest_modelviz.reports.html import write_report

        write_report(self._results)

    def lines(self, here: Path, review: str) -> list[tuple[str, bool]]:
        """What the terminal says at the end, as (line, whether it is an error); paths as seen from `here`.

        `review` are the options that the command `modelviz` needs there.
        """
        told = [(error, True) for error in self._errors]
        if self._totals is None:
            return told
        results = self._settings.results_dir
        closing = TerminalSummary(
            totals=self._totals,
            entries=self.entries,
            orphans=self._orphans,
            lost=self.lost,
            folder=(results.relative_to(here) if results.is_relative_to(here) else results).as_posix(),
            run_id=self._run_id,
            review=review,
            has_report=self._results.report.exists(),
            written=self._written,
            compares=self._settings.mode is not Mode.OFF,
            orphans_fail=self._settings.orphans == "fail",
        )
        return told + summary_lines(closing)


def _rank(entry: Mapping[str, Any]) -> int:
    return _WORST_LAST.index(entry["status"])
