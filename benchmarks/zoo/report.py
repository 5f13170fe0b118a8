"""What was found in the zoo, as a page of the documentation."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any

Found = dict[str, Any]
MOST_ALLOWED, TIMES_NOISE = 1e-4, 2.5  # of float32: see docs/guide.md#tolerances


def verdict(found: Found) -> str:
    """`works`, or the reason why a model does not."""
    if "reason" in found["record"]:
        return f"not recorded: {found['record']['reason']}"
    compared = found["compare"]
    if "reason" in compared:
        return f"not compared: {compared['reason']}"
    if compared["same"]["caught"]:
        return f"does not match: {_said(compared['same'])}{_amplified(compared['noise'])}"
    fault = compared["fault"]
    if fault is None:
        return "no fault changes a result of it"
    expected = f"{fault['what']} in {_layer(fault['layers'][0])}"
    if not compared["faulty"]["caught"]:
        return f"missed: {expected}"
    return "works" if compared["named"] else f"named otherwise: {expected} is {_said(compared['faulty'])}"


def _said(judgement: Found) -> str:
    return f"{judgement['cause']} of {_layer(judgement['layer'])}, error {judgement['detail']}"


def _amplified(noise: float) -> str:
    """That rounding is amplified beyond what any layer is allowed, if it is."""
    return f" (rounding alone takes it {noise:.1g} far)" if noise * TIMES_NOISE > MOST_ALLOWED else ""


def _layer(name: str | None) -> str:
    return "no layer" if name is None else f"`{name}`" if name else "the model"


def page(results: Sequence[Found]) -> str:
    """The tables: each library, each kind of fault; and what does not work, with the reason."""
    libraries = dict.fromkeys(found["model"].partition("/")[0] for found in results)
    rows = [
        (library, [found for found in results if found["model"].startswith(f"{library}/")]) for library in libraries
    ]
    lines = [
        "| | models | recorded | matched | faults caught | named | minutes | baselines | median |",
        "|---|---|---|---|---|---|---|---|---|",
        *(_row(name, own) for name, own in [*rows, ("all", list(results))]),
        "",
        "| kind of fault | put in | caught | named |",
        "|---|---|---|---|",
        *_kinds(results),
    ]
    others = [f"- {found['model']}: {verdict(found)}" for found in results if verdict(found) != "works"]
    return "\n".join([*lines, "", *(others or ["All of them work."])]) + "\n"


def _row(name: str, results: list[Found]) -> str:
    recorded = [found for found in results if "reason" not in found["record"]]
    compared = [found["compare"] for found in recorded if "reason" not in found["compare"]]
    matched = [found for found in compared if not found["same"]["caught"]]
    faulty = _faulty(results)
    caught = sum(found["faulty"]["caught"] for found in faulty)
    named = sum(found["named"] for found in faulty)
    sizes = [found["record"]["bytes"] for found in recorded]
    steps = [found[step] for found in results for step in ("record", "compare")]
    minutes = sum(step.get("processor_seconds", 0.0) for step in steps) / 60
    return (
        f"| {name} | {len(results)} | {len(recorded)} | {len(matched)} | {caught} of {len(faulty)} "
        f"| {named} of {len(faulty)} | {minutes:.0f} | {sum(sizes) / 1e6:.1f} MB "
        f"| {statistics.median(sizes or [0]) / 1e3:.0f} KB |"
    )


def _kinds(results: Sequence[Found]) -> list[str]:
    faulty = _faulty(results)
    put_in = Counter(found["fault"]["kind"] for found in faulty)
    caught = Counter(found["fault"]["kind"] for found in faulty if found["faulty"]["caught"])
    named = Counter(found["fault"]["kind"] for found in faulty if found["named"])
    return [f"| {kind} | {put_in[kind]} | {caught[kind]} | {named[kind]} |" for kind in sorted(put_in)]


def _faulty(results: Sequence[Found]) -> list[Found]:
    """The comparisons with a fault of models that match without it: others drift anyway."""
    compared = [found["compare"] for found in results if found["compare"].get("fault")]
    return [found for found in compared if not found["same"]["caught"]]
