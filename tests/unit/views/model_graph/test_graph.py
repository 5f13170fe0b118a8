"""`model_graph` as a whole: every awkward model, other processes, damaged facts, pictures and TensorBoard."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from graph_models import Net, capture, small
from torch import nn
from zoo import ZOO, vectors

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.errors import ModelvizError, UnreadableBaselineError
from pytest_modelviz.pictures.files import png_bytes
from pytest_modelviz.reports.tensorboard import EventFiles
from pytest_modelviz.views.model_graph.capture import ModelGraphView
from pytest_modelviz.views.model_graph.compare import compare_graphs
from pytest_modelviz.views.model_graph.records import OperatorGraph


@pytest.mark.parametrize(
    ("model", "data", "message"),
    [
        ("net", vectors(), "the model must be a torch.nn.Module, not str"),
        (nn.Linear(8, 2), None, "model_graph needs an input to follow"),
        (nn.Linear(8, 2), vectors().to("meta"), "the input is on meta but the model is on cpu"),
    ],
)
def test_errors_name_the_remedy(model, data, message):
    with pytest.raises(ModelvizError, match=message):
        ModelGraphView(model, data).capture()


@pytest.mark.parametrize("name", ZOO)
def test_every_awkward_model_has_a_graph_that_equals_itself(name):
    one, two = (ModelGraphView(ZOO[name].build(), ZOO[name].input()).capture() for _ in range(2))
    assert json.dumps(one.facts) == json.dumps(two.facts)
    verdict = ModelGraphView(nn.Identity(), 1).compare(one, two, Tolerances())
    assert (verdict.matched, verdict.findings) == (True, ())
    assert ModelGraphView(nn.Identity(), 1).picture(one)
    assert OperatorGraph.from_facts(json.loads(json.dumps(one.facts))).operators == one.result.operators


def test_another_process_makes_the_same_facts():
    code = (
        "import json, torch; from zoo import ZOO\n"
        "from pytest_modelviz.views.model_graph.capture import ModelGraphView\n"
        "print(json.dumps([ModelGraphView(ZOO[n].build(), ZOO[n].input()).capture().facts "
        "for n in ('attention', 'packed')]))"
    )
    here = Path(__file__).resolve().parents[3]
    path = os.pathsep.join([str(here), str(here.parent)])
    around = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": path}
    there = subprocess.run([sys.executable, "-c", code], cwd=here, env=around, capture_output=True, check=True).stdout
    facts = [ModelGraphView(ZOO[n].build(), ZOO[n].input()).capture().facts for n in ("attention", "packed")]
    assert json.loads(there) == json.loads(json.dumps(facts))


@pytest.mark.parametrize(
    "damage",
    [
        {"source": "guessed"},
        {"source": None},
        {"operators": []},
        {"operators": {"a": {"operator": 3, "out": ""}}},
        {"operators": {"a": {"operator": "relu", "out": "", "in": "x"}}},
        {"operators": {"a": {"operator": "relu", "out": "", "in": [1]}}},
        {"operators": {"a": {"operator": "relu", "out": "", "arguments": {"p": 1}}}},
        {"inputs": 1},
        {"outputs": None},
        {"reason": 7},
        {"modules": {"": {"class": "Net", "tensors": {"weight": "float32[a]"}}}},
    ],
)
def test_a_damaged_graph_is_unreadable(damage):
    made = capture(Net())
    facts = {**made.facts, **damage}
    with pytest.raises(UnreadableBaselineError):
        compare_graphs(OperatorGraph.from_facts(facts), made.result)


def test_pictures_fit_a_page_and_are_the_same_each_time():
    made = capture(Net(*["relu"] * 15))
    view = ModelGraphView(nn.Identity(), small())
    (one,) = view.picture(made)
    assert one.image.shape[0] < 1200
    assert one.image.shape[1] < 1200
    assert png_bytes(one.image) == png_bytes(view.picture(capture(Net(*["relu"] * 15)))[0].image)
    after = capture(Net(*["gelu"] * 15))
    diff = view.picture(after, made)[0]
    assert diff.image.shape[0] < 1200
    assert not np.array_equal(diff.image, one.image)


def test_the_diff_paints_what_is_gone_red_and_what_came_green():
    view = ModelGraphView(nn.Identity(), small())
    image = view.picture(capture(Net("gelu", "relu")), capture(Net()))[0].image
    colours = {tuple(pixel) for pixel in image.reshape(-1, 3)}
    assert {(255, 226, 224), (218, 245, 220)} <= colours


def test_tensorboard_gets_the_actual_graph(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.compat.proto.graph_pb2 import GraphDef

    view = ModelGraphView(nn.Identity(), small())
    exhibit = view.picture(capture(Net("gelu", "relu")), capture(Net()))[1]
    events = EventFiles(tmp_path)
    events.show("test/model_graph", exhibit)
    events.close()
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    read = EventAccumulator(str(folder))
    read.Reload()
    graph = GraphDef.FromString(read.Graph().SerializeToString())
    nodes = {node.name: node for node in graph.node}
    assert nodes["layer/0/gelu"].op == "gelu"
    assert list(nodes["layer/0/gelu"].input) == ["layer/0/norm/batch_norm"]
    assert list(nodes["layer/0/add"].input) == ["layer/0/dropout", "input/x"]
    assert nodes["layer/0/conv/conv2d"].attr["holds"].s == b"layer.0.conv.weight, layer.0.conv.bias"
    shape = nodes["head/linear"].attr["_output_shapes"].list.shape[0]
    assert [side.size for side in shape.dim] == [1, 3]
    assert all(name in nodes for node in graph.node for name in node.input)
    marked = {node.name for node in graph.node if node.device == "/device:changed"}
    assert marked == {"layer/0/gelu"}
    assert {node.device for node in graph.node} == {"/device:changed", "/device:unchanged"}
    assert nodes["layer/0/gelu"].attr["change"].s.startswith(b"was ")
