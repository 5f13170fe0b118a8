"""What may follow the calls of a pass beside its recorder: counters, collectors of pictures and of activations."""

from __future__ import annotations

from typing import Any

import torch

from pytest_modelviz.records.trace import Call


class CallObserver:
    """Follows a pass call by call; a subclass overrides what it needs.

    Each `enter` is followed by the `enter`s of the calls inside and then by one `leave` or `abandon`.
    """

    def enter(self, call: Call) -> None:
        """A module is entered; `call.inputs` are known."""

    def leave(self, call: Call, module: torch.nn.Module, output: Any) -> Any:
        """A module returns; gives the output that its caller is to get, by default the same."""
        return output

    def abandon(self, call: Call) -> None:
        """A module is left by an exception, which the code of its caller may catch."""
