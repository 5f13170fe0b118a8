import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util import tensor_util

from pytest_modelviz.pictures.exhibits import Curve, Graph, Histogram, Node
from pytest_modelviz.reports.tensorboard import EventFiles


def read(folder):
    events = EventAccumulator(str(folder))
    events.Reload()
    return events


def test_both_curves_lie_under_one_tag_in_runs_of_their_own(tmp_path):
    events = EventFiles(tmp_path)
    assert events.show("test/curve", Curve("loss", {"baseline": [2.0, 1.0], "actual": [2.0, 1.5]})) == "test/curve/loss"
    events.close()
    for series, last in (("baseline", 1.0), ("actual", 1.5)):
        values = read(tmp_path / series).Scalars("test/curve/loss")
        assert [(one.step, one.value) for one in values] == [(0, 2.0), (1, pytest.approx(last))]


@pytest.mark.parametrize("series", ["../escaped", "a/b", "/absolute"])
def test_no_series_leaves_the_folder(tmp_path, series):
    folder = tmp_path / "run"
    events = EventFiles(folder)
    events.show("test", Curve("loss", {series: [1.0]}))
    events.close()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert all(path.parent == folder for path in folder.iterdir())


def test_a_graph_has_a_folder_of_its_own(tmp_path):
    events = EventFiles(tmp_path)
    nodes = (Node("x", "input"), Node("a/relu", "relu", ("x",), (1, 2), {"why": "because"}, changed=True))
    events.show("test/graph", Graph("graph", nodes))
    events.close()
    (folder,) = [path for path in tmp_path.iterdir() if path.is_dir()]
    graph = read(folder).Graph()
    assert [(node.name, node.op, list(node.input)) for node in graph.node] == [
        ("x", "input", []),
        ("a/relu", "relu", ["x"]),
    ]
    assert [node.device for node in graph.node] == ["/device:unchanged", "/device:changed"]
    assert [dim.size for dim in graph.node[1].attr["_output_shapes"].list.shape[0].dim] == [1, 2]


def test_histograms_of_one_chart_are_steps_on_the_same_bins(tmp_path):
    events = EventFiles(tmp_path)
    series = {"baseline": ([0.0, 1.0, 2.0], [2, 4]), "actual": ([2.0, 3.0, 4.0], [6, 0])}
    tag = events.show("test", Histogram("weight", series))
    events.close()
    stored = read(tmp_path).Tensors(tag)
    assert [event.step for event in stored] == [0, 1]
    rows = [tensor_util.make_ndarray(event.tensor_proto).tolist() for event in stored]
    assert rows == [[[0.0, 2.0, 6.0], [2.0, 4.0, 0.0]], [[0.0, 2.0, 0.0], [2.0, 4.0, 6.0]]]
