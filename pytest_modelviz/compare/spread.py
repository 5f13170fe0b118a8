"""How many layers drifted, also beyond the point where two passes begin to call different modules.

Up to that point calls are compared one by one. After it, what a call returns is searched for among everything that the
actual pass returns: a tensor that is still there, under whatever name, has not drifted. A call that is no longer made
has drifted, unless its module is gone: another module may do its work.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from pytest_modelviz.compare.lockstep import LockstepComparison
from pytest_modelviz.compare.precision import is_exact
from pytest_modelviz.records.norms import norm, row_norms
from pytest_modelviz.records.tensors import TensorRecord
from pytest_modelviz.records.trace import Call

_SLACK = 1e-9  # of rounding
_Sketch = npt.NDArray[np.float64]
_Key = tuple[str, tuple[int, ...], int]


def drifted_layers(comparison: LockstepComparison) -> set[str]:
    """The layers of the baseline with a call whose outputs no call of the actual pass returns, within tolerance."""
    drifted = {layer.layer for layer in comparison.layers if layer.drifted}
    if comparison.order_divergence is None:
        return drifted
    compared = {(layer.layer, layer.call) for layer in comparison.layers}
    returned = _ReturnedTensors(comparison)
    calls = {(call.layer, call.index) for call in comparison.actual.calls}
    for call in comparison.baseline.calls:
        if call.layer in drifted or call.layer in comparison.skipped_containers or (call.layer, call.index) in compared:
            continue
        missing = call.layer in comparison.actual.modules and (call.layer, call.index) not in calls
        if missing or not returned.has_outputs_of(call):
            drifted.add(call.layer)
    return drifted


class _ReturnedTensors:
    """All tensors that the calls of the actual pass return, by dtype and shape."""

    def __init__(self, comparison: LockstepComparison) -> None:
        self._comparison = comparison
        sketches: dict[_Key, list[_Sketch]] = {}
        for record in _returned(comparison.actual.calls, comparison.actual.tensors):
            for sketched in (record, record.former):  # the baseline may be of an earlier version
                if sketched is not None:
                    sketches.setdefault(_key(sketched), []).append(sketched.bulk_sketch.astype(np.float64))
        self._tables: dict[_Key, tuple[_Sketch, _Sketch]] = {}  # sizes in ascending order, and the sketches
        for key, rows in sketches.items():
            table = np.stack(rows)
            sizes = row_norms(table)
            order = np.argsort(sizes)
            self._tables[key] = sizes[order], table[order]

    def has_outputs_of(self, call: Call) -> bool:
        return all(
            self._reappears(record, call.layer) for record in _returned([call], self._comparison.baseline.tensors)
        ) and bool(call.outputs)

    def _reappears(self, record: TensorRecord, layer: str) -> bool:
        if _key(record) not in self._tables:
            return False
        sizes, table = self._tables[_key(record)]
        tolerances = self._comparison.tolerances.of(layer)
        allowed = 0.0 if is_exact(record.dtype) else tolerances.relative(record.dtype)
        before = record.bulk_sketch.astype(np.float64)
        size = norm(before)
        farthest = allowed * size + tolerances.absolute
        # only what is about as large can be as near: a baseline may hold any number of tensors
        reach = farthest + _SLACK * size
        first, last = np.searchsorted(sizes, size - reach), np.searchsorted(sizes, size + reach, side="right")
        return bool((row_norms(table[first:last] - before) <= farthest).any())


def _returned(calls: Iterable[Call], tensors: dict[str, TensorRecord]) -> Iterable[TensorRecord]:
    for call in calls:
        for leaf in (call.outputs or {}).values():
            if leaf.tensor is not None:
                yield tensors[leaf.tensor]


def _key(record: TensorRecord) -> _Key:
    return record.dtype, record.shape, record.bulk_sketch.size
