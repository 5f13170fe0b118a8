"""The checks that did not match, as GitLab's Code Quality reports have them: shown in merge requests at their lines."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

from pytest_modelviz.records.check_result import CheckResult, Status
from pytest_modelviz.records.group import group_name
from pytest_modelviz.reports.call_sites import call_site_in_repository
from pytest_modelviz.reports.short import short_text
from pytest_modelviz.text.printable import printable
from pytest_modelviz.text.strict_json import JsonValue


def code_quality(
    checks: Iterable[tuple[CheckResult, str | None]], field: Callable[[str], str] = str
) -> list[JsonValue]:
    """The issues of a Code Quality report, each once.

    Args:
        checks: those that did not match, each with its project's folder within the repository.
        field: makes an id or a name one that can pass for nothing else.

    """
    issues = {_fingerprint(check): _issue(check, project, field) for check, project in checks}
    return [{**issue, "fingerprint": fingerprint} for fingerprint, issue in issues.items()]


def _issue(check: CheckResult, project: str | None, field: Callable[[str], str]) -> dict[str, JsonValue]:
    file, line = call_site_in_repository(check, project)
    return {
        "description": printable(f"{field(check.nodeid)}: {field(check.name)}: {short_text(check, field)}"),
        "check_name": f"modelviz.{check.status}",
        "severity": _severity(check),
        "location": {"path": printable(file), "lines": {"begin": line}},
    }


def _severity(check: CheckResult) -> str:
    """A drift that the output shows is worse than others; a baseline that is not there yet is not bad."""
    if check.status is Status.MISSING:
        return "minor"
    output = check.output
    return "critical" if output is not None and (output.drifted or output.top1_changed) else "major"


def _fingerprint(check: CheckResult) -> str:
    """The same for the same finding about the same check, wherever in its file that is made."""
    parts = (check.nodeid, check.name, check.baseline, check.status.value, group_name(check) or "")
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
