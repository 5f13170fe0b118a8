"""The drift that tests of lists, formats and reports change as each of them needs it; a check without a baseline."""

from dataclasses import replace

from pytest_modelviz.records.check_result import CheckResult, Status
from pytest_modelviz.records.effect import OutputEffect
from pytest_modelviz.records.verdict import Cause, Divergence

FIRST = Divergence("conv", "Conv2d", 0, 0.05, 0.0001)
DRIFT = CheckResult(
    nodeid="test_a.py::test_a",
    view="feature_maps",
    name="feature_maps",
    status=Status.DRIFT,
    message="feature_maps drifted, first at conv (Conv2d)\n  error     0.05",
    baseline="baselines/x.json",
    candidate=".modelviz/candidates/x.json",
    error=0.05,
    tolerance=0.0001,
    cause=Cause.WEIGHTS,
    first_divergence=FIRST,
    output=OutputEffect(0.025, 0.0001, samples=8, top1_changed=1),
)
MISSING = replace(
    DRIFT, name="new", status=Status.MISSING, message="new: no baseline", cause=None, first_divergence=None, output=None
)
EFFECT = OutputEffect(0.025, 0.0001)  # of which no class is known
