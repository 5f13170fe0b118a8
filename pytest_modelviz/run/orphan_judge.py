"""Which baselines a run finds without their test, or not compared: from what was collected, run and passed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pytest_modelviz.records.check_result import CheckResult, Status
from pytest_modelviz.records.orphan import OrphanRecord
from pytest_modelviz.run.settings import Settings
from pytest_modelviz.storage.names import Location, display_path


@dataclass(frozen=True)
class Judgement:
    """What was found out about the baselines of these test files.

    `not_made` are the test and the name of each baseline whose test has passed without that check. `without_file` are
    baselines whose test file is gone, which no run can judge: looked for where tests had no baseline until now.
    """

    files: tuple[str, ...] = ()
    orphans: tuple[OrphanRecord, ...] = ()
    not_made: Sequence[tuple[str, str]] = ()
    without_file: Sequence[OrphanRecord] = ()


class OrphanJudge:
    """What the processes of a run have collected and run."""

    def __init__(self) -> None:
        self._files: dict[str, list[str]] | None = None
        self._sources: set[str] = set()
        self._run: set[str] = set()
        self._passed: set[str] = set()

    def add_collection(self, files: Mapping[str, list[str]], sources: Iterable[str]) -> None:
        """A process has collected these test files whole, and loaded these modules of the project for it."""
        self._sources.update(sources)
        known = files if self._files is None else self._files
        self._files = {file: sorted({*ids, *known[file]}) for file, ids in files.items() if file in known}

    def start_test(self, test: str) -> None:
        """A test begins, perhaps once more."""
        self._run.add(test)
        self._passed.discard(test)

    def pass_test(self, test: str) -> None:
        """A test has passed: the checks that it is to make are made."""
        self._passed.add(test)

    def judge(self, settings: Settings, results: Sequence[CheckResult]) -> Judgement:
        """The judgement, by the results of the run; nothing where it is not wanted. Raises ModelvizError."""
        if settings.orphans == "ignore" or not self._files:
            return Judgement()
        from pytest_modelviz.storage.orphans import digests, find_not_made, find_orphans, suggest_renames, without_file
        from pytest_modelviz.storage.store import Store

        root, store = settings.rootdir, Store(settings.baseline_dir)
        not_made = find_not_made(store, self._passed, results, settings.variant)
        alive = self._run | {result.nodeid for result in results}  # also what was never collected
        orphans = [orphan for orphan in find_orphans(store, self._files, root) if orphan.nodeid not in alive]
        candidates = settings.results_folder().stored_candidates
        new = [
            (candidates if result.candidate else store, Location.of(result.nodeid, result.name, result.variant).path)
            for result in results
            if result.status in (Status.MISSING, Status.RECORDED)
        ]
        gone = suggest_renames(without_file(store, root), store, new) if new else []
        if orphans:
            sources = digests(root, self._sources)
            orphans = [
                dataclasses.replace(orphan, sources=sources, baseline=display_path(orphan.baseline, root))
                for orphan in suggest_renames(orphans, store, new)
            ]
        return Judgement(tuple(sorted(self._files)), tuple(orphans), not_made, gone)
