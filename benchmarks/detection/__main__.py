"""How many seeded faults each tool catches, names and explains rightly, and how often it cries wolf.

    pip install -e ".[benchmarks]"
    python -m benchmarks.detection [--only TITLE] [--precision NAME] [--table FILE] [model ...]

Each fault is put into a copy of a model whose clean recording is the baseline. Expected is the module whose own
weights, configuration or code were changed, and why. Benign changes must match. Prints every miss of this project's
and the tables; `--table` also writes them into a file. In another precision than float32 models and inputs are cast
after the fault was put in, and faults of which the cast leaves nothing are not counted.
"""

from __future__ import annotations

import argparse
import collections
import copy
import os
import subprocess
import sys
import tempfile
import textwrap
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pytest_modelviz.errors import ModelvizError

from .benign import PROCESSES, Benign, benign
from .faults import Fault, faults, gradient_faults
from .judges import JUDGES, CamMap, Judge, Judgement
from .models import BUILDERS, build
from .precision import PRECISIONS, Precision
from .tables import Counts, summary, tables


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m benchmarks.detection", description=__doc__)
    arguments.add_argument("models", nargs="*", help=f"of {', '.join(BUILDERS)}")
    arguments.add_argument("--only", help="a part of the title of the only tool to run")
    arguments.add_argument(
        "--precision", action="append", choices=PRECISIONS, help="may be given several times (default: float32)"
    )
    arguments.add_argument("--table", type=Path, help="a file for the tables")
    arguments.add_argument("--record", type=Path, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    warnings.simplefilter("ignore")
    names = options.models or list(BUILDERS)
    judges = [judge for judge in JUDGES if options.only is None or options.only in judge.title]
    precisions = [PRECISIONS[name] for name in dict.fromkeys(options.precision or ["float32"])]
    if options.record is not None:  # in a process of its own
        _record(options.record, names, judges, precisions[0])
        return
    counts: dict[str, Counts] = {}
    texts = []
    for precision in precisions:
        counts[precision.name] = collections.Counter()
        with tempfile.TemporaryDirectory() as folder:
            runnable = [name for name in names if _is_runnable(name, precision)]
            for name in runnable:
                started = time.monotonic()
                _one_model(name, precision, judges, Path(folder) / "here", counts[precision.name])
                print(f"{name} in {precision.name}: {time.monotonic() - started:.0f} s", flush=True)
            _processes(runnable, precision, judges, Path(folder), counts[precision.name])
        texts.append(tables(precision.name, counts[precision.name], judges, len(runnable)))
    if len(precisions) > 1:
        texts.append(summary(counts, judges))
    text = "\n\n".join(texts)
    print(text)
    if options.table is not None:
        options.table.write_text(text + "\n")


def _is_runnable(name: str, precision: Precision) -> bool:
    model, data = build(name)
    reason = precision.failure(precision.cast(model), precision.cast_input(data))
    if reason is not None:
        print(f"{name} in {precision.name}: left out, this CPU cannot run it: {reason}", flush=True)
    return reason is None


def _one_model(name: str, precision: Precision, judges: list[Judge], folder: Path, counts: Counts) -> None:
    model, data = build(name)
    cast, cast_data = precision.cast(copy.deepcopy(model)), precision.cast_input(data)
    places = {judge.title: folder / name / str(index) for index, judge in enumerate(judges)}
    for judge in judges:
        places[judge.title].mkdir(parents=True)
        with precision.around():
            judge.record(places[judge.title], cast, cast_data)
    for fault in faults(model, data):
        faulty = _put_in(fault, name, precision, model, data, counts)
        for judge in judges if faulty is not None else ():
            with precision.around():
                got = judge.judge(places[judge.title], *faulty)
            _count(counts, judge, f"{name} in {precision.name}", fault, got, _holders(model, fault))
    for one in benign(name, model, data, precision):
        for judge in judges:
            _judge_benign(judge, places[judge.title], one, precision, f"{name} in {precision.name}", counts)
    _gradients(name, precision, judges, folder, counts)


def _gradients(name: str, precision: Precision, judges: list[Judge], folder: Path, counts: Counts) -> None:
    """`cam_map` and, on the same faults, the other tools."""
    model, data = build(name)
    cast, cast_data = precision.cast(copy.deepcopy(model)), precision.cast_input(data)
    label = f"{name} in {precision.name}"
    cam = CamMap()
    try:
        with precision.around():
            cam.record(folder / name / "cam", cast, cast_data)
            layer = cam._views(cast, cast_data)[0].capture().facts["layer"]
    except ModelvizError as error:  # no map without a spatial layer
        print(f"{label}: no cam_map: {textwrap.shorten(str(error), 80)}", flush=True)
        return
    for fault in gradient_faults(model, data, layer):
        faulty = _put_in(fault, name, precision, model, data, counts)
        if faulty is None:
            continue
        with precision.around():
            _count(counts, cam, label, fault, cam.judge(folder / name / "cam", *faulty), {None})
            for index, judge in enumerate(judges):
                if judge.title != cam.title:
                    got = judge.judge(folder / name / str(index), *faulty)
                    _count(counts, judge, label, fault, got, {None})
    for one in benign(name, model, data, precision):
        _judge_benign(cam, folder / name / "cam", one, precision, f"{label}, cam_map", counts)


def _put_in(
    fault: Fault, name: str, precision: Precision, model: nn.Module, data: Any, counts: Counts
) -> tuple[nn.Module, Any] | None:
    """A copy with the fault, cast; None where it does nothing, is gone after the cast or cannot be run."""
    other = copy.deepcopy(model)
    changed = fault.change(other, copy.deepcopy(data))
    changed = data if changed is None else changed
    if fault.kind != "gradient" and not _does_anything(model, data, other, changed):
        return None
    faulty = precision.cast(other), precision.cast_input(changed)
    clean = precision.cast(copy.deepcopy(model)), precision.cast_input(data)
    if not precision.is_left(fault, clean, faulty):
        counts["", "gone", fault.kind] += 1
        return None
    reason = precision.failure(*faulty)
    if reason is not None:
        print(f"{name} in {precision.name}: {fault.what} left out, this CPU cannot run it: {reason}", flush=True)
        return None
    return faulty


def _judge_benign(judge: Judge, place: Path, one: Benign, precision: Precision, label: str, counts: Counts) -> None:
    try:
        with precision.around(), one.around():
            got = judge.judge(place, one.model, one.data)
    except Exception:
        with one.around():
            reason = precision.failure(one.model, one.data)
        if reason is None:
            raise
        print(f"{label}: {one.what} left out, this CPU cannot run it: {reason}", flush=True)
        return
    _count_benign(counts, judge, label, one.what, got)


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
    counts[judge.title, "all three", fault.kind] += right and explained
    if judge.gives_causes and not (right and explained):
        print(f"{name}: {fault.what} at {fault.layer or '(model)'} ({fault.cause}) was judged {got}", flush=True)


def _count_benign(counts: Counts, judge: Judge, name: str, what: str, got: Judgement) -> None:
    counts[judge.title, "benign", ""] += 1
    counts[judge.title, "alarms", ""] += got.caught
    if judge.gives_causes and got.caught:
        print(f"{name}: {judge.title}: false alarm on {what}: {got}", flush=True)


def _record(folder: Path, names: list[str], judges: list[Judge], precision: Precision) -> None:
    for name in names:
        model, data = build(name)
        model, data = precision.cast(model), precision.cast_input(data)
        for index, judge in enumerate(judges):
            place = folder / name / str(index)
            place.mkdir(parents=True)
            if judge.from_disk:
                with precision.around():
                    judge.record(place, model, data)


def _processes(names: list[str], precision: Precision, judges: list[Judge], folder: Path, counts: Counts) -> None:
    """Recorded in another process, under another environment; compared here."""
    for index, (what, environment) in enumerate(PROCESSES.items() if names else ()):
        place = folder / str(index)
        command = [sys.executable, "-m", "benchmarks.detection", "--record", str(place), *names]
        command += ["--precision", precision.name]
        if len(judges) == 1:
            command += ["--only", judges[0].title]
        subprocess.run(command, check=True, env={**os.environ, **environment})  # our own
        for name in names:
            model, data = build(name)
            model, data = precision.cast(model), precision.cast_input(data)
            for number, judge in enumerate(judges):
                if judge.from_disk:
                    with precision.around():
                        got = judge.judge(place / name / str(number), model, data)
                    _count_benign(counts, judge, f"{name} in {precision.name}", what, got)


if __name__ == "__main__":
    main()
