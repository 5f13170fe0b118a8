"""How many layers drifted, also beyond the point where two passes begin to call different modules.

Up to that point calls are compared one by one. After it, what a call returns is searched for among everything that the
actual pass returns: a tensor that is still there, under whatever name, has not drifted. A call that is no longer made
has drifted, unless its module is gone: another module may do its work.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from pytest_modelviz.compare.lockstep import LockstepComparison
from pytest_modelviz.compare.precision import is_exact
from pytest_modelviz.records.tensors import TensorRecord
from pytest_modelviz.records.trace import Call

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
        if (call.layer, call.index) in compared or call.layer in comparison.skipped_containers:
            continue
        missing = call.layer in comparison.actual.modules and (call.layer, call.index) not in calls
        if missing or not returned.has_outputs_of(call):
            drifted.add(call.layer)
    return drifted


class _ReturnedTensors:
    """All tensors that the calls of the actual pass return, by dtype and shape."""

    def __init__(self, comparison: LockstepComparison) -> None:
        self._comparison = comparison
        tables: dict[_Key, list[npt.NDArray[np.float64]]] = {}
        for record in _returned(comparison.actual.calls, comparison.actual.tensors):
            tables.setdefault(_key(record), []).append(record.bulk_sketch.astype(np.float64))
        self._tables = {key: np.stack(sketches) for key, sketches in tables.items()}

    def has_outputs_of(self, call: Call) -> bool:
        return all(
            self._reappears(record, call.layer) for record in _returned([call], self._comparison.baseline.tensors)
        ) and bool(call.outputs)

    def _reappears(self, record: TensorRecord, layer: str) -> bool:
        table = self._tables.get(_key(record))
        if table is None:
            return False
        tolerances = self._comparison.tolerances.of(layer)
        allowed = 0.0 if is_exact(record.dtype) else tolerances.relative(record.dtype)
        before = record.bulk_sketch.astype(np.float64)
        size = float(np.linalg.norm(before))
        return bool((np.linalg.norm(table - before, axis=1) <= allowed * size + tolerances.absolute).any())


def _returned(calls: Iterable[Call], tensors: dict[str, TensorRecord]) -> Iterable[TensorRecord]:
    for call in calls:
        for leaf in (call.outputs or {}).values():
            if leaf.tensor is not None:
                yield tensors[leaf.tensor]


def _key(record: TensorRecord) -> _Key:
    return record.dtype, record.shape, record.bulk_sketch.size
