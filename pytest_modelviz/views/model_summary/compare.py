"""Two module trees side by side: what was added, removed and changed, and which layer is at fault. Knows no torch."""

from collections.abc import Mapping, Sequence

from pytest_modelviz.compare.naming import baseline_namer, renames, tie_findings
from pytest_modelviz.compare.ownership import calling_layer, first_changed_layer
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.findings import (
    AttributeFinding,
    LayerFinding,
    ModuleFinding,
    RenameFinding,
    UncomparedFinding,
)
from pytest_modelviz.records.structure import ModelStructure, ModuleRecord
from pytest_modelviz.records.trace import Call
from pytest_modelviz.records.verdict import Divergence, Verdict
from pytest_modelviz.text.natural import natural
from pytest_modelviz.text.strict_json import JsonObject
from pytest_modelviz.views.model_summary import rows
from pytest_modelviz.views.model_summary.findings import FieldFinding, WrapFinding
from pytest_modelviz.views.model_summary.passes import attributes_of, first_event, passes
from pytest_modelviz.views.model_summary.rows import Rows
from pytest_modelviz.views.model_summary.wrapping import unwrapped

# The order of findings, of which the first names the layer. Modules come first, with the fields not listed in `_RANK`;
# ties are among the holdings.
_BUILT_AS, _NAMES, _HOLDINGS, _FROZEN, _BEHAVES = range(5)
_PARAMETERS = ("parameters", "trainable", "parameter_bytes")  # totals that follow from what rows and ties say
_RANK = {"buffers": _HOLDINGS, "frozen": _FROZEN, **dict.fromkeys(rows.BEHAVIOUR, _BEHAVES)}


def compare(baseline: Capture, actual: Capture, tolerances: Tolerances) -> Verdict:
    """Compare two captures of `model_summary`. Raises UnreadableBaselineError for a damaged baseline."""
    return compare_trees(baseline.facts, actual.facts, tolerances.ignored)


def compare_trees(baseline: JsonObject, actual: JsonObject, ignored: Sequence[str] = ()) -> Verdict:
    """Compare the facts of two summaries field by field; `ignored` are globs of attributes."""
    if all(baseline.get(key) == actual.get(key) for key in ("layers", "ties")) and _is_plain(actual):
        _require_totals(baseline, actual, (*_PARAMETERS, "mult_adds"))
        return Verdict.match(compared=len(rows.listed(actual)))  # whatever is ignored, nothing differs
    before, new = rows.layers_of(baseline, ignored), rows.layers_of(actual, ignored)
    renamed = renames(rows.built(before), rows.built(new))
    baseline_name = baseline_namer(renamed)
    names = {name: baseline_name(name) for name in new}
    after = {names[name]: row for name, row in new.items()}
    findings, uncompared = _differences(before, after)
    ties = _groups(baseline), _groups(actual)
    if not findings and not renamed and ties[0] == _tied(ties[1], names):
        is_counted = all(before[name].get("mult_adds") == row.get("mult_adds") for name, row in after.items())
        _require_totals(baseline, actual, (*_PARAMETERS, "mult_adds") if is_counted else _PARAMETERS)
        return Verdict.match(compared=len(before), findings=uncompared)
    findings += [*renamed, *tie_findings(ties[0], _tied(ties[1], names))]
    findings.sort(key=_rank)  # stable: layers stay as people count
    attributes = attributes_of(baseline, before, ignored), attributes_of(actual, after, ignored)
    calls = passes(before, new, names)
    structures = _modules(before, calls[0]), _modules(after, calls[1])
    # where no event differs, or there was no pass, what explains most comes first
    layer, cause, evidence = first_event(before, after, calls, attributes, findings) or _first(
        findings, *structures, passes_agree=all(calls)
    )
    tree = unwrapped(before, new, names)
    if tree is not None:  # what is wrapped has other names, and need not differ otherwise
        findings = [*tree.findings, *_differences(tree.before, tree.after)[0], *renamed]
        findings += tie_findings(ties[0], _tied(ties[1], tree.names))
        findings.sort(key=_rank)
    findings.sort(key=lambda finding: finding.layer != layer)
    count = len({*before, *(after if tree is None else tree.after)})
    drifted = len({finding.layer for finding in findings})
    before_renaming = {finding.layer: finding.before for finding in renamed}
    row = before.get(layer) or after.get(before_renaming.get(layer, layer), {})
    return Verdict.drift(
        compared=count,
        drifted=drifted,
        error=drifted / max(count, 1),
        tolerance=0.0,
        first=Divergence(layer, str(row.get("class", "")), 0, 1.0, 0.0),
        cause=cause,
        findings=(*evidence, *findings, *uncompared),
    )


def _require_totals(baseline: JsonObject, actual: JsonObject, keys: Sequence[str]) -> None:
    """Make sure that a baseline whose rows are an equal model's has its totals; raises UnreadableBaselineError.

    Nothing is compared by them, but people read them. Buffers do not count: whether they are shared is in no row.
    """
    stored, own = baseline.get("totals", {}), actual.get("totals", {})
    if not isinstance(stored, dict) or not isinstance(own, dict):
        raise UnreadableBaselineError("its totals are not a table of numbers")
    for key in keys:
        if key in stored and key in own and stored[key] != own[key]:
            raise UnreadableBaselineError(
                f"its totals contradict its layers ({key} should be {own[key]}): it was edited. Restore it from "
                f"version control, or record it anew"
            )


def _is_plain(facts: JsonObject) -> bool:
    """Whether names in groups of shared parameters stand in order, as in every recording."""
    groups = _groups(facts)
    return groups == _tied(groups, {})


def _differences(before: Rows, after: Rows) -> tuple[list[LayerFinding], list[UncomparedFinding]]:
    """What differs between the rows of the same names, and what of it is not compared."""
    is_run = any(row.get("calls") for row in (*before.values(), *after.values()))
    findings: list[LayerFinding] = []
    uncompared: list[UncomparedFinding] = []
    for name in sorted({*before, *after}, key=natural):
        if name not in after:
            findings.append(ModuleFinding(name, "removed", str(before[name].get("class", ""))))
        elif name not in before:
            findings.append(ModuleFinding(name, "added", str(after[name].get("class", ""))))
        elif before[name] != after[name]:
            *compared, buffers = rows.without_state(before[name], after[name], is_run=is_run)
            findings += rows.field_findings(name, *compared)
            uncompared += [UncomparedFinding(name, f"buffer {local}") for local in buffers]
    return findings, uncompared


def _tied(groups: Sequence[Sequence[str]], names: Mapping[str, str]) -> list[list[str]]:
    """Groups of modules and parameters with the baseline's names."""

    def old(name: str) -> str:
        owner, _, local = name.rpartition(".")
        return names.get(name, f"{names.get(owner, owner)}.{local}".removeprefix("."))

    return [sorted(old(name) for name in group) for group in groups]


def _groups(facts: JsonObject) -> list[list[str]]:
    groups = facts.get("ties", [])
    if not isinstance(groups, (list, tuple)) or not all(isinstance(group, (list, tuple)) for group in groups):
        raise UnreadableBaselineError("its shared parameters are not a list of names")
    return [[str(name) for name in group] for group in groups]


def _first(
    findings: Sequence[LayerFinding], before: ModelStructure, after: ModelStructure, *, passes_agree: bool
) -> tuple[str, str, list[AttributeFinding]]:
    highest = min(map(_rank, findings))
    if highest < _BEHAVES:
        most = [finding for finding in findings if _rank(finding) == highest]
        return first_changed_layer(most, before, after, passes_agree=passes_agree), "architecture", []
    given = {f.layer for f in findings if isinstance(f, FieldFinding) and f.field in ("in", "calls")}
    if "" in given:
        return "", "input", []
    layer = findings[0].layer
    # what it is given, and how often, is its caller's doing
    return (calling_layer(layer, before, after) if layer in given else layer), "computation", []


def _rank(finding: LayerFinding) -> int:
    if isinstance(finding, FieldFinding):
        return _RANK.get(finding.field, _BUILT_AS)
    if isinstance(finding, RenameFinding):
        return _NAMES
    return _BUILT_AS if isinstance(finding, (ModuleFinding, WrapFinding)) else _HOLDINGS


def _modules(layers: Rows, calls: list[Call]) -> ModelStructure:
    """The modules alone, in the order of execution as far as that is known, then as people count."""
    order = dict.fromkeys([*(call.layer for call in calls), *sorted(layers, key=natural)])
    return ModelStructure({name: ModuleRecord(str(layers[name].get("class", "")), {}, {}) for name in order})
