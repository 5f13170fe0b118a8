"""The figures as Markdown tables, and their place in a page."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path

import torch

from benchmarks.cost.goals import GROUPS, Goal

Measured = Mapping[str, Mapping[str, float]]  # by model and key

_BEGIN, _END = "<!-- tables of benchmarks.cost -->", "<!-- end of these tables -->"


def tables(measured: Mapping[int, Measured]) -> str:
    """All tables, by number of threads. A figure that misses its goal stands in bold."""
    texts = []
    for threads, figures in measured.items():
        texts.append(f"### {'One thread' if threads == 1 else f'{threads} threads'}")
        texts += [text for name, goals in GROUPS.items() if (text := _table(name, goals, figures))]
    return "\n\n".join(texts)


def _table(name: str, goals: tuple[Goal, ...], measured: Measured) -> str:
    """One group of figures, a column for each model; empty where nothing of it was measured."""
    rows = [goal for goal in goals if any(goal.key in figures for figures in measured.values())]
    if not rows:
        return ""
    lines = [f"| {name} | {' | '.join(measured)} | goal |", f"|---|{'---|' * len(measured)}---|"]
    for goal in rows:
        cells = [_cell(goal, model, figures) for model, figures in measured.items()]
        lines.append(f"| {goal.title}{_unit(goal)} | {' | '.join(cells)} | {goal.text()} |")
    return "\n".join(lines)


def _unit(goal: Goal) -> str:
    return "" if goal.unit in ("", "x") else f", {goal.unit}"


def _cell(goal: Goal, model: str, figures: Mapping[str, float]) -> str:
    value = figures.get(goal.key)
    if value is None:
        return "-"
    text = f"{value:.{goal.digits}f}"
    is_missed = goal.applies(model, figures.get("bare", 0.0) / 1e3) and not goal.is_met(round(value, goal.digits))
    return f"**{text}**" if is_missed else text


def machine() -> str:
    """On what was measured, and how busy it was."""
    load = f", load average {os.getloadavg()[0]:.1f} at the start" if hasattr(os, "getloadavg") else ""
    return (
        f"{_processor()}, {os.cpu_count()} cores; Python {platform.python_version()}, torch {torch.__version__} "
        f"({torch.backends.cpu.get_cpu_capability()}){load}."
    )


def _processor() -> str:
    """The processor's name; platform.processor() knows it on few systems."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def put_into(page: Path, text: str) -> None:
    """Replace the tables of a page, between two comments that stay; a page without them holds nothing else after."""
    marked = f"{_BEGIN}\n\n{text}\n\n{_END}"
    old = page.read_text("utf-8") if page.exists() else ""
    before, begin, rest = old.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    page.write_text(f"{before}{marked}{after}" if begin and end else f"{marked}\n", "utf-8")
