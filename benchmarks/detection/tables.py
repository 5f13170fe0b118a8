"""The tables of results."""

from __future__ import annotations

import collections
from collections.abc import Mapping, Sequence

from .judges import Judge

Counts = collections.Counter[tuple[str, str, str]]  # by the tool's title, what was counted and the kind of fault


def tables(precision: str, counts: Counts, judges: Sequence[Judge], models: int) -> str:
    """All faults of one precision by tool, and by kind."""
    kinds = _kinds(counts)
    gone = sum(counts["", "gone", kind] for kind in kinds)
    lines = [
        f"{models} models in {precision}" + (f" ({gone} faults of which the cast left nothing)" if gone else ""),
        "",
        "| tool | caught | layer named | cause given | false alarms |",
        "|---|---|---|---|---|",
    ]
    lines += [f"| {judge.title} | {' | '.join(_cells(counts, judge, kinds))} |" for judge in judges]
    lines += ["", f"| caught (named), by kind | {' | '.join(kinds)} |", f"|---|{'---|' * len(kinds)}"]
    for judge in judges:
        cells = []
        for kind in kinds:
            count, caught, named = (counts[judge.title, what, kind] for what in ("faults", "caught", "named"))
            cells.append(f"{caught} ({named}) of {count}" if count else "-")
        lines.append(f"| {judge.title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def summary(counts: Mapping[str, Counts], judges: Sequence[Judge]) -> str:
    """All precisions: faults that show in the forward pass, and beside them those of the gradient."""
    lines = [
        "| tool | precision | caught | layer named | cause given | all three | of gradients | false alarms |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for judge in judges:
        for precision, own in counts.items():
            kinds = [kind for kind in _kinds(own) if kind != "gradient"]
            *cells, alarms = _cells(own, judge, kinds)
            total, all_three = (sum(own[judge.title, what, kind] for kind in kinds) for what in ("faults", "all three"))
            cells.append(f"{all_three} of {total} ({all_three / total:.1%})" if judge.gives_causes and total else "-")
            cells.append(f"{own[judge.title, 'caught', 'gradient']} of {own[judge.title, 'faults', 'gradient']}")
            lines.append(f"| {judge.title} | {precision} | {' | '.join([*cells, alarms])} |")
    return "\n".join(lines)


def _kinds(counts: Counts) -> list[str]:
    return list(dict.fromkeys(kind for _, what, kind in counts if what == "faults"))


def _cells(counts: Counts, judge: Judge, kinds: Sequence[str]) -> list[str]:
    total = {w: sum(counts[judge.title, w, kind] for kind in kinds) for w in ("faults", "caught", "named", "explained")}
    alarms, calm = counts[judge.title, "alarms", ""], counts[judge.title, "benign", ""]
    return [
        f"{total['caught']} of {total['faults']}",
        f"{total['named']} of {total['faults']}" if judge.names_layers else "names none",
        f"{total['explained']} of {total['faults']}" if judge.gives_causes else "gives none",
        f"{alarms} of {calm}",
    ]
