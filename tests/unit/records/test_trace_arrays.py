"""Traces as arrays: they come back as they were, and what is damaged is unreadable."""

from dataclasses import replace

import numpy as np
import pytest
from traces_by_hand import trace

from pytest_modelviz.compare.stored import stored_trace
from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.trace import Leaf
from pytest_modelviz.records.trace_arrays import pack_trace


class TestTraceAsArrays:
    def test_it_comes_back_as_it_was(self):
        original = trace()
        original.structure.ties = (("a", "b"),)
        original.calls[1].outputs = None
        key = next(iter(original.tensors))
        original.tensors[key] = replace(original.tensors[key], step=0.1)
        again = stored_trace(pack_trace(original))
        assert again.calls == original.calls
        assert again.modules == original.modules
        assert again.structure.ties == original.structure.ties
        assert list(again.tensors) == list(original.tensors)
        assert [record.step for record in again.tensors.values()] == [r.step for r in original.tensors.values()]
        assert all(np.array_equal(again.tensors[key].sketch, original.tensors[key].sketch) for key in again.tensors)

    @pytest.mark.parametrize("step", [-0.1, 1e999])
    def test_integers_cannot_be_so_far_apart(self, step):
        original = trace()
        key = next(iter(original.tensors))
        original.tensors[key] = replace(original.tensors[key], step=step)
        with pytest.raises((UnreadableBaselineError, ValueError)):
            stored_trace(pack_trace(original))

    def test_damage_is_told_as_such(self):
        arrays = pack_trace(trace())
        packed = arrays["trace.structure"]
        for damaged in (
            {},
            {**arrays, "trace.structure": packed[:-5]},
            {**arrays, "trace.structure": packed[5:]},
            {**arrays, "trace.structure": packed.astype(np.int32)},
            {**arrays, "trace.sketches": arrays["trace.sketches"][:-1]},
            {**arrays, "trace.sketches": np.append(arrays["trace.sketches"], np.float32(1))},
            {**arrays, "trace.sketches": arrays["trace.sketches"][None]},
        ):
            with pytest.raises(UnreadableBaselineError):
                stored_trace(damaged)

    def test_other_sketches_are_not_compared(self, monkeypatch):
        arrays = pack_trace(trace())
        monkeypatch.setattr("pytest_modelviz.records.trace_arrays.SKETCH_VERSION", 0)
        with pytest.raises(UnreadableBaselineError, match="made by another version"):
            stored_trace(arrays)

    def test_a_trace_that_names_what_it_does_not_hold_is_damaged(self):
        broken = trace()
        broken.calls[0].inputs = {"x": Leaf(tensor="nothing")}
        with pytest.raises(UnreadableBaselineError, match="names a tensor it does not hold: 'nothing'"):
            stored_trace(pack_trace(broken))
