"""Traces as arrays: they come back as they were, and what is damaged is unreadable."""

import zlib
from dataclasses import replace

import numpy as np
import pytest
from traces_by_hand import trace

from pytest_modelviz.compare.stored import stored_trace
from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.sketch_version import sketched_as
from pytest_modelviz.records.trace import Leaf
from pytest_modelviz.records.trace_arrays import are_sketched_alike, pack_trace, stated_version


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
        monkeypatch.setattr("pytest_modelviz.records.trace_structure.EARLIER_VERSION", 1)
        arrays = pack_trace(trace())
        monkeypatch.undo()
        assert stated_version(arrays) == 1
        with pytest.raises(UnreadableBaselineError, match="made by another version"):
            stored_trace(arrays)

    def test_a_trace_that_names_what_it_does_not_hold_is_damaged(self):
        broken = trace()
        broken.calls[0].inputs = {"x": Leaf(tensor="nothing")}
        with pytest.raises(UnreadableBaselineError, match="names a tensor it does not hold: 'nothing'"):
            stored_trace(pack_trace(broken))
        lost = trace()
        lost.calls[1].layer = "lost"
        with pytest.raises(UnreadableBaselineError, match="calls a layer it does not hold: 'lost'"):
            stored_trace(pack_trace(lost))


class TestVersions:
    """A trace has the earlier version as long as it holds nothing whose sketch would differ."""

    @pytest.fixture
    def packed(self):
        def packed(version, size=2**16 + 1, kind="tensors"):
            made = trace()
            table = getattr(made, kind)
            key = next(iter(table))
            table[key] = replace(table[key], shape=(size,), sketch=np.full(251, float(version), np.float32))
            with sketched_as(version):
                return pack_trace(made)

        return packed

    @pytest.mark.parametrize("kind", ["tensors", "weights"])
    def test_only_large_tensors_have_one(self, packed, kind):
        assert [stated_version(packed(3, size, kind)) for size in (2**16, 2**16 + 1)] == [2, 3]
        assert [stated_version(packed(2, size, kind)) for size in (2**16, 2**16 + 1)] == [2, 2]
        assert stated_version({}) is None
        assert stated_version({"trace.structure": np.frombuffer(b"nothing", np.uint8)}) is None

    def test_small_ones_can_always_be_compared(self, packed):
        assert not are_sketched_alike(packed(2), packed(3))
        assert not are_sketched_alike(packed(3), packed(2))
        for pair in (
            (packed(2), packed(2)),
            (packed(3), packed(3)),
            (packed(2, 1), packed(3)),
            (packed(3), packed(2, 1)),
        ):
            assert are_sketched_alike(*pair)
        assert are_sketched_alike({}, packed(3))

    def test_a_version_that_was_never_made_is_refused(self, packed):
        forged = packed(3)
        text = zlib.decompress(forged["trace.structure"].tobytes()).replace(b'"sketch":3', b'"sketch":4')
        forged["trace.structure"] = np.frombuffer(zlib.compress(text), np.uint8)
        with pytest.raises(UnreadableBaselineError, match="another version"):
            are_sketched_alike(forged, packed(3))
