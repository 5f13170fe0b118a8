"""The base class of observers of a pass, beside its recorder: counters, collectors of thumbnails and of activations."""

from __future__ import annotations

import torch

from pytest_modelviz.records.trace import Call


class CallObserver:
    """Observes a pass call by call; a subclass overrides the methods it needs.

    Each `enter` is followed by the `enter`s of the calls inside and then by a single `leave` or `abandon`.
    """

    def enter(self, call: Call) -> None:
        """A module is entered; `call.inputs` are known."""

    def leave(self, call: Call, module: torch.nn.Module, output: object) -> object:
        """A module returns `output`; the result is passed to its caller in its place."""
        return output

    def abandon(self, call: Call) -> None:
        """A module raises an exception, which its caller may catch."""
