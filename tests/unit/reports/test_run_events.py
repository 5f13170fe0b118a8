"""What is drawn and said of a run as a whole."""

import math

import pytest

from pytest_modelviz.records.check_result import CheckResult, LayerCounts, Status
from pytest_modelviz.records.effect import OutputEffect
from pytest_modelviz.records.run_result import RunFacts, RunResult
from pytest_modelviz.records.verdict import Cause, Divergence
from pytest_modelviz.reports.run_events import has_events, trend_scalars
from pytest_modelviz.reports.run_markdown import run_markdown

FACTS = RunFacts("id", "2.14", "3.11", "linux", "cpu", 1, commit="a1b2c3d4e5", branch="main", dirty=True)


def check(status: Status = Status.DRIFT, **facts) -> CheckResult:
    given = {"nodeid": "t.py::test_a", "view": "feature_maps", "name": "feature_maps", "baseline": "b", **facts}
    return CheckResult(status=status, **given)


def drift(**facts) -> CheckResult:
    first = Divergence("conv1", "Conv2d", 0, 0.5, 1e-4)
    given = {"cause": Cause.WEIGHTS, "first_divergence": first, "candidate": "c", "message": "all x 1.05", **facts}
    return check(error=0.5, tolerance=1e-4, **given)


class TestTrend:
    def test_errors_layers_and_outputs(self):
        output = OutputEffect(error=0.2, tolerance=1e-5)
        results = [
            drift(layers=LayerCounts(9, 4), output=output),
            check(Status.MATCH, name="m", error=0.05, tolerance=0.1),
        ]
        assert trend_scalars(results) == {
            "!checks/drifted": 1.0,
            "error (1 = allowed)/t.py::test_a/feature_maps": 5000.0,
            "layers drifted/t.py::test_a/feature_maps": 4.0,
            "output error (1 = allowed)/t.py::test_a/feature_maps": pytest.approx(20_000.0),
            "error (1 = allowed)/t.py::test_a/m": 0.5,
            "layers drifted/t.py::test_a/m": 0.0,
        }

    @pytest.mark.parametrize(
        ("error", "tolerance", "multiple"),
        [(0.0, 0.0, 0.0), (0.0, None, 0.0), (0.1, 0.0, None), (None, 0.1, None), (math.inf, 0.1, None)],
    )
    def test_what_is_no_multiple_is_not_drawn(self, error, tolerance, multiple):
        found = trend_scalars([check(error=error, tolerance=tolerance)])
        assert found.get("error (1 = allowed)/t.py::test_a/feature_maps") == multiple

    def test_variants_have_series_of_their_own(self):
        found = trend_scalars([check(Status.MATCH, variant="cuda", error=0.0)])
        assert "error (1 = allowed)/t.py::test_a/feature_maps@cuda" in found

    def test_what_was_not_compared_has_no_error(self):
        assert trend_scalars([check(Status.MISSING), check(Status.RECORDED)]) == {"!checks/drifted": 0.0}


@pytest.mark.parametrize("status", Status)
def test_only_what_was_to_be_compared_is_shown(status):
    assert has_events([check(status)]) is (status not in (Status.RECORDED, Status.NOT_COMPARED))


class TestMarkdown:
    def markdown(self, *results: CheckResult) -> str:
        return run_markdown(RunResult(FACTS, results), "--from 'a b'", 12)

    def test_what_changed_and_the_command(self):
        text = self.markdown(drift(), check(Status.MATCH))
        assert text.startswith("## 1 match, 1 drift\n\nRun `id`, step 12 of the trend; commit `a1b2c3d*` (with ")
        assert "branch `main`" in text
        assert (
            "### 1. `weights at conv1, 5,000 x allowed`\n\n1 check of 1 test\n\n- `t.py::test_a`\n\nTo accept" in text
        )
        assert "modelviz accept --run id --from 'a b' --group weights@conv1\n" in text
        assert "all x 1.05" in text

    def test_the_report_is_of_the_check_that_knows_the_output(self):
        known = drift(name="second", message="the output", output=OutputEffect(error=0.2, tolerance=1e-5))
        text = self.markdown(drift(message="nothing"), known)
        assert "the output" in text
        assert "\n\n2 checks of 1 test; output off by 0.2\n\n" in text
        assert "nothing" not in text

    def test_failures_of_other_kinds(self):
        assert "- `feature_maps: no baseline` in `t.py::test_a`" in self.markdown(check(Status.MISSING))

    def test_expected_failures_are_no_groups(self):
        assert "###" not in self.markdown(drift(expected_failure=True))

    def test_long_lists_are_cut_and_counted(self):
        layers = [Divergence(f"conv{number}", "Conv2d", 0, 0.5, 1e-4) for number in range(25)]
        text = self.markdown(*(drift(first_divergence=first) for first in layers))
        assert "### 20. " in text
        assert "### 21. " not in text
        assert "And 5 more groups:" in text
        text = self.markdown(*(drift(nodeid=f"t.py::test_{number}") for number in range(12)))
        assert "and 2 more tests" in text

    def test_a_run_without_git(self):
        facts = RunFacts("id", "2.14", "3.11", "linux", "cpu", 1)
        assert "commit" not in run_markdown(RunResult(facts, (drift(),)), "", 1)
