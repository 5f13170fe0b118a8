"""Names that users' code and files bring, in a real run: nothing of them ends a line or speaks to the CI system."""

import json
import os
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET

import pytest

pytestmark = pytest.mark.unwatched

COMMANDS = re.compile(r"^\s*::|##(\[|vso\[|teamcity\[)", re.IGNORECASE)
# a model whose layers, classes, configuration and parameters are called so, one after another
MODEL = r"""
import pathlib, torch
from torch import nn

HOSTILE = ["a\naccepted   test_x", "::error file=a::no", "a\n::error::no", "\x1b[2J\x9b2J", "##[error]no",
           "\u202eb\u2066", "~~~~~\n# a", "<script>", "\u2028b", "'; touch x #`$(touch x)", "a | b"]
fault = (pathlib.Path(__file__).parent / "fault.txt").exists()


def load():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 3, 3), nn.Flatten(), nn.LazyLinear(3))
    model(photo())
    for at, name in enumerate(HOSTILE):
        class Layer(nn.Linear):
            def extra_repr(self):
                return name + " now" * fault

        Layer.__name__ = Layer.__qualname__ = name.encode("utf-8", "replace").decode()
        layer = Layer(3, 3)
        layer.register_parameter(name, nn.Parameter(torch.full((1,), float(fault))))
        layer.text = name + " now" * fault
        model.add_module(f"{name}{' now' * (fault and at % 2)}", layer)
    if fault:
        with torch.no_grad():
            model[0].weight.mul_(2)
    return model.eval()


def photo():
    return torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(0))
"""
TEST = """
import warnings
from hostile import *

def test_all(model_summary, feature_maps, cam_map, kernel_maps, model_graph, saliency_map):
    model_summary(load(), input_data=photo())
    feature_maps(load(), photo(), layers="*")
    kernel_maps(load())
    model_graph(load(), photo())
    saliency_map(load(), photo())
    cam_map(load(), photo(), target_layer="0")

def test_globs(feature_maps):
    feature_maps(load(), photo(), rtol={HOSTILE[2]: 1e-3})

def test_error(feature_maps):
    feature_maps(load(), photo(), layers="no" + HOSTILE[0])
"""


def require_harmless(lines: list[str]) -> None:
    for line in lines:
        assert line.isprintable(), line
        assert not COMMANDS.search(line)
        assert not line.startswith("accepted")


def test_names_in_models(project):
    (project.path / "hostile.py").write_text(MODEL)
    project.test(TEST)
    project.run("--modelviz-update", "-k", "not error").assert_outcomes(passed=2)
    project.fault("weight")
    result = project.run("--modelviz", "--junitxml=junit.xml", "--tb=short")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert {check["status"] for check in project.results["checks"]} == {"drift"}
    require_harmless([line for line in result.outlines if "HOSTILE" not in line])
    elements = list(ET.parse(project.path / "junit.xml").iter())
    texts = [element.text or "" for element in elements]
    texts += [element.attrib["value"] for element in elements if element.tag == "property"]
    require_harmless([line for text in texts for line in text.splitlines() if "HOSTILE" not in line])
    for check in project.results["checks"]:
        require_harmless(check["message"].split("\n"))
        require_harmless(check["tensorboard_tags"])
    for command in ("list", "show", "show --short", "show --format markdown", "show --format gitlab", "report"):
        require_harmless(project.modelviz(*command.split()).output.splitlines())
    project.modelviz("accept")
    require_harmless((project.path / ".modelviz/report.html").read_text("utf-8").split("\n"))


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_ids_of_tests(project):
    """pytest prints them as they are; what we print of them is ours, and its commands work."""
    name = "test_a\n::error::no\x1b[2J'; touch x #"
    body = f"    model_summary(load())\nglobals()[{name!r}] = test\ndel test\n"
    project.test(f"from net import *\ndef test(model_summary):\n{body}")
    project.run("--modelviz").assert_outcomes(failed=1)
    (check,) = project.results["checks"]
    assert check["nodeid"] == f"test_net.py::{name}"
    require_harmless(check["message"].split("\n"))
    (line,) = [line for line in project.modelviz("list").output.splitlines() if line.startswith("missing ")]
    assert line.isprintable()
    shown = project.modelviz("show").output
    require_harmless(shown.splitlines())
    command = re.search(r"record it: modelviz (accept .*), or ", shown)[1]
    words = subprocess.run(
        [shutil.which("bash"), "-c", f"printf '%s\\0' {command}"],
        capture_output=True,
        check=True,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    ).stdout.decode("utf-8", "surrogateescape")
    done = project.modelviz(*words.split("\0")[:-1])
    assert (done.exit_code, done.output.count("\n")) == (0, 1)
    assert done.output.startswith("accepted   test_net.py::test_a\\n::error")
    assert not (project.path / "x").exists()
    project.run("--modelviz").assert_outcomes(passed=1)
    assert json.loads(project.modelviz("list", "--json").output)["checks"] == []
