import collections
import dataclasses

import numpy as np
import pytest
import torch
from torch import nn
from zoo import ZOO, SmallNet, images

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.probe.nested_values import tensors
from pytest_modelviz.probe.sketch import record_tensor
from pytest_modelviz.records.structure import ModelStructure
from pytest_modelviz.records.trace import ForwardTrace
from pytest_modelviz.views.cam_map.capture import CamMapView
from pytest_modelviz.views.combined.capture import CombinedCapture
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView
from pytest_modelviz.views.model_summary.capture import ModelSummaryView


class Counting(SmallNet):
    """Counts its passes, forward and backward."""

    def __init__(self):
        super().__init__()
        self.passes = [0, 0]  # a list: what it holds is put back, so look while it runs

    def forward(self, x):
        Counting.forwards += 1
        y = super().forward(x)
        if y.requires_grad:
            y.register_hook(self.back)
        return y

    def back(self, gradient):
        Counting.backwards += 1

    forwards = backwards = 0


def views_of(together):
    views = {name: getattr(together, name) for name in ("summary", "feature_maps", "cam")}
    return {name: view for name, view in views.items() if view is not None}


def test_three_views_take_one_forward_and_one_backward_pass():
    Counting.forwards = Counting.backwards = 0
    together = CombinedCapture(Counting(), images(), cam="bn2", target=1)
    captures = {part: view.capture() for part, view in views_of(together).items()}
    assert list(captures) == ["summary", "feature_maps", "cam"]
    assert (Counting.forwards, Counting.backwards) == (1, 1)
    for capture in captures.values():
        assert together.capture(0, capture.view) is capture
    assert (Counting.forwards, Counting.backwards) == (1, 1)


def test_a_second_look_is_a_second_pass_once_for_all():
    Counting.forwards = Counting.backwards = 0
    views = views_of(CombinedCapture(Counting(), images(), cam="bn2", target=1))
    for _ in range(2):
        for view in views.values():
            view.capture()
    assert (Counting.forwards, Counting.backwards) == (2, 2)


def test_without_a_cam_nothing_is_differentiated():
    Counting.forwards = Counting.backwards = 0
    views = views_of(CombinedCapture(Counting(), images(), summary=False))
    assert list(views) == ["feature_maps"]
    assert not views["feature_maps"].capture().result.output.requires_grad
    assert (Counting.forwards, Counting.backwards) == (1, 0)


@pytest.mark.parametrize("cam", [None, "bn2"])
def test_it_sees_what_the_views_see_by_themselves(cam):
    model = SmallNet()
    together = views_of(CombinedCapture(model, images(), cam=cam, target=None if cam is None else 1))
    alone = {"summary": ModelSummaryView(model, input_data=images()), "feature_maps": FeatureMapsView(model, images())}
    if cam:
        alone["cam"] = CamMapView(model, images(), target_layer=cam, target=1)
    for part, view in alone.items():
        one, two = view.capture(), together[part].capture()
        assert view.compare(one, two, Tolerances()).matched, part
        assert one.view == two.view == together[part].view
    assert together["summary"].capture().facts == alone["summary"].capture().facts
    if cam:
        assert np.allclose(together["cam"].capture().arrays["map"], alone["cam"].capture().arrays["map"], atol=1e-6)
        assert not together["feature_maps"].capture().result.output.requires_grad


def test_a_fault_is_named_by_every_part():
    model = SmallNet()
    before = {
        part: view.capture() for part, view in views_of(CombinedCapture(model, images(), cam="bn2", target=1)).items()
    }
    with torch.no_grad():
        model.conv2.weight[:3].neg_()
    for part, view in views_of(CombinedCapture(model, images(), cam="bn2", target=1)).items():
        verdict = view.compare(before[part], view.capture(), Tolerances())
        if part == "summary":
            assert verdict.matched
        else:
            assert (verdict.matched, verdict.first.layer, verdict.cause) == (False, "conv2", "weights")
            assert view.picture(view.capture(), before[part], verdict)
            assert view.describe(view.capture())


@pytest.mark.parametrize("name", ZOO)
def test_every_model_of_the_zoo_and_it_is_left_as_it_was(name):
    case = ZOO[name]
    model, inputs = case.build(), case.input()
    before = [(p, p.grad, p.requires_grad) for p in model.parameters()]
    views = views_of(CombinedCapture(model, inputs))
    captures = {part: view.capture() for part, view in views.items()}
    alone = FeatureMapsView(model, inputs)
    if name not in ("random", "restless"):
        again = CombinedCapture(model, inputs).feature_maps
        assert again.compare(captures["feature_maps"], again.capture(), Tolerances()).matched
    assert alone.capture().facts["model"] == captures["feature_maps"].facts["model"]
    assert all(p.grad is grad and p.requires_grad == wanted for p, grad, wanted in before)


class TestErrors:
    def test_nothing_to_look_at(self):
        with pytest.raises(ModelvizError, match="modelviz has nothing to capture"):
            CombinedCapture(SmallNet(), images(), summary=False, feature_maps=False)

    def test_a_target_without_a_layer(self):
        with pytest.raises(ModelvizError, match="takes a target only with cam="):
            CombinedCapture(SmallNet(), images(), target=1)

    def test_a_layer_that_does_not_exist(self):
        with pytest.raises(ModelvizError, match="no layer 'conv9'"):
            CombinedCapture(SmallNet(), images(), cam="conv9")

    def test_cam_is_a_name(self):
        with pytest.raises(ModelvizError, match="cam takes the name of a layer, not True"):
            CombinedCapture(SmallNet(), images(), cam=True)

    def test_no_model(self):
        with pytest.raises(ModelvizError, match=r"must be a torch.nn.Module, not str"):
            CombinedCapture("model", images())


class TestNarrowed:
    def trace(self, tensor):
        structure = ModelStructure({}, {"w": record_tensor(tensor, 61)})
        return ForwardTrace(structure, [], {"t": record_tensor(tensor, 251)})

    def test_it_estimates_differences_as_a_sketch_does(self):
        generator = torch.Generator().manual_seed(0)
        one = torch.randn(50_000, generator=generator)
        two = one + 0.01 * torch.randn(50_000, generator=generator)
        before, after = (self.trace(values).narrowed(31, 13) for values in (one, two))
        assert before.tensors["t"].sketch.size == 31
        assert before.weights["w"].sketch.size == 13
        delta = after.tensors["t"].sketch.astype(np.float64) - before.tensors["t"].sketch
        size = np.linalg.norm(before.tensors["t"].sketch.astype(np.float64))
        assert np.linalg.norm(delta) / size == pytest.approx(0.01, rel=0.5)

    def test_small_tensors_stay_as_they_are(self):
        values = torch.arange(20.0)
        assert self.trace(values).narrowed(31, 31).tensors["t"].sketch.tolist() == values.tolist()

    def test_a_constant_shift_shows(self):
        # added up without signs, it could cancel in no bucket; with signs it must not cancel in all of them
        before, after = (self.trace(torch.full((200,), value)).narrowed(31, 13) for value in (1.0, 1.1))
        assert np.abs(after.tensors["t"].sketch - before.tensors["t"].sketch).max() > 0.01

    def test_giants_are_kept_apart(self):
        values = torch.randn(1000)
        values[7] = -1e9
        record = self.trace(values).narrowed(31, 13).tensors["t"]
        assert [sketch.size for sketch in record.sketches] == [31, 31]
        assert np.abs(record.sketch_without_giants).max() < 1e3


def test_a_model_with_attention_is_counted_and_watched_in_one_pass():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    seen = {part: view.capture() for part, view in views_of(CombinedCapture(layer, torch.rand(2, 5, 8))).items()}
    alone = ModelSummaryView(layer, input_data=torch.rand(2, 5, 8)).capture()
    assert seen["summary"].result.mult_adds == alone.result.mult_adds > 0


Pair = collections.namedtuple("Pair", "scores more")


@dataclasses.dataclass
class Held:
    scores: torch.Tensor
    more: object = None


@pytest.mark.parametrize(
    "wrap", [lambda y: collections.OrderedDict(a=[y]), lambda y: Pair(y, (y,)), lambda y: Held(y, {"z": y})]
)
def test_the_output_holds_no_graph_whatever_it_is(wrap):
    class Wrapped(SmallNet):
        def forward(self, x):
            return wrap(super().forward(x))

    seen = CombinedCapture(Wrapped(), images(), cam="bn2", target=0).feature_maps.capture().result
    assert type(seen.output) is type(wrap(torch.zeros(1)))
    found = list(tensors(seen.output))
    assert found
    assert not any(tensor.requires_grad for tensor in found)
