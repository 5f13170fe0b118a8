"""Class activation maps of one-dimensional models, drawn as strips; layers whose last call has no places."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from pytest_modelviz.attribution.spatial_layout import SpatialLayout, SpatialLayoutTracker
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.pictures.composite import PANEL
from pytest_modelviz.pictures.legend import BAR_HEIGHT
from pytest_modelviz.views.cam_map.capture import CamMapView
from pytest_modelviz.views.cam_map.library import known_methods
from pytest_modelviz.views.cam_map.methods import METHODS, RUNNING
from pytest_modelviz.views.cam_map.pictures import flat

EVERY_METHOD = sorted(set(METHODS) | set(RUNNING) | {"finercam", "refinecam"} - {"fullgrad"})


def signal(batch=2, length=64):
    return torch.rand(batch, 2, length, generator=torch.Generator().manual_seed(0))


class Wave(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.norm, self.conv2 = nn.Conv1d(2, 8, 5, stride=2), nn.BatchNorm1d(8), nn.Conv1d(8, 6, 3)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.conv2(self.norm(self.conv1(x)).relu()).relu().mean(2))


class Toy(nn.Module):
    def __init__(self):
        super().__init__()
        self.maps, self.head = nn.Conv1d(2, 2, 1, bias=False), nn.Linear(2, 2, bias=False)
        self.maps.weight.data = torch.eye(2)[:, :, None]
        self.head.weight.data = torch.tensor([[1.0, -4.0], [0.5, 3.0]])

    def forward(self, x):
        return self.head(self.maps(x).mean(2))


def test_gradcam_of_a_sequence_by_hand():
    x = torch.tensor([[[1.0, 2.0, 3.0, 4.0], [0.0, 1.0, 0.0, 1.0]]])
    result = CamMapView(Toy(), x, target=0).capture().result
    assert result.layer == "maps"
    assert result.raw == pytest.approx((0.25 * x[:, 0] - 1.0 * x[:, 1]).numpy())
    assert result.normalized == pytest.approx(np.maximum(result.raw, 0) / result.raw.max(), abs=1e-5)


@pytest.mark.parametrize("method", sorted(set(EVERY_METHOD) - {"fullgrad"}))
def test_every_method_maps_a_sequence(method):
    model = Wave()
    view = CamMapView(model, signal(), target=1, method=method)
    capture = view.capture()
    assert capture.result.raw.shape == (2, 28 if method != "refinecam" else 30)
    assert capture.result.normalized.shape == (2, 64)
    assert capture.facts["shape"] == list(capture.result.raw.shape)
    assert view.compare(capture, view.capture(), Tolerances()).matched
    changed = copy.deepcopy(model)
    with torch.no_grad():
        changed.conv2.weight[:3].mul_(-2)
    verdict = view.compare(capture, CamMapView(changed, signal(), target=1, method=method).capture(), Tolerances())
    assert (verdict.matched, verdict.first.layer, verdict.cause) == (False, "conv2", "weights")


def test_the_strip_is_the_map_of_the_same_image_of_one_row():
    class Flat(nn.Module):
        def __init__(self, wave):
            super().__init__()
            self.conv1, self.conv2 = nn.Conv2d(2, 8, (1, 5), stride=(1, 2)), nn.Conv2d(8, 6, (1, 3))
            self.norm, self.head = nn.BatchNorm2d(8), wave.head
            for name in ("conv1", "conv2"):
                getattr(self, name).weight.data = getattr(wave, name).weight.data[:, :, None]
                getattr(self, name).bias = getattr(wave, name).bias

        def forward(self, x):
            return self.head(self.conv2(self.norm(self.conv1(x)).relu()).relu().mean((2, 3)))

    wave = Wave()
    for method in ("gradcam", "layercam", "eigencam", "scorecam"):
        strip = CamMapView(wave, signal(), target=1, method=method, target_layer="conv2").capture().result
        asked = {"target": 1, "method": method, "target_layer": "conv2", "reshape_transform": lambda maps: maps}
        flat = CamMapView(Flat(wave), signal()[:, :, None], **asked).capture().result
        assert strip.raw == pytest.approx(flat.raw[:, 0], rel=1e-3, abs=1e-6), method
        assert strip.normalized == pytest.approx(flat.normalized[:, 0], abs=1e-3), method


def test_a_sequence_s_map_is_drawn_as_a_strip():
    view = CamMapView(Wave(), signal(length=2000), target=1)
    capture = view.capture()
    assert not [name for name in capture.arrays if name.startswith("input")]
    strip = flat(capture.result.raw[0])
    assert strip.shape == (56, 448)
    assert (strip == strip[:1]).all()
    (picture,), (composite,) = view.picture(capture), view.picture(capture, capture)
    assert picture.image.shape[1] > picture.image.shape[0]
    assert composite.actual.shape[:2] == (2 * (16 + 72 + 2 + BAR_HEIGHT) + 12, 3 * PANEL)  # of two samples
    assert composite.image.shape[1] == 3 * PANEL
    short = flat(np.float32([0.0, np.nan, 1.0]))
    assert short.shape == (1, 3)
    assert np.isnan(short[0, 1])


def test_tokens_of_which_a_convolution_has_made_a_sequence():
    class Text(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.conv, self.head = nn.Embedding(20, 6), nn.Conv1d(6, 8, 3), nn.Linear(8, 3)

        def forward(self, tokens):
            return self.head(self.conv(self.embed(tokens).transpose(1, 2)).relu().amax(2))

    seen = CamMapView(Text(), torch.arange(12)[None], target=1).capture().result
    assert (seen.layer, seen.raw.shape, seen.normalized.shape) == ("conv", (1, 10), (1, 12))


def test_a_transformer_over_a_sequence_is_explained_at_its_tokens():
    class Speech(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv1d(1, 8, 4, stride=4)
            self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
            self.head = nn.Linear(8, 3)

        def forward(self, x):
            return self.head(self.block(self.conv(x[:, None]).transpose(1, 2)).mean(1))

    capture = CamMapView(Speech(), torch.rand(1, 40), target=1).capture()
    assert (capture.result.layer, capture.result.raw.shape) == ("block", (1, 10))
    assert capture.facts["places"] == "10, channels last"
    assert capture.result.normalized.shape == (1, 40)


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        ([(nn.Conv1d(1, 1, 1), (1, 8, 30))], SpatialLayout("channels first", (30,))),
        ([(nn.Linear(1, 1), (1, 8, 30))], None),  # nothing says that this is a sequence
        ([(nn.Conv1d(1, 1, 1), (1, 8, 30)), (nn.ReLU(), (1, 8, 30))], SpatialLayout("channels first", (30,))),
        ([(nn.Conv1d(1, 1, 1), (1, 8, 30)), (nn.LayerNorm(8), (1, 30, 8))], SpatialLayout("channels last", (30,))),
        ([(nn.Conv1d(1, 1, 1), (1, 30, 30)), (nn.Linear(1, 1), (1, 30, 30))], SpatialLayout("channels last", (30,))),
        ([(nn.Conv1d(1, 1, 1), (1, 8, 30)), (nn.AdaptiveAvgPool1d(1), (1, 8, 1))], None),
        (
            [(nn.Conv1d(1, 1, 1), (1, 8, 30)), (nn.Identity(), (1, 8, 15))],
            SpatialLayout("channels first", (15,)),
        ),  # pooled
        ([(nn.Conv1d(1, 1, 1), (1, 8, 30)), (nn.Identity(), (1, 15, 8))], SpatialLayout("channels last", (15,))),
        ([(nn.Conv1d(1, 1, 1), (1, 8, 30)), (nn.ReLU(), (1, 5, 7))], None),
    ],
)
def test_places_of_a_sequence(outputs, expected):
    for batch in (1, 3):  # three channels do not make an image of it
        tracker = SpatialLayoutTracker(torch.rand(batch, 2, 60))
        found = None
        for module, (_, *shape) in outputs:
            found = tracker.track(module, torch.rand(batch, *shape))
        assert found == expected


def test_a_reshape_of_one_s_own_may_give_a_sequence():
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.head = nn.Linear(2, 6), nn.Linear(6, 3)

        def forward(self, x):
            return self.head(self.embed(x.transpose(1, 2)).relu().mean(1))

    for method in ("gradcam", "scorecam"):
        view = CamMapView(
            Recurrent(),
            signal(),
            target=1,
            target_layer="embed",
            method=method,
            reshape_transform=lambda output: output.transpose(1, 2),
        )
        assert view.capture().result.raw.shape == (2, 64)


def test_fullgrad_of_a_sequence_says_what_it_needs():
    with pytest.raises(ModelvizError, match="needs an input of one tensor"):
        CamMapView(Wave(), signal(), method="fullgrad").capture()
    assert "fullgrad" in known_methods()


class Pooled(nn.Module):
    """One pool, called twice; nothing is left of its last output's places."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.pool, self.fc = nn.MaxPool2d(4), nn.Linear(4, 3)

    def forward(self, x):
        x = self.pool(self.conv1(x).relu())
        return self.fc(self.pool(self.conv2(x).relu()).flatten(1))


@pytest.mark.parametrize("method", ["gradcam", "eigencam", "refinecam", "scorecam", "ablationcam"])
def test_a_layer_whose_last_call_has_no_places_is_no_obstacle(method):
    image = torch.rand(1, 1, 16, 16)
    seen = CamMapView(Pooled(), image, target=1, method=method).capture()
    assert seen.result.layer.split(", ")[0] == "conv2"
    named = (
        None
        if method == "refinecam"
        else CamMapView(Pooled(), image, target=1, method=method, target_layer="pool").capture()
    )
    assert named is None or (named.facts["call"], named.result.raw.shape) == (0, (1, 4, 4))


def test_of_several_calls_with_places_it_is_still_the_last():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.act, self.fc = nn.Conv2d(1, 1, 3, padding=1), nn.ReLU(), nn.Linear(1, 3)

        def forward(self, x):
            return self.fc(self.act(self.conv(self.act(self.conv(x)))).mean((2, 3)))

    assert CamMapView(Twice(), torch.rand(1, 1, 8, 8), target=1).capture().facts["call"] == 1


def test_a_layer_that_returns_no_tensor_in_one_of_its_calls():
    class Mixed(nn.Module):
        def forward(self, x, whole=True):
            return x if whole else (x, None)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.mixed, self.fc = nn.Conv2d(1, 4, 3), Mixed(), nn.Linear(4, 3)

        def forward(self, x):
            x, _ = self.mixed(self.mixed(self.conv(x)), whole=False)
            return self.fc(x.mean((2, 3)))

    seen = CamMapView(Net(), torch.rand(1, 1, 8, 8), target=1).capture()
    assert (seen.result.layer, seen.facts["call"]) == ("mixed", 0)
