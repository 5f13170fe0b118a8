"""Every model of the zoo: recorded, compared in another process without vector instructions, and with a fault.

    python -m benchmarks.zoo [--results FILE] [--seconds N] [--page FILE] [library or model ...]

Models are built with `seed_weights` and small inputs. `feature_maps` and `model_summary` are recorded, and compared in
another process that has neither AVX nor oneDNN's instruction sets above SSE4.1: they must match. Then one fault is put
in, and must be caught, its layer named and its cause given. Results are kept in a file after each model, and the next
run goes on from there. `--page` writes the tables of docs/zoo.md from that file, and lists what does not work.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.zoo.report import page, verdict
from benchmarks.zoo.worker import Worker

ELSEWHERE = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"}


def examine(name: str, recording: Worker, comparing: Worker, seconds: float) -> dict[str, Any]:
    """Record a model, compare it elsewhere, and compare it with a fault."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        found: dict[str, Any] = {"model": name, "record": recording.ask("record", name, Path(folder), seconds)}
        found["compare"] = {}
        if "reason" not in found["record"]:
            found["compare"] = comparing.ask("compare", name, Path(folder), seconds)
    return {**found, "seconds": time.perf_counter() - started}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.zoo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="*", help="libraries or models (default: all)")
    parser.add_argument("--results", type=Path, default=Path(".modelviz-zoo.jsonl"))
    parser.add_argument("--seconds", type=float, default=900, help="for each step of a model")
    parser.add_argument("--page", type=Path, help="a page whose tables are replaced by those of the results")
    options = parser.parse_args()
    from benchmarks.zoo.models import BUILDERS

    chosen = [name for name in BUILDERS if not options.models or {name, name.partition("/")[0]} & {*options.models}]
    lines = options.results.read_text().splitlines() if options.results.exists() else []
    known = {found["model"]: found for found in map(json.loads, lines)}
    recording, comparing, library = Worker({}), Worker(ELSEWHERE), ""
    try:
        for name in chosen:
            if name in known:
                continue
            if name.partition("/")[0] != library:  # what one library leaves in memory is not the next one's
                recording.stop()
                comparing.stop()
                library = name.partition("/")[0]
            known[name] = examine(name, recording, comparing, options.seconds)
            with options.results.open("a") as file:
                file.write(json.dumps(known[name]) + "\n")
            print(f"{name}: {verdict(known[name])} ({known[name]['seconds']:.0f} s)", flush=True)
    finally:
        recording.stop()
        comparing.stop()
    tables = page([known[name] for name in chosen])
    print(tables)
    if options.page is not None:
        _replace_tables(options.page, tables)


MARK = "<!-- tables: python -m benchmarks.zoo --page docs/zoo.md -->\n"


def _replace_tables(path: Path, tables: str) -> None:
    """Put tables below the mark of a page."""
    head = path.read_text().partition(MARK)[0]
    path.write_text(head + MARK + "\n" + tables)


if __name__ == "__main__":
    main()
