"""How many seeded faults each tool catches, names and explains rightly, and how often it cries wolf.

    pip install -e ".[benchmarks]"
    python -m benchmarks.detection [--only TITLE] [--table FILE] [model ...]

Each fault is put into a copy of a model whose clean recording is the baseline. Expected is the module whose own
weights, configuration or code were changed, and why. Benign changes must match. Prints every miss of this project's
and the tables; `--table` also writes them into a file.
"""

from __future__ import annotations

import argparse
import collections
import copy
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import torch

from pytest_modelviz.errors import ModelvizError

from .benign import PROCESSES, benign
from .faults import Fault, faults, gradient_faults
from .judges import JUDGES, CamMap, Judge, Judgement
from .models import BUILDERS, build

Counts = collections.Counter[tuple[str, str, str]]


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m benchmarks.detection", description=__doc__)
    arguments.add_argument("models", nargs="*", help=f"of {', '.join(BUILDERS)}")
    arguments.add_argument("--only", help="a part of the title of the only tool to run")
    arguments.add_argument("--table", type=Path, help="a file for the tables")
    arguments.add_argument("--record", type=Path, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    warnings.simplefilter("ignore")
    names = options.models or list(BUILDERS)
    judges = [judge for judge in JUDGES if options.only is None or options.only in judge.title]
    if options.record is not None:  # in a process of its own
        _record(options.record, names, judges)
        return
    counts: Counts = collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            started = time.monotonic()
            _one_model(name, judges, Path(folder) / "here", counts)
            print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)
        _processes(names, judges, Path(folder), counts)
    text = _tables(counts, judges, len(names))
    print(text)
    if options.table is not None:
        options.table.write_text(text + "\n")


def _one_model(name: str, judges: list[Judge], folder: Path, counts: Counts) -> None:
    model, data = build(name)
    places = {judge.title: folder / name / str(index) for index, judge in enumerate(judges)}
    for judge in judges:
        places[judge.title].mkdir(parents=True)
        judge.record(places[judge.title], model, data)
    for fault in faults(model, data):
        other = copy.deepcopy(model)
        changed = fault.change(other, copy.deepcopy(data))
        if not _does_anything(model, data, other, data if changed is None else changed):
            continue
        for judge in judges:
            got = judge.judge(places[judge.title], other, data if changed is None else changed)
            _count(counts, judge, name, fault, got, _holders(model, fault))
    for one in benign(name, model, data):
        for judge in judges:
            with one.around():
                got = judge.judge(places[judge.title], one.model, one.data)
            _count_benign(counts, judge, name, one.what, got)
        model.eval()
    cam = CamMap()
    try:
        cam.record(folder / name / "cam", model, data)
    except ModelvizError:
        return  # no map without a spatial layer
    layer = cam._views(model, data)[0].capture().facts["layer"]
    for fault in gradient_faults(model, data, layer):
        other = copy.deepcopy(model)
        fault.change(other, data)
        _count(counts, cam, name, fault, cam.judge(folder / name / "cam", other, data), {None})
        for judge in judges:
            if judge.title != cam.title:
                _count(counts, judge, name, fault, judge.judge(places[judge.title], other, data), {None})
    for one in benign(name, model, data):
        with one.around():
            _count_benign(counts, cam, name, one.what, cam.judge(folder / name / "cam", one.model, one.data))
        model.eval()


def _holders(model: Any, fault: Fault) -> set[str | None]:
    """The layer to name; where it shares its weight with another, either."""
    if fault.layer is None or fault.cause != "weights":
        return {fault.layer}
    own = {id(parameter) for parameter in model.get_submodule(fault.layer).parameters(recurse=False)}
    shared = {name for name, m in model.named_modules() if own & {id(p) for p in m.parameters(recurse=False)}}
    return {fault.layer, *shared}


def _does_anything(model: Any, data: Any, other: Any, changed: Any) -> bool:
    """A fault that changes no number and no configuration is none: a ReLU after a ReLU, a bias of zero negated."""

    def run(one: Any, given: Any) -> Any:
        with torch.no_grad():
            output = one(**given) if isinstance(given, dict) else one(given)
        output = getattr(output, "logits", output)
        return output["out"] if isinstance(output, dict) else output

    before, after = run(model, data), run(other, changed)
    return before.shape != after.shape or not torch.equal(before, after)


def _count(counts: Counts, judge: Judge, name: str, fault: Fault, got: Judgement, names: set[str | None]) -> None:
    right = got.caught and got.layer in names
    explained = got.caught and got.cause == fault.cause
    for what, value in (("faults", True), ("caught", got.caught), ("named", right), ("explained", explained)):
        counts[judge.title, what, fault.kind] += value
    if judge.gives_causes and not (right and explained):
        print(f"{name}: {fault.what} at {fault.layer or '(model)'} ({fault.cause}) was judged {got}", flush=True)


def _count_benign(counts: Counts, judge: Judge, name: str, what: str, got: Judgement) -> None:
    counts[judge.title, "benign", ""] += 1
    counts[judge.title, "alarms", ""] += got.caught
    if judge.gives_causes and got.caught:
        print(f"{name}: {judge.title}: false alarm on {what}: {got}", flush=True)


def _record(folder: Path, names: list[str], judges: list[Judge]) -> None:
    for name in names:
        model, data = build(name)
        for index, judge in enumerate(judges):
            place = folder / name / str(index)
            place.mkdir(parents=True)
            if judge.from_disk:
                judge.record(place, model, data)


def _processes(names: list[str], judges: list[Judge], folder: Path, counts: Counts) -> None:
    """Recorded in another process, under another environment; compared here."""
    for index, (what, environment) in enumerate(PROCESSES.items()):
        place = folder / str(index)
        command = [sys.executable, "-m", "benchmarks.detection", "--record", str(place), *names]
        if len(judges) == 1:
            command += ["--only", judges[0].title]
        subprocess.run(command, check=True, env={**os.environ, **environment})  # our own
        for name in names:
            model, data = build(name)
            for number, judge in enumerate(judges):
                if judge.from_disk:
                    got = judge.judge(place / name / str(number), model, data)
                    _count_benign(counts, judge, name, what, got)


def _tables(counts: Counts, judges: list[Judge], models: int) -> str:
    kinds = list(dict.fromkeys(kind for _, what, kind in counts if what == "faults"))
    lines = [
        f"{models} models",
        "",
        "| tool | caught | layer named | cause given | false alarms |",
        "|---|---|---|---|---|",
    ]
    for judge in judges:
        total = {
            w: sum(counts[judge.title, w, kind] for kind in kinds) for w in ("faults", "caught", "named", "explained")
        }
        alarms, calm = counts[judge.title, "alarms", ""], counts[judge.title, "benign", ""]
        cells = [
            f"{total['caught']} of {total['faults']}",
            f"{total['named']} of {total['faults']}" if judge.names_layers else "names none",
            f"{total['explained']} of {total['faults']}" if judge.gives_causes else "gives none",
            f"{alarms} of {calm}",
        ]
        lines.append(f"| {judge.title} | {' | '.join(cells)} |")
    lines += ["", f"| caught (named), by kind | {' | '.join(kinds)} |", f"|---|{'---|' * len(kinds)}"]
    for judge in judges:
        cells = []
        for kind in kinds:
            count, caught, named = (counts[judge.title, what, kind] for what in ("faults", "caught", "named"))
            cells.append(f"{caught} ({named}) of {count}" if count else "-")
        lines.append(f"| {judge.title} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
