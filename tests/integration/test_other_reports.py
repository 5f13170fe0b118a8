"""What JUnit files and pytest-html's reports say about checks."""

import importlib.util
import re
import xml.etree.ElementTree as ET

import pytest

from pytest_modelviz.records.check_result import CheckResult, Status
from pytest_modelviz.reports.junit import properties

TEST = """
from net import load, photo

def test_net(record_property, model_summary, feature_maps):
    record_property("own", "kept")
    model_summary(load(), input_data=photo())
    feature_maps(load(), photo())

def test_plain(): ...
"""


def junit(project, nodeid: str = "test_net") -> dict[str, str]:
    cases = ET.parse(project.path / "junit.xml").iter("testcase")
    case = [case for case in cases if case.get("name") == nodeid][-1]
    pairs = [(each.get("name"), each.get("value")) for each in case.iter("property")]
    assert len(pairs) == len(dict(pairs))
    return dict(pairs)


@pytest.mark.parametrize("workers", [[], ["-n1"]])
def test_junit_files_have_properties_of_each_check(project, workers):
    project.test(TEST)
    project.run_once("--modelviz-update").assert_outcomes(passed=2)
    project.fault("weight")
    run = project.run_apart if workers else project.run
    run("--modelviz", "--junitxml=junit.xml", *workers)
    found = junit(project)
    error, output = (float(found.pop(f"modelviz.feature_maps.{key}")) for key in ("error", "output_error"))
    assert error == pytest.approx(0.042, rel=0.1)
    assert output == pytest.approx(project.check("feature_maps")["output"]["error"], rel=1e-5)
    assert found == {
        "own": "kept",
        "modelviz.model_summary.status": "match",
        "modelviz.model_summary.error": "0",
        "modelviz.feature_maps.status": "drift",
        "modelviz.feature_maps.cause": "weights",
        "modelviz.feature_maps.layer": "conv2",
    }
    assert junit(project, "test_plain") == {}


def test_a_test_that_is_run_again_has_the_properties_of_its_last_run(project):
    project.test(
        """
        from net import here, load, photo

        def test_net(feature_maps):
            if (here / "again.txt").exists():
                (here / "fault.txt").write_text("")
            (here / "again.txt").touch()
            feature_maps(load(), photo())
        """
    )
    project.run("--modelviz-update").assert_outcomes(passed=1)
    (project.path / "again.txt").unlink()
    project.fault("weight")
    project.run("--modelviz", "--reruns=1", "--junitxml=junit.xml").assert_outcomes(passed=1)
    assert junit(project) == {"modelviz.feature_maps.status": "match", "modelviz.feature_maps.error": "0"}


def test_checks_of_a_fixture_s_teardown_have_properties(project):
    project.test(
        "import pytest\nfrom net import load, photo\n@pytest.fixture\ndef late(feature_maps):\n    yield\n"
        "    feature_maps(load(), photo())\ndef test_net(late): ...\n"
    )
    project.run("--modelviz", "--junitxml=junit.xml")
    assert junit(project) == {"modelviz.feature_maps.status": "missing"}


def test_names_are_printable():
    check = CheckResult(nodeid="t", view="v", name="a\n::error::b", status=Status.MISSING, baseline="b")
    assert properties(check) == [("modelviz.a\\n::error::b.status", "missing")]


@pytest.mark.skipif(importlib.util.find_spec("pytest_html") is None, reason="needs pytest-html")
def test_pytest_html_gets_the_pictures(project):
    project.test(TEST)
    project.run_once("--modelviz-update").assert_outcomes(passed=2)
    project.fault("weight")
    with_html = ["-p", "html", "-p", "metadata", "--self-contained-html", "--html=report.html"]
    project.run_apart("--modelviz", *with_html, "-n1")
    text = (project.path / "report.html").read_text("utf-8")
    parts = (".baseline", ".actual", ".difference")
    files = (project.path / ".modelviz/pictures").rglob("*.png")
    pictures = [path for path in files if not path.stem.endswith(parts)]
    assert 0 < len(re.findall(r"image/png;base64,", text)) == min(len(pictures), 4)


def test_without_a_report_of_pytest_html_there_are_no_pictures_in_reports(project):
    project.pytester.makeconftest("def pytest_runtest_logreport(report): assert not hasattr(report, 'extras')")
    project.test(TEST)
    project.run("--modelviz").assert_outcomes(failed=1, passed=1)
