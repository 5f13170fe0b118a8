"""What TensorBoard's server says of the event files of three runs."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

SECONDS = 90  # that the server may take to start and to read the files
ERROR = "error (1 = allowed)/test_net.py::test_net/feature_maps"
TEST = """
from net import *

def test_net(feature_maps, model_graph, training_curve):
    feature_maps(load(), photo())
    model_graph(load(), photo())
    net = load()
    training_curve(training(net, 0.2 if fault() else 0.1), steps=3, model=net)
"""


class Server:
    """TensorBoard's answers."""

    def __init__(self, port: int) -> None:
        self._url = f"http://localhost:{port}/data"

    def raw(self, route: str, **arguments: str) -> bytes:
        with urllib.request.urlopen(f"{self._url}/{route}?{urllib.parse.urlencode(arguments)}", timeout=10) as answer:
            return answer.read()

    def get(self, route: str, **arguments: str) -> Any:
        return json.loads(self.raw(route, **arguments))

    def wait_for(self, tag: str, run: str) -> bool:
        """Whether the server knows a tag of the texts, in time."""
        ends = time.monotonic() + SECONDS
        while time.monotonic() < ends:
            try:
                if tag in self.get("plugin/text/tags").get(run, ()):
                    return True
            except (OSError, urllib.error.URLError):
                pass
            time.sleep(0.3)
        return False


@pytest.fixture
def served(project) -> Iterator[tuple[Server, dict[str, Any]]]:
    """The server that `modelviz tensorboard` starts after two runs that matched and one that drifted."""
    project.test(TEST)
    project.run_once("--modelviz-update")
    project.run("--modelviz").assert_outcomes(passed=1)
    project.run("--modelviz").assert_outcomes(passed=1)
    project.test(TEST.replace("load(), photo())\n    net", "nn.Sequential(load(), nn.GELU()), photo())\n    net"))
    project.fault("weight")
    project.run("--modelviz").assert_outcomes(failed=1)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "pytest_modelviz", "tensorboard", "--port", str(port), "--reload_interval", "1"]
    started = subprocess.Popen(
        command,
        cwd=project.path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        server = Server(port)
        if not server.wait_for("!summary", project.results["run"]["tensorboard"]):
            pytest.skip("TensorBoard's server does not start here")
        yield server, project.results
    finally:
        os.killpg(started.pid, 9)
        started.wait()


def test_every_tab_has_what_the_run_has_left(served):
    server, results = served
    run = results["run"]["tensorboard"]
    checks = {check["name"]: check for check in results["checks"]}
    names = server.get("runs")
    assert {"0_trend", run, f"{run}/baseline", f"{run}/actual"} <= set(names)
    # texts: the summary is Markdown that has become HTML, the last run's first
    texts = server.get("plugin/text/text", run="0_trend", tag="!summary")
    assert [text["step"] for text in texts] == [1, 2, 3]
    (summary,) = server.get("plugin/text/text", run=run, tag="!summary")
    assert "<h2>3 drift</h2>" in summary["text"]
    assert f"modelviz accept --run {results['run']['id']} --group weights@conv2" in summary["text"]
    tags = server.get("plugin/text/tags")[run]
    assert min(tags) == "!summary"
    # scalars: a series over runs
    errors = server.get("plugin/scalars/scalars", run="0_trend", tag=ERROR)
    assert [(step, value) for _, step, value in errors] == [
        (1, 0.0),
        (2, 0.0),
        (3, pytest.approx(checks["feature_maps"]["error"] / checks["feature_maps"]["tolerance"])),
    ]
    # images: each that results.json names can be fetched
    pictures = {tag for tags in (check["tensorboard_tags"] for check in checks.values()) for tag in tags}
    pictures &= set(server.get("plugin/images/tags")[run])
    assert {"test_net/feature_maps/conv2", "test_net/model_graph/operators"} <= pictures
    for tag in pictures:
        (image,) = server.get("plugin/images/images", run=run, tag=tag, sample="0")
        assert server.raw(f"plugin/images/individualImage?{image['query']}#").startswith(b"\x89PNG")
    # graphs: what changed is marked
    (graph,) = [name for name in names if "/graph-" in name]
    text = server.raw("plugin/graphs/graph", run=graph, conceptual="false").decode()
    assert '"/device:changed"' in text
    assert '"/device:unchanged"' in text
    # histograms: baseline and actual on the same bins
    tag = next(tag for tag in server.get("plugin/histograms/tags")[run] if tag.endswith("gradients/conv1.weight"))
    steps = server.get("plugin/histograms/histograms", run=run, tag=tag)
    assert [step for _, step, _ in steps] == [0, 1]
    assert len({tuple((low, high) for low, high, _ in rows) for _, _, rows in steps}) == 1
    updates = next(tag for tag in checks["training_curve"]["tensorboard_tags"] if "/updates/" in tag)
    for series in ("baseline", "actual"):
        assert len(server.get("plugin/scalars/scalars", run=f"{run}/{series}", tag=updates)) == 3
