"""The update policy: what becomes of a check, given the mode of the run, the state of its baseline and the verdict."""

import enum

from pytest_modelviz.records.check_result import Status
from pytest_modelviz.run.settings import Mode


class BaselineState(enum.Enum):
    """What there is to compare with.

    `DECIDED_NOW` is a baseline that this very run has recorded or found to match: running the same test once more does
    not replace it.
    """

    MISSING = "missing"
    UNREADABLE = "unreadable"
    RECORDED_BEFORE = "recorded before"
    DECIDED_NOW = "decided now"


def intended_status(mode: Mode, baseline: BaselineState, *, matched: bool = False) -> Status:
    """What a check comes to in a run that compares.

    RECORDED and DRIFT suppose that the model repeats itself; where it does not, the check is UNSTABLE, and nothing is
    recorded.

    Args:
        mode: What the run does with what it captures; not `Mode.OFF`.
        baseline: What there is to compare with.
        matched: Whether the capture is within tolerance of that, where it can be compared.

    Example:
        >>> intended_status(Mode.UPDATE, BaselineState.UNREADABLE).value
        'unreadable'

    """
    if baseline is BaselineState.MISSING:
        return Status.RECORDED if mode.records else Status.MISSING
    if baseline is BaselineState.UNREADABLE:
        return Status.RECORDED if mode is Mode.UPDATE_ALL else Status.UNREADABLE
    may_replace = baseline is BaselineState.RECORDED_BEFORE
    if may_replace and (mode is Mode.UPDATE_ALL or (mode is Mode.UPDATE and not matched)):
        return Status.RECORDED
    return Status.MATCH if matched else Status.DRIFT
