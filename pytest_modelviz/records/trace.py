"""A forward pass as plain data: which modules were called in what order, with a sketch of every tensor on the way.

The probe makes traces, `trace_arrays` packs them for the store, and the comparison steps through two of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from pytest_modelviz.records.findings import COMPUTED_IN
from pytest_modelviz.records.structure import ModelStructure, ModuleRecord
from pytest_modelviz.records.tensors import TensorRecord


@dataclass(frozen=True)
class Leaf:
    """One leaf of a nested argument or output: a tensor (`tensor` is its key in the trace) or a literal."""

    tensor: str | None = None
    literal: str | None = None


Leaves = Mapping[str, Leaf]  # by path, e.g. "mask[0]"
GRADIENT = "(gradient)"  # the key of the gradient on the input, where there is one


@dataclass
class Call:
    """One call of one module. Calls are listed in the order of entering; `depth` restores the order of leaving."""

    layer: str
    index: int
    depth: int
    inputs: Leaves
    outputs: Leaves | None = None

    @property
    def key(self) -> str:
        """The layer, and which of its calls it is: `layer1`, `layer1#2`; a layer named `a#1` is `a#1#0`."""
        return f"{self.layer}#{self.index}" if self.index or "#" in self.layer else self.layer


@dataclass(frozen=True)
class Event:
    """A call is entered (its inputs are known) or left (its outputs are)."""

    kind: str
    call: Call
    parent: Call | None

    @property
    def leaves(self) -> Leaves:
        return self.call.inputs if self.kind == "enter" else (self.call.outputs or {})


@dataclass
class ForwardTrace:
    """One forward pass through a model.

    Attributes:
        structure: the model as it stood before the pass.
        calls: the calls of its modules, in the order of entering.
        tensors: what was passed between them, keyed by where each tensor was observed first.
        gradients: gradients on the input that a backward pass added, by a key for each.
        notes: what of the pass could not be observed, for people; not stored.
        shadow: the same pass in single precision, where it was made in a lower one; of the same structure.

    """

    structure: ModelStructure
    calls: list[Call] = field(default_factory=list)
    tensors: dict[str, TensorRecord] = field(default_factory=dict)
    gradients: dict[str, TensorRecord] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    shadow: ForwardTrace | None = None

    @property
    def modules(self) -> dict[str, ModuleRecord]:
        return self.structure.modules

    @property
    def weights(self) -> dict[str, TensorRecord]:
        return self.structure.weights

    def left(self) -> Iterator[tuple[Call, Call | None]]:
        """The calls in the order of leaving, each with the call that made it, None for what nobody called."""
        stack: list[Call] = []
        for call in self.calls:
            while stack and stack[-1].depth >= call.depth:
                yield stack.pop(), stack[-1] if stack else None
            stack.append(call)
        while stack:
            yield stack.pop(), stack[-1] if stack else None

    def events(self) -> Iterator[Event]:
        """All enter and leave events in the order in which they happened."""
        stack: list[Call] = []
        for call in (*self.calls, None):
            while stack and (call is None or stack[-1].depth >= call.depth):
                left = stack.pop()
                yield Event("leave", left, stack[-1] if stack else None)
            if call is not None:
                yield Event("enter", call, stack[-1] if stack else None)
                stack.append(call)

    def without_dtypes(self) -> ForwardTrace:
        """The same pass without the dtypes that its code computes in, which not every recording holds."""
        calls = [
            call
            if not call.outputs or COMPUTED_IN not in call.outputs
            else replace(call, outputs={path: leaf for path, leaf in call.outputs.items() if path != COMPUTED_IN})
            for call in self.calls
        ]
        return replace(self, calls=calls)

    def narrowed(self, width: int, weight_width: int) -> ForwardTrace:
        """The same pass with sketches of at most `width` numbers, those of weights of at most `weight_width`.

        Its shadow is left out.
        """
        weights = {key: record.narrowed(weight_width) for key, record in self.weights.items()}
        tensors = {key: record.narrowed(width) for key, record in self.tensors.items()}
        return replace(self, shadow=None, structure=replace(self.structure, weights=weights), tensors=tensors)
