"""The benchmark of costs measures, counts and tells goals from misses rightly."""

import inspect
from dataclasses import replace

import pytest
import torch
from torch import nn

from benchmarks.cost import guard, memory, models, tables
from benchmarks.cost.by_hand import kernels
from benchmarks.cost.checks import Project
from benchmarks.cost.clock import Action, clock_for, interleaved
from benchmarks.cost.counts import makes_pictures, operators, python_calls
from benchmarks.cost.goals import GOALS, GUARDED, REACHED, Goal, allowed
from benchmarks.cost.measure import Measurement
from benchmarks.cost.models import Subject
from pytest_modelviz.pictures.colour import heatmaps_in
from pytest_modelviz.records.colormap import Colormap
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView
from pytest_modelviz.views.feature_maps.pictures import describe


class FakeClock:
    """Time that passes only where an action takes some."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def action(self, *seconds, name="", order=None):
        remaining = iter(seconds)

        def run():
            self.now += next(remaining)
            if order is not None:
                order.append(name)

        return Action(run)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.act, self.pool, self.head = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()

    def forward(self, image):
        return self.head(self.pool(self.act(self.conv(image))))


def net(size: int = 8) -> Subject:
    return Subject("net", Net().eval(), torch.rand(1, 3, size, size), "act")


def test_a_time_is_the_median_of_the_rounds_after_the_first():
    clock = FakeClock()
    times = interleaved(
        {"slow": clock.action(900, 5, 3, 40), "fast": clock.action(100, 2, 1, 1)}, seconds=0, least=3, clock=clock
    )
    assert times == {"slow": 5, "fast": 1}


@pytest.mark.parametrize(("seconds", "rounds"), [(0, 2), (1000, 4)])
def test_rounds_end_with_the_time_or_with_the_most_of_them(seconds, rounds):
    clock, order = FakeClock(), []
    interleaved({"a": clock.action(*[1] * 9, name="a", order=order)}, seconds=seconds, least=2, most=4, clock=clock)
    assert len(order) == 1 + rounds


def test_another_action_begins_each_round():
    clock, order = FakeClock(), []
    actions = {name: clock.action(*[1] * 4, name=name, order=order) for name in "abc"}
    interleaved(actions, seconds=0, least=3, clock=clock)
    assert "".join(order) == "abc" + "abc" + "bca" + "cab"


def test_what_is_prepared_takes_no_time_and_is_passed_on():
    clock, given = FakeClock(), []

    def prepare():
        clock.now += 50
        return "model"

    def run(model):
        clock.now += 2
        given.append(model)

    assert Action(run, prepare).seconds(clock) == 2
    assert given == ["model"]


def test_one_thread_is_timed_by_the_processor():
    assert clock_for(1).__name__ == "process_time"
    assert clock_for(2).__name__ == "perf_counter"


@pytest.mark.parametrize(
    ("goal", "value", "is_met", "text"),
    [
        (Goal("k", "t", 1.25), 1.25, True, "≤ 1.25 x"),
        (Goal("k", "t", 1.25), 1.26, False, "≤ 1.25 x"),
        (Goal("k", "t", 20, is_least=True), 19.9, False, "≥ 20 x"),
        (Goal("k", "t", 20, is_least=True), 20, True, "≥ 20 x"),
        (Goal("k", "t", 0, ""), 1, False, "≤ 0"),
        (Goal("k", "t", 60, "µs", of_long_passes=False), 61, False, "≤ 60 µs below 50 ms"),
        (Goal("k", "t", 400, "KB", of_model="resnet50"), 1, True, "≤ 400 KB (resnet50)"),
        (Goal("k", "t"), 1e9, True, ""),
    ],
)
def test_goals(goal, value, is_met, text):
    assert goal.is_met(value) == is_met
    assert goal.text() == text


def test_a_goal_holds_of_some_models():
    of_long, of_short = Goal("k", "t", 1, of_long_passes=True), Goal("k", "t", 1, of_long_passes=False)
    assert [of_long.applies("m", seconds) for seconds in (0.049, 0.051)] == [False, True]
    assert [of_short.applies("m", seconds) for seconds in (0.049, 0.051)] == [True, False]
    of_one = Goal("k", "t", 1, of_model="resnet50")
    assert [of_one.applies(name, 1.0) for name in ("resnet50", "resnet18")] == [True, False]
    assert not Goal("k", "t").applies("m", 1.0)


def test_the_guard_allows_twice_the_goal_or_twice_what_is_reached(monkeypatch):
    monkeypatch.setitem(GUARDED, "count", Goal("count", "t", 6))
    assert allowed("count") == 12
    monkeypatch.setitem(REACHED, "count", 29)
    assert allowed("count") == 58
    monkeypatch.setitem(GUARDED, "passes", Goal("passes", "t", 1, room=1))
    assert allowed("passes") == 1
    monkeypatch.setitem(GUARDED, "least", Goal("least", "t", 20, is_least=True))
    with pytest.raises(ValueError, match="no greatest value"):
        allowed("least")


def test_what_is_said_to_be_reached_misses_its_goal():
    assert {key for key, value in REACHED.items() if GUARDED[key].is_met(value)} == set()


def test_a_table_shows_misses_in_bold_and_what_is_not_measured_as_a_dash():
    figures = {
        "long": {"bare": 80.0, "feature_maps": 1.253, "feature_maps call": 300.0},
        "short": {"bare": 9.0, "feature_maps": 3.0, "feature_maps call": 61.0, "kernel_maps": 0.5},
        "edge": {"bare": 80.0, "feature_maps": 1.256, "kernel_maps": 1.2},
    }
    lines = tables.tables({1: figures, 2: {"long": {"bare": 50.0}}}).splitlines()
    assert lines[0] == "### One thread"
    assert lines[2:4] == ["| Capture | long | short | edge | goal |", "|---|---|---|---|---|"]
    assert "| forward pass, ms | 80.0 | 9.0 | 80.0 |  |" in lines
    assert "| `feature_maps` ÷ forward | 1.25 | 3.00 | **1.26** | ≤ 1.25 x over 50 ms |" in lines
    row = "| `feature_maps`, beside it per module call, µs | 300 | **61** | - | ≤ 60 µs below 50 ms |"
    assert row in lines
    assert "| `kernel_maps` ÷ reading all kernels twice | - | 0.50 | **1.20** | ≤ 1 x |" in lines
    assert lines[-5:] == [
        "### 2 threads",
        "",
        "| Capture | long | goal |",
        "|---|---|---|",
        "| forward pass, ms | 50.0 |  |",
    ]


def test_tables_are_replaced_within_a_page(tmp_path):
    page = tmp_path / "page.md"
    tables.put_into(page, "old")
    own = page.read_text()
    page.write_text(f"# Title\n\n{own}\nThe rest.\n")
    tables.put_into(page, "new")
    assert page.read_text() == f"# Title\n\n{own.replace('old', 'new')}\nThe rest.\n"


def test_the_peak_of_memory():
    assert memory.highest([5, -2, 4, -7, 3]) == 7
    assert memory.highest([]) == 0
    held = []

    def action():
        held.append(torch.empty(10_000))
        torch.empty(5_000)

    assert memory.highest(memory.allocations(action)) == 60_000
    assert memory.resident_peak() > 50e6  # torch alone


def test_python_functions_are_counted():
    def inner():
        return 1

    def outer():
        return inner() + inner() + len([])

    assert python_calls(outer) == 3
    assert python_calls(outer, is_counted=lambda file: file.name == "test_cost.py") == 3
    assert python_calls(outer, is_counted=makes_pictures) == 0


def test_only_what_makes_pictures_is_counted():
    def action():
        with heatmaps_in(Colormap.INFERNO):
            pass

    of_pictures = python_calls(action, is_counted=makes_pictures)
    assert 0 < of_pictures < python_calls(action)
    capture = FeatureMapsView(Net(), torch.rand(1, 3, 8, 8)).capture()
    assert python_calls(lambda: describe(capture), is_counted=makes_pictures) > 0  # in views/feature_maps/pictures.py


def test_operators_are_counted():
    tensor = torch.ones(3)
    assert operators(lambda: torch.add(torch.add(tensor, tensor), tensor)) == 2
    assert operators(lambda: torch.nn.functional.linear(tensor, torch.ones(2, 3), torch.ones(2))) == 3  # its own within
    assert operators(lambda: None) == 0


def test_passes_are_counted_and_the_model_is_left_as_it_was():
    subject = net()
    original = Net.forward

    def action():
        assert list(inspect.signature(subject.model.forward).parameters) == ["image"]
        subject.run()
        subject.run()

    assert guard.passes(subject, action) == 2
    assert Net.forward is original


@pytest.mark.parametrize(
    ("values", "best", "measurements"),
    [((11, 3), 11, 1), ((30, 11, 3), 11, 2), ((30, 25, 28, 3), 25, 3)],
)
def test_a_figure_is_measured_again_while_it_misses(monkeypatch, values, best, measurements):
    monkeypatch.setitem(GUARDED, "figure", Goal("figure", "t", 6))
    remaining = iter(values)
    assert guard.best_of(lambda: [("figure", next(remaining))]) == {"figure": best}
    assert len(list(remaining)) == len(values) - measurements


def test_a_subject_has_its_own_weights_and_size():
    subject, again = models.build("resnet18", 32), models.build("resnet18", 32)
    assert not subject.model.training
    assert subject.data.shape == (1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(subject.run(), again.run())


def test_another_network_is_explained_where_cam_map_does():
    assert models.is_known("alexnet")
    assert not models.is_known("alexnett")
    assert models.build("alexnet", 64).cam_layer == "avgpool"  # the last with spatial extent: 6 x 6


def test_tokens_are_laid_out_in_rows_without_the_class_token():
    tokens = torch.tensor([[[9.0], [1.0], [2.0], [3.0], [4.0]]])
    assert models._patches(tokens).tolist() == [[[[1, 2], [3, 4]]]]


def test_kernels_are_those_of_convolutions():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(4, 4), nn.ConvTranspose1d(4, 2, 5))
    assert [list(kernel.shape) for kernel in kernels(model)] == [[4, 3, 3, 3], [4, 2, 5]]


def test_a_check_is_recorded_compared_and_refused(tmp_path):
    subject, project = net(), Project(tmp_path)
    view = FeatureMapsView(subject.model, subject.data)
    project.record(view)
    files = [path for path in tmp_path.rglob("baselines/**/feature_maps.*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".safetensors", ".png"}
    assert project.size(view) == sum(path.stat().st_size for path in files)
    assert project.check(lambda other: FeatureMapsView(other.model, other.data), subject).layers.compared > 0
    other = replace(subject, model=Net().eval())  # other random weights
    with pytest.raises(RuntimeError, match="was to match"):
        project.check(lambda other: FeatureMapsView(other.model, other.data), other)


def test_every_figure_of_a_model_has_a_row(monkeypatch):
    monkeypatch.setitem(models.BUILDERS, "net", net)
    figures = dict(Measurement("net", 8, 1, seconds=0, least=1).figures(whole=False))
    assert figures.keys() <= GOALS.keys()
    assert figures["module calls"] == 5
    shown = {"bare", "feature_maps", "model_summary", "kernel_maps", "model_graph", "three", "modelviz", "baseline"}
    assert all(figures[key] > 0 for key in shown)
    assert figures["feature_maps"] > 1  # it makes that pass
