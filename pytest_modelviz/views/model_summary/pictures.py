"""Two module trees as the rows of a diff. Knows no torch."""

from collections.abc import Sequence

from pytest_modelviz.compare.naming import baseline_namer, renames_of
from pytest_modelviz.compare.texts import same
from pytest_modelviz.pictures.exhibits import Exhibit
from pytest_modelviz.pictures.text_diff import Line, around_changes, text_picture
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.findings import AttributeFinding
from pytest_modelviz.records.verdict import Verdict
from pytest_modelviz.text.dotted import MODEL_LABEL
from pytest_modelviz.text.natural import natural
from pytest_modelviz.text.strict_json import JsonObject
from pytest_modelviz.views.model_summary.findings import FieldFinding
from pytest_modelviz.views.model_summary.rows import COMPARED, Rows, layers_of
from pytest_modelviz.views.model_summary.wrapping import unwrapped

_BESIDE = ("runs",)  # pictured where both have it, and no drift by itself


def picture(actual: Capture, baseline: Capture | None = None, verdict: Verdict | None = None) -> Sequence[Exhibit]:
    """One text; none without a baseline, as the JSON file is a page for people already."""
    if baseline is None:
        return []
    lines = diff_lines(layers_of(baseline.facts), layers_of(actual.facts), verdict)
    return [text_picture("layers", f"{actual.facts['model']}, layer by layer", around_changes(lines))]


def diff_lines(before: Rows, after: Rows, verdict: Verdict | None = None) -> list[Line]:
    """A line for each module; of one that changed, or has another name, what it was and what it is now.

    Of what is compared, only that which was found to differ; of attributes, those that are evidence.
    """
    renamed = renames_of(verdict)
    findings = () if verdict is None else verdict.findings
    differing = {(finding.layer, finding.field) for finding in findings if isinstance(finding, FieldFinding)}
    attributes: dict[str, list[AttributeFinding]] = {}
    for finding in findings:
        if isinstance(finding, AttributeFinding):
            attributes.setdefault(finding.layer, []).append(finding)
    baseline_name = baseline_namer(renamed)
    former = {name: baseline_name(name) for name in after}
    tree = unwrapped(before, after, former)
    lines: list[Line] = []
    if tree is not None:
        for wrap in tree.findings:
            sign, rows = ("+", after) if wrap.change == "added" else ("-", before)
            lines.append((sign, _whole_row(wrap.layer, rows[wrap.layer])))
        before, former = tree.before, dict(tree.names)
    new = {old: name for name, old in former.items()}
    for name in sorted({*before, *new}, key=natural):
        old_row, new_row = before.get(name), after[new[name]] if name in new else None
        if old_row is None or new_row is None:
            sign, title, row = ("-", name, old_row or {}) if new_row is None else ("+", new[name], new_row)
            lines.append((sign, _whole_row(title, row)))
            continue
        both = (("-", _title(name, old_row), old_row), ("+", _title(new[name], new_row), new_row))
        beside = [key for key in _BESIDE if key in old_row and key in new_row]
        keys = [key for key in (*COMPARED, *beside) if not same(old_row.get(key), new_row.get(key))]
        keys = [key for key in keys if verdict is None or key in beside or (name, key) in differing]
        if any(finding.before == name for finding in renamed) or "class" in keys:
            lines += [(sign, title) for sign, title, _ in both]
        elif not keys and name not in attributes:
            lines.append((" ", _title(new[name], new_row)))
        for key in (key for key in keys if key != "class"):
            lines += [(sign, f"{title}  {key}: {row[key]}") for sign, title, row in both if key in row]
        for changed in attributes.get(name, ()):
            texts = zip(both, (changed.before, changed.after), strict=True)
            lines += [(sign, f"{title}  {changed.name}: {text}") for (sign, title, _), text in texts]
    return lines


def _whole_row(name: str, row: JsonObject) -> str:
    return f"{_title(name, row)}({row.get('config', '')})"


def _title(name: str, row: JsonObject) -> str:
    return f"{name or MODEL_LABEL}: {row.get('class', '')}"
