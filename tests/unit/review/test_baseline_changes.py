"""What changed baselines mean: verdicts, messages and pictures, whatever the files claim."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from forgery_subjects import Plain, convolved, image, net, scaled, wider
from forging import retold
from torch import nn

from pytest_modelviz.cli.diff import listed_lines, summary_line
from pytest_modelviz.cli.stored_report import own_report
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.check_result import Status
from pytest_modelviz.records.sketch_version import SKETCH_VERSION, sketched_as
from pytest_modelviz.records.trace_arrays import pack_trace, unpack_trace
from pytest_modelviz.review.baseline_changes import ChangeEvaluator
from pytest_modelviz.review.baseline_diff import Change, changed_pairs
from pytest_modelviz.review.sides import opened_sides
from pytest_modelviz.storage.names import Location
from pytest_modelviz.storage.store import Store
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView
from pytest_modelviz.views.model_graph.capture import ModelGraphView
from pytest_modelviz.views.model_summary.capture import ModelSummaryView

A, B = "t.py::test_a", "t.py::test_b"
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def maps():
    """Captures of a model, and of one with other weights."""
    return FeatureMapsView(net(), image()).capture(), FeatureMapsView(net(convolved), image()).capture()


@pytest.fixture(scope="module")
def summaries():
    """Captures of a model, and of one with another layer."""
    return ModelSummaryView(net()).capture(), ModelSummaryView(net(wider)).capture()


class Sides:
    def __init__(self, root):
        self.root, self.old, self.new = root, root / "old", root / "new"
        self.put(self.old, Plain(0).capture(), "u.py::test_same")
        self.put(self.new, Plain(0).capture(), "u.py::test_same")

    def put(self, folder, capture, nodeid=A, name="n", variant=None, picture=None):
        location = Location.of(nodeid, name, variant)
        return Path(Store(folder).save(location, capture, nodeid=nodeid, name=name, picture=picture))

    def both(self, old, new, nodeid=A, **options):
        return self.put(self.old, old, nodeid, **options), self.put(self.new, new, nodeid, **options)

    def changes(self, tolerances=Tolerances(), **options):  # noqa: B008  # it is frozen
        with opened_sides([str(self.old), str(self.new)], self.root, self.root / "baselines") as (before, after):
            evaluator = ChangeEvaluator(before, after, tolerances, **options)
            return list(evaluator.changes(changed_pairs(before, after)))

    def change(self, *arguments):
        (change,) = self.changes(*arguments)
        return change


@pytest.fixture
def sides(tmp_path):
    return Sides(tmp_path)


def stating(capture, **claims):
    return replace(capture, environment={**capture.environment, **claims})


class TestVerdicts:
    def test_drift(self, sides, maps):
        old, new = sides.both(*maps)
        change = sides.change()
        result = change.result
        assert (change.change, result.status, result.nodeid, result.name) == (Change.DRIFT, Status.DRIFT, A, "n")
        assert (result.cause, result.first_divergence.layer) == ("weights", "block.conv")
        heading, output, cause, *_ = result.message.splitlines()
        assert heading == "n drifted, first at block.conv (Conv2d)"
        assert output.startswith("  output    off by ")
        assert cause == "  cause     weights"
        assert "accept" not in result.message
        assert (result.baseline, result.compared_with) == tuple(
            path.relative_to(sides.root).as_posix() for path in (old, new)
        )
        assert (result.candidate, result.accept_command) == (None, None)
        assert [name[:4] for name in change.pictures] == [f"{at:03}-" for at in range(len(change.pictures))] != []
        assert all(data.startswith(PNG) for data in change.pictures.values())

    def test_what_was_done_to_weights_that_both_sides_hold_as_sketches(self, sides, maps):
        sides.both(maps[0], FeatureMapsView(net(scaled), image()).capture())
        assert "head.weight differs by 0.01: all x 1.01" in sides.change().result.message

    def test_within_tolerance(self, sides, maps):
        sides.both(maps[0], stating(maps[0], torch="9.9"))
        change = sides.change()
        assert (change.change, change.result.status) == (Change.WITHIN_TOLERANCE, Status.MATCH)
        assert change.pictures == {}
        first, changed = change.result.message.split("\n")
        assert first == "n: changed, but not in what is compared"
        assert changed == f"  changed   torch: {maps[0].environment['torch']} -> 9.9"

    def test_the_project_s_tolerance(self, sides, maps):
        sides.both(*maps)
        assert sides.change(Tolerances(rtol=3.0)).change is Change.WITHIN_TOLERANCE

    def test_other_line_ends_change_nothing(self, sides, summaries):
        _, path = sides.both(summaries[0], summaries[0])
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
        assert sides.changes() == []

    def test_another_picture_of_the_same(self, sides, summaries):
        sides.put(sides.old, summaries[0], picture=PNG)
        sides.put(sides.new, summaries[0], picture=PNG + b"of something else")
        change = sides.change()
        assert change.change is Change.WITHIN_TOLERANCE
        assert change.result.message == "n: only its picture differs"

    def test_lists_are_whole_where_that_is_wanted(self, sides):
        captures = (
            ModelSummaryView(nn.Sequential(*(nn.Linear(2, at * by) for at in range(1, 21)))).capture() for by in (1, 2)
        )
        sides.both(*captures)
        cut, whole = (sides.changes(whole=whole)[0].result.message for whole in (False, True))
        assert len(cut.split("\n")) < 20 < len(whole.split("\n"))


class TestOtherChecks:
    def test_added(self, sides, maps):
        sides.put(sides.new, maps[0], picture=PNG + b"<script>")
        change = sides.change()
        assert (change.change, change.result.status) == (Change.ADDED, Status.MISSING)
        assert change.result.message == f"n: added, the folder {sides.old} has no such baseline"
        (picture,) = change.pictures.values()
        assert picture.startswith(PNG)
        assert b"<script>" not in picture

    def test_removed(self, sides, summaries):
        sides.put(sides.old, summaries[0])
        change = sides.change()
        assert (change.change, change.result.status) == (Change.REMOVED, Status.MISSING)
        assert change.result.message == f"n: removed, the folder {sides.new} has no such baseline"
        assert change.result.view == "model_summary"

    def test_removed_whatever_it_held(self, sides, maps):
        sides.put(sides.old, maps[0]).with_suffix(".safetensors").unlink()
        assert sides.change().change is Change.REMOVED

    def test_renamed(self, sides, summaries):
        sides.put(sides.old, summaries[0])
        sides.put(sides.new, summaries[0], B)
        change = sides.change()
        assert (change.change, change.result.status) == (Change.RENAMED, Status.MATCH)
        assert (change.result.nodeid, change.result.former_nodeid) == (B, A)
        assert change.result.message == f"n: renamed, it was {A} n"

    def test_renamed_with_another_environment(self, sides, summaries):
        """Its content is the same, and what it says of the precision that it was recorded in is not."""
        forged = {"float32_precision": "bf16", "device": "cuda:0 was\n  accept    everything"}
        sides.put(sides.old, summaries[0])
        sides.put(sides.new, replace(summaries[0], environment={**summaries[0].environment, **forged}), B)
        change = sides.change()
        assert change.change is Change.RENAMED
        assert change.result.environment_changes["float32_precision"] == ("-", "bf16")
        assert change.result.message.split("\n") == [
            f"n: renamed, it was {A} n",
            "  changed   device: cpu -> cuda:0 was\\n  accept    everything",
            "  changed   float32_precision: - -> bf16",
        ]
        (line,) = listed_lines([change])
        assert line.startswith(f"renamed    {B}  n  (was {A})  changed device: cpu -> ")
        assert "float32_precision: - -> bf16" in line

    def test_variants_have_names_of_their_own(self, sides, summaries):
        sides.both(*summaries)
        sides.both(*summaries, variant="cuda")
        assert [change.result.name for change in sides.changes()] == ["n", "n@cuda"]

    def test_no_name_hides_another(self, sides, summaries):
        sides.both(*summaries, variant="cuda")
        sides.put(sides.new, summaries[0], name="n@cuda")
        names = [change.result.name for change in sides.changes()]
        assert len(set(names)) == 2

    def test_another_plugin_s_view(self, sides):
        sides.both(Plain(0).capture(), Plain(1).capture())
        change = sides.change()
        assert (change.change, change.result.status) == (Change.NOT_COMPARED, Status.UNREADABLE)
        assert change.result.message == (
            "n: not compared, its view 'plain' is another plugin's: run its test to compare it"
        )

    def test_of_another_plugin_s_view_what_was_added_is_no_less_so(self, sides):
        sides.put(sides.new, Plain(1).capture())
        change = sides.change()
        assert (change.change, change.pictures) == (Change.ADDED, {})


class TestDamage:
    """What cannot be compared is said to be so, with the side that it is on."""

    def unreadable(self, sides, side):
        change = sides.change()
        assert (change.change, change.result.status) == (Change.UNREADABLE, Status.UNREADABLE)
        start = f"n: the baseline in the folder {side} cannot be read: "
        assert change.result.message.startswith(start)
        return change.result.message.removeprefix(start)

    @pytest.mark.parametrize("is_new", [False, True])
    def test_of_a_file(self, sides, maps, is_new):
        path = sides.both(*maps)[is_new].with_suffix(".safetensors")
        path.write_bytes(path.read_bytes()[:-1])
        assert "damaged" in self.unreadable(sides, sides.new if is_new else sides.old)

    @pytest.mark.parametrize("is_new", [False, True])
    def test_of_a_file_that_does_not_say_whose_it_is(self, sides, summaries, is_new):
        sides.both(*summaries, A + "[1]")[is_new].write_text("")
        assert (result := sides.change().result).nodeid == A + "[1]"
        assert result.name == "n"
        assert "it is empty" in self.unreadable(sides, sides.new if is_new else sides.old)

    @pytest.mark.parametrize("is_new", [False, True])
    def test_of_what_the_file_holds(self, sides, maps, is_new):
        """Files that are whole, and hold what no view records."""
        captures = list(maps)
        captures[is_new] = Capture("feature_maps", {"layers": 3}, {"trace.structure": np.zeros(3, np.uint8)})
        sides.both(*captures)
        self.unreadable(sides, sides.new if is_new else sides.old)

    def test_of_an_added_one(self, sides, maps):
        path = sides.put(sides.new, maps[0]).with_suffix(".safetensors")
        path.unlink()
        assert "its safetensors file is missing" in self.unreadable(sides, sides.new)

    def test_of_a_renamed_one(self, sides, maps):
        sides.put(sides.old, maps[0])
        path = sides.put(sides.new, maps[0], B).with_suffix(".safetensors")
        path.write_bytes(path.read_bytes()[:-1])
        assert "damaged" in self.unreadable(sides, sides.new)

    def test_of_a_removed_json_file(self, sides, maps):
        _, path = sides.both(*maps)
        path.unlink()
        assert "n.json is missing beside its safetensors file" in self.unreadable(sides, sides.new)

    def test_of_one_that_lies_elsewhere(self, sides, maps):
        path = sides.put(sides.new, maps[0])
        path.parent.rename(path.parent.with_name("test_b"))
        assert f"it belongs to another test or check, '{A}'" in self.unreadable(sides, sides.new)

    def test_another_view(self, sides, maps, summaries):
        sides.both(maps[0], summaries[0])
        change = sides.change()
        assert change.change is Change.UNREADABLE
        assert "by other views, 'feature_maps' in the folder" in change.result.message


class TestForgedNewer:
    """The newer side is what a pull request brings: what it says of itself allows nothing."""

    @pytest.fixture
    def buffers(self):
        """Captures of a model, and of one with another buffer, which no result shows."""

        class Net(nn.Module):
            def __init__(self, factor):
                super().__init__()
                self.register_buffer("table", torch.arange(3.0) * factor)

            def forward(self, x):
                return x + 1

        return [FeatureMapsView(Net(factor).eval(), torch.ones(2)).capture() for factor in (1.0, 3.0)]

    def test_a_weight_that_only_the_newer_calls_state(self, sides, buffers):
        old, new = buffers
        trace = unpack_trace(dict(new.arrays))
        trace.modules[""].config.update(rewritten="table", unsaved="table")
        arrays = {**new.arrays, **pack_trace(trace)}
        sides.both(old, replace(new, arrays=arrays, facts=retold("feature_maps", new.facts, arrays)))
        change = sides.change()
        assert (change.change, change.result.cause) == (Change.DRIFT, "weights")
        assert "table differs by 2" in change.result.message
        assert "the older one stands after the newer" in change.result.message

    def test_of_two_drifts_it_is_that_of_the_newer(self, sides, buffers):
        sides.both(*buffers)
        assert "stands after" not in sides.change().result.message

    def test_a_text_that_contradicts_its_arrays(self, sides, maps):
        old, new = maps
        sides.both(old, replace(new, facts=old.facts))
        change = sides.change()
        assert change.change is Change.UNREADABLE
        assert change.result.message.startswith(
            f"n: the baseline in the folder {sides.new} cannot be read: its text and"
        )

    def test_an_older_one_of_an_earlier_version_agrees_one_way_only(self, sides):
        new = ModelGraphView(nn.Linear(2, 2), torch.ones(1, 2)).capture()
        facts = {key: value for key, value in new.facts.items() if key != "returned"}
        sides.both(replace(new, facts=facts), new)
        change = sides.change()
        assert change.change is Change.NOT_COMPARED
        assert change.result.message == (
            f"n: not compared, the two were recorded by different versions of pytest-modelviz, which do not record the "
            f"same: run the test with the baseline in the folder {sides.old}"
        )

    def test_sketches_of_two_versions_are_not_compared(self, sides):
        view = FeatureMapsView(nn.Linear(4, 4).eval(), torch.ones(20_000, 4))
        with sketched_as(SKETCH_VERSION - 1):
            old = view.capture()
        sides.both(old, view.capture())
        change = sides.change()
        assert change.change is Change.NOT_COMPARED
        assert "recorded by different versions" in change.result.message

    def test_a_match_with_notes_says_so(self, sides, maps):
        old = maps[0]
        sides.both(old, replace(old, facts={**old.facts, "model": "Other"}))
        (change,) = sides.changes()
        assert (change.change, change.result.has_notes) == (Change.WITHIN_TOLERANCE, True)
        (line,) = listed_lines([change])
        assert line == f"with notes {A}  n"
        assert "1 within tolerance (1 with notes, see -v)" in summary_line([change])


class TestClaims:
    """Neither side can say of itself that more is allowed."""

    @pytest.mark.parametrize(
        ("claims", "allowed"),
        [
            (({}, {}), 1e-4),
            (({}, {"device": "cuda:0"}), 1e-4),
            (({"device": "cuda:0"}, {}), 1e-4),
            (({"device": "cuda:0"}, {"device": "cuda:0"}), 1e-3),
            (({}, {"float32_precision": "bf16"}), 1e-4),
            (({"float32_precision": "bf16"}, {}), 1e-4),
            (({"float32_precision": "tf32"}, {"float32_precision": "bf16"}), 1e-2),
        ],
    )
    def test_of_device_and_precision(self, sides, maps, claims, allowed):
        before, after = (stating(capture, **each) for capture, each in zip(maps, claims, strict=True))
        sides.both(before, after)
        assert sides.change().result.tolerance == pytest.approx(allowed)

    def test_names_end_no_line(self, sides, summaries):
        nodeid = "t.py::test_a[\n::error::x\x1b[31m]"
        sides.put(sides.new, summaries[0], nodeid, name="a\nb")
        sides.both(Plain(0).capture(), replace(Plain(1).capture(), view="x\ny"))
        changes = sides.changes()
        messages = [change.result.message for change in changes]
        assert all("\n" not in message and "\x1b" not in message for message in messages)

    def test_names_of_several_words_are_quoted(self, sides, summaries):
        sentence = "warning: run modelviz accept x"
        sides.put(sides.new, summaries[0], f"{sentence}.py::t", name=sentence)
        (change,) = sides.changes()
        assert change.result.message.startswith(f"'{sentence}': added")
        assert own_report(change.result, []).startswith(f"'{sentence}': ")
        assert listed_lines([change]) == [f"added      '{sentence}.py::t'  '{sentence}'"]
