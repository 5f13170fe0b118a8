"""Tensors of one pass searched for in another by their values, whatever the layers that return them are called there.

A sketch stands for a tensor under any name. That is how a model is recognised that was built differently and computes
the same: a wrapper around it, a convolution into which a norm was folded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import numpy.typing as npt

from pytest_modelviz.compare.precision import is_exact
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.records.effect import Merger, Reappearance
from pytest_modelviz.records.norms import norm, row_norms
from pytest_modelviz.records.tensors import TensorRecord
from pytest_modelviz.records.trace import Call, ForwardTrace

_SLACK = 1e-9  # of rounding
_Sketch = npt.NDArray[np.float64]
_Key = tuple[str, tuple[int, ...], int]


class ReturnedTensors:
    """All tensors that the calls of a pass return, by dtype and shape."""

    def __init__(self, trace: ForwardTrace, tolerances: Tolerances) -> None:
        self._tolerances = tolerances
        sketches: dict[_Key, list[tuple[_Sketch, str]]] = {}
        for call in trace.calls:
            for record in returned([call], trace.tensors):
                for sketched in (record, record.former):  # the other pass may be of an earlier version
                    if sketched is not None:
                        row = sketched.bulk_sketch.astype(np.float64), call.layer
                        sketches.setdefault(_key(sketched), []).append(row)
        self._tables: dict[_Key, tuple[_Sketch, _Sketch, list[str]]] = {}  # sizes, ascending; sketches; layers
        for key, rows in sketches.items():
            table = np.stack([sketch for sketch, _ in rows])
            sizes = row_norms(table)
            order = np.argsort(sizes, kind="stable")
            self._tables[key] = sizes[order], table[order], [rows[at][1] for at in order]

    def layers_of(self, record: TensorRecord, layer: str) -> list[str]:
        """The layers that return a tensor which a layer of the other pass returns there, within its tolerance."""
        if _key(record) not in self._tables:
            return []
        sizes, table, layers = self._tables[_key(record)]
        tolerances = self._tolerances.of(layer)
        allowed = 0.0 if is_exact(record.dtype) else tolerances.relative(record.dtype)
        before = record.bulk_sketch.astype(np.float64)
        size = norm(before)
        farthest = allowed * size + tolerances.absolute
        # only what is about as large can be as near: a baseline may hold any number of tensors
        reach = farthest + _SLACK * size
        first, last = np.searchsorted(sizes, size - reach), np.searchsorted(sizes, size + reach, side="right")
        near = row_norms(table[first:last] - before) <= farthest
        return [layers[first + at] for at in np.flatnonzero(near)]


def returned(calls: Iterable[Call], tensors: Mapping[str, TensorRecord]) -> Iterator[TensorRecord]:
    """The tensors that calls return."""
    for call in calls:
        for leaf in (call.outputs or {}).values():
            if leaf.tensor is not None:
                yield tensors[leaf.tensor]


def reappearance(baseline: ForwardTrace, actual: ForwardTrace, tolerances: Tolerances) -> Reappearance:
    """How many of the tensors that the baseline's layers return are returned by any layer of the actual pass.

    Layers without calls inside are listed as merged where what they return is gone, and what a later layer made of it
    is returned under one name: `conv1 + bn1 became conv1`.
    """
    found = ReturnedTensors(actual, tolerances)
    count, mergers, lost = 0, [], list[str]()
    total = 0
    for call in _innermost(baseline):
        records = list(returned([call], baseline.tensors))
        if not records:
            continue
        total += 1
        layers = [found.layers_of(record, call.layer) for record in records]
        if not all(layers):
            lost.append(call.layer)
            continue
        count += 1
        name = call.layer if call.layer in layers[0] else layers[0][-1]
        if lost:
            mergers.append(Merger((*dict.fromkeys(lost), call.layer), name))
        lost = []
    return Reappearance(count, total, tuple(mergers))


def _innermost(trace: ForwardTrace) -> list[Call]:
    """The calls that make no calls themselves, in order."""
    following = [*trace.calls[1:], None]
    return [
        call for call, after in zip(trace.calls, following, strict=True) if after is None or after.depth <= call.depth
    ]


def _key(record: TensorRecord) -> _Key:
    return record.dtype, record.shape, record.bulk_sketch.size
