"""Records what calls are given and return: a nested value as its leaves, a tensor once as long as it is the same."""

import functools
import weakref
from collections.abc import Callable, Container

import torch

from pytest_modelviz.probe.nested_values import leaves, literal
from pytest_modelviz.probe.purity import state_of
from pytest_modelviz.probe.side_effects import Arguments, is_item_of
from pytest_modelviz.probe.sketch import ACTIVATION_WIDTH, record_number, record_shape
from pytest_modelviz.probe.sketch_queue import SketchQueue
from pytest_modelviz.records.structure import EMPTY, LENT, WRITTEN
from pytest_modelviz.records.tensors import TensorRecord
from pytest_modelviz.records.trace import Call, Leaf

RecordTensor = Callable[[torch.Tensor], TensorRecord]


class LeafRecorder:
    """The leaves of a pass, and the records of the tensors among them in `tensors`, by their keys."""

    def __init__(self, record_tensor: RecordTensor, queue: SketchQueue | None = None) -> None:
        self._record_tensor, self._queue = record_tensor, queue
        self.records_numbers = record_tensor is not record_shape
        self.tensors: dict[str, TensorRecord] = {}
        self._sketched: dict[int, tuple[weakref.ref[torch.Tensor], object, str]] = {}  # tensor, state, key

    def record(
        self, values: Arguments, prefix: str, *, anew: bool = False, with_empty: bool = False, are_given: bool = False
    ) -> dict[str, Leaf]:
        """Record a nested value's leaves, as `key` records tensors."""
        leaf_by_path: dict[str, Leaf] = {}
        for name, value in values:
            if isinstance(value, torch.Tensor):  # as nearly all values are: its leaf is found faster without a walk
                path = name if name not in leaf_by_path else _unused(name, leaf_by_path)
                leaf_by_path[path] = Leaf(self.key(value, prefix + path, anew=anew, is_given=are_given))
                continue
            for written, item in leaves(value, name, with_empty=with_empty):
                path = _unused(written, leaf_by_path)  # a key such as "a.b" is written like the "b" within "a"
                if isinstance(item, torch.Tensor):
                    leaf_by_path[path] = Leaf(self.key(item, prefix + path, anew=anew, is_given=are_given))
                elif isinstance(item, (float, complex)) and self.records_numbers:
                    leaf_by_path[path] = Leaf(tensor=self._add(record_number(item), prefix + path))
                else:
                    leaf_by_path[path] = Leaf(literal=literal(item))
        return leaf_by_path

    def written(self, call: Call, arguments: Arguments, empty: set[str], prefix: str) -> dict[str, Leaf]:
        """What a call has put into its arguments, or taken out of them; these were `empty` before."""
        recorded = set(self.tensors)
        before = {**dict.fromkeys(empty, Leaf(literal=EMPTY)), **call.inputs}
        after = self.record(arguments, prefix, anew=True, with_empty=True)
        written = {
            f"{path}{WRITTEN}": leaf for path, leaf in after.items() if not self._is_same(before.get(path), leaf)
        }
        for path in before.keys() - after.keys():
            if not path.endswith(LENT) and not any(is_item_of(inner, path) for inner in after):
                written[f"{path}{WRITTEN}"] = Leaf(literal="<removed>")
        used = {leaf.tensor for leaf in written.values()} | {key for _, _, key in self._sketched.values()}
        for key in self.tensors.keys() - recorded - used:  # numbers, which are recorded anew wherever they are
            del self.tensors[key]
        return written

    def _is_same(self, before: Leaf | None, after: Leaf) -> bool:
        if before is None or before.tensor is None or after.tensor is None:
            return before == after
        return before == after or self.tensors[before.tensor].is_bitwise(self.tensors[after.tensor])

    def key(self, tensor: torch.Tensor, name: str, *, anew: bool = False, is_given: bool = False) -> str:
        """The key of a tensor's record. It is recorded unless the same tensor was, and has not changed since.

        Not every write is noticed: NumPy writes into the memory of a tensor, and sparse tensors have none of their own.

        Args:
            tensor: the tensor.
            name: its key, unless another tensor has that already.
            anew: record it also where no write since was noticed; the queue must have been settled.
            is_given: whether it is an argument of a call.

        """
        state = state_of(tensor)
        sketched = self._sketched.get(id(tensor))
        known = sketched[2] if sketched and sketched[0]() is tensor and sketched[1] == state else None
        if known is not None and not anew:
            return known
        if self._queue is not None and not anew:
            key = name if name not in self.tensors else _unused(name, self.tensors)
            keep = functools.partial(self.tensors.__setitem__, key)
            self.tensors[key] = self._queue.record(tensor, ACTIVATION_WIDTH, keep, is_kept=is_given)
        else:
            record = self._record_tensor(tensor)
            if known is not None and record.is_bitwise(self.tensors[known]):
                return known
            key = self._add(record, name)
        self._sketched[id(tensor)] = (weakref.ref(tensor), state, key)
        return key

    def _add(self, record: TensorRecord, name: str) -> str:
        key = _unused(name, self.tensors)  # a module that calls itself has the same name again
        self.tensors[key] = record
        return key


def _unused(name: str, names: Container[str]) -> str:
    unused, repetition = name, 1
    while unused in names:
        repetition += 1
        unused = f"{name}~{repetition}"
    return unused
