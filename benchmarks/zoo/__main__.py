"""Every model of the zoo: recorded, compared in another process without vector instructions, and with a fault.

    python -m benchmarks.zoo [--results FILE] [--seconds N] [torchvision | timm | transformers | model ...]

Models are built with `seed_weights` and small inputs. Of each the report says whether `feature_maps` and
`model_summary` match in another process that has neither AVX nor oneDNN's instruction sets above SSE4.1, whether the
weights of one layer in the middle, times 1.05, are caught and named, how large the baseline is, and how long it took.
A model that does not work is listed with the reason. `--results` keeps what was found, and goes on from there.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

ELSEWHERE = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"}
FACTOR = 1.05


def record(name: str, folder: Path) -> dict[str, Any]:
    import torch

    from benchmarks.detection.judges import Views
    from benchmarks.zoo.models import build

    model, data = build(name)
    for _ in range(2):
        start = time.perf_counter()
        with torch.no_grad():
            model(**data) if isinstance(data, dict) else model(*data) if isinstance(data, tuple) else model(data)
        bare = time.perf_counter() - start
    start = time.perf_counter()
    Views().record(folder, model, data)
    seconds = time.perf_counter() - start
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return {"bare": bare, "seconds": seconds, "bytes": size, "parameters": _count(model)}


def compare(name: str, folder: Path) -> dict[str, Any]:
    from benchmarks.detection.judges import Views
    from benchmarks.zoo.models import build

    start = time.perf_counter()
    model, data = build(name)
    same = Views().judge(folder, model, data)
    layer = break_one(model, data)
    seconds = time.perf_counter() - start
    if layer is None:
        return {"false_alarm": same.caught, "same": str(same), "fault": None, "seconds": seconds}
    broken = Views().judge(folder, model, data)
    seconds = time.perf_counter() - start
    named = broken.layer == layer and broken.cause == "weights"
    return {
        "false_alarm": same.caught, "same": str(same), "fault": layer, "caught": broken.caught, "named": named,
        "broken": str(broken), "seconds": seconds,
    }  # fmt: skip


def break_one(model: Any, data: Any) -> str | None:
    """Multiply the weights of a layer in the middle of the pass; returns its name, None where no layer has any."""
    import torch

    from pytest_modelviz.views.feature_maps.capture import FeatureMapsView

    modules = dict(model.named_modules())
    called = dict.fromkeys(call.layer for call in FeatureMapsView(model, data).capture().result.trace.calls)
    ways = {name: way for name in called if (way := _way_to_scale(modules[name])) is not None}
    if not ways:
        return None
    layer = list(ways)[len(ways) // 2]
    with torch.no_grad():
        ways[layer]()
    return layer


def _way_to_scale(module: Any) -> Callable[[], object] | None:
    import torch

    weight = getattr(module, "weight", None)
    if isinstance(weight, torch.Tensor) and weight.dim() > 1 and weight.is_floating_point():
        return lambda: weight.mul_(FACTOR)
    if callable(weight) and hasattr(module, "set_weight_bias"):  # quantised
        return lambda: module.set_weight_bias(_rescaled(weight()), module.bias())
    return None


def _rescaled(weight: Any) -> Any:
    import torch

    scales, zeros = weight.q_per_channel_scales(), weight.q_per_channel_zero_points()
    return torch._make_per_channel_quantized_tensor(
        weight.int_repr(), scales * FACTOR, zeros, weight.q_per_channel_axis()
    )


def _count(model: Any) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def examine(name: str, seconds: float) -> dict[str, Any]:
    """Record and compare a model in processes of their own; what is found, or the `reason` why nothing is."""
    with tempfile.TemporaryDirectory() as folder:
        found: dict[str, Any] = {"model": name}
        for step, environment in (("record", {}), ("compare", ELSEWHERE)):
            command = [sys.executable, "-m", "benchmarks.zoo", "--step", step, "--folder", folder, name]
            try:
                done = subprocess.run(
                    command,
                    check=False,
                    env={**os.environ, **environment},
                    capture_output=True,
                    text=True,
                    timeout=seconds,
                )
            except subprocess.TimeoutExpired:
                return {**found, "reason": f"{step}: longer than {seconds:.0f} s"}
            if done.returncode:
                return {**found, "reason": f"{step}: {(done.stderr.strip().splitlines() or ['died'])[-1]}"}
            found[step] = json.loads(done.stdout.strip().splitlines()[-1])
        return found


def verdict(found: dict[str, Any]) -> str:
    """One word, or the reason."""
    if "reason" in found:
        return str(found["reason"])
    compared = found["compare"]
    if compared["false_alarm"]:
        return "false alarm"
    if compared["fault"] is None:
        return "no weights to change"
    return "works" if compared["named"] else "not named" if compared["caught"] else "missed"


def table(results: list[dict[str, Any]]) -> str:
    """A Markdown table of the totals of each library, and what does not work."""
    lines = ["| | models | work | recording ÷ pass, median | KB, median | KB, largest |", "|---|---|---|---|---|---|"]
    for library in dict.fromkeys(found["model"].partition("/")[0] for found in results):
        own = [found for found in results if found["model"].startswith(f"{library}/")]
        recorded = [found["record"] for found in own if "record" in found]
        ratios = sorted(record["seconds"] / record["bare"] for record in recorded)
        sizes = sorted(record["bytes"] for record in recorded)
        counts = Counter(verdict(found) for found in own)
        lines.append(
            f"| {library} | {len(own)} | {counts['works']} | {ratios[len(ratios) // 2]:.1f} "
            f"| {sizes[len(sizes) // 2] / 1000:.0f} | {sizes[-1] / 1000:.0f} |"
        )
    lines += ["", *(f"- {found['model']}: {verdict(found)}" for found in results if verdict(found) != "works")]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*")
    parser.add_argument("--results", type=Path, default=Path(".modelviz-zoo.jsonl"))
    parser.add_argument("--seconds", type=float, default=900, help="for each step of a model")
    parser.add_argument("--step", choices=("record", "compare"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        warnings.simplefilter("ignore")
        step = record if options.step == "record" else compare
        print(json.dumps(step(options.models[0], options.folder)))
        return
    from benchmarks.zoo.models import BUILDERS

    chosen = [name for name in BUILDERS if not options.models or {name, name.partition("/")[0]} & {*options.models}]
    lines = options.results.read_text().splitlines() if options.results.exists() else []
    known = {found["model"]: found for found in map(json.loads, lines)}
    for name in chosen:
        if name not in known:
            known[name] = examine(name, options.seconds)
            with options.results.open("a") as file:
                file.write(json.dumps(known[name]) + "\n")
            print(f"{name}: {verdict(known[name])}", flush=True)
    print(table([known[name] for name in chosen]))


if __name__ == "__main__":
    main()
