"""Reports of tests that failed by drifts: what is repeated is said in a line, and tests of nothing else are folded."""

import types
from dataclasses import replace

import check_results
import pytest

from pytest_modelviz.plugin.drift_report import ReportedDrifts
from pytest_modelviz.records.check_result import Status
from pytest_modelviz.records.verdict import Cause

DRIFT = replace(check_results.DRIFT, message="feature_maps drifted\n  cause     weights", output=None)
OTHER = replace(DRIFT, cause=Cause.INPUT, name="maps")
MISSING = replace(DRIFT, status=Status.MISSING, message="feature_maps: no baseline at b")


def reported(*, chars="fE", style="auto", verbosity=0):
    reporter = types.SimpleNamespace(hasopt=lambda char: char in chars, _tw=types.SimpleNamespace(fullwidth=80))
    config = types.SimpleNamespace(
        get_verbosity=lambda: verbosity,
        option=types.SimpleNamespace(tbstyle=style),
        pluginmanager=types.SimpleNamespace(get_plugin=lambda _: reporter),
    )
    return ReportedDrifts(config)


def rewritten(drifts, *results, sections=(), text=None, when="call"):
    text = "\n\n".join(result.message for result in results) if text is None else text
    report = pytest.TestReport("t.py::test", ("t.py", 0, "test"), {}, "failed", text, when, sections=[*sections])
    drifts.rewrite(report, results)
    return report


def is_folded(report):
    return hasattr(report, "_pdbshown")


def test_a_test_that_only_repeats_a_drift_is_folded_and_counted():
    drifts = reported()
    assert drifts.folded_lines() == []
    assert not is_folded(rewritten(drifts, DRIFT))
    again = rewritten(drifts, replace(DRIFT, nodeid="t.py::test_b"))
    assert is_folded(again)
    assert str(again.longrepr.reprcrash.message) == "weights at conv, 500 x allowed"
    assert drifts.folded_lines()[0].startswith("1 failed test is not reported above")
    rewritten(drifts, DRIFT)
    assert drifts.folded_lines()[0].startswith("2 failed tests are not reported above")


@pytest.mark.parametrize("results", [(DRIFT, OTHER), (DRIFT, MISSING), (OTHER,), (MISSING,), (OTHER, OTHER)])
def test_a_test_that_says_anything_new_is_not_folded(results):
    drifts = reported()
    rewritten(drifts, DRIFT)
    assert not is_folded(rewritten(drifts, *results))


def test_a_test_in_which_another_weight_differs_is_not_folded():
    drifts = reported()
    rewritten(drifts, DRIFT)
    other = replace(DRIFT, nodeid="t.py::test_b", message=f"{DRIFT.message}\n  also      head.bias differs by 0.5")
    assert not is_folded(again := rewritten(drifts, other))
    assert str(again.longrepr).splitlines()[-1] == "  also      head.bias differs by 0.5"


def test_printed_text_that_others_did_not_print_is_not_folded():
    drifts, printed = reported(), [("Captured stdout call", "loaded\n")]
    rewritten(drifts, DRIFT, sections=printed)
    assert is_folded(rewritten(drifts, DRIFT, sections=printed))
    assert not is_folded(rewritten(drifts, DRIFT))
    assert not is_folded(rewritten(drifts, DRIFT, sections=[*printed, ("Captured stderr call", "trouble\n")]))
    assert not is_folded(rewritten(drifts, DRIFT, sections=printed, text="AssertionError"))


@pytest.mark.parametrize("options", [{"chars": ""}, {"style": "line"}, {"verbosity": 1}])
def test_nothing_is_folded_that_no_other_line_would_name_or_that_is_asked_for(options):
    drifts = reported(**options)
    rewritten(drifts, DRIFT)
    assert not is_folded(rewritten(drifts, DRIFT))


def test_a_drift_in_a_fixture_is_an_error_and_not_folded():
    drifts = reported()
    rewritten(drifts, DRIFT)
    assert not is_folded(rewritten(drifts, DRIFT, when="setup"))
