"""Large models: how captures and baselines grow with the modules, a decoder of 70 billion, weights of a mapped file.

    python -m benchmarks.large [growth] [decoder] [mapped]

Each part prints a table; without arguments all are made.

- growth: processor time and bytes of a baseline for each module of chains of 250, 1,000 and 4,000 modules. Of JSON also
  what is left of it compressed, as git stores it; of the arrays what is not sketches, and that without the profiles,
  which are for people.
- decoder: `model_summary` of a decoder on the meta device: seconds, the memory that it adds, and counts.
- mapped: by how much the anonymous memory of the process grows where the weights are those of a mapped file (1 GiB).
  Linux alone tells.
"""

from __future__ import annotations

import argparse
import gc
import re
import tempfile
import threading
import time
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from pytest_modelviz.records.capture import Capture
from pytest_modelviz.storage.formats import encode_arrays, encode_json
from pytest_modelviz.views.base import measured
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView
from pytest_modelviz.views.kernel_maps.capture import KernelMapsView
from pytest_modelviz.views.model_summary.capture import ModelSummaryView

ROUNDS = 3
MODULES = (250, 1000, 4000)
TOKENS = 32


class Block(nn.Module):
    """Five modules, itself included."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.norm, self.act = nn.LayerNorm(width), nn.GELU()
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.down(self.act(self.up(self.norm(x))))


def chain(modules: int) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    return nn.Sequential(*(Block() for _ in range(modules // 5))).eval(), torch.rand(1, 16, 32)


def seconds(action: Callable[[], object]) -> float:
    """The least processor time of some rounds."""
    times = []
    for _ in range(ROUNDS):
        start = time.thread_time()
        action()
        times.append(time.thread_time() - start)
    return min(times)


def sizes(capture: Capture) -> tuple[int, int, int, int]:
    """Bytes: JSON, compressed JSON, arrays without sketches, and these without profiles."""
    text = encode_json(capture, nodeid="t", name="n", data_sha256="0" * 64)
    kept = {key: array for key, array in capture.arrays.items() if not key.endswith((".sketches", ".wide"))}
    bare = {key: array for key, array in kept.items() if not key.startswith(("profiles.", "picture.", "input"))}
    arrays = [len(encode_arrays(group) or b"") for group in (kept, bare)]
    return len(text), len(zlib.compress(text, 9)), arrays[0], arrays[1]


def growth() -> None:
    print(f"{'':26}{'CPU':>12}{'JSON':>10}{'compressed':>12}{'arrays':>10}{'compared':>10}   (us and bytes a module)")
    for modules in MODULES:
        model, data = chain(modules)
        for view in (ModelSummaryView(model, input_data=data), FeatureMapsView(model, data)):
            view.capture()
            each = 1e6 * seconds(view.capture) / modules
            cells = [size / modules for size in sizes(measured(view, view.capture()))]
            columns = "".join(f"{cell:{width}.1f}" for cell, width in zip(cells, (10, 12, 10, 10), strict=True))
            print(f"{view.view:15}{modules:6} modules{each:9.0f} us{columns}", flush=True)


def decoder() -> None:
    import transformers

    layers, hidden, heads, kv_heads, intermediate, vocab = 80, 8192, 64, 8, 28672, 128256
    config = transformers.LlamaConfig(
        num_hidden_layers=layers,
        hidden_size=hidden,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        intermediate_size=intermediate,
        vocab_size=vocab,
    )
    with torch.device("meta"):
        model = transformers.LlamaForCausalLM(config).eval()
    head = hidden // heads
    products = layers * (2 * hidden**2 + 2 * hidden * kv_heads * head + 3 * hidden * intermediate) + hidden * vocab
    parameters = products + (2 * layers + 1) * hidden + hidden * vocab
    mult_adds = TOKENS * products + layers * 2 * heads * TOKENS**2 * head
    view = ModelSummaryView(model, input_data={"input_ids": torch.zeros(1, TOKENS, dtype=torch.int64)})
    with Growth() as memory:
        start = time.perf_counter()
        capture = view.capture()
        elapsed = time.perf_counter() - start
    result = capture.result
    text, compressed, *_ = sizes(capture)
    modules = len(result.layers)
    print(f"{modules} modules on the meta device, {TOKENS} tokens: {elapsed:.1f} s, {memory.mebibytes:.0f} MiB")
    print(f"parameters {result.total_params:,} (by hand {parameters:,})")
    print(f"multiply-adds {result.mult_adds:,} (by hand {mult_adds:,})")
    print(f"baseline {text / modules:.0f} bytes a module, {compressed / modules:.1f} compressed", flush=True)


class Growth:
    """The most MiB by which a block's anonymous memory grows."""

    def __enter__(self) -> Growth:
        gc.collect()
        self._before = self._most = _anonymous()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._done.wait(0.002):
            self._most = max(self._most, _anonymous())

    def __exit__(self, *raised: object) -> None:
        self._done.set()
        self._thread.join()
        self.mebibytes = self._most - self._before


def _anonymous() -> float:
    found = re.search(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text("utf-8"))
    return int(found[1]) / 1024 if found else 0.0


def mapped() -> None:
    from safetensors.torch import load_file, save_file

    def build() -> nn.Module:
        return nn.ModuleDict(
            {
                "linear": nn.Sequential(*(nn.Linear(5793, 5793, bias=False) for _ in range(4))),  # 512 MiB
                "conv": nn.Sequential(*(nn.Conv2d(512, 512, 8, bias=False) for _ in range(8))),  # 512 MiB
            }
        ).eval()

    with tempfile.TemporaryDirectory() as folder:
        save_file({name: tensor.contiguous() for name, tensor in build().state_dict().items()}, f"{folder}/weights")
        with torch.device("meta"):
            model = build()
        model.load_state_dict(load_file(f"{folder}/weights"), assign=True)
        linear, data = model["linear"], torch.rand(1, 5793)
        maps = FeatureMapsView(linear, data)
        for view in (FeatureMapsView(*chain(5)), KernelMapsView(nn.Conv2d(3, 4, 3))):  # what all captures need
            measured(view, view.capture())
        actions: dict[str, Callable[[], object]] = {
            "model_summary": ModelSummaryView(linear, input_data=data).capture,
            "feature_maps": maps.capture,
            "feature_maps, recorded": lambda: measured(maps, maps.capture()),
            "kernel_maps": KernelMapsView(model["conv"]).capture,
        }
        for name, action in actions.items():
            with Growth() as memory:
                start = time.perf_counter()
                action()
                elapsed = time.perf_counter() - start
            print(
                f"{name:24} 512 MiB of weights: {memory.mebibytes:5.0f} MiB more memory, {elapsed:5.1f} s", flush=True
            )


PARTS = {"growth": growth, "decoder": decoder, "mapped": mapped}


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m benchmarks.large", description=__doc__)
    arguments.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}")
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for part in arguments.parse_args().parts or PARTS:
        PARTS[part]()
        print()


if __name__ == "__main__":
    main()
