"""What `modelviz diff` allows, and what it makes of changes: its summary and its exit status."""

import numpy as np
import pytest
from click.testing import CliRunner

from pytest_modelviz.cli import main
from pytest_modelviz.cli.diff import project_tolerances, summary_line
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.check_result import CheckResult, Status
from pytest_modelviz.review.baseline_changes import BaselineChange
from pytest_modelviz.review.baseline_diff import Change
from pytest_modelviz.run.options import InvalidSettingError
from pytest_modelviz.run.project import Project
from pytest_modelviz.storage.names import Location
from pytest_modelviz.storage.store import Store


@pytest.mark.parametrize(
    ("ini", "tolerances"),
    [
        ({}, Tolerances()),
        ({"modelviz_rtol": "1e-3", "modelviz_atol": 0.5}, Tolerances(1e-3, 0.5)),
        ({"addopts": "-q --modelviz-rtol=1e-2", "modelviz_rtol": "1e-3"}, Tolerances(1e-2)),
        ({"modelviz_ignore": "*._trainer\n*._log\n"}, Tolerances(ignored=("*._trainer", "*._log"))),
        ({"modelviz_ignore": ["*._trainer", "*._log"]}, Tolerances(ignored=("*._trainer", "*._log"))),
    ],
)
def test_tolerances_are_those_of_the_configuration(tmp_path, ini, tolerances):
    assert project_tolerances(Project(tmp_path, ini)) == tolerances


@pytest.mark.parametrize("ini", [{"modelviz_rtol": "much"}, {"modelviz_ignore": [1]}])
def test_a_setting_that_makes_no_sense(tmp_path, ini):
    with pytest.raises(InvalidSettingError):
        project_tolerances(Project(tmp_path, ini))


def changes(**counts):
    result = CheckResult(nodeid="t.py::test", view="v", name="n", status=Status.MATCH, baseline="b")
    kinds = {change.name.lower(): change for change in Change}
    return [BaselineChange(kinds[kind], result) for kind, count in counts.items() for _ in range(count)]


@pytest.mark.parametrize(
    ("counts", "line"),
    [
        ({}, "0 baselines changed; 0 added; 0 removed"),
        ({"drift": 1}, "1 baseline changed: 1 drift; 0 added; 0 removed"),
        (
            {"drift": 2, "within_tolerance": 1, "added": 1},
            "3 baselines changed: 2 drift, 1 within tolerance; 1 added; 0 removed",
        ),
        (
            {"unreadable": 1, "not_compared": 2, "removed": 3, "renamed": 4},
            "3 baselines changed: 0 drift, 1 unreadable, 2 not compared; 0 added; 3 removed; 4 renamed",
        ),
    ],
)
def test_the_summary(counts, line):
    assert summary_line(changes(**counts)) == line


def test_what_could_not_be_compared_needs_a_review(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder, value in (("old", 1.0), ("new", 2.0)):
        ids = {"nodeid": "t.py::test", "name": "n"}
        Store(folder).save(Location.of(**ids), Capture("plain", {}, {"x": np.array([value])}), **ids)
    done = CliRunner().invoke(main, ["diff", "./old", "./new"])
    assert done.exit_code == 1
    assert "n: not compared, its view 'plain' is another plugin's" in done.output
    for options in ((), ("--short",), ("--format", "markdown")):
        shown = CliRunner().invoke(main, ["show", "--from", ".modelviz/diff", *options]).output
        assert ("could not be compared" if options else "not compared, its view") in shown
        assert "matched" not in shown


def test_what_is_on_one_side_only_is_shown_as_that(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder, name in (("old", "n"), ("new", "n"), ("new", "m")):
        ids = {"nodeid": "t.py::test", "name": name}
        Store(folder).save(Location.of(**ids), Capture("plain", {}, {"x": np.array([1.0])}), **ids)
    assert CliRunner().invoke(main, ["diff", "./old", "./new"]).exit_code == 0
    shown = CliRunner().invoke(main, ["show", "--from", ".modelviz/diff", "--short"]).output
    assert shown == "t.py::test  m  on one side only\n"
