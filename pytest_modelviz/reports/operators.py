"""Sentences on what differs between two operator graphs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_modelviz.text.dotted import MODEL_LABEL

PREFIX = "graph:"


def sentence(finding: Mapping[str, Any], change: str) -> str:
    """One finding in words; `change` is its before and after, shortened."""
    kind, layer, what = _kind(finding), finding["layer"] or MODEL_LABEL, finding["what"]
    after = f" (after {what})" if what else ""
    if kind == "replaced":
        return f"replaced in {layer}: {change}{after}"
    if kind == "removed":
        return f"removed from {layer}: {finding['before']}{after}"
    if kind == "added":
        return f"added in {layer}: {finding['after']}{after}"
    if kind == "argument":
        # what is not spelled out is the operator's default, whose value may differ between versions of torch
        return f"changed: {what}: {finding['before'] or 'its default'} -> {finding['after'] or 'its default'}"
    if kind == "receives":
        return f"{what} now receives {finding['after'] or 'nothing'} instead of {finding['before'] or 'nothing'}"
    if kind == "output":
        return f"{what} returns another shape or dtype: {change}"
    if kind == "input":
        return f"the model receives another input ({what.removeprefix('input.')}: {change})"
    if kind == "returns":
        return f"the model returns {finding['after'] or 'nothing'} instead of {finding['before'] or 'nothing'}"
    if kind == "follows":
        told = "1 operator after that follows" if what == "1" else f"{what} operators after that follow"
        return f"{told}, from {layer} on: another shape, or an input that has another name now"
    why = f" ({what})" if what else ""
    return (
        f"the graph was {finding['after']}, the baseline's {finding['before']}{why}: the two cannot be compared. "
        f"Where only torch's version changed, look at the new one and accept it"
    )


def likeness(finding: Mapping[str, Any]) -> Any:
    """Findings of equal likeness can be told together; None for those that are like no other."""
    kind = _kind(finding)
    if kind in ("replaced", "removed", "added"):
        return kind, finding["before"], finding["after"]
    if kind == "argument":
        return kind, _argument(finding), finding["before"], finding["after"]
    return None


def together(first: Mapping[str, Any], change: str, listed: str, count: int) -> str:
    """Many alike in one sentence; `listed` are their layers."""
    kind = _kind(first)
    if kind == "argument":
        return f"changed {count} times: {_argument(first)}: {change}: {listed}"
    return f"{kind} {count} times: {first['before'] or first['after'] if kind != 'replaced' else change}: {listed}"


def _kind(finding: Mapping[str, Any]) -> str:
    return str(finding["kind"]).removeprefix("also:").removeprefix(PREFIX)


def _argument(finding: Mapping[str, Any]) -> str:
    """`relu p` of `layer1.0/relu#2 p`: the operator and its argument, without where."""
    name, _, argument = finding["what"].rpartition(" ")
    return f"{name.rpartition('/')[2].partition('#')[0]} {argument}"
