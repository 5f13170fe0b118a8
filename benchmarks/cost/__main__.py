"""What a check costs, as ratios: to the passes that it needs, and to what people write by hand.

    pip install -e ".[benchmarks]"
    python -m benchmarks.cost [--threads 1] [--size 160] [--quick] [--markdown FILE] [model ...]

The tables in docs/performance.md are made by `python -m benchmarks.cost --markdown docs/performance.md`, which takes
half an hour. Each figure is printed as soon as it is known; goals stand in `benchmarks/cost/goals.py`.

A ratio is that of two medians. What is compared runs in turn in one process, some five to twenty rounds, so that a busy
machine slows both sides down. pytest-benchmark times one function a test, all rounds of it before the next test's, and
asv runs each benchmark in a process of its own. Both are made for comparing a function with its own past; in a ratio of
two of their figures is whatever else the machine did between them. Hence the small loop in `clock`. With one thread the
processor's time is taken, which other processes hardly change, with more threads the time of day.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

from benchmarks.cost.goals import GOALS
from benchmarks.cost.measure import Measurement
from benchmarks.cost.models import BUILDERS, is_known
from benchmarks.cost.tables import machine, put_into, tables

ROUNDS = {False: {"seconds": 10.0, "least": 5}, True: {"seconds": 1.0, "least": 2}}  # quick or not


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cost", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = ", ".join(BUILDERS)
    parser.add_argument("models", nargs="*", metavar="model", help=f"{names} (default), or a CNN of torchvision")
    parser.add_argument("--threads", type=int, action="append", help="may be given several times (default: 1 and 2)")
    parser.add_argument("--size", type=int, help="side of the image (default: 224), or number of tokens (128)")
    parser.add_argument("--quick", action="store_true", help="few rounds, which tell less")
    parser.add_argument("--markdown", type=Path, help="a page whose tables are replaced, or a new file")
    options = parser.parse_args()
    unknown = [name for name in options.models if not is_known(name)]
    if unknown:
        parser.error(f"no such model: {', '.join(unknown)}")
    warnings.simplefilter("ignore")
    head = machine()
    measured: dict[int, dict[str, dict[str, float]]] = {}
    for threads in options.threads or [1, 2]:
        measured[threads] = {}
        for name in options.models or BUILDERS:
            figures = measured[threads][name] = {}
            measurement = Measurement(name, options.size, threads, **ROUNDS[options.quick])
            for key, value in measurement.figures(whole=len(measured) == 1):
                figures[key] = value
                print(f"{name}, {threads} threads: {GOALS[key].title}: {value:.3g} {GOALS[key].unit}", flush=True)
            if options.markdown is not None:  # so far, in case it is interrupted
                put_into(options.markdown, f"{head}\n\n{tables(measured)}")
    print(f"\n{head}\n\n{tables(measured)}")


if __name__ == "__main__":
    main()
