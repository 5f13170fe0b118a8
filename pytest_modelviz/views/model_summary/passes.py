"""Two summaries as passes without numbers, so that the first event that differs is looked for in them, too.

What differs was found before, field by field; here it is put in order with the calls.
"""

import functools
import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from pytest_modelviz.compare.blame import assign_blame
from pytest_modelviz.compare.ignored import lasting_modules
from pytest_modelviz.compare.lockstep import LockstepComparison
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.call_order import calls_of
from pytest_modelviz.records.findings import AttributeFinding, LayerFinding, ModuleFinding
from pytest_modelviz.records.structure import ModelStructure, ModuleRecord
from pytest_modelviz.records.tensors import TensorRecord
from pytest_modelviz.records.trace import Call, ForwardTrace, Leaf
from pytest_modelviz.text.strict_json import JsonObject
from pytest_modelviz.views.model_summary.findings import FieldFinding
from pytest_modelviz.views.model_summary.rows import Rows

Findings = Sequence[LayerFinding]
Attributes = Mapping[str, Mapping[str, str]]

_SAME, _OTHER = TensorRecord("float32", (0,), np.zeros(0)), TensorRecord("float32", (1,), np.zeros(0))
_BUILT = ("class", "config", "parameters", "buffers")
_MOST_INSERTED = 2000  # calls: beyond this the two models have little in common
_INCOMPLETE = "incomplete"  # a module that only one of the models has
_READ = "read"  # something that the module reads without calling it is built otherwise


def attributes_of(facts: JsonObject, rows: Rows, ignored: Sequence[str] = ()) -> Attributes | None:
    """The plain attributes of every module that two processes share; None of a summary recorded before they were."""
    common = facts.get("attributes", {})
    tables_by_layer = {}
    for name, row in rows.items():
        tables = [common.get(str(row.get("class"))) if isinstance(common, Mapping) else None, row.get("attributes")]
        if any(table is not None and not isinstance(table, Mapping) for table in tables):
            raise UnreadableBaselineError("its attributes are not a table")
        tables_of_texts = (table for table in tables if isinstance(table, Mapping))
        tables_by_layer[name] = {str(key): str(text) for table in tables_of_texts for key, text in table.items()}
    return lasting_modules(tables_by_layer, ignored) if any(tables_by_layer.values()) else None


def first_event(
    before: Rows,
    after: Rows,
    calls: tuple[list[Call], list[Call]],
    attributes: tuple[Attributes | None, Attributes | None],
    findings: Findings,
) -> tuple[str, str, list[AttributeFinding]] | None:
    """Layer, cause and the attributes that are evidence; None where no event of the passes differs.

    `after` has the baseline's names; `findings` are all that differs.
    """
    if not calls[0] or not calls[1]:
        return None
    kinds = _kinds(findings, {call.layer for passed in calls for call in passed})
    known = None not in attributes
    traces = []
    for number, rows in enumerate((before, after)):
        modules = {}
        for name, row in rows.items():
            differs = kinds.get(name, set()) if number else set()
            config = dict((attributes[number] or {}).get(name, {})) if known else {}
            config["extra_repr"] = "other" if "config" in differs else ""
            shapes = "other" if {"parameters", "buffers"} & differs else "same"
            modules[name] = ModuleRecord(str(row.get("class", "")), config, {"shapes": shapes})
        marks = {layer: frozenset(own) for layer, own in kinds.items()} if number else {}
        passed = [_marked(call, marks.get(call.layer, frozenset())) for call in calls[number]]
        traces.append(ForwardTrace(ModelStructure(modules, {"same": _SAME, "other": _OTHER}), passed))
    comparison = LockstepComparison(traces[0], traces[1], Tolerances())
    comparison.run()
    if comparison.first is None:
        return None
    blame = assign_blame(comparison, comparison.first, {})
    return blame.layer, blame.cause, [f for f in blame.evidence if isinstance(f, AttributeFinding)]


def _kinds(findings: Findings, called: Collection[str]) -> dict[str, set[str]]:
    """What differs, by layer: how a module that is never called is built is for its caller to read."""
    kinds: dict[str, set[str]] = {}
    for finding in findings:
        layer, kind = finding.layer, _INCOMPLETE if isinstance(finding, ModuleFinding) else ""
        if isinstance(finding, FieldFinding):
            kind = finding.field
        kinds.setdefault(layer, set()).add(kind)
        while layer and layer not in called and kind in _BUILT:
            layer = layer.rpartition(".")[0]
        if layer != finding.layer:
            kinds.setdefault(layer, set()).add(_READ)
    return kinds


def _marked(call: Call, kinds: frozenset[str]) -> Call:
    """A call with what differs about its first time, and of the others what calls for a caller that has changed."""
    return Call(call.layer, call.index, call.depth, *_marks(kinds, is_first=not call.index))


@functools.lru_cache(maxsize=1024)  # a hundred thousand calls, which a small file may claim, have a few sets of kinds
def _marks(kinds: frozenset[str], *, is_first: bool) -> tuple[dict[str, Leaf], dict[str, Leaf]]:
    entered, left = {"in"} & kinds, {"out", _READ, _INCOMPLETE, *_BUILT} & kinds
    if not is_first:
        entered, left = {"mult_adds"} & kinds - {"in"}, set()
    elif not {"in", "calls"} & kinds:
        left |= {"mult_adds"} & kinds
    return _leaf(entered), _leaf(left)


def _leaf(differs: Collection[str]) -> dict[str, Leaf]:
    return {"": Leaf(literal=", ".join(sorted(differs)))}


def passes(baseline: Rows, actual: Rows, names: Mapping[str, str]) -> tuple[list[Call], list[Call]]:
    """Both passes call by call, under the baseline's names; of one recorded without its order, as the other has it."""
    counts = [{name: _count(row) for name, row in rows.items()} for rows in (baseline, actual)]
    counts[1] = {names[name]: count for name, count in counts[1].items()}
    after = _recorded(actual)
    before = _recorded(baseline, needed=len(after or ()))
    if after and any(name != old for name, old in names.items()):
        after = [Call(names[call.layer], call.index, call.depth, {}, {}) for call in after]
    if before is None and after is not None:
        before = _likely(after, counts[0])
    elif after is None and before is not None:
        after = _likely(before, counts[1])
    return before or [], after or []


def _recorded(rows: Rows, **limit: int) -> list[Call] | None:
    return calls_of({name: row["runs"] for name, row in rows.items() if "runs" in row}, rows, **limit)


def _count(row: JsonObject) -> int:
    count = row.get("calls", 0)
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise UnreadableBaselineError("its number of calls is not a number")
    return count


def _likely(calls: Sequence[Call], counts: Mapping[str, int]) -> list[Call]:
    """A pass that calls each module so many times, as much like this one as possible."""
    if not any(counts.values()):
        return []
    remaining = dict(counts)
    likely: list[Call] = []
    skipped = math.inf  # the depth of a call that is left out, with all that it calls
    for call in calls:
        if call.depth > skipped:
            continue
        skipped = math.inf
        if remaining.get(call.layer, 0) > 0:
            remaining[call.layer] -= 1
            likely.append(call)
        else:
            skipped = call.depth
    for layer in [name for name, count in remaining.items() if count][:_MOST_INSERTED]:
        _insert(likely, layer, counts)
    return likely


def _insert(calls: list[Call], layer: str, counts: Mapping[str, int]) -> None:
    """One call more: after the last one that its caller makes, or the last of its own."""
    own = [at for at, call in enumerate(calls) if call.layer == layer]
    caller = layer.rpartition(".")[0]
    while caller and not counts.get(caller):
        caller = caller.rpartition(".")[0]
    outer = own or [at for at, call in enumerate(calls) if call.layer == caller]
    if outer:
        depth = calls[outer[-1]].depth
        end = next((at for at in range(outer[-1] + 1, len(calls)) if calls[at].depth <= depth), len(calls))
        calls.insert(end, Call(layer, len(own), depth if own else depth + 1, {}, {}))
