"""Floating-point operations of a pass, by torch's formulas and in a fraction of the time that torch's counter takes.

`FlopCounterMode` finds out at each call of an operator whether it is made of others, and takes the shapes out of a tree
of arguments. Here the former is done once for each operator, and the latter for the same shapes. Operators that take
functions, such as `torch.cond`, are left to `FlopCounterMode`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, cast

import torch
from torch.utils.flop_counter import FlopCounterMode

from pytest_modelviz.probe.torch_internals import (
    Args,
    Kwargs,
    Operator,
    OpOverload,
    TorchDispatchMode,
    is_made_of_others,
    is_size,
)

_Formula = Callable[..., int]


def _UNKNOWN() -> int:  # noqa: N802
    """Stands for the formula of an operator that was not met before."""
    raise NotImplementedError


class OperatorCounter(TorchDispatchMode):
    """Counts the floating-point operations of all operators that run inside of it.

    Attributes:
        total: how many there were so far.

    """

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves its modes untyped
        self.total = 0
        self._registry: dict[object, _Formula] = FlopCounterMode(display=False).flop_registry
        self._formulas: dict[Operator, _Formula | None] = {}  # of operators that are made of no others
        self._counts: dict[object, int] = {}

    def __torch_dispatch__(
        self, func: Operator, types: object, args: Args = (), kwargs: Kwargs | None = None
    ) -> object:  # a pass that fails is told by these names (see `MultAdds.is_to_blame`)
        kwargs = kwargs or {}
        formula = self._formulas.get(func, _UNKNOWN)  # a single look-up: the hash of an operator takes its time
        if formula is _UNKNOWN:
            if not isinstance(func, OpOverload):
                return self._run_with_functions(func, args, kwargs)
            if is_size(func):
                return func(*args, **kwargs)
            if is_made_of_others(func):
                with self:
                    return func.decompose(*args, **kwargs)
            formula = self._formulas[func] = self._registry.get(func.overloadpacket)
        output = func(*args, **kwargs)
        if formula is not None:
            self.total += self._count(formula, args, kwargs, output)
        return output

    def _run_with_functions(self, func: Operator, args: Args, kwargs: Kwargs) -> object:
        counter = FlopCounterMode(display=False)
        # its own tracker hooks gradients, which views of parameters and functional transforms do not bear
        counter.mod_tracker = cast("Any", _NoTracker())
        with counter:
            output = func(*args, **kwargs)
        self.total += int(counter.get_total_flops())
        return output

    def _count(self, formula: _Formula, args: Args, kwargs: Kwargs, output: object) -> int:
        of_shapes = getattr(formula, "__wrapped__", None)  # torch wraps those that see nothing of tensors but shapes
        if of_shapes is None or kwargs or not isinstance(output, torch.Tensor):
            return int(formula(*args, **kwargs, out_val=output))
        shapes = [item.shape if isinstance(item, torch.Tensor) else item for item in args]
        key = (formula, output.shape, *[tuple(item) if isinstance(item, list) else item for item in shapes])
        try:
            count = self._counts.get(key)
        except TypeError:  # sizes that are symbols have no hash
            return int(of_shapes(*shapes, out_shape=output.shape))
        if count is None:
            count = self._counts[key] = int(of_shapes(*shapes, out_shape=output.shape))
        return count


class _NoTracker(contextlib.nullcontext[None]):
    """Attributes everything to the model as a whole; modules are followed by `MultAdds`."""

    parents = frozenset({"Global"})
