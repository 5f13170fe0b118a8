"""All that is known of a check that did not match, as JSON for programs and for report.html: nothing is cut."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pytest_modelviz.records.check_result import CheckResult
from pytest_modelviz.records.findings import AnyFinding
from pytest_modelviz.records.json_values import plain, plain_record
from pytest_modelviz.records.run_result import published_json
from pytest_modelviz.records.verdict import Verdict
from pytest_modelviz.reports.sentences import sentence
from pytest_modelviz.text.strict_json import JsonObject, JsonValue

SCHEMA = 1


def details_document(
    result: CheckResult, verdict: Verdict | None, *, description: str = "", pictures: Sequence[JsonObject] = ()
) -> dict[str, JsonValue]:
    """The document of a file in `.modelviz/details/`.

    Args:
        result: the check's result; its message should be the whole one.
        verdict: what the comparison has found, None where there was none.
        description: the capture in words.
        pictures: for each its label and its files by role: `composite`, and its parts where it has them.

    Returns:
        The result, every finding with its kind, role, sentence and fields, the error of each layer in the order of
        execution, and the other arguments.

    """
    findings = () if verdict is None else verdict.findings
    layers = () if verdict is None else verdict.layers
    return {
        "schema": SCHEMA,
        "check": published_json(result),
        "findings": [finding_json(finding) for finding in findings],
        "layers": [plain(layer) for layer in layers],
        "pictures": list(pictures),
        "description": description,
    }


def finding_json(finding: AnyFinding) -> dict[str, JsonValue]:
    """A finding as a JSON object: its kind (`weight` for a `WeightFinding`), role, sentence and fields."""
    kind = re.sub(r"(?<!^)(?=[A-Z])", "_", type(finding).__name__.removesuffix("Finding")).lower()
    fields = plain_record(finding)
    return {"kind": kind or "other", **fields, "text": sentence(finding)}
