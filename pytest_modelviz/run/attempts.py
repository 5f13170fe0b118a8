"""The results of a run by test, attempt and check: of what was checked several times over, which result counts.

A test that is run again because it failed is one attempt, of which the last run counts; a test that was collected
several times is several. Knows no pytest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pytest_modelviz.records.check_result import CheckResult, Status

# Of a test that ran several times over, the worst result counts. Where several are as bad, the last.
_WORST_LAST = (
    Status.NOT_COMPARED,
    Status.MATCH,
    Status.RECORDED,
    Status.UNSTABLE,
    Status.UNREADABLE,
    Status.MISSING,
    Status.DRIFT,
)


class Attempts:
    """All attempts at the tests of a run, and what their checks came to."""

    def __init__(self) -> None:
        self._results: dict[str, dict[str, dict[str, CheckResult]]] = {}

    def start(self, test: str, attempt: str) -> None:
        """An attempt begins, perhaps once more: of the results that it had, only what was recorded counts."""
        earlier = self._results.get(test, {}).pop(attempt, {})
        self.add(test, attempt, [result for result in earlier.values() if result.status is Status.RECORDED])

    def add(self, test: str, attempt: str, results: Iterable[CheckResult]) -> None:
        """Keep the results of a test's checks. What matches a baseline that was recorded just before, was recorded."""
        for result in results:
            known = self._results.setdefault(test, {}).setdefault(attempt, {})
            earlier = known.get(result.name)
            is_recorded = earlier is not None and earlier.status is Status.RECORDED
            if not (is_recorded and result.status is Status.MATCH):
                known[result.name] = result

    @property
    def results(self) -> list[CheckResult]:
        """A result for each check, by test id; those of one test in the order in which they were made."""
        worst: list[CheckResult] = []
        for test in self._tests():
            checks: dict[str, CheckResult] = {}
            for result in test:
                known = checks.get(result.name)
                if known is None or _WORST_LAST.index(result.status) >= _WORST_LAST.index(known.status):
                    checks[result.name] = result
            worst += checks.values()
        return sorted(worst, key=lambda result: result.nodeid)

    def rival_recordings(self) -> Iterator[tuple[str, str]]:
        """The test and the check of which several attempts had different captures: it has no baseline."""
        for test in self._tests():
            nodeids: dict[tuple[str, str | None], str] = {}
            digests: dict[tuple[str, str | None], set[str | None]] = {}
            for result in test:
                if result.status in (Status.RECORDED, Status.MATCH):
                    check = result.name, result.variant
                    nodeids.setdefault(check, result.nodeid)
                    digests.setdefault(check, set()).add(result.baseline_sha256)
            yield from ((nodeids[check], check[0]) for check, known in digests.items() if len(known) > 1)

    def _tests(self) -> Iterator[list[CheckResult]]:
        """The results of all attempts at each test."""
        for attempts in self._results.values():
            yield [result for attempt in attempts.values() for result in attempt.values()]
