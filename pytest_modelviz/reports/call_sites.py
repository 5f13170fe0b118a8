"""Where in the repository a check is made, for the hosts of pull requests, which show findings at their lines."""

from __future__ import annotations

import posixpath

from pytest_modelviz.records.check_result import CheckResult


def call_site_in_repository(check: CheckResult, project: str | None) -> tuple[str, int]:
    """The file, relative to the repository, and the line of the call that makes a check.

    Args:
        check: of which only the file of its test is known, its first line is given.
        project: the folder of the check's project within the repository, None where there is none.

    """
    file, line = check.location or (check.nodeid.partition("::")[0], 1)
    return posixpath.normpath(posixpath.join(project or ".", file)), max(line, 1)
