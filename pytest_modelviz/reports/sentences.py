"""Findings in words: one sentence each, or one for many that are alike.

A function a family. Those of a view's own families stand with them in its package, and are registered as it is
imported; a family without a sentence is an error.
"""

import functools
import math
from collections.abc import Hashable, Sequence

from pytest_modelviz.records import findings as kinds
from pytest_modelviz.records.changes import ValueChange
from pytest_modelviz.records.findings import AUTOCAST, COMPUTED_IN
from pytest_modelviz.reports.changes import change_text
from pytest_modelviz.text.counts import counted, cut
from pytest_modelviz.text.dotted import MODEL_LABEL
from pytest_modelviz.text.side_by_side import cut_apart, split_items, without_digests

MOST_LISTED = 8
_ALIKE = 3  # from so many alike findings on they share a sentence
_LONGEST_FACT = 200  # letters of what stands in a baseline beside the actual one
_SHORT, _LONGEST = 80, 120  # letters of both sides up to which nothing is left out; of one side in any case


def sentences(findings: Sequence[kinds.AnyFinding]) -> list[str]:
    """One sentence a finding, or one for many that are alike: siblings that are gone, layers that froze."""
    groups: dict[Hashable, list[kinds.AnyFinding]] = {}
    for finding in findings:
        key = likeness(finding)
        groups.setdefault(id(finding) if key is None else (type(finding), key), []).append(finding)
    texts: list[str] = []
    for group in groups.values():
        texts += [sentence_for_many(group[0], group)] if len(group) >= _ALIKE else map(sentence, group)
    return texts


@functools.singledispatch
def sentence(finding: kinds.AnyFinding) -> str:
    """One finding in words."""
    raise NotImplementedError(f"no sentence is registered for findings of the type {type(finding).__name__}")


@functools.singledispatch
def likeness(finding: kinds.AnyFinding) -> Hashable:
    """What findings of one type have in common that may share a sentence; None for those that are like no other."""
    return None


@functools.singledispatch
def sentence_for_many(first: kinds.AnyFinding, group: Sequence[kinds.AnyFinding]) -> str:
    """Many alike findings, of which `first` is one, in one sentence."""
    raise NotImplementedError(f"findings of the type {type(first).__name__} share no sentence")


@sentence.register
def _(finding: kinds.Finding) -> str:
    return _change(finding.layer, finding.what, finding.before, finding.after)


@sentence.register
def _(finding: kinds.EventFinding) -> str:
    layer = finding.layer or MODEL_LABEL
    path = finding.path.lstrip(".")
    detail = f" ({path})" if finding.path else ""
    if finding.before != finding.after:
        detail = f" ({path or 'output'}: {shortened(finding.before, finding.after)})"
    match finding.event:
        case kinds.DivergingEvent.INPUT:
            return f"the model receives a different input{detail}{_how(finding.change)}"
        case kinds.DivergingEvent.ENTER if finding.path == AUTOCAST:
            return f"everything before agrees, then {layer} is called under another autocast"
        case kinds.DivergingEvent.ENTER:
            return f"everything before agrees, then {layer} receives a different input{detail}"
        case kinds.DivergingEvent.LEAVE if finding.path == COMPUTED_IN:
            return f"{layer} receives the same inputs, and its code computes in other dtypes than before"
        case kinds.DivergingEvent.LEAVE:
            return f"{layer} receives the same inputs and returns a different output{detail}"
        case kinds.DivergingEvent.ORDER:
            return "everything agrees up to where another module is called"
        case kinds.DivergingEvent.NONE:
            return "all activations agree"


@sentence.register
def _(finding: kinds.WeightFinding) -> str:
    owner = f"{finding.layer}." if finding.layer else ""
    return f"{owner}{finding.name.removeprefix(owner)} {differs(finding.error)}{_how(finding.change)}"


@sentence.register
def _(finding: kinds.ModuleFinding) -> str:
    return f"{finding.layer or MODEL_LABEL} ({finding.class_name}) was {finding.change}"


@likeness.register
def _(finding: kinds.ModuleFinding) -> Hashable:
    return finding.change, finding.layer.rpartition(".")[0]


@sentence_for_many.register
def _(first: kinds.ModuleFinding, group: Sequence[kinds.ModuleFinding]) -> str:
    names = [f"{finding.layer.rpartition('.')[2]} ({finding.class_name})" for finding in group]
    return f"{first.layer.rpartition('.')[0] or MODEL_LABEL}: {listed(names)} were {first.change}"


@sentence.register
def _(finding: kinds.RenameFinding) -> str:
    return f"{finding.before} is now {'at' if finding.is_move else 'called'} {finding.layer}"


@sentence.register
def _(finding: kinds.TiesFinding) -> str:
    lost, gained = ("; ".join(map(" = ".join, groups)) or "nothing" for groups in (finding.lost, finding.gained))
    return f"shared memory: {lost} -> {gained}"


@sentence.register
def _(finding: kinds.ChangeFinding) -> str:
    return _change(finding.layer, finding.name, finding.before, finding.after)


@likeness.register
def _(finding: kinds.ConstructionFinding) -> Hashable:
    return finding.name, shortened(finding.before, finding.after)


@likeness.register
def _(finding: kinds.DtypeFinding) -> Hashable:
    return finding.name, finding.before, finding.after


@sentence_for_many.register(kinds.ConstructionFinding)
@sentence_for_many.register(kinds.DtypeFinding)
def sentence_for_same_change(first: kinds.ChangeFinding, group: Sequence[kinds.ChangeFinding]) -> str:
    """Many layers with the same change in one sentence."""
    layers = layers_of(group)
    return f"{counted(len(layers), 'layer')}: {first.name}: {shortened(first.before, first.after)}: {listed(layers)}"


@sentence.register
def _(finding: kinds.OrderFinding) -> str:
    where, here = ("further on, where ", "") if finding.is_later else ("", " here")
    return f"{where}the baseline {_predicate(finding.before)}{here}, this pass {_predicate(finding.after)}"


@sentence.register
def _(finding: kinds.CodeFinding) -> str:
    match finding.last_callee, finding.next_callee:
        case "", "":
            where = ""
        case "", following:
            where = f" before {following}, which it calls first"
        case last, "":
            where = f" after {last}, which it calls last"
        case last, following:
            where = f" between {f'two calls of {last}' if last == following else f'{last} and {following}'}"
    return f"its weights and configuration match; its own code computes something else{where}"


@sentence.register
def _(finding: kinds.OutputsFinding) -> str:
    """What follows the count of layers that drifted."""
    if not finding.drifted:
        return "; the model's output agrees"
    if finding.count == 1:
        return " and the model's output"
    names = cut([path.lstrip(".") for path in finding.drifted], MOST_LISTED)
    return f" and, of the model's {finding.count} outputs, {', '.join(names)}"


@sentence.register
def _(finding: kinds.UnstatedFinding) -> str:
    return (
        f"the baseline does not say {finding.subject}, as those of earlier versions: this was not compared, record it "
        f"anew"
    )


@sentence.register
def _(finding: kinds.UnrecordedPartsFinding) -> str:
    layers = counted(finding.layers, "layer")
    return (
        f"the integers, scales and zero points of {layers} were not compared, only the numbers that they stand for: "
        f"the baseline was recorded without them"
    )


@sentence.register
def _(finding: kinds.QuantisedAnewFinding) -> str:
    weights = "1 weight differ" if finding.weights == 1 else f"{finding.weights} weights differ"
    return (
        f"some integers of {weights}, as of a model that was quantised anew on another processor: load quantised "
        f"weights from a file to compare them exactly"
    )


@sentence.register
def _(finding: kinds.UncomparedFinding) -> str:
    what = f"{finding.layer or 'the model'} {finding.name}"
    return f"{what} differs and was not compared: the baseline says that each pass recreates it, or lacks it"


@sentence.register
def _(finding: kinds.NoiseFinding) -> str:
    return f"{finding.layer or MODEL_LABEL} differs by {finding.noise:.2g} by rounding alone"


_REMARKS = {
    kinds.FormerSketchFinding: "the baseline holds the sketches of an earlier version, which may miss a change that is "
    "alike everywhere in a tensor of more than a million numbers: record it anew (--modelviz-update-all)",
    kinds.KinksFinding: "the gradient differs by more than rounding, as it may if the forward passes agree and a "
    "rectifier close to zero opens: add feature_maps if the baseline may be forged",
}
_SHADOWS = {
    "differs": "compared in float32: what differs is not how layers of a lower precision round their results",
    "agrees": "in float32 both passes agree: what differs is what the lower precision does",
    "baseline": "the baseline holds no pass in float32, so what the rounding of the lower precision hides was not "
    "compared: record it anew",
    "actual": "the pass was not repeated in float32 as the baseline's was, so what the rounding of the lower precision "
    "hides was not compared",
    "stated": "in float32 this run and the baseline agree. What the baseline recorded beside that is off by no more "
    "than the rounding of the precision that it says it was computed in, which this run cannot verify",
}


@sentence.register
def _(finding: kinds.ShadowFinding) -> str:
    return _SHADOWS[finding.state]


@sentence.register(kinds.FormerSketchFinding)
@sentence.register(kinds.KinksFinding)
def _(finding: kinds.AnyFinding) -> str:
    return _REMARKS[type(finding)]


@sentence.register
def _(finding: kinds.FactFinding) -> str:
    nothing = MODEL_LABEL if finding.fact == "layer" else ""
    before, after = cut_apart(finding.before, finding.after, _LONGEST_FACT)
    return f"{finding.fact}: {before or nothing} -> {after or nothing}"


@sentence.register
def _(finding: kinds.IncomparableStepsFinding) -> str:
    return (
        f"from step {finding.step} on the two trainings are too far apart to be compared, possibly by rounding alone: "
        f"compare fewer steps (steps={finding.step}), train at a smaller rate, or set the tolerance with rtol="
    )


def _how(change: ValueChange | None) -> str:
    return "" if change is None else f": {change_text(change)}"


def differs(error: float) -> str:
    """A relative difference as a predicate."""
    return f"differs by {error:.2g}" if math.isfinite(error) else "is different"


def layers_of(findings: Sequence[kinds.LayerFinding]) -> list[str]:
    """The layers of findings, each once."""
    return list(dict.fromkeys(finding.layer for finding in findings))


def listed(layers: Sequence[str]) -> str:
    """Names of layers, the first of them and a count where there are many."""
    names = [layer or MODEL_LABEL for layer in layers]
    more = f" and {len(names) - _ALIKE} more" if len(names) > _ALIKE + 1 else ""
    return f"{', '.join(names[:_ALIKE] if more else names)}{more}"


def shortened(before: str, after: str) -> str:
    """A change; of two long lists in text form only the items that differ, cut around the difference if still long."""
    before, after = without_digests(before, after)
    if len(before) + len(after) <= _SHORT:
        return f"{before or 'none'} -> {after or 'none'}"
    old, new = split_items(before), split_items(after)
    if len(old) == len(new):
        old, new = ([pair[side] for pair in zip(old, new, strict=True) if pair[0] != pair[1]] for side in (0, 1))
    while len(old) > 1 and len(new) > 1 and old[0] == new[0]:
        old, new = old[1:], new[1:]
    while len(old) > 1 and len(new) > 1 and old[-1] == new[-1]:
        old, new = old[:-1], new[:-1]
    short = cut_apart(", ".join(old), ", ".join(new), _LONGEST)
    return f"{short[0] or 'none'} -> {short[1] or 'none'}"


def _change(layer: str, name: str, before: str, after: str) -> str:
    subject = f"{layer or MODEL_LABEL} {name}" if name else layer or MODEL_LABEL
    return f"{subject}: {shortened(before, after)}"


def _predicate(step: kinds.Step) -> str:
    if step is None:
        return "ends"
    kind, layer = step
    return f"{'calls' if kind == 'enter' else 'returns from'} {layer or 'the model'}"
