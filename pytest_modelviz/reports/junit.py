"""What JUnit files, and other reports that take properties, say about the checks of a test."""

from __future__ import annotations

from pytest_modelviz.records.check_result import CheckResult
from pytest_modelviz.text.printable import printable

_KEYS = ("status", "cause", "layer", "error", "output_error")


def property_names(check: CheckResult) -> list[str]:
    """The names of all properties that a check may have."""
    return [printable(f"modelviz.{check.name}.{key}") for key in _KEYS]


def properties(check: CheckResult) -> list[tuple[str, str]]:
    """The properties of a check, those alone that are known.

    Example:
        >>> properties(check)
        [('modelviz.cam_map.status', 'drift'), ('modelviz.cam_map.layer', 'conv1'), ('modelviz.cam_map.error', '0.05')]

    """
    first, output = check.first_divergence, check.output
    values = (
        check.status.value,
        None if check.cause is None else check.cause.value,
        None if first is None else first.layer or "(model)",
        None if check.error is None else f"{check.error:.6g}",
        None if output is None else f"{output.error:.6g}",
    )
    return [(name, printable(value)) for name, value in zip(property_names(check), values, strict=True) if value]
