"""Attributes that a user has named as no configuration: `modelviz_ignore`, and `ignore=` in a marker."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.unwatched

TEST = """
import pytest
from net import *

class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.net, self.factor, self.options = load(), 1.0 if not fault() else 2.0, Options()

    def extra_repr(self):
        return f"factor={self.factor}, bias=True"

    def forward(self, x):
        return self.net(x) * (1.5 if "code" in fault() else 1.0)

class Options:
    def __init__(self):
        self.depth, self.key = 3, 1 if not fault() else 2

MARK
def test_net(feature_maps, model_summary, model_graph, kernel_maps, cam_map):
    model = Scaled()
    feature_maps(model, photo())
    model_summary(model, input_data=photo())
    model_graph(model, photo())
    kernel_maps(model)
    cam_map(model, photo(), target=1)
"""


def marked(mark: str = "") -> str:
    return TEST.replace("MARK", mark)


@pytest.mark.parametrize(
    ("mark", "ini"),
    [
        ('@pytest.mark.modelviz(ignore=["*.factor", "options.key"])', ""),
        ('@pytest.mark.modelviz(ignore="*.factor")', "options.*"),
        ('@pytest.mark.modelviz_ignore("*.factor", "*.options.key")', ""),
        ("", "*.factor\n    *.options"),
        ("", "*.factor options.key"),
    ],
)
def test_it_is_compared_by_no_view_and_named_by_none(project, mark, ini):
    project.test(marked())  # a baseline from before anything was ignored
    project.run_once("--modelviz-update").assert_outcomes(passed=1)
    project.test(marked(mark))
    if ini:
        project.pytester.makeini(f"[pytest]\nmodelviz_ignore =\n    {ini}\n")
    project.fault("other")
    project.run("--modelviz").assert_outcomes(passed=1)
    project.fault("code")
    project.run("--modelviz").assert_outcomes(failed=1)
    assert project.check("feature_maps")["cause"] == "computation"
    assert {check["status"] for check in project.results["checks"] if check["cause"] == "architecture"} == set()
    for check in project.results["checks"]:
        assert "factor" not in check["message"]
        assert "options" not in check["message"]


def test_without_it_every_view_that_knows_of_it_says_so_once(project):
    project.test(marked())
    project.run_once("--modelviz-update").assert_outcomes(passed=1)
    project.fault("code")
    project.run("--modelviz").assert_outcomes(failed=1)
    named = {check["name"] for check in project.results["checks"] if "factor: 1.0 -> 2.0" in check["message"]}
    assert named == {"feature_maps", "model_graph", "cam_map"}
    assert "config: factor=1.0, bias=True -> factor=2.0" in project.check("model_summary")["message"]
    assert project.check("feature_maps")["message"].count("options.key") == 1
    assert project.check("feature_maps")["cause"] == "architecture"


def test_a_marker_s_glob_that_matches_nothing_warns_and_one_of_the_configuration_file_is_for_any_model(project):
    project.pytester.makeini("[pytest]\nmodelviz_ignore = *._trainer\n")
    project.test(marked('@pytest.mark.modelviz(ignore=["*.factro", "net.conv1.*", "options.depth", "*.bias"])'))
    result = project.run_once("--modelviz-update")
    result.stdout.fnmatch_lines(["*the glob '[*].factro' that test_net.py::test_net ignores matches no attribute*"])
    result.stdout.no_fnmatch_line("*_trainer*")
    result.assert_outcomes(passed=1, warnings=1)


@pytest.mark.parametrize(
    ("mark", "message"),
    [
        ("ignore=3", "the marker's ignore takes globs of attributes such as '*._trainer', not 3"),
        ("ignore=['a', None]", "the marker's ignore takes globs of attributes such as '*._trainer', not *"),
        ("ignore=''", None),
        ("ignored='*'", "the marker modelviz takes rtol, atol, layers, variant, compare, ignore, not 'ignored'"),
    ],
)
def test_what_it_cannot_be_is_said(project, mark, message):
    project.test(f"import pytest\n\n@pytest.mark.modelviz({mark})\ndef test_net(modelviz):\n    pass\n")
    result = project.run_once("--modelviz-update")
    if message is None:
        result.assert_outcomes(passed=1)
    else:
        result.stdout.fnmatch_lines([f"*modelviz: {message.replace('[', '[[]')}"])


def test_it_is_in_the_help(project):
    result = project.run("--help")
    result.stdout.fnmatch_lines(["*modelviz_ignore (linelist):*"])
