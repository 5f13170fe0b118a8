"""How far a drift has spread, also beyond the point where two passes call different modules.

Up to there calls are compared one by one. After it what a call returns is looked for among all that the actual pass
returns: a tensor that is still there, under whatever name, has not drifted. A call that is no longer made has, unless
its module is gone: something else may do its work.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from pytest_modelviz.compare.tolerance import is_exact
from pytest_modelviz.compare.walk import Walk
from pytest_modelviz.records.trace import Call, TensorRecord

Key = tuple[str, tuple[int, ...], int]


def drifted_layers(walk: Walk) -> set[str]:
    """The layers of the baseline of which a call returns what no call of the actual pass returns within tolerance."""
    drifted = {layer.layer for layer in walk.layers if layer.drifted}
    if walk.parted is None:
        return drifted
    compared = {(layer.layer, layer.call) for layer in walk.layers}
    known = _Returned(walk)
    made = {(call.layer, call.index) for call in walk.actual.calls}
    for call in walk.baseline.calls:
        if (call.layer, call.index) in compared or call.layer in walk.passed_over:
            continue
        missing = call.layer in walk.actual.modules and (call.layer, call.index) not in made
        if missing or not known.has(call):
            drifted.add(call.layer)
    return drifted


class _Returned:
    """All tensors that the calls of the actual pass return, by dtype and shape."""

    def __init__(self, walk: Walk) -> None:
        self._walk = walk
        tables: dict[Key, list[npt.NDArray[np.float64]]] = {}
        for record in _returned(walk.actual.calls, walk.actual.tensors):
            tables.setdefault(_key(record), []).append(record.sketches[-1].astype(np.float64))
        self._tables = {key: np.stack(sketches) for key, sketches in tables.items()}

    def has(self, call: Call) -> bool:
        return all(
            self._reappears(record, call.layer) for record in _returned([call], self._walk.baseline.tensors)
        ) and bool(call.outputs)

    def _reappears(self, record: TensorRecord, layer: str) -> bool:
        table = self._tables.get(_key(record))
        if table is None:
            return False
        tolerances = self._walk.tolerances.of(layer)
        allowed = 0.0 if is_exact(record.dtype) else tolerances.relative(record.dtype)
        before = record.sketches[-1].astype(np.float64)
        size = float(np.linalg.norm(before))
        return bool((np.linalg.norm(table - before, axis=1) <= allowed * size + tolerances.absolute).any())


def _returned(calls: Iterable[Call], tensors: dict[str, TensorRecord]) -> Iterable[TensorRecord]:
    for call in calls:
        for leaf in (call.outputs or {}).values():
            if leaf.tensor is not None:
                yield tensors[leaf.tensor]


def _key(record: TensorRecord) -> Key:
    return record.dtype, record.shape, record.sketches[-1].size
