"""Which tensor of an output is explained, and what a target function is given."""

import collections
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_grad_cam.utils.model_targets import SemanticSegmentationTarget
from torch import nn

from pytest_modelviz import whole_output
from pytest_modelviz.attribution.outputs import main_output, main_path, sample_outputs
from pytest_modelviz.attribution.scores import scores_of
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.records.findings import FactFinding
from pytest_modelviz.views.cam_map.capture import CamMapView
from pytest_modelviz.views.saliency_map.capture import SaliencyMapView

TABLE, OTHER = torch.arange(6.0).view(2, 3), torch.ones(2, 8)
LOSS = torch.tensor(3.0)


@dataclass
class Head:
    loss: torch.Tensor
    zeta: torch.Tensor
    alpha: torch.Tensor


class Plain:
    def __init__(self):
        self.zeta, self.alpha = TABLE, OTHER


Pair = collections.namedtuple("Pair", "zeta alpha")


@pytest.mark.parametrize(
    ("output", "path"),
    [
        ({"scores": TABLE, "embedding": OTHER}, "scores"),  # the alphabet would give the embedding
        ({"embedding": OTHER, "scores": TABLE}, "scores"),
        ({"zeta": TABLE, "alpha": OTHER}, "zeta"),  # no name is known: the author's order
        ({"alpha": OTHER, "class_logits": TABLE}, "class_logits"),
        ({"boxes": OTHER, "pred_logits": TABLE}, "pred_logits"),
        ({"image_embeds": OTHER, "logits_per_image": TABLE, "logits_per_text": OTHER}, "logits_per_image"),
        ({"hidden": OTHER, "start_logits": TABLE, "end_logits": OTHER}, "start_logits"),
        ({"embedding": OTHER, "species_scores": TABLE}, "species_scores"),
        ({"aux": OTHER, "out": TABLE}, "out"),  # torchvision's segmentation
        ({"aux_logits": OTHER, "main": TABLE}, "main"),
        ({"probs": OTHER, "logits": TABLE}, "logits"),
        ({"loss": LOSS, "zeta": TABLE}, "zeta"),
        ({"loss": OTHER, "zeta": TABLE}, "zeta"),  # a loss for each sample is no score either
        ({"loss": LOSS}, "loss"),
        ({"scores": LOSS, "zeta": TABLE}, "zeta"),
        ({"labels": torch.ones(2, 3, dtype=torch.long), "zeta": TABLE}, "zeta"),
        ({"head": {"scores": TABLE}, "embedding": OTHER}, "head.scores"),
        ({"embedding": OTHER, "logits": [TABLE, OTHER]}, "logits[0]"),
        (Head(LOSS, TABLE, OTHER), "zeta"),
        (Plain(), "zeta"),
        (Pair(TABLE, OTHER), "zeta"),
        ((TABLE, OTHER), "[0]"),
        (collections.UserDict(zeta=TABLE, alpha=OTHER), "zeta"),
        (TABLE, ""),
    ],
)
def test_the_tensor_that_holds_the_scores(output, path):
    assert main_path(output) == path
    found = main_output(output)
    assert found is TABLE or path == "loss"


def test_clip_s_output_is_explained_by_its_logits():
    from transformers.utils import ModelOutput

    @dataclass
    class ClipOutput(ModelOutput):
        loss: Any = None
        logits_per_image: Any = None
        logits_per_text: Any = None
        image_embeds: Any = None

    output = ClipOutput(image_embeds=OTHER, logits_per_text=OTHER, logits_per_image=TABLE)
    assert main_path(output) == "logits_per_image"


def test_a_tensordict_is_explained_by_its_scores():
    from tensordict import TensorDict

    assert main_path(TensorDict({"embedding": OTHER, "scores": TABLE}, batch_size=[2])) == "scores"


class Both(nn.Module):
    """The embedding comes first in the alphabet, its gradient is another one."""

    def __init__(self, wrap=lambda scores, embedding: {"scores": scores, "embedding": embedding}):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.head = nn.Linear(8, 4)
        self.wrap = wrap

    def forward(self, x):
        embedding = self.conv(x).relu().mean((2, 3))
        return self.wrap(self.head(embedding), embedding)


def image(batch=1):
    return torch.rand(batch, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def gradient_of(model, number_of):
    leaf = image().requires_grad_()
    number_of(model(leaf)).backward()
    return leaf.grad.numpy()


@pytest.mark.parametrize(
    "target",
    [1, lambda row: row[1], lambda output: output["scores"][0, 1], whole_output(lambda output: output["scores"][:, 1])],
    ids=["class", "sample", "output", "said"],
)
def test_every_way_to_mean_a_class_of_a_dict(target):
    model = Both()
    expected = gradient_of(model, lambda output: output["scores"][0, 1])
    capture = SaliencyMapView(model, image(), target=target).capture()
    assert capture.result.gradient == pytest.approx(expected, abs=1e-6)
    explained = "scores" if target == 1 or not capture.facts["explained"].startswith("a function") else None
    assert capture.facts["explained"] == (explained or "a function of the whole output")
    reference = CamMapView(model, image(), target=1).capture()
    assert CamMapView(model, image(), target=target).capture().result.raw == pytest.approx(reference.result.raw)


@pytest.mark.parametrize(
    ("wrap", "target"),
    [
        (lambda scores, embedding: (scores, embedding), lambda output: output[1].sum() - output[0][0, 2]),
        (lambda scores, embedding: Head(scores.sum(), scores, embedding), lambda output: output.alpha.square().sum()),
        (lambda scores, embedding: scores, lambda output: output[0, 2]),
        (lambda scores, embedding: {"parts": [{"a": scores}]}, lambda output: output["parts"][0]["a"].max()),
    ],
    ids=["tuple", "dataclass", "tensor", "nested"],
)
def test_a_function_of_the_whole_output(wrap, target):
    model = Both(wrap)
    for method in ("gradient", "smoothgrad"):
        assert SaliencyMapView(model, image(), target=target, method=method).capture().result.gradient.any()
    seen = SaliencyMapView(model, image(), target=target).capture().result
    assert seen.gradient == pytest.approx(gradient_of(model, target), abs=1e-6)


@pytest.mark.parametrize("method", ["scorecam", "ablationcam", "shapleycam", "fullgrad"])
def test_methods_that_run_the_model_take_functions_of_the_whole_output(method):
    model = Both()
    whole = CamMapView(model, image(), target=lambda output: output["scores"][0, 1], method=method).capture()
    assert whole.result.raw == pytest.approx(
        CamMapView(model, image(), target=1, method=method).capture().result.raw, abs=1e-6
    )
    with pytest.raises(ModelvizError, match="needs a batch of one"):
        CamMapView(model, image(2), target=lambda output: output["scores"][0, 1], method=method).capture()


def test_a_field_that_a_row_has_by_another_meaning():
    class Sequence(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.LSTM(4, 4, batch_first=True)

        def forward(self, packed):
            return self.rnn(packed)[0]

    packed = nn.utils.rnn.pack_padded_sequence(torch.rand(2, 3, 4), [3, 2], batch_first=True)
    capture = SaliencyMapView(Sequence(), (packed,), target=lambda output: output.data.sum()).capture()
    assert capture.result.gradient.any()
    assert capture.facts["explained"] == "a function of the whole output"


def test_a_function_of_a_segmentation_s_sample_is_given_the_sample():
    class Segments(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 4, 1)

        def forward(self, x):
            return collections.OrderedDict(out=self.head(self.conv(x)), aux=x)

    mask = np.zeros((8, 8), np.float32)
    mask[2:4, 2:4] = 1
    capture = CamMapView(
        Segments(), image(2), target_layer="conv", target=SemanticSegmentationTarget(2, mask)
    ).capture()
    assert capture.facts["explained"] == "out"
    assert capture.notes == ()
    assert capture.result.raw.shape == (2, 8, 8)


def test_an_ambiguous_function_has_a_note_on_its_argument():
    model = Both(lambda scores, embedding: (scores, embedding))
    capture = SaliencyMapView(model, image(), target=lambda output: output[0].sum()).capture()
    assert capture.result.gradient == pytest.approx(gradient_of(model, lambda output: output[0][0, 0]), abs=1e-6)
    (note,) = capture.notes
    assert "was given a sample's scores ([0])" in note
    assert "whole_output(function)" in note
    said = SaliencyMapView(model, image(), target=whole_output(lambda output: output[0].sum())).capture()
    assert said.result.gradient == pytest.approx(gradient_of(model, lambda output: output[0].sum()), abs=1e-6)
    assert said.notes == ()


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (lambda output: output["missing"].sum(), "on one sample's scores .*KeyError: 'missing'"),
        (lambda output: output, "must return a tensor with one number, not a tensor \\[4\\]"),
        (lambda output: 1.0, "must return a tensor with one number, not float"),
        ([whole_output(lambda output: output["scores"][0, 0])] * 2, "2 functions of the whole output for a batch of 2"),
    ],
)
def test_a_function_that_fits_nothing_has_a_single_clear_error(target, message):
    with pytest.raises(ModelvizError, match=message):
        SaliencyMapView(Both(), image(2), target=target).capture()


def test_several_functions_of_the_whole_output_have_a_map_each():
    targets = [lambda output: output["scores"][0, 1], lambda output: -output["scores"][0, 1]]
    raw = CamMapView(Both(), image(), target=targets).capture().result.raw
    assert raw.shape[0] == 2
    assert raw[0] == pytest.approx(-raw[1])


def test_the_facts_of_a_single_tensor_say_nothing_and_older_baselines_still_match():
    assert "explained" not in SaliencyMapView(Both(lambda scores, _: scores), image(), target=1).capture().facts
    for view in (SaliencyMapView(Both(), image(), target=1), CamMapView(Both(), image(), target=1)):
        torch.manual_seed(0)
        old, new = view.capture(), view.capture()
        del old.facts["explained"]
        assert view.compare(old, new, Tolerances()).matched


def test_another_explained_tensor_is_a_finding():
    one = SaliencyMapView(Both(), image(), target=1)
    other = SaliencyMapView(Both(lambda scores, embedding: {"logits": embedding, "scores": scores}), image(), target=1)
    verdict = one.compare(one.capture(), other.capture(), Tolerances())
    assert not verdict.matched
    assert FactFinding("explained", "scores", "logits") in verdict.findings


class Single(nn.Module):
    def __init__(self, wrap: Any = lambda number: number):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.wrap = wrap

    def forward(self, x):
        return self.wrap(self.conv(x).square().sum())


@pytest.mark.parametrize("target", [None, lambda number: number, lambda row: row.sum()])
@pytest.mark.parametrize("wrap", [lambda number: number, lambda number: number[None], lambda number: {"loss": number}])
def test_a_single_number_is_explained_as_it_is(wrap, target):
    model = Single(wrap)
    expected = gradient_of(model, lambda output: main_output(output).sum())
    for method in ("gradient", "integrated_gradients", "smoothgrad"):
        assert SaliencyMapView(model, image(), target=target, method=method).capture().result.gradient.any()
    assert SaliencyMapView(model, image(), target=target).capture().result.gradient == pytest.approx(expected)
    seen = CamMapView(model, image(), target=target).capture().result
    assert (seen.layer, seen.targets, seen.predicted) == ("conv", (), ())
    assert seen.score == pytest.approx(float(main_output(model(image())).detach()))


@pytest.mark.parametrize("target", [None, lambda number: number])
def test_methods_that_run_a_model_of_a_single_number(target):
    for method in ("shapleycam", "fullgrad"):
        assert CamMapView(Single(), image(), target=target, method=method).capture().result.raw.any()
    for method in ("scorecam", "ablationcam"):
        with pytest.raises(ModelvizError, match="a single number for a whole batch"):
            CamMapView(Single(), image(), target=target, method=method).capture()
    with pytest.raises(ModelvizError, match=r"no classes to compare|takes a class, not a function"):
        CamMapView(Single(), image(), target=target, method="finercam").capture()


def test_a_class_of_a_single_number_is_an_error():
    with pytest.raises(ModelvizError, match="returns a single number, which is explained as it is"):
        SaliencyMapView(Single(), image(), target=1).capture()


def test_the_output_of_a_batch_in_samples():
    first, second = sample_outputs({"scores": TABLE, "loss": LOSS, "rest": (OTHER, "text")}, 2)
    assert torch.equal(second["scores"], TABLE[1:])
    assert first["loss"] is LOSS
    assert first["rest"][0].shape == (1, 8)
    assert first["rest"][1] == "text"


def test_scores_say_which_functions_made_them():
    scores = scores_of({"a": TABLE}, lambda output: output["a"].sum())
    assert scores.explained == "a function of the whole output"
    assert scores_of({"a": TABLE}, list(scores.functions)).total == scores.total
