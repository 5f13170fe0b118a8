"""Which modules of a model are convolutions, and which of them a person would look at first."""

import functools
import itertools
import re
from collections.abc import Sequence
from typing import NamedTuple

import torch

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.probe.layer_names import match_layers
from pytest_modelviz.probe.modules import class_name, has_attribute, observed_modules, own_attributes, packed_tensors
from pytest_modelviz.probe.torch_internals import ConvNd, forward_pre_hooks, parameter_table
from pytest_modelviz.views.kernel_maps.records import MOST_PICTURED

_NAMED_SO = re.compile(r"(Lazy)?Conv(Transpose)?[123]d")  # a traced module keeps nothing of its class but the name
_PLAIN = (int, float, str, tuple, list, type(None))  # values of attributes; bool is an int
_MOST_OF = 0.75  # a child with a larger share of all convolutions is not a stage but holds them


class Convolution(NamedTuple):
    """A convolution with the weight and the bias that it computes with, None for what it has not or not yet.

    `weight` is (filters, inputs / groups, *kernel); of a transposed one (inputs, filters / groups, *kernel).
    """

    name: str
    module: torch.nn.Module
    weight: torch.Tensor | None
    bias: torch.Tensor | None

    @property
    def transposed(self) -> bool:
        return bool(getattr(self.module, "transposed", "Transpose" in class_name(self.module)))

    @property
    def has_extent(self) -> bool:
        """Whether the kernel covers more than one position."""
        return self.weight is not None and self.weight.shape[2:].numel() > 1

    @property
    def groups(self) -> int:
        return int(getattr(self.module, "groups", 1))


def convolutions(model: torch.nn.Module) -> list[Convolution]:
    """All convolutions of a model, in the order of registration, shared ones once.

    torch's own in one to three dimensions, plain, transposed, lazy, quantised and scripted, those derived from them,
    and what else has a `kernel_size` and a weight of three to five dimensions. The weight is what the module computes
    with: where it is put together from other parameters (weight norm, spectral norm, pruning), it is put together anew,
    which may write attributes: to be called inside `prepared`. Raises ModelvizError for a model without any.
    """
    candidates = (_convolution(name, module) for name, module in observed_modules(model))
    known = [convolution for convolution in candidates if convolution is not None]
    if not known:
        raise ModelvizError(
            f"{class_name(model)} has no convolution, so it has no kernels to show; feature_maps compares the weights "
            f"of every layer"
        )
    return known


def is_plain_to_read(model: torch.nn.Module) -> bool:
    """Whether the convolutions of a model are read without running anybody's code, in whatever mode they are.

    They are torch's own, hold their weights as parameters, have no hooks, and their other attributes are plain values.
    """
    for _, module in observed_modules(model):
        if isinstance(module, torch.jit.ScriptModule):
            return False
        if type(module).__module__.startswith("torch.nn.modules."):
            if isinstance(module, ConvNd) and not _holds_plain_values(module):
                return False
        elif _may_be_convolution(module):
            return False
    return True


def _may_be_convolution(module: torch.nn.Module) -> bool:
    return has_attribute(module, "kernel_size") or _is_named_so(module)


def _is_named_so(module: torch.nn.Module) -> bool:
    return isinstance(module, ConvNd) or _is_name_of_one(class_name(module))


@functools.lru_cache(maxsize=1024)
def _is_name_of_one(name: str) -> bool:
    return _NAMED_SO.fullmatch(name) is not None


def _holds_plain_values(module: torch.nn.Module) -> bool:
    if forward_pre_hooks(module) or not {"weight", "bias"} <= parameter_table(module).keys():
        return False
    return all(isinstance(value, _PLAIN) for value in own_attributes(module).values())


def _convolution(name: str, module: torch.nn.Module) -> Convolution | None:
    if not _may_be_convolution(module):
        return None
    by_kind = _is_named_so(module)
    _refresh(module)
    packed = dict(packed_tensors(module))
    held = (packed.get(local, getattr(module, local, None)) for local in ("weight", "bias"))
    weight, bias = (t if isinstance(t, torch.Tensor) and not torch.nn.parameter.is_lazy(t) else None for t in held)
    if (weight is None and not by_kind) or (weight is not None and weight.dim() not in (3, 4, 5)):
        return None
    return Convolution(name, module, weight, bias)


def _refresh(module: torch.nn.Module) -> None:
    """Bring `weight` up to date where one of torch's own hooks makes it right before each call only."""
    if not isinstance(module, torch.jit.ScriptModule):
        for hook in forward_pre_hooks(module):
            if type(hook).__module__.startswith("torch.nn.utils."):
                hook(module, ())


def selected(model: torch.nn.Module, among: Sequence[Convolution], patterns: Sequence[str]) -> list[Convolution]:
    """Those convolutions that names and globs stand for. Raises ModelvizError for what stands for none."""
    modules = dict(observed_modules(model))
    known = {convolution.name for convolution in among}
    wanted: set[str] = set()
    for pattern in patterns:
        names = match_layers(pattern, list(modules))
        if not known.intersection(names):
            if len(names) > 1:
                raise ModelvizError(f"layers={pattern!r} matches {len(names)} layers, but no convolution among them")
            inside = any(name.startswith(f"{names[0]}.") for name in known) or not names[0]
            remedy = f"those inside it are {f'{names[0]}.*'.lstrip('.')!r}" if inside else "name one that is"
            kind = class_name(modules[names[0]])
            raise ModelvizError(f"layer {names[0]!r} is {kind}, not a convolution, and has no kernels; {remedy}")
        wanted.update(names)
    return [convolution for convolution in among if convolution.name in wanted]


def first_of_stages(among: Sequence[Convolution]) -> list[Convolution]:
    """The first convolution of each stage, at most eight; of kernels with more than one position where it has any.

    A stage is a child of the model that holds convolutions; a child that holds nearly all of them (`features`,
    `blocks`) stands for its own children. Of many small children those count that have more output channels than all
    before them.
    """
    groups = [list(among)]
    for depth in range(1, max(convolution.name.count(".") for convolution in among) + 2):
        wide = next((at for at, group in enumerate(groups) if len(group) > max(1, _MOST_OF * len(among))), None)
        if wide is None:
            break
        inner: dict[str, list[Convolution]] = {}
        for convolution in groups[wide]:
            inner.setdefault(".".join(convolution.name.split(".")[:depth]), []).append(convolution)
        groups[wide : wide + 1] = inner.values()
    if len(groups) > MOST_PICTURED:
        groups = _growing(groups)
    if len(groups) > MOST_PICTURED:
        groups = [groups[at * len(groups) // MOST_PICTURED] for at in range(MOST_PICTURED)]
    return [next((convolution for convolution in group if convolution.has_extent), group[0]) for group in groups]


def _growing(groups: Sequence[list[Convolution]]) -> list[list[Convolution]]:
    """Those with more output channels than all before them."""
    sizes = [max(int(getattr(convolution.module, "out_channels", 0)) for convolution in group) for group in groups]
    largest_before = itertools.accumulate(sizes, max, initial=-1)
    return [group for group, size, largest in zip(groups, sizes, largest_before, strict=False) if size > largest]
