"""What `feature_maps` costs beside a bare forward pass: ratios of medians, measured in turn in one process.

    python benchmarks/overhead.py [model ...]

Also prints the size of the baseline without pictures. Absolute times depend on the machine; compare ratios only.
"""

from __future__ import annotations

import statistics
import sys
import time

import torch
import torchvision

from pytest_modelviz.storage.formats import encode_arrays, encode_json
from pytest_modelviz.views.base import measured
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView

ROUNDS = 15
MODELS = ("resnet50", "resnet18", "mobilenet_v3_small", "efficientnet_b0", "vit_b_16")


def seconds(action) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def measure(name: str) -> None:
    torch.manual_seed(0)
    model = torchvision.models.get_model(name, weights=None).eval()
    image = torch.rand(1, 3, 224, 224)
    view = FeatureMapsView(model, image)

    def bare() -> None:
        with torch.no_grad():
            model(image)

    bare(), view.capture()
    pairs = [(seconds(bare), seconds(view.capture)) for _ in range(ROUNDS)]
    ratio = statistics.median(watched / plain for plain, watched in pairs)
    capture = measured(view, view.capture())  # with noise and profiles, as it is recorded
    arrays = {key: value for key, value in capture.arrays.items() if not key.startswith(("picture.", "input"))}
    size = len(encode_arrays(arrays)) + len(encode_json(capture, nodeid="t", name="n", data_sha256="0" * 64))
    print(f"{name:20} {ratio:5.2f} x a bare pass   baseline {size / 1000:5.0f} KB without pictures", flush=True)


if __name__ == "__main__":
    for model_name in sys.argv[1:] or MODELS:
        measure(model_name)
