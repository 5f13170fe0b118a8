"""Multiply-adds of each module, by torch's own operator counter.

The counter has formulas for matrix products, convolutions and attention, not for the fused fast paths, so those are
switched off while it counts (torchinfo, which counts by module class, puts vit_b_16 at a hundredth of the truth).
Recurrent layers have fused kernels (cuDNN's, MPS's) that cannot be switched off everywhere: where the counter sees
nothing of one, its products are worked out from its sizes, so that the count does not depend on the device.
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, TypeVar, cast

import torch
import torch.utils.flop_counter
from torch.nn.attention import SDPBackend, sdpa_kernel

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.probe.forward import ModelOutput
from pytest_modelviz.probe.modules import all_modules
from pytest_modelviz.probe.pass_recorder import CallObserver
from pytest_modelviz.records.trace import Call
from pytest_modelviz.views.model_summary import operator_counter
from pytest_modelviz.views.model_summary.operator_counter import OperatorCounter

_UNFUSED = (torch.nn.modules.activation.__file__, torch.nn.modules.transformer.__file__)  # they choose the fused paths
_COUNTERS = (operator_counter.__file__, torch.utils.flop_counter.__file__)
_HIGHER_ORDER = "torch.ops.higher_order."


_ResultT = TypeVar("_ResultT")


def counted_pass(
    model: torch.nn.Module,
    prepare: Callable[[], AbstractContextManager[torch.nn.Module]],
    run: Callable[[torch.nn.Module, MultAdds | None], _ResultT],
) -> _ResultT:
    """Run a pass with a counter; where it fails because it is counted, once more without one.

    Args:
        model: the user's model.
        prepare: makes the model ready for a pass, and restores it when that has ended (see `probe.forward.prepared`).
        run: makes the pass with the ready model.

    """
    counter = MultAdds(model)
    with prepare() as ready:
        try:
            return run(ready, counter)
        except ModelvizError:
            raise
        except Exception as error:
            if not counter.is_to_blame(error):
                raise
    with prepare() as ready:
        return run(ready, None)


class MultAdds(CallObserver):
    """Counts, for each layer name, the multiply-adds of its own code, without those of the modules it calls."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._recurrent = any(issubclass(kind, torch.nn.RNNBase) for kind in set(map(type, all_modules(model))))
        self.own: dict[str, int] = {}
        self._counter = OperatorCounter()
        self._hidden = 0  # what the counter has missed
        self._open: list[list[int]] = []  # total at entry, what was spent inside children since

    @contextlib.contextmanager
    def counting(self) -> Iterator[None]:
        """Count inside the block. The pass takes unfused paths: its numbers are not those of an ordinary pass."""
        mha, mkldnn = torch.backends.mha, cast(Any, torch.backends.mkldnn)
        before = mha.get_fastpath_enabled(), mkldnn.enabled
        mha.set_fastpath_enabled(False)
        if self._recurrent:  # oneDNN's are one opaque operator; without it they are products
            mkldnn.enabled = False
        try:
            with sdpa_kernel(SDPBackend.MATH), self._counter:
                yield
        finally:
            mha.set_fastpath_enabled(before[0])
            mkldnn.enabled = before[1]

    @staticmethod
    def is_to_blame(error: Exception) -> bool:
        """Whether a pass failed because it was counted; after `counting`, the operator that failed is tried once more.

        Nested tensors cannot be counted, nor can they be attended to on an unfused path. Operators that take functions,
        such as flex_attention, refuse to run where they would be counted.
        """
        if isinstance(error, TypeError) and _HIGHER_ORDER in str(error):
            return True
        last = ""
        for frame, _ in traceback.walk_tb(error.__traceback__):
            last = frame.f_code.co_filename
            if last in _COUNTERS and frame.f_code.co_name == "__torch_dispatch__":
                counted = frame.f_locals
                try:
                    counted["func"](*counted["args"], **(counted["kwargs"] or {}))
                except Exception:
                    return False
                return True
        return last in _UNFUSED

    def enter(self, call: Call) -> None:
        self._open.append([self._total(), 0])

    def leave(self, call: Call, module: torch.nn.Module, output: ModelOutput) -> ModelOutput:
        self._close(call, recurrent_mult_adds(module, output) if isinstance(module, torch.nn.RNNBase) else 0)
        return output

    def abandon(self, call: Call) -> None:
        """What a call that failed has spent is its own."""
        self._close(call, 0)

    def _close(self, call: Call, hidden: int) -> None:
        """`hidden` is what the call must have spent where the counter has counted nothing."""
        at_entry, inside = self._open.pop()
        spent = self._total() - at_entry
        if not spent:
            spent = hidden
            self._hidden += hidden
        self.own[call.layer] = self.own.get(call.layer, 0) + spent - inside
        if self._open:
            self._open[-1][1] += spent

    def _total(self) -> int:
        return self._counter.total // 2 + self._hidden


# The gates of a layer whose forward is torch's own; a subclass's may do anything.
_GATES = {torch.nn.RNN.forward: 1, torch.nn.GRU.forward: 3, torch.nn.LSTM.forward: 4}


def recurrent_mult_adds(module: torch.nn.Module, output: ModelOutput) -> int:
    """The multiply-adds of the products of one of torch's own recurrent layers, given what it returned; else 0.

    Each direction of each layer multiplies every step's input and state with the weights of all gates; an LSTM with
    projections multiplies its state once more.
    """
    if not isinstance(module, torch.nn.RNNBase) or not isinstance(output, tuple) or not output:
        return 0
    gates = _GATES.get(type(module).forward)
    if gates is None:
        return 0
    values = output[0].data if isinstance(output[0], torch.nn.utils.rnn.PackedSequence) else output[0]
    if not isinstance(values, torch.Tensor) or not values.shape or not values.shape[-1]:
        return 0
    steps = values.numel() // values.shape[-1]  # of all sequences
    directions = 2 if module.bidirectional else 1
    state = module.proj_size or module.hidden_size
    inputs = [module.input_size, *[state * directions] * (module.num_layers - 1)]
    products = sum(
        gates * module.hidden_size * (size + state) + module.hidden_size * module.proj_size for size in inputs
    )
    return steps * directions * products
