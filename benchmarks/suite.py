"""What the plugin itself takes of a suite of many small checks, beside the passes of the model.

    python benchmarks/suite.py [CHECKS]

A project with one small network and CHECKS parametrised tests (default 2,000) is run as users run it: not compared,
recorded, compared while all matches, and with one weight changed so that all drift. Processor time of each run, less
that of the run which only captures, a check: it hardly depends on what else the machine does. The wall-clock time of a
run is told beside it.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TEST = """
import os

import pytest
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.act = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()

    def forward(self, x):
        return x + self.act(self.norm(self.conv(x)))


torch.manual_seed(0)
MODEL = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), Block(), Block(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
IMAGE = torch.rand(1, 3, 16, 16)
if os.environ.get("DRIFT"):
    with torch.no_grad():
        MODEL[1].conv.weight.mul_(1.1)


@pytest.mark.parametrize("number", range(int(os.environ["CHECKS"])))
def test_net(number, feature_maps):
    feature_maps(MODEL, IMAGE)
"""
FEW = 20


def seconds(folder: Path, checks: int, *options: str, **environment: str) -> tuple[float, float]:
    """Processor and wall-clock time of one run, in seconds."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=no", *options]
    around = {**os.environ, "OMP_NUM_THREADS": "1", "CHECKS": str(checks), **environment}
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, cwd=folder, env=around, stdout=subprocess.DEVNULL, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, time.perf_counter() - started


def main(checks: int = 2000) -> None:
    runs = {
        "captured only": ((), {}),
        "recorded": (("--modelviz-update",), {}),
        "matching": (("--modelviz",), {}),
        "drifting": (("--modelviz",), {"DRIFT": "1"}),
    }
    found: dict[str, tuple[float, float]] = {}
    for name, (options, environment) in runs.items():
        times = []
        for count in (FEW, checks):  # the start of a run counts for nothing
            with tempfile.TemporaryDirectory() as folder:
                Path(folder, "test_many.py").write_text(TEST)
                Path(folder, "pytest.ini").write_text("[pytest]\n")
                if name in ("matching", "drifting"):
                    seconds(Path(folder), count, "--modelviz-update")
                times.append(seconds(Path(folder), count, *options, **environment))
        found[name] = (times[1][0] - times[0][0]) / (checks - FEW), times[1][1]
    alone = found["captured only"][0]
    print(f"{'run':16} {'CPU ms a check':>16} {'beside the capture':>20} {'whole run':>10}")
    for name, (each, whole) in found.items():
        print(f"{name:16} {1e3 * each:16.1f} {1e3 * (each - alone):20.1f} {whole:8.0f} s")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
