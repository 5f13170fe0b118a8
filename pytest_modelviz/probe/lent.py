"""Weights that a module is lent for a call by whoever calls it, as `torch.func.functional_call` does.

They belong to the call's inputs: what a module makes of them is not its own doing. Who lends them swaps a parameter
before a call and back afterwards; the outermost call at whose end it is still swapped is the one they were lent to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch

from pytest_modelviz.probe.torch_internals import parameter_table
from pytest_modelviz.records.structure import LENT
from pytest_modelviz.records.trace import Call, Leaf


@dataclass
class _Loan:
    """A parameter of a module that is called with another tensor in its place, and the call that it is lent to."""

    module: torch.nn.Module
    local: str
    leaf: Leaf
    first: Call
    call: Call


class LentWeights:
    """Watches whether modules are called with the parameters that they had before the pass."""

    def __init__(self, modules: Iterable[torch.nn.Module]) -> None:
        self._own = {
            id(module): {local: id(parameter) for local, parameter in parameter_table(module).items()}
            for module in modules
        }
        self._modules: dict[int, torch.nn.Module] = {}  # of the calls that loans were found in
        self._open: list[_Loan] = []

    def enter(self, call: Call, module: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
        """The parameters of a module that is being called which are not its own."""
        for local, before in self._own[id(module)].items():
            now = parameter_table(module).get(local)
            if id(now) != before and isinstance(now, torch.Tensor):
                self._modules[id(call)] = module
                yield local, now

    def give(self, call: Call, local: str, leaf: Leaf) -> None:
        """Note what such a parameter holds."""
        self._open.append(_Loan(self._modules[id(call)], local, leaf, call, call))

    def leave(self, call: Call) -> None:
        """A call has ended: what is still lent was lent to it, or to a caller of it."""
        for loan in list(self._open):
            now = parameter_table(loan.module).get(loan.local)
            if id(now) == self._own[id(loan.module)][loan.local]:
                self._open.remove(loan)
                self._note(loan, loan.call)
            elif call.depth == 0:  # never given back: the module keeps it, and who put it there is its caller
                self._open.remove(loan)
                self._note(loan, loan.first)
            else:
                loan.call = call

    def _note(self, loan: _Loan, call: Call) -> None:
        path = loan.first.layer[len(call.layer) :].lstrip(".") if call is not loan.first else ""
        name = f"{path}.{loan.local}" if path else loan.local
        call.inputs = {**call.inputs, f"{name}{LENT}": loan.leaf}
