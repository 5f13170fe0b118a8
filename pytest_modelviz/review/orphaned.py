"""Baselines without a test, as the runs say and the project's files bear out: the results may come from anybody."""

from dataclasses import replace

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.records.check_result import Status
from pytest_modelviz.records.orphan import OrphanRecord
from pytest_modelviz.review.project_files import require_test_file
from pytest_modelviz.review.review import Review
from pytest_modelviz.storage.definitions import is_defined
from pytest_modelviz.storage.names import Location, has_clean_path
from pytest_modelviz.storage.orphans import file_digest, judged_together, suggest_renames
from pytest_modelviz.storage.orphans import without_file as orphans_without_file


def without_test(review: Review) -> list[OrphanRecord]:
    """Baselines of which the runs say that their test is gone, and that are still there."""
    orphans = (each for each in _judged(review) if review.baselines.digest(Location.of(*each.key)) is not None)
    return [_judged_anew(review, orphan) for orphan in orphans]


def without_file(review: Review) -> list[OrphanRecord]:
    """Baselines whose test file does not exist any more. No run can say so: it collects what is there."""
    reported = {orphan.key for orphan in _judged(review)}
    former = {check.former_nodeid for _, check in review.checks}  # their tests have another id now
    orphans = [
        orphan
        for orphan in orphans_without_file(review.baselines, review.rootdir)
        if orphan.nodeid not in former and orphan.key not in reported
    ]
    missing = [
        (item.run.candidates, item.location.path) for item in review.captured() if item.check.status is Status.MISSING
    ]
    return [_judged_anew(review, orphan) for orphan in suggest_renames(orphans, review.baselines, missing)]


def _judged(review: Review) -> list[OrphanRecord]:
    return judged_together([run.result for run in review.own_runs])


def _judged_anew(review: Review, orphan: OrphanRecord) -> OrphanRecord:
    """The same by the project's files: neither an old id nor a new one is taken at its word."""
    root, old, new = review.rootdir, orphan.nodeid, orphan.renamed_to
    is_of_project = _names_project_file(review, old)
    is_gone = has_clean_path(old) and file_digest(root, old) is None
    may_be_renamed = new is not None and (is_of_project or is_gone) and _names_project_file(review, new)
    if new is not None and not (may_be_renamed and is_defined(root, new) is not False):
        new = None
    return replace(
        orphan,
        function_is_there=is_of_project and is_defined(root, old) is True,
        renamed_to=new,
        new_has_baseline=new is not None and review.baselines.holds_test(new),
    )


def _names_project_file(review: Review, nodeid: str) -> bool:
    """Whether a test id names a file that can hold a test of the project, and lies in none of the data."""
    try:
        require_test_file(nodeid, review.rootdir, review.own_folders())
    except ModelvizError:
        return False
    return True
