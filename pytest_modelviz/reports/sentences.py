"""Findings in words: one sentence each, or one for many that are alike."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pytest_modelviz.records.verdict import KINKS, UNCOMPARED
from pytest_modelviz.reports import operators
from pytest_modelviz.text.dotted import MODEL_LABEL
from pytest_modelviz.text.side_by_side import cut_apart, split_items, without_digests

_ALIKE = 3  # from so many findings of one kind on they are told in one line
_SHORT, _LONGEST = 80, 120  # letters of both sides up to which nothing is left out; of one side in any case

_FOLLOWS = ("in", "out", "calls", "mult_adds")

_MAPS = {
    "map:nan": "{after} values of the map are not finite, in the baseline {before}",
    "map:empty": "one of the maps is empty, zero everywhere: the baseline goes from {before}, this one from {after}",
    "map:blank": "one of the maps has nothing positive, people see an empty map: the baseline goes from {before}, "
    "this one from {after}",
    "map:scale": "it is the baseline's map times {after}: the picture is the same, its strength is not",
    "map:negated": "it is the baseline's map times {after}: what was positive is negative now, and the reverse",
}

_CURVES = {
    "curve:scalar:start": "step {what}: the scalars differ before anything is learned: the forward pass, loss or data",
    "curve:scalar:later": "all agrees up to step {what}, where scalars differ: its data, random numbers or buffers",
    "curve:scalar:known": "the scalars part at step {what}",
    "curve:gradient:start": "step {what}: the scalars agree, the gradients do not",
    "curve:gradient:later": "all agrees up to step {what}, where the scalars still agree and the gradients do not",
    "curve:gradient:known": "the gradients part at step {what}",
    "curve:update:start": "step {what}: scalars and gradients agree, the parameters are moved otherwise: the optimiser",
    "curve:update:later": "all agrees up to step {what}, which moves the parameters otherwise: the optimiser",
    "curve:update:known": "the updates part at step {what}",
    "curve:none": "all curves agree within what is allowed",
    "curve:unjudged": "from step {what} on the two trainings are so far apart, be it by rounding, that nothing can be "
    "said of them: compare fewer steps (steps={what}), train at a smaller rate, or say with rtol= what is allowed",
    "curve:names": "the parameters have other names",
    "curve:once": "a training runs once: what its seed does not reach, such as the order of data, would look the same",
    "parted:scalar": "{what}: {before} -> {after}",
    "parted:gradient": "gradient of {what}: norm {before} -> {after}",
    "parted:update": "{what} moves by {before} -> {after}",
    "parted:updates": "all parameters together move by {before} -> {after}",
    "parted:decay": "{what} moves along itself, as weight decay makes it, by {before} -> {after}",
    "parted:decays": "all parameters move along themselves, as weight decay makes them, by {before} -> {after}",
}


_NOTES = {
    UNCOMPARED: "{layer} {what} differs and was not compared: the baseline says that a pass makes it anew, or lacks it",
    KINKS: "the gradient differs by more than rounding, as it may where the forward passes agree and a rectifier next "
    "to zero opens: use feature_maps as well where the baseline may be forged",
}


def limits_found(findings: Sequence[Mapping[str, Any]]) -> list[str]:
    """What a comparison left out, said also of a match."""
    return [
        _NOTES[finding["kind"]].format(layer=finding["layer"] or "the model", what=finding["what"])
        for finding in findings
        if finding["kind"] in _NOTES
    ]


def sentences(findings: Sequence[Mapping[str, Any]]) -> list[str]:
    """One sentence a finding, or one for many that are alike: siblings that are gone, layers that froze."""
    groups: dict[Any, list[Mapping[str, Any]]] = {}
    for finding in findings:
        groups.setdefault(_likeness(finding), []).append(finding)
    texts = []
    for group in groups.values():
        texts += [_together(group)] if len(group) >= _ALIKE else [_sentence(finding) for finding in group]
    return texts


def _likeness(finding: Mapping[str, Any]) -> Any:
    """Findings of equal likeness can be told together; most are like no other."""
    kind = finding["kind"].removeprefix("also:")
    if kind in ("removed", "added"):
        return kind, finding["layer"].rpartition(".")[0]
    if kind == "frozen" and not (finding["before"] and finding["after"]):
        return kind, bool(finding["after"])
    if kind in _FOLLOWS and finding["layer"]:
        return "follows"
    if kind in ("class", "config", "attribute", "frozen", "shape", "parameters", "buffers"):
        return kind, finding["what"], finding["before"], finding["after"]
    alike = operators.likeness(finding) if kind.startswith(operators.PREFIX) else None
    return id(finding) if alike is None else alike


def _together(group: Sequence[Mapping[str, Any]]) -> str:
    kind, first = group[0]["kind"].removeprefix("also:"), group[0]
    layers = list(dict.fromkeys(finding["layer"] for finding in group))
    if kind.startswith(operators.PREFIX):
        change = _shorten(first["before"], first["after"])
        return operators.together(first, change, _listed(layers), len(group))
    if kind in ("removed", "added"):
        parent = layers[0].rpartition(".")[0]
        names = [f"{one['layer'].rpartition('.')[2]} ({one['before'] or one['after']})" for one in group]
        return f"{parent or MODEL_LABEL}: {_listed(names)} were {kind}"
    if kind == "frozen" and not (first["before"] and first["after"]):
        return f"{len(layers)} layers are {'now' if first['after'] else 'no longer'} frozen: {_listed(layers)}"
    if kind in _FOLLOWS:
        example = f"{first['layer']} {kind}: {_shorten(first['before'], first['after'])}"
        count = "1 layer" if len(layers) == 1 else f"{len(layers)} layers"
        return f"shapes, calls or mult-adds of {count} follow: {_listed(layers)} ({example})"
    return f"{len(layers)} layers: {first['what']}: {_shorten(first['before'], first['after'])}: {_listed(layers)}"


def _listed(layers: Sequence[str]) -> str:
    names = [layer or MODEL_LABEL for layer in layers]
    return (
        ", ".join(names) if len(names) <= _ALIKE + 1 else f"{', '.join(names[:_ALIKE])} and {len(names) - _ALIKE} more"
    )


def _sentence(finding: Mapping[str, Any]) -> str:
    kind = finding["kind"].removeprefix("also:")
    layer, what = finding["layer"] or MODEL_LABEL, finding["what"]
    before, after = finding["before"], finding["after"]
    if kind.startswith(operators.PREFIX):
        return operators.sentence(finding, _shorten(before, after))
    part = f" ({what.lstrip('.')})" if what else ""
    if kind.startswith("event:") and before != after:
        part = f" ({what.lstrip('.') or 'output'}: {_shorten(before, after)})"
    if kind == "event:input":
        return f"the model receives another input{part}"
    if kind == "event:enter":
        return f"everything before agrees, then {layer} receives another input{part}"
    if kind == "event:leave":
        return f"{layer} receives the same inputs and returns another output{part}"
    if kind == "event:order":
        return "everything agrees up to where another module is called"
    if kind == "event:none":
        return "all activations agree"
    if kind == "climb":
        size = f"differs by {finding['error']:.2g}" if math.isfinite(finding["error"]) else "is another"
        return f"{layer}: the {what} {size}{f', in the end {before} -> {after}' if before else ''}"
    if kind == "weights":
        size = f"differs by {finding['error']:.2g}" if math.isfinite(finding["error"]) else "is another"
        return f"{layer}.{what} {size}" if finding["layer"] and not what.startswith(f"{layer}.") else f"{what} {size}"
    if kind in ("removed", "added"):
        return f"{layer} ({before or after}) was {kind}"
    if kind == "renamed":
        return f"{before} is now called {after}"
    if kind == "moved":
        return f"{before} is now at {after}"
    if kind == "order" and what == "later":
        return f"further on, where the baseline {_next(before)}, this pass {_next(after)}"
    if kind == "order":
        return f"the baseline {_next(before)} here, this pass {_next(after)}"
    if kind == "code":
        return f"its weights and configuration match; its own code changed{_between(before, after)}"
    if kind in _MAPS:
        return _MAPS[kind].format(before=before, after=after)
    if kind in _CURVES:
        return _CURVES[kind].format(what=what, before=before, after=after) + _per_cent(finding["error"])
    if kind == "optimizer":
        return f"the optimiser: {what}: {_shorten(before, after)}"
    if kind in ("predicted", "targets", "method", "layer", "call", "explained", "steps", "scalars", "model", "seed"):
        if kind == "layer":
            before, after = before or MODEL_LABEL, after or MODEL_LABEL
        return f"{kind}: {before} -> {after}"
    if kind == "ties":
        return f"what shares memory: {before or 'nothing'} -> {after or 'nothing'}"
    name = f"{layer} {what}" if what else layer
    return f"{name}: {_shorten(before, after)}"


def _per_cent(change: float) -> str:
    """A change from one number to another, as a part of the first, with its sign; nothing where there is no such."""
    if not math.isfinite(change):
        return ""
    per_cent = 100 * change
    return f", {per_cent:+,.0f} %" if abs(per_cent) >= 100 else f", {per_cent:+.2g} %"


def _next(event: str) -> str:
    """'enter conv1', 'leave conv1' or 'end' as a predicate."""
    verb, _, layer = event.partition(" ")
    predicates = {"enter": f"calls {layer or 'the model'}", "leave": f"returns from {layer or 'the model'}"}
    return predicates.get(verb, "ends")


def _between(before: str, after: str) -> str:
    if before and before == after:
        return f" between two calls of {before}"
    if before and after:
        return f" between {before} and {after}"
    if after:
        return f" before {after}, which it calls first"
    return f" after {before}, which it calls last" if before else ""


def _shorten(before: str, after: str) -> str:
    """Of two long lists in text form only the items that differ; what is still long is cut around the difference."""
    before, after = without_digests(before, after)
    if len(before) + len(after) <= _SHORT:
        return f"{before or 'none'} -> {after or 'none'}"
    one, two = split_items(before), split_items(after)
    if len(one) == len(two):
        differing = [pair for pair in zip(one, two, strict=True) if pair[0] != pair[1]]
        one, two = [pair[0] for pair in differing], [pair[1] for pair in differing]
    while len(one) > 1 and len(two) > 1 and one[0] == two[0]:
        one, two = one[1:], two[1:]
    while len(one) > 1 and len(two) > 1 and one[-1] == two[-1]:
        one, two = one[:-1], two[:-1]
    short = cut_apart(", ".join(one), ", ".join(two), _LONGEST)
    return f"{short[0] or 'none'} -> {short[1] or 'none'}"
