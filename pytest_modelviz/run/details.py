"""All that is known of a check that did not match, kept in the results folder beside its result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.records.check_result import CheckResult
from pytest_modelviz.records.verdict import Verdict
from pytest_modelviz.reports.details import details_document
from pytest_modelviz.run.check import Check
from pytest_modelviz.run.kept_pictures import KeptPicture
from pytest_modelviz.storage.names import Location, display_path
from pytest_modelviz.storage.results import ResultsFolder


@dataclass(frozen=True)
class Details:
    """What the comparison found, if there was one, the whole report, the pictures, and the capture in words."""

    verdict: Verdict | None
    message: str
    description: Callable[[], str]
    pictures: Sequence[KeptPicture] = ()

    def kept(self, result: CheckResult, results: ResultsFolder, location: Location, check: Check) -> CheckResult:
        """Write the details; returns the result with the file's path, or without where it cannot be written."""
        whole = replace(result, message=self.message)
        root = check.settings.rootdir
        folder = display_path(results.pictures / location.path, root)
        pictures = [picture.to_json(folder) for picture in self.pictures]
        document = details_document(whole, self.verdict, description=self.description(), pictures=pictures)
        try:
            results.prepare()
            path = results.details.keep(location.path, document)
        except (OSError, ModelvizError):
            return result  # the report says all the same
        return replace(result, details=display_path(path, root))
