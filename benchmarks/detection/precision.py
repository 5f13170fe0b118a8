"""The precisions that models are run in: cast as a whole, or under autocast."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import nn

from .faults import Fault

_AUTOCAST_DTYPE = torch.bfloat16  # the CPU's default


class Precision(NamedTuple):
    """How a model that was made in float32 is run."""

    name: str
    dtype: torch.dtype = torch.float32
    autocast: bool = False

    def cast(self, model: nn.Module) -> nn.Module:
        """The model itself, cast in place."""
        return model if self.dtype is torch.float32 else model.to(self.dtype)

    def cast_input(self, data: Any) -> Any:
        if isinstance(data, dict):
            return {key: self.cast_input(value) for key, value in data.items()}
        return data.to(self.dtype) if data.is_floating_point() else data

    def around(self) -> AbstractContextManager[Any]:
        """The circumstances of each pass."""
        return torch.autocast("cpu", dtype=_AUTOCAST_DTYPE) if self.autocast else nullcontext()

    def failure(self, model: nn.Module, data: Any) -> str | None:
        """Why a cast model cannot be run on this CPU, None where it can."""
        training = model.training
        model.eval()  # a pass in train mode would move the statistics of norms
        try:
            with torch.no_grad(), self.around():
                model(**data) if isinstance(data, dict) else model(data)
        except (RuntimeError, TypeError, ValueError) as error:
            return f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
        finally:
            model.train(training)
        return None

    def is_left(self, fault: Fault, before: tuple[nn.Module, Any], after: tuple[nn.Module, Any]) -> bool:
        """Whether a cast model and input still differ as the fault made them; other code always does."""
        if fault.cause == "weights":
            return not _equal(self._weights(before[0]), self._weights(after[0]))
        return fault.cause != "input" or not _equal(_named(before[1]), _named(after[1]))

    def _weights(self, model: nn.Module) -> dict[str, torch.Tensor]:
        """Weights and buffers as the pass computes with them: matrices are rounded by autocast."""
        state = dict(model.state_dict())
        if self.autocast:
            for name, module in model.named_modules():
                if isinstance(module, nn.Linear) or type(module) is nn.Conv2d:  # subclasses may compute their weight
                    own = {f"{name}.{key}" if name else key: value for key, value in module.state_dict().items()}
                    state.update({key: value.to(_AUTOCAST_DTYPE) for key, value in own.items()})
        return state


def _named(data: Any) -> dict[str, torch.Tensor]:
    return data if isinstance(data, dict) else {"": data}


def _equal(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> bool:
    return before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)


PRECISIONS = {
    precision.name: precision
    for precision in (
        Precision("float32"),
        Precision("bfloat16", torch.bfloat16),
        Precision("float16", torch.float16),
        Precision("autocast", autocast=True),
    )
}
