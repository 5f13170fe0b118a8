"""Profiles of layers: taken when recording and never compared, at the right tensors, in the right layout."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.profiles import unpack_profiles
from pytest_modelviz.storage.formats import encode_arrays
from pytest_modelviz.views.base import capture_with_other_randomness
from pytest_modelviz.views.combined.capture import CombinedCapture
from pytest_modelviz.views.feature_maps import profiles as collecting
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView

NAMES = {"profiles.index", "profiles.shapes", "profiles.scales", "profiles.levels"}


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True))
        self.head = nn.Linear(4, 5)

    def forward(self, x):
        h = self.body(x)
        return {"scores": self.head(h.mean((2, 3))), "maps": h * 2, "count": 3, "best": h.argmax()}


class Tokens(nn.Module):
    """A patch embedding and a block of tokens, a class token before them."""

    def __init__(self):
        super().__init__()
        self.patches, self.block = nn.Conv2d(3, 6, 4, 4), nn.Linear(6, 6)

    def forward(self, x):
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        return self.block(torch.cat([tokens[:, :1] * 0 + 100, tokens], 1))


def image(size=12):
    return torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))


def net(kind=Net):
    torch.manual_seed(0)
    return kind().eval()


def recorded(view):
    return view.with_noise(view.capture())


def profiles_of(view):
    capture = recorded(view)
    return unpack_profiles(capture.arrays, capture.result.trace)


class TestRecording:
    def test_each_tensor_that_is_handed_on_has_one(self):
        found = profiles_of(FeatureMapsView(net(), image()))
        assert list(found) == ["<x", ".maps", "body.0", "body.1", "head"]  # body returns what body.1 does
        assert {key: own.places.shape for key, own in found.items()} == {
            "<x": (8, 8), ".maps": (8, 8), "body.0": (8, 8), "body.1": (8, 8), "head": (0, 0),
        }  # fmt: skip
        assert found["body.0"].means.min() < 0 <= found["body.1"].means.min()  # before it was overwritten
        assert found[".maps"].energies == pytest.approx(found["body.1"].energies * 2, rel=0.01)

    def test_tokens_lie_over_the_image_and_a_sequence_in_a_column(self):
        found = profiles_of(FeatureMapsView(net(Tokens), image(32)))
        assert found["block"].places.shape == (8, 8)
        assert found["block"].energies.max() > 2 * found["block"].places.max()  # the class token is in no place
        lstm = nn.LSTM(3, 4, 2, batch_first=True)
        found = profiles_of(FeatureMapsView(lstm, torch.rand(2, 7, 3)))
        assert {key: (own.places.shape, own.channels) for key, own in found.items()} == {
            "<input": ((7, 1), 3), "[0]": ((7, 1), 4), "[1][0]": ((2, 1), 4), "[1][1]": ((2, 1), 4),
        }  # fmt: skip

    def test_inputs_are_known_by_their_names(self):
        class Add(nn.Module):
            def forward(self, b, a, scale=1.0):
                return (b + a) * scale

        data = {"a": torch.ones(1, 2), "b": torch.full((1, 2), 3.0), "scale": 0.5}
        found = profiles_of(FeatureMapsView(Add(), data))
        assert {key: own.means.tolist() for key, own in found.items()} == {
            "<b": [3.0, 3.0],
            "<a": [1.0, 1.0],
            "": [2.0, 2.0],
        }

    def test_they_are_the_same_whichever_pass_they_are_taken_in(self):
        view, other = FeatureMapsView(net(), image()), FeatureMapsView(net(), image())
        first = view.capture()
        capture_with_other_randomness(view, first)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(view, "_pass_for_people", None)  # it has them already
            again = view.with_noise(first)
        expected = recorded(other)
        assert encode_arrays(again.arrays) == encode_arrays(expected.arrays)
        assert again.facts == expected.facts  # means, too

    def test_modelviz_and_lower_precision_have_them_too(self):
        combined = CombinedCapture(net(), image()).feature_maps
        assert combined.with_noise(combined.capture()).arrays.keys() >= NAMES
        assert recorded(FeatureMapsView(net().bfloat16(), image().bfloat16())).arrays.keys() >= NAMES
        assert not NAMES & recorded(FeatureMapsView(net().to("meta"), image().to("meta"))).arrays.keys()

    def test_a_baseline_grows_by_less_than_a_tenth(self):
        deep = nn.Sequential(*(nn.Conv2d(16, 16, 3, padding=1) for _ in range(40))).eval()
        view = FeatureMapsView(deep, torch.rand(1, 16, 16, 16))
        capture = recorded(view)
        without = {name: array for name, array in capture.arrays.items() if name not in NAMES}
        assert len(encode_arrays(capture.arrays)) < 1.1 * len(encode_arrays(without))


class TestComparing:
    def test_a_match_takes_none(self, monkeypatch):
        view = FeatureMapsView(net(), image())
        baseline = recorded(view)
        monkeypatch.setattr(collecting, "profile_of", None)
        actual = FeatureMapsView(net(), image()).capture()
        assert not NAMES & actual.arrays.keys()
        assert view.compare(baseline, actual, Tolerances()).matched

    def test_no_forged_profile_decides_anything(self):
        view = FeatureMapsView(net(), image())
        baseline = recorded(view)
        other = net()
        with torch.no_grad():
            other.head.weight *= 1.5
        drifted = FeatureMapsView(other, image()).capture()
        for name in NAMES:
            for array in (np.zeros(3), np.zeros((2, 2), np.uint8), baseline.arrays[name][:0]):
                forged = replace(baseline, arrays={**baseline.arrays, name: array})
                assert view.compare(forged, baseline, Tolerances()).matched
                verdict = view.compare(forged, drifted, Tolerances())
                assert verdict == view.compare(baseline, drifted, Tolerances())
                with pytest.raises(UnreadableBaselineError, match="its profiles of layers are damaged"):
                    view.picture(drifted, forged, verdict)
