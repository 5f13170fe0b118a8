"""The smallest change of a layer that `feature_maps` reports, beside what rounding alone does to that layer.

    python -m benchmarks.limits [--precision NAME] [--step FACTOR] [model ...]

All weights of a layer, those of one of its output channels, or the results of an activation are multiplied by a factor
next to 1, and the smallest one that drifts is looked up on a geometric grid, by bisection. Printed are, all relative:

- limit: how far that takes the multiplied weights (of a cast model after the cast), or the results of the activation;
- layer: how far it takes the layer's results in this precision, in float32 where the baseline has a shadow;
- noise: the noise of these results, as the baseline holds it; and both as multiples of it.
"""

from __future__ import annotations

import argparse
import bisect
import collections
import copy
import inspect
import math
import statistics
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from benchmarks.detection.faults import recoded
from benchmarks.detection.models import build
from benchmarks.detection.precision import PRECISIONS, Precision
from pytest_modelviz.compare.stored import stored_trace
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.trace import ForwardTrace
from pytest_modelviz.views.base import measured
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView

SMALLEST, LARGEST = 1e-9, 10.0
Built = tuple[nn.Module, Any]


def _small_vit() -> Built:
    import torchvision

    vit = torchvision.models.VisionTransformer(32, 8, num_layers=3, num_heads=4, hidden_dim=64, mlp_dim=128)
    nn.init.normal_(vit.heads.head.weight, std=0.02)  # zero as it is initialised
    return vit, torch.rand(1, 3, 32, 32)


class _Lstm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.lstm = nn.Embedding(100, 32), nn.LSTM(32, 48, num_layers=2, batch_first=True)
        self.hidden, self.act, self.head = nn.Linear(48, 48), nn.GELU(), nn.Linear(48, 10)

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.act(self.hidden(self.lstm(self.embedding(input_ids))[0][:, -1])))


def _made(name: str) -> Built:
    if name not in OWN:
        return build(name)
    torch.manual_seed(0)
    model, data = OWN[name]()
    return model.eval(), data


OWN: dict[str, Callable[[], Built]] = {
    "small vit": _small_vit,
    "lstm": lambda: (_Lstm(), {"input_ids": torch.randint(0, 100, (2, 12))}),
}
MODELS = ("resnet18", "mobilenet_v3_small", "small vit", "bert", "lstm")


class Change(NamedTuple):
    """A layer and what of it is multiplied: some of its weights, or (None) its results."""

    what: str
    layer: str
    weights: Callable[[nn.Module], torch.Tensor] | None = None

    def apply(self, model: nn.Module, factor: float) -> None:
        layer = model.get_submodule(self.layer)
        if self.weights is not None:
            with torch.no_grad():
                self.weights(layer).mul_(factor)
            return
        base = type(layer)

        def forward(self: nn.Module, *args: Any, **options: Any) -> Any:
            return base.forward(self, *args, **options).mul_(factor)

        forward.__signature__ = inspect.signature(base.forward)  # arguments keep their names
        recoded(layer, forward)


def changes(model: nn.Module) -> list[Change]:
    """Of a layer and an activation a third of the way into the model."""
    modules = {n: m for n, m in model.named_modules() if not isinstance(m, NonDynamicallyQuantizableLinear)}
    recurrent = [name for name, module in modules.items() if isinstance(module, nn.LSTM)]
    layers = recurrent or [name for name, module in modules.items() if isinstance(module, (nn.Conv2d, nn.Linear))]
    layer, parameter = layers[len(layers) // 3], "weight_ih_l0" if recurrent else "weight"
    acts = [name for name, module in modules.items() if _is_activation(module)]

    def one_channel(module: nn.Module) -> torch.Tensor:
        weight = getattr(module, parameter)
        return weight[len(weight) // 2]

    return [
        Change("weights", layer, lambda module: getattr(module, parameter)),
        Change("one channel", layer, one_channel),
        Change("slope", acts[len(acts) // 3]),
    ]


def _is_activation(module: nn.Module) -> bool:
    defined_in = type(module).__module__  # torch's and transformers'
    return defined_in.endswith((".activation", ".activations")) and not isinstance(module, nn.MultiheadAttention)


class Limit(NamedTuple):
    """The smallest change that drifts, and what it is at the layer; `noise` is None where it is not measured."""

    relative: float
    at_layer: float
    noise: float | None


class Search:
    """Looks for the smallest change that drifts."""

    def __init__(self, model: nn.Module, data: Any, precision: Precision, change: Change, baseline: Capture) -> None:
        self._model, self._precision, self._change, self._baseline = model, precision, change, baseline
        self._data = precision.cast_input(data)
        self._trace = stored_trace(baseline.arrays, ())
        self._shadow: ForwardTrace | None = getattr(self._trace, "shadow", None)  # the same in float32

    def limit(self, step: float) -> Limit | None:
        """By bisection, as if all larger changes drifted; None where the largest one does not."""
        grid = [SMALLEST * step**power for power in range(math.ceil(math.log(LARGEST / SMALLEST, step)) + 1)]
        if not self._drifts(grid[-1]):
            return None
        part = grid[bisect.bisect_left(grid, True, key=self._drifts)]
        return Limit(self._of_weights(part), self._at_layer(part), self._noise())

    def _changed(self, part: float) -> nn.Module:
        other = copy.deepcopy(self._model)
        if part:
            self._change.apply(other, 1 + part)
        return self._precision.cast(other)

    def _drifts(self, part: float) -> bool:
        with self._precision.around():
            view = FeatureMapsView(self._changed(part), self._data)
            return not view.compare(self._baseline, view.capture(), Tolerances()).matched

    def _of_weights(self, part: float) -> float:
        weights = self._change.weights
        if weights is None:
            return part
        return _distance(*(weights(self._changed(p).get_submodule(self._change.layer)).detach() for p in (0.0, part)))

    def _at_layer(self, part: float) -> float:
        return _distance(self._result(self._changed(0.0)), self._result(self._changed(part)))

    def _noise(self) -> float | None:
        trace = self._shadow or self._trace
        call = next(call for call in trace.calls if call.layer == self._change.layer)
        key = next(leaf.tensor for leaf in (call.outputs or {}).values() if leaf.tensor is not None)
        return trace.tensors[key].noise

    def _result(self, model: nn.Module) -> torch.Tensor:
        """What the layer returns first."""
        results: list[torch.Tensor] = []

        def keep(module: nn.Module, args: Any, output: Any) -> None:
            results.append((output[0] if isinstance(output, tuple) else output).detach().clone())

        model.get_submodule(self._change.layer).register_forward_hook(keep)
        single = self._shadow is not None
        model, data = (model.float(), PRECISIONS["float32"].cast_input(self._data)) if single else (model, self._data)
        with torch.no_grad(), nullcontext() if single else self._precision.around():
            model(**data) if isinstance(data, dict) else model(data)
        return results[0]


def _distance(before: torch.Tensor, after: torch.Tensor) -> float:
    """Relative L2."""
    return float((after.double() - before.double()).norm() / before.double().norm())


def limits(name: str, precision: Precision, step: float) -> Iterator[tuple[Change, Limit | None]]:
    model, data = _made(name)
    cast, cast_data = precision.cast(copy.deepcopy(model)), precision.cast_input(data)
    reason = precision.failure(cast, cast_data)
    if reason is not None:
        print(f"{name} in {precision.name}: left out, this CPU cannot run it: {reason}", flush=True)
        return
    with precision.around():
        view = FeatureMapsView(cast, cast_data)
        baseline = measured(view, view.capture())
    for change in changes(model):
        yield change, Search(model, data, precision, change, baseline).limit(step)


def _cells(limit: Limit | None) -> str:
    if limit is None:
        return "nothing drifts"
    text = f"{limit.relative:10.1e}{limit.at_layer:10.1e}"
    if limit.noise is None:
        return f"{text}{'-':>10}"
    return f"{text}{limit.noise:10.1e}{limit.relative / limit.noise:13.1f}{limit.at_layer / limit.noise:13.1f}"


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m benchmarks.limits", description=__doc__)
    arguments.add_argument("models", nargs="*", help=f"of {', '.join(MODELS)} and those of benchmarks.detection")
    arguments.add_argument("--precision", action="append", choices=PRECISIONS, help="may be given several times")
    arguments.add_argument("--step", type=float, default=1.3, help="between two changes of the grid (default: 1.3)")
    options = arguments.parse_args()
    warnings.simplefilter("ignore")
    start = f"{'model':20}{'precision':10}{'change':12}{'layer':58}"
    print(f"{start}{'limit':>10}{'layer':>10}{'noise':>10}{'limit/noise':>13}{'layer/noise':>13}")
    limits_of: dict[tuple[str, str], list[Limit]] = collections.defaultdict(list)
    for precision in options.precision or PRECISIONS:
        for name in options.models or MODELS:
            for change, limit in limits(name, PRECISIONS[precision], options.step):
                print(f"{name:20}{precision:10}{change.what:12}{change.layer:58}{_cells(limit)}", flush=True)
                if limit is not None and limit.noise is not None:
                    limits_of[precision, change.what].append(limit)
    for (precision, what), found in limits_of.items():
        print(f"{precision:10}{what:12}median (greatest)", end="")
        for title, part in (("limit", 0), ("layer", 1)):
            ratios = [limit[part] / limit.noise for limit in found]
            print(f"  {title} / noise {statistics.median(ratios):.1f} ({max(ratios):.1f})", end="")
        print()


if __name__ == "__main__":
    main()
