"""Weights that the caller of a module lends it for a call, as `torch.func.functional_call` does.

They belong to the call's inputs: the module is not responsible for them. The lender swaps a parameter before a call and
back afterwards, so a weight is lent to the outermost call at whose end it is still swapped.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from pytest_modelviz.probe.torch_internals import parameter_table
from pytest_modelviz.records.structure import LENT
from pytest_modelviz.records.trace import Call, Leaf


@dataclass
class _Loan:
    """A tensor that replaces a parameter during a call, and the outermost call so far that it is lent to."""

    module: torch.nn.Module
    local: str
    leaf: Leaf
    first: Call
    call: Call


class LentWeights:
    """Detects calls of modules with other parameters than they had before the pass."""

    def __init__(self, modules: Iterable[torch.nn.Module]) -> None:
        self._own = {
            id(module): {local: id(parameter) for local, parameter in table.items()} if table else {}
            for module in modules
            for table in [parameter_table(module)]
        }
        self._open: list[_Loan] = []

    def borrowed(self, module: torch.nn.Module) -> Sequence[tuple[str, torch.Tensor]]:
        """(local name, tensor) of the parameters of a called module that are not its own."""
        own = self._own[id(module)]
        if not own:
            return ()
        current = parameter_table(module)
        changed = [local for local, before in own.items() if id(current.get(local)) != before]
        return [(local, tensor) for local in changed if isinstance(tensor := current.get(local), torch.Tensor)]

    def add(self, call: Call, module: torch.nn.Module, local: str, leaf: Leaf) -> None:
        """Record the leaf of such a tensor."""
        self._open.append(_Loan(module, local, leaf, call, call))

    def leave(self, call: Call) -> None:
        """A call has ended: tensors that are still in place were lent to it or to a caller of it."""
        for loan in list(self._open) if self._open else ():
            current = parameter_table(loan.module).get(loan.local)
            if id(current) == self._own[id(loan.module)][loan.local]:
                self._open.remove(loan)
                self._add_to_inputs(loan, loan.call)
            elif call.depth == 0:  # never swapped back: it is lent to the call that it was detected in
                self._open.remove(loan)
                self._add_to_inputs(loan, loan.first)
            else:
                loan.call = call

    def _add_to_inputs(self, loan: _Loan, call: Call) -> None:
        path = loan.first.layer[len(call.layer) :].lstrip(".") if call is not loan.first else ""
        name = f"{path}.{loan.local}" if path else loan.local
        call.inputs = {**call.inputs, f"{name}{LENT}": loan.leaf}
