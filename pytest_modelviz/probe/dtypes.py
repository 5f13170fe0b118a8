"""In which dtypes the code of each call computes, where a pass is of lower precision than single.

That a normalisation no longer sums in float32 shows in no dtype that it takes or returns, and in numbers hardly.
"""

import contextlib
import functools
from collections.abc import Iterator

import torch

from pytest_modelviz.probe.forward import ModelInput
from pytest_modelviz.probe.modules import all_tensors
from pytest_modelviz.probe.nested_values import tensors
from pytest_modelviz.probe.pass_recorder import PassRecorder
from pytest_modelviz.probe.plain_numbers import dtype_name
from pytest_modelviz.probe.torch_internals import (
    Args,
    Kwargs,
    Operator,
    is_any_autocast_enabled,
    mode_stack,
    without_function_modes,
)
from pytest_modelviz.records.findings import COMPUTED_IN
from pytest_modelviz.records.trace import Call, Leaf

_LOW = {torch.float16, torch.bfloat16}
_length, _at, _pop, _push = mode_stack("function")
# They take their fused kernels only where no mode is active that observes functions.
_FUSED = (torch.nn.TransformerEncoder, torch.nn.TransformerEncoderLayer, torch.nn.MultiheadAttention)


def recorder_for(model: torch.nn.Module, input_data: ModelInput) -> type[PassRecorder]:
    """The class of recorder for a pass: one that notes dtypes where weights or input are of lower precision."""
    dtypes = {tensor.dtype for tensor in (*all_tensors(model), *tensors(input_data))}
    return PassRecorder if _LOW.isdisjoint(dtypes) and not is_any_autocast_enabled() else DtypeRecorder


class DtypeRecorder(PassRecorder):
    """Records a pass, and with each call the floating dtypes that its own code computes in and does not return.

    What torch's functions do inside does not count: that differs between devices.
    """

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        self._mode = _DtypeMode()
        self._noted: set[torch.dtype] = set()
        with super().recording():
            yield

    def _observe(self, original: Operator, module: torch.nn.Module, name: str, args: Args, kwargs: Kwargs) -> object:
        run = functools.partial(self._unnoted if isinstance(module, _FUSED) else self._noting, original)
        with self._mode.away():
            return super()._observe(run, module, name, args, kwargs)

    def _unnoted(self, original: Operator, *args: object, **kwargs: object) -> object:
        with without_function_modes():
            output = original(*args, **kwargs)
        self._noted = set()
        return output

    def _noting(self, original: Operator, *args: object, **kwargs: object) -> object:
        noted: set[torch.dtype] = set()
        with self._mode.noting(noted):
            output = original(*args, **kwargs)
        self._noted = noted
        return output

    def _left(self, call: Call) -> None:
        returned = {
            self.tensors[leaf.tensor].dtype for leaf in (call.outputs or {}).values() if leaf.tensor is not None
        }
        others = {dtype_name(dtype) for dtype in self._noted} - returned
        if others:
            leaf = Leaf(literal=", ".join(sorted(others)))
            call.outputs = {**(call.outputs or {}), COMPUTED_IN: leaf}


def _top() -> object:
    """The innermost mode that observes functions."""
    return _at(_length() - 1) if _length() else None


class _DtypeMode(torch.overrides.TorchFunctionMode):
    """Notes the floating dtypes of what torch's functions return, in a set that it is given for the while."""

    def __init__(self) -> None:
        super().__init__()
        self._noted: set[torch.dtype] | None = None

    @contextlib.contextmanager
    def noting(self, noted: set[torch.dtype]) -> Iterator[None]:
        before, self._noted = self._noted, noted
        _push(self)
        try:
            yield
        finally:
            self._noted = before
            if _top() is self:  # otherwise the block has left another mode above it
                _pop()

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Run a block that does not compute what the model computes: the mode would see, and slow down, all of it."""
        before, self._noted = self._noted, None
        is_away = _top() is self
        if is_away:
            _pop()
        try:
            yield
        finally:
            self._noted = before
            if is_away and not any(_at(index) is self for index in range(_length())):
                _push(self)

    def __torch_function__(
        self, func: Operator, types: object, args: Args = (), kwargs: Kwargs | None = None
    ) -> object:
        result = func(*args, **(kwargs or {}))
        if self._noted is not None:
            results = result if isinstance(result, (tuple, list)) else [result]
            self._noted.update(r.dtype for r in results if isinstance(r, torch.Tensor) and r.is_floating_point())
        return result
