"""Findings at the lines of checks: annotations of GitHub Actions, and Code Quality reports of GitLab."""

from dataclasses import replace

import check_results
import pytest

from pytest_modelviz.records.check_result import CheckResult, Status
from pytest_modelviz.records.effect import OutputEffect
from pytest_modelviz.records.verdict import Cause
from pytest_modelviz.reports.call_sites import call_site_in_repository
from pytest_modelviz.reports.github import annotation_lines
from pytest_modelviz.reports.gitlab import code_quality

OF_A = {"nodeid": "tests/test_a.py::test_a"}
DRIFT = replace(check_results.DRIFT, **OF_A, output=check_results.EFFECT, location=("tests/test_a.py", 14))
MISSING = replace(check_results.MISSING, **OF_A)


def annotated(*checks: CheckResult, project: str | None = None, accept: str = "modelviz accept a") -> list[str]:
    return annotation_lines([replace(check, accept_command=accept or None) for check in checks], project)


@pytest.mark.parametrize(
    ("location", "project", "site"),
    [
        (("tests/test_a.py", 14), None, ("tests/test_a.py", 14)),
        (("tests/test_a.py", 14), ".", ("tests/test_a.py", 14)),
        (("tests/test_a.py", 14), "packages/a", ("packages/a/tests/test_a.py", 14)),
        (("../lib/checks.py", 3), "packages/a", ("packages/lib/checks.py", 3)),
        (("/lib/checks.py", 0), "packages/a", ("/lib/checks.py", 1)),
        (None, "packages/a", ("packages/a/tests/test_a.py", 1)),
    ],
)
def test_files_are_named_as_the_repository_does(location, project, site):
    assert call_site_in_repository(replace(DRIFT, location=location), project) == site


class TestAnnotations:
    def test_one_of_a_test_says_all_its_checks(self):
        assert annotated(DRIFT, MISSING) == [
            "::error file=tests/test_a.py,line=14,title=modelviz%3A output off by 2.5 %25%3A weights at conv"
            "::tests/test_a.py::test_a%0Afeature_maps: output off by 2.5 %25: weights at conv%0Anew: no baseline"
            "%0Amodelviz accept a"
        ]

    def test_the_command_is_that_of_any_check_that_has_one(self):
        unstable = replace(DRIFT, name="noise", status=Status.UNSTABLE)
        (line,) = annotation_lines([unstable, replace(DRIFT, accept_command="modelviz accept a")], None)
        assert line.endswith("%0Amodelviz accept a")
        (line,) = annotation_lines([unstable], None)
        assert "accept" not in line

    def test_a_file_outside_of_the_repository_is_not_named(self):
        (line,) = annotated(replace(DRIFT, location=("../x.py", 3)), project=".", accept="")
        assert line.startswith("::error title=modelviz%3A output off")
        assert line.endswith("output off by 2.5 %25: weights at conv")

    def test_ten_and_a_count(self):
        tests = [replace(DRIFT, nodeid=f"test_a.py::test_{number}") for number in range(12)]
        assert [line.split(" ")[0] for line in annotated(*tests)] == ["::error"] * 10 + ["::notice"]
        assert annotated(*tests)[-1] == (
            "::notice title=modelviz::2 more tests did not match: the summary of the job has all of them"
        )
        assert len(annotated(*tests[:10])) == 10

    def test_a_test_with_many_checks_stays_short(self):
        (line,) = annotated(*[replace(DRIFT, name=f"n{number}") for number in range(11)])
        assert line.count("%0A") == 10
        assert "n7: " in line
        assert "n8" not in line
        assert "%0Aand 3 more%0A" in line

    @pytest.mark.parametrize("text", ["a\n::error::no", "a::error::no", "a,line=1::x", "%0A::error::no", "##[error]no"])
    @pytest.mark.parametrize("field", ["nodeid", "name", "layer", "file"])
    def test_no_name_ends_a_field_or_the_line(self, text, field):
        changes = {
            "layer": {"first_divergence": replace(DRIFT.first_divergence, layer=text)},
            "file": {"location": (text, 14)},
        }
        (line,) = annotated(replace(DRIFT, **changes.get(field, {field: text})))
        assert line.isprintable()
        assert "##[" not in line
        command, properties, _, *_ = line.removeprefix("::error ").partition("::")[0], *line.split("::")[1:]
        assert command.count(",") == 2  # between file, line and title
        assert ":" not in command
        assert command.split(",")[1] == "line=14"
        assert properties == f"error {command}"
        assert "%0A::error" not in line.partition("::tests/")[0]


class TestCodeQuality:
    def test_an_issue_has_what_gitlab_requires(self):
        (issue,) = code_quality([(DRIFT, "sub")])
        assert len(issue.pop("fingerprint")) == 64
        assert issue == {
            "description": "tests/test_a.py::test_a: feature_maps: output off by 2.5 %: weights at conv",
            "check_name": "modelviz.drift",
            "severity": "critical",
            "location": {"path": "sub/tests/test_a.py", "lines": {"begin": 14}},
        }

    @pytest.mark.parametrize(
        ("check", "severity"),
        [
            (DRIFT, "critical"),
            (replace(DRIFT, output=OutputEffect(1e-9, 0.1)), "major"),
            (replace(DRIFT, output=OutputEffect(0.05, 0.1, samples=8, top1_changed=1)), "critical"),
            (replace(DRIFT, output=None), "major"),
            (MISSING, "minor"),
            (replace(MISSING, status=Status.UNREADABLE), "major"),
        ],
    )
    def test_severity_follows_the_output(self, check, severity):
        assert code_quality([(check, None)])[0]["severity"] == severity

    def test_a_fingerprint_stands_for_a_finding_wherever_its_line_is(self):
        moved = replace(DRIFT, location=("tests/test_a.py", 20))
        others = [replace(DRIFT, name="b"), replace(DRIFT, nodeid="c"), replace(DRIFT, cause=Cause.INPUT), MISSING]
        prints = [issue["fingerprint"] for issue in code_quality([(check, None) for check in (DRIFT, moved, *others)])]
        assert len(prints) == len(set(prints)) == 5
        assert code_quality([(moved, None)])[0]["fingerprint"] == prints[0]

    def test_names_are_printable(self):
        (issue,) = code_quality([(replace(DRIFT, nodeid="a\n::error::b", location=None), None)])
        assert issue["description"].isprintable()
        assert issue["location"]["path"].isprintable()
