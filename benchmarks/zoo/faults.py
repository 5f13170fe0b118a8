"""One fault for each model: its kind, its variety and its layer follow from the model's place in the zoo.

The benchmark of detection puts many faults into a few models whose layers it knows. Here the layers are those of three
hundred models: a fault is put in by what a module has, and taken back where that changes no result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from benchmarks.zoo.nested import run, with_first_tensor, with_first_tokens
from benchmarks.zoo.varieties import COMPUTATION, CONFIGURATION, IMAGES, TOKENS, WEIGHTS, Candidate
from pytest_modelviz.probe.nested_values import tensors

CAUSES = {"weights": "weights", "configuration": "architecture", "computation": "computation", "input": "input"}
KINDS = tuple(CAUSES)
_VARIETIES = {"weights": WEIGHTS, "configuration": CONFIGURATION, "computation": COMPUTATION}
# how much of a result of the layer, or of the model, must change; code that changes less changes what rounding may, too
_LEAST = {"weights": 0.0, "configuration": 0.0, "computation": 1e-4}
_TRIES = 6  # layers for each variety, until one has an effect
_GOLDEN = 0.6180339887  # the fractions of its multiples are spread evenly


class Fault(NamedTuple):
    """A fault that was put in, and the right answers about it.

    Attributes:
        kind: one of `KINDS`.
        what: what was changed, for people.
        layers: the modules that may be named.
        data: the input of the faulty model.

    """

    kind: str
    what: str
    layers: Sequence[str]
    data: Any

    @property
    def cause(self) -> str:
        return CAUSES[self.kind]


def put_in_fault(index: int, model: nn.Module, data: Any, called: Sequence[str]) -> Fault | None:
    """Change a model, or its input.

    Args:
        index: the model's place in the zoo.
        model: the model, which is changed in place.
        data: its input, which is not changed.
        called: the name of each module that a pass calls, in the order of execution.

    Returns:
        The fault; of another kind than the place stands for where none of that kind has an effect on this model.

    """
    turn, kind = divmod(index, len(KINDS))
    modules = dict(model.named_modules(remove_duplicate=False))
    layers = {name: modules[name] for name in dict.fromkeys(called) if name in modules}
    for other in _from(KINDS, kind):
        if other == "input":
            return _of_input(turn, data)
        for variety in _from(_VARIETIES[other], turn):
            candidates = variety(model, data, layers)
            for candidate in _from(candidates, int(index * _GOLDEN % 1 * len(candidates)))[:_TRIES]:
                holders = _holders(model, candidate.layer) if other == "weights" else [candidate.layer]
                if _takes_effect(model, data, candidate, _LEAST[other]):
                    return Fault(other, candidate.what, holders, data)
    return None


def _from(items: Sequence[Any], start: int) -> list[Any]:
    """All items, beginning at one of them."""
    return [items[(start + offset) % len(items)] for offset in range(len(items))]


def _of_input(turn: int, data: Any) -> Fault:
    is_text = isinstance(data, dict) and "input_ids" in data
    varieties, put_in = (TOKENS, with_first_tokens) if is_text else (IMAGES, with_first_tensor)
    what, change = varieties[turn % len(varieties)]
    return Fault("input", what, [""], put_in(data, change))


def _holders(model: nn.Module, layer: str) -> list[str]:
    """A layer and all others that share one of its parameters: each of them is rightly named."""
    own = {id(parameter) for parameter in model.get_submodule(layer).parameters(recurse=False)}
    named = model.named_modules(remove_duplicate=False)
    sharing = [name for name, module in named if own & {id(p) for p in module.parameters(recurse=False)}]
    return list(dict.fromkeys([layer, *sharing]))


def _takes_effect(model: nn.Module, data: Any, candidate: Candidate, least: float) -> bool:
    """Put a fault in; it stays if the layer, or the model, returns something else with it."""
    before = _results(model, data, candidate.layer)
    undo: Callable[[], object] | None = None
    try:
        undo = candidate.put_in()
        if _change(before, _results(model, data, candidate.layer)) > least:
            return True
    except Exception:  # the code around the layer cannot do with the change: nobody would get to test such a model
        pass
    if undo is not None:
        undo()
    return False


def _results(model: nn.Module, data: Any, layer: str) -> list[torch.Tensor]:
    """All that a layer and the model return in a pass."""
    found: list[torch.Tensor] = []
    hook = lambda _module, _args, output: found.extend(_copies(output))  # noqa: E731  # it needs `found`
    handle = model.get_submodule(layer).register_forward_hook(hook)
    try:
        return [*_copies(run(model, data)), *found]
    finally:
        handle.remove()


def _copies(value: Any) -> list[torch.Tensor]:
    plain = [tensor.dequantize() if tensor.is_quantized else tensor for tensor in tensors(value)]
    return [tensor.detach().double().nan_to_num().clone() for tensor in plain if not tensor.is_complex()]


def _change(before: Sequence[torch.Tensor], after: Sequence[torch.Tensor]) -> float:
    """The largest relative L2 difference of a result, infinite where there are others."""
    if [tensor.shape for tensor in before] != [tensor.shape for tensor in after]:
        return math.inf
    pairs = zip(before, after, strict=True)
    return max((float((old - new).norm() / old.norm().clamp(min=1e-30)) for old, new in pairs), default=0.0)
