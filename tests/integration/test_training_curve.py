"""What a user sees of trainings that part: the report, TensorBoard, and what is said to be another training."""

import json

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util import tensor_util

TEST = """
from net import *

def test_net(training_curve):
    net = load()
    training_curve(training(net{rate}), steps={steps}, model=net{options})
"""


@pytest.fixture
def learning(project):
    """Write the test with another rate, number of steps or options."""

    def write(rate=0.1, steps=3, options=""):
        step = f", {rate}"
        source = TEST.format(rate=step, steps=steps, options=options)
        project.test(source)
        return project

    return write


def read(folder) -> EventAccumulator:
    events = EventAccumulator(str(folder))
    events.Reload()
    return events


def test_the_report_names_step_and_parameter(learning):
    project = learning()
    project.run_once("--modelviz-update").assert_outcomes(passed=1)
    project.run("--modelviz").assert_outcomes(passed=1)
    learning(rate=0.101)
    result = project.run("--modelviz")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "training_curve drifted, first at the model itself (*)",
            "  cause     computation: the model starts the same; *",
            "  error     0.01 at the first difference, 1,000 times what is allowed (1e-05)",
            "  evidence  step 0: scalars and gradients agree, the parameters move differently: the optimiser",
            "            all parameters together move by 0.* -> 0.*, +1 %",
            "            head.bias moves by 0.* -> 0.*, +1 %",
            "  spread    4 of 4 layers*",
            "  accept    modelviz accept --run * test_net.py::test_net",
        ]
    )
    check = project.check("training_curve")
    assert check["first_divergence"]["layer"] == ""
    assert check["layers"]["compared"] == 4


def test_tensorboard_gets_both_curves_in_one_chart_and_the_histograms(learning):
    project = learning()
    project.run_once("--modelviz-update")
    recorded = json.loads(project.baseline("training_curve.json").read_text("utf-8"))["facts"]["steps"]
    learning(rate=0.2)
    project.run("--modelviz").assert_outcomes(failed=1)
    run = project.path / ".modelviz" / "tensorboard" / project.results["run"]["tensorboard"]
    tags = project.check("training_curve")["tensorboard_tags"]
    found = {series: read(run / series) for series in ("baseline", "actual")}

    def curves(ending: str) -> list[list[float]]:
        tag = next(tag for tag in tags if tag.endswith(ending))
        return [[event.value for event in events.Scalars(tag)] for events in found.values()]

    before, after = curves("curves/loss")
    assert before == pytest.approx([row["loss"] for row in recorded.values()], rel=5e-3)
    assert after[0] == pytest.approx(before[0])
    assert after[1:] != pytest.approx(before[1:], rel=1e-3)
    before, after = curves("updates/head.bias")
    assert after[0] == pytest.approx(2 * before[0])  # of twice the rate
    for kind in ("parameters", "gradients"):
        tag = next(tag for tag in tags if tag.endswith(f"{kind}/conv2.weight"))
        events = read(run).Tensors(tag)
        assert [event.step for event in events] == [0, 1]
        bins = [tensor_util.make_ndarray(event.tensor_proto) for event in events]
        assert np.array_equal(bins[0][:, :2], bins[1][:, :2])
        assert [rows[:, 2].sum() for rows in bins] == pytest.approx([12 * 8 * 3 * 3] * 2)
    (picture,) = (project.path / ".modelviz" / "pictures").rglob("*chart.png")
    assert picture.stat().st_size < 60_000


def test_another_number_of_steps_is_said_to_be_one(learning):
    project = learning()
    project.run_once("--modelviz-update")
    learning(steps=4)
    project.run("--modelviz").stdout.fnmatch_lines(["training_curve drifted", "  evidence  steps: 3 -> 4"])


def test_a_tolerance_of_the_call_and_of_a_layer(learning):
    project = learning()
    project.run_once("--modelviz-update")
    learning(rate=0.101, options=", rtol=0.5")
    project.run("--modelviz").assert_outcomes(passed=1)
    learning(rate=0.101, options=", rtol={'*': 0.5, 'conv9': 1}")
    project.run("--modelviz").assert_outcomes(passed=1, warnings=1)


def test_data_that_the_seed_does_not_reach(project):
    test = """
        from net import *
        data = torch.Generator().manual_seed({})

        def test_net(training_curve):
            net = load()
            step = training(net)
            training_curve(lambda i: net(torch.rand(2, 3, 16, 16, generator=data)).mean(), steps=2)
    """
    project.test(test.format(1))
    project.run_once("--modelviz-update").assert_outcomes(passed=1)
    project.test(test.format(2))
    project.run("--modelviz").stdout.fnmatch_lines(
        [
            "  evidence  step 0: the scalars differ before anything is learned: the forward pass, loss or data",
            "            loss: *0.* -> *0.*, * %",
            "            a training runs only once: randomness beyond its seed, such as the data order, *",
        ]
    )
    assert project.check("training_curve")["cause"] is None


def test_an_error_of_the_step_is_the_test_s_own(project):
    project.test(
        """
        def test_net(training_curve):
            training_curve(lambda i: 1 / 0)
        """
    )
    result = project.run("--modelviz")
    result.stdout.fnmatch_lines(["E*ZeroDivisionError*"])
    assert project.results["checks"] == []


def test_an_unchanged_training_changes_no_byte(learning):
    project = learning()
    project.run_once("--modelviz-update")
    before = project.files()
    assert set(before) == {f"test_net/test_net/training_curve.{end}" for end in ("json", "safetensors", "png")}
    project.run("--modelviz-update-all").assert_outcomes(passed=1)
    assert project.files() == before


def test_an_optimiser_that_is_given_is_recorded_and_its_change_said(project):
    test = """
        from net import *

        def test_net(training_curve):
            net = load()
            optimiser = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay={})
            step = training(net)

            def decayed(i):
                loss = step(i)
                optimiser.step()
                return loss

            training_curve(decayed, steps=2, model=net, optimizer=optimiser)
    """
    project.test(test.format(1e-4))
    project.run_once("--modelviz-update").assert_outcomes(passed=1)
    (record,) = json.loads(project.baseline("training_curve.json").read_text("utf-8"))["facts"]["optimizer"]
    assert record["class"] == "AdamW"
    project.run("--modelviz").assert_outcomes(passed=1)
    project.test(test.format(2e-4))
    result = project.run("--modelviz")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "training_curve drifted, first at the model itself (*)",
            "  cause     computation: the model starts the same; *",
            "*the optimiser: weight_decay (AdamW): 0.0001 -> 0.0002",
        ]
    )


def test_a_baseline_without_optimisers_is_not_that_of_a_run_that_gives_one(learning):
    project = learning()
    project.run_once("--modelviz-update")
    learning(options=", optimizer=torch.optim.SGD(net.parameters(), lr=0.1)")
    result = project.run("--modelviz")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*the optimiser: optimizer=: not given -> given"])
    project.run_once("--modelviz-update").assert_outcomes(passed=1)
    project.run("--modelviz").assert_outcomes(passed=1)
