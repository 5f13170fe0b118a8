"""How much faster two workers of pytest-xdist are than one process, on a suite of checks of real models.

    python benchmarks/workers.py [--workers 2] [--rounds 3] [--models 10] [--own-threads]

A project with 100 tests, one check each (ten networks of torchvision in two sizes, five views), is recorded and then
compared, in turn without workers and with them; the fastest of the rounds counts. `--own-threads` compares with workers
that each use all cores, as without the plugin's share. Cores that do other work as well spoil wall-clock time: the
processor time of each run is printed beside it.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from pytest_modelviz.probe.threads import available_cores

TEST = """
import functools
import os

import pytest
import torch
import torchvision
from pytest_modelviz import seed_weights

MODELS = (
    "resnet18", "resnet34", "mobilenet_v2", "mobilenet_v3_small", "squeezenet1_1", "shufflenet_v2_x1_0",
    "mnasnet1_0", "regnet_y_400mf", "efficientnet_b0", "googlenet",
)[: int(os.environ["MODELS"])]


@functools.cache
def load(name):
    options = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
    model = torchvision.models.get_model(name, weights=None, **options)
    seed_weights(model)
    return model.eval()


@pytest.fixture(params=MODELS)
def model(request):
    return load(request.param)


@pytest.fixture(params=(160, 224))
def image(request):
    size = request.param
    return torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0))


def test_summary(model, image, model_summary):
    model_summary(model, image)


def test_features(model, image, feature_maps):
    feature_maps(model, image)


def test_cam(model, image, cam_map):
    cam_map(model, image)


def test_kernels(model, image, kernel_maps):
    kernel_maps(model)


def test_saliency(model, image, saliency_map):
    saliency_map(model, image)
"""


class Run(NamedTuple):
    """Seconds of one run of pytest."""

    wall: float
    processor: float


def run(folder: Path, *options: str) -> Run:
    """Run the suite; raises SystemExit where not every check has passed."""
    command = [sys.executable, "-m", "pytest", "-x", "--tb=short", "-p", "no:cacheprovider", *options]
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return Run(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--models", type=int, default=10, help="only so many of the networks, for a quick look")
    parser.add_argument("--own-threads", action="store_true", help="also without the share of cores")
    given = parser.parse_args()
    os.environ.pop("OMP_NUM_THREADS", None)
    os.environ["MODELS"] = str(given.models)
    kinds = {"one process": ("-p", "no:xdist"), f"{given.workers} workers": (f"-n{given.workers}",)}
    if given.own_threads:
        kinds["each all cores"] = (f"-n{given.workers}", "-p", "all_cores")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "test_models.py").write_text(TEST)
        (folder / "pytest.ini").write_text("[pytest]\npythonpath = .\n")
        (folder / "all_cores.py").write_text(
            "from pytest_modelviz.probe import threads\nthreads.available_cores = lambda: 10**6\n"
        )
        run(folder, "--modelviz-update", f"-n{given.workers}")
        fastest: dict[str, Run] = {}
        for number in range(given.rounds):
            for kind, options in kinds.items():
                taken = run(folder, "--modelviz", *options)
                print(
                    f"round {number + 1}: {kind:15} {taken.wall:6.1f} s, processor {taken.processor:6.1f} s", flush=True
                )
                fastest[kind] = min(taken, fastest.get(kind, taken))
    alone, *others = fastest.items()
    print(f"\n{available_cores()} cores")
    for kind, taken in others:
        ratio, processor = alone[1].wall / taken.wall, alone[1].processor / taken.processor
        print(f"{kind}: {ratio:.2f} x as fast as {alone[0]}, {1 / processor:.2f} x its processor time")


if __name__ == "__main__":
    main()
