"""What two sketches of a weight show of what was done to its values."""

import numpy as np
import pytest
import torch

from pytest_modelviz.compare.sketched_changes import sketched_change, with_sketched_changes
from pytest_modelviz.probe.sketch import record_tensor
from pytest_modelviz.records.changes import Affine, FewValues
from pytest_modelviz.records.findings import WeightFinding
from pytest_modelviz.records.structure import ModelStructure, ModuleRecord
from pytest_modelviz.records.tensors import WEIGHT_WIDTH, TensorRecord
from pytest_modelviz.records.verdict import Verdict


def record(values, dtype=torch.float32):
    return record_tensor(values.to(dtype), WEIGHT_WIDTH)


def large():
    return torch.randn(64, 50, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("count", [5, 3200])
@pytest.mark.parametrize(("factor", "said"), [(1.05, 1.05), (-1.0, -1.0), (0.5, 0.5), (3.0, 3.0)])
def test_all_values_times_a_factor(count, factor, said):
    values = large().flatten()[:count]
    assert sketched_change(record(values), record(values * factor)) == Affine(said)


def test_a_shift_shows_where_the_sketch_is_the_tensor():
    values = large()[0]
    assert sketched_change(record(values), record(values + 0.25)) == Affine(offset=0.25)
    assert sketched_change(record(large()), record(large() + 0.25)) is None


def test_few_values():
    changed = large()
    changed[3, 4] += 1.0
    changed[40, 7] -= 2.0
    assert sketched_change(record(large()), record(changed)) == FewValues(2, 3200, is_exact=False)
    small = large()[0]
    one = small.clone()
    one[7] = 9.0
    assert sketched_change(record(small), record(one)) == FewValues(1, 50, is_exact=True)


def test_rounding_is_no_change_and_a_coarse_dtype_hides_none():
    values = large()
    assert sketched_change(record(values), record(values * (1 + 1e-7))) is None
    coarse = (record(values, torch.bfloat16), record(values * 1.5, torch.bfloat16))
    assert sketched_change(*coarse) == Affine(1.5)


@pytest.mark.parametrize(
    "other",
    [
        TensorRecord("float32", (3, 1), np.ones(3, np.float32)),
        TensorRecord("float64", (3,), np.ones(3)),
        TensorRecord("float32", (3,), np.zeros(0, np.float32)),
        TensorRecord("float32", (3,), np.full(3, np.inf, np.float32)),
        TensorRecord("float32", (3,), np.full(3, 2.0, np.float32), {"nan": (1, 7)}),
    ],
)
def test_what_cannot_be_compared(other):
    baseline = TensorRecord("float32", (3,), np.array([1.0, 2.0, 4.0], np.float32))
    assert sketched_change(baseline, other) is None
    assert sketched_change(other, baseline) is None


def test_what_is_all_zero_now_or_was_is_no_multiple():
    zero = record(torch.zeros(5))
    assert sketched_change(zero, record(torch.ones(5))) is None
    assert sketched_change(record(torch.ones(5)), zero) == Affine(offset=-1.0)
    assert sketched_change(record(torch.arange(5.0)), zero) is None


def test_findings_on_weights_that_both_hold():
    def structure(factor):
        modules = {"a": ModuleRecord("Linear", {}, {"weight": "a.weight"})}
        return ModelStructure(modules, {"a.weight": record(large() * factor)})

    findings = (WeightFinding("a", "weight", 0.1), WeightFinding("b", "weight", 0.1))
    verdict = Verdict.match(compared=1, error=0.0, tolerance=0.0, findings=findings)
    changes = [finding.change for finding in with_sketched_changes(verdict, structure(1), structure(2)).findings]
    assert changes == [Affine(2.0), None]
