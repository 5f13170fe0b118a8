"""The methods that run the model, those put together from others, and who may be explained by them."""

import copy
import gc
import sys

import numpy as np
import pytest
import pytorch_grad_cam
import torch
from cam_models import TOY_INPUT, Toy, compared
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget, SemanticSegmentationTarget
from torch import nn
from zoo import ZOO, SmallNet, images

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.records.findings import DtypeFinding
from pytest_modelviz.views.cam_map.capture import CamMapView
from pytest_modelviz.views.cam_map.library import known_methods, normalized_map
from pytest_modelviz.views.cam_map.methods import COMPOSED, METHODS, RUNNING, differentiates, uses_gradients

BEYOND_ONE_PASS = {**RUNNING, **COMPOSED}


def raw(model, inputs, **options):
    return CamMapView(model, inputs, **options).capture().result.raw


class TestByHand:
    def test_scorecam(self):
        # each channel, stretched to 0..1, masks the whole input; the softmax of the scores weighs the channels
        maps = TOY_INPUT[0].numpy()
        scores = []
        for channel in maps:
            mask = (channel - channel.min()) / (channel.max() - channel.min())
            scores.append(float((maps * mask).mean(axis=(1, 2)) @ np.array([1.0, -4.0])))
        weights = np.exp(scores) / np.exp(scores).sum()
        expected = weights[0] * maps[0] + weights[1] * maps[1]
        assert raw(Toy(), TOY_INPUT, target=0, method="scorecam")[0] == pytest.approx(expected, abs=1e-5)

    def test_ablationcam(self):
        # the score of class 1 is 0.5 * 2.5 + 3 * 0.5 = 2.75; without a channel its own part is missing
        expected = (1.25 * TOY_INPUT[0, 0] + 1.5 * TOY_INPUT[0, 1]) / 2.75
        assert raw(Toy(), TOY_INPUT, target=1, method="ablationcam")[0] == pytest.approx(expected.numpy(), abs=1e-5)

    def test_shapleycam_of_a_linear_head_is_gradcam(self):
        expected = raw(Toy(), TOY_INPUT, target=0)
        assert raw(Toy(), TOY_INPUT, target=0, method="shapleycam") == pytest.approx(expected, abs=1e-6)

    def test_finercam_of_two_classes_is_the_difference_of_their_maps(self):
        expected = raw(Toy(), TOY_INPUT, target=0) - raw(Toy(), TOY_INPUT, target=1)
        assert raw(Toy(), TOY_INPUT, target=0, method="finercam") == pytest.approx(expected, abs=1e-5)

    def test_refinecam_multiplies_the_maps_of_several_layers(self):
        model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU())
        model = nn.Sequential(model, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
        result = CamMapView(model, images(), target=1, method="refinecam", target_layer=["0.1", "0.3"]).capture().result
        each = [
            CamMapView(model, images(), target=1, method="gradcam++", target_layer=layer).capture().result.normalized
            for layer in ("0.1", "0.3")
        ]
        assert result.layer == "0.1, 0.3"
        assert result.raw == pytest.approx(normalized_map(each[0] * each[1], None), abs=1e-4)

    def test_several_classes_of_one_sample_have_a_map_each(self):
        for method in ("gradcam", "scorecam"):
            result = CamMapView(Toy(), TOY_INPUT, target=[1, 0, 1], method=method).capture().result
            assert (result.targets, result.raw.shape) == ((1, 0, 1), (3, 2, 2))
            for number, target in enumerate((1, 0, 1)):
                own = raw(Toy(), TOY_INPUT, target=target, method=method)[0]
                assert result.raw[number] == pytest.approx(own, abs=1e-6)

    def test_several_functions_of_one_sample_have_a_map_each(self):
        functions = [lambda scores: scores[0], lambda scores: -scores[0]]
        result = CamMapView(Toy(), TOY_INPUT, target=functions).capture().result
        assert result.raw[0] == pytest.approx(-result.raw[1])


@pytest.mark.parametrize("method", ["scorecam", "ablationcam", "shapleycam", "fullgrad", "finercam", "refinecam"])
def test_the_map_is_pytorch_grad_cam_s_own(method):
    model = SmallNet().eval()
    layers = ["relu", "bn2"] if method == "refinecam" else ["bn2"]
    kind = getattr(pytorch_grad_cam, BEYOND_ONE_PASS[method])
    theirs = copy.deepcopy(model)
    cam = kind(theirs, [] if method == "fullgrad" else [theirs.get_submodule(layer) for layer in layers])
    if method == "finercam":
        expected = cam(images(), None, target_idx=1)
    else:
        expected = cam(images(), [ClassifierOutputTarget(1)] * 2)
    view = (
        CamMapView(
            model, images(), target=1, method=method, target_layer=None if method == "fullgrad" else layers or None
        )
        if method in ("refinecam", "fullgrad")
        else CamMapView(model, images(), target=1, method=method, target_layer="bn2")
    )
    ours = view.capture().result.normalized
    # of refinecam the product is taken at the finest layer's resolution, theirs at the input's: here they are equal
    assert ours.shape == expected.shape
    assert ours == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("method", BEYOND_ONE_PASS)
class TestWhoRunsTheModel:
    def test_repeats_itself_and_sees_a_changed_weight(self, method):
        model = SmallNet()
        view = CamMapView(model, images(), target=1, method=method)
        assert compared(view, view).matched
        changed = copy.deepcopy(model)
        with torch.no_grad():
            changed.conv2.weight[:4].neg_()
        verdict = compared(view, CamMapView(changed, images(), target=1, method=method))
        assert not verdict.matched
        assert (verdict.first.layer, verdict.cause) == ("conv2", "weights")

    def test_leaves_the_model_as_it_was(self, method, capsys):
        model = SmallNet().train()
        model.head.weight.grad = torch.ones_like(model.head.weight)
        before = {name: value.clone() for name, value in model.state_dict().items()}
        modules = dict(model.named_modules())
        CamMapView(model, images(), target=1, method=method).capture()
        assert dict(model.named_modules()) == modules
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
        assert all(module.training for module in model.modules())
        assert all(not module._forward_hooks for module in model.modules())
        assert [name for name, p in model.named_parameters() if p.grad is not None] == ["head.weight"]
        assert capsys.readouterr() == ("", "")  # progress bars and warnings are for notebooks

    @pytest.mark.parametrize("kind", ["frozen", "no_grad", "inference", "bfloat16", "dict"])
    def test_explains_also(self, method, kind):
        inputs = images()
        if kind == "inference":
            with torch.inference_mode():
                torch.manual_seed(0)
                model = SmallNet()
                result = CamMapView(model, images(), target=1, method=method).capture().result
        else:
            model = SmallNet()
            if kind == "frozen":
                model.requires_grad_(False)
            if kind == "bfloat16":
                model, inputs = model.bfloat16(), inputs.bfloat16()
            if kind == "dict":
                model, inputs = Wrapped(model), {"pixel_values": inputs}
            with torch.set_grad_enabled(kind != "no_grad"):
                result = CamMapView(model, inputs, target=1, method=method).capture().result
        torch.manual_seed(0)
        plain = CamMapView(SmallNet(), images(), target=1, method=method).capture().result
        assert result.raw.shape == plain.raw.shape
        assert np.isfinite(result.raw).all()
        if kind != "bfloat16":
            assert result.raw == pytest.approx(plain.raw, abs=1e-6)


class Wrapped(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, pixel_values):
        return {"aux": None, "logits": self.net(pixel_values)}


class Segmenter(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(3, 6, 3, padding=1)
        self.head = nn.Conv2d(6, 4, 1)

    def forward(self, x):
        return {"out": self.head(torch.relu(self.body(x)))}


@pytest.mark.parametrize("method", ["gradcam", "scorecam", "refinecam"])
def test_a_segmentation_mask_explains_its_own_part_alone(method):
    mask = np.zeros((16, 16), np.float32)
    mask[2:6, 2:6] = 1
    target = SemanticSegmentationTarget(2, mask)
    model = Segmenter()
    view = CamMapView(model, images()[:1], target=target, method=method, target_layer="body")
    assert compared(view, view).matched
    other = CamMapView(
        model, images()[:1], target=SemanticSegmentationTarget(1, mask), method=method, target_layer="body"
    )
    assert not compared(view, other).matched


class Detector(nn.Module):
    """Boxes around the brightest places of its feature map, one dict an image."""

    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(3, 4, 3, padding=1)
        self.pooled = nn.Identity()

    def forward(self, pictures):
        found = []
        for picture in pictures:
            scores = self.body(picture[None]).relu().amax((2, 3))[0]
            self.pooled(scores.new_zeros(7, 4, 2, 2))  # one for each region, as detectors have
            boxes = torch.stack([torch.tensor([i, i, i + 8.0, i + 8.0]) for i in range(4)])
            found.append({"boxes": boxes, "labels": torch.arange(4), "scores": scores})
        return found


def test_detection_boxes_are_explained_from_the_detections_of_an_image():
    from pytorch_grad_cam.utils.model_targets import FasterRCNNBoxScoreTarget

    model, pictures = Detector(), list(images()[:1])
    target = FasterRCNNBoxScoreTarget([2], [np.array([2.0, 2.0, 10.0, 10.0], np.float32)])
    result = CamMapView(model, (pictures,), target=target).capture().result
    assert (result.layer, result.raw.shape, result.normalized.shape) == ("body", (1, 16, 16), (1, 16, 16))
    assert result.raw.any()
    assert CamMapView(model, (pictures,), method="eigencam").capture().result.raw.shape == (1, 16, 16)  # no target
    with pytest.raises(ModelvizError, match="returns detections, which have no class as a whole"):
        CamMapView(model, (pictures,), target=1).capture()
    with pytest.raises(ModelvizError, match="needs an input of one tensor"):
        CamMapView(model, (pictures,), target=target, method="scorecam", target_layer="body").capture()


class TestErrors:
    @pytest.mark.parametrize("given", ["module", "list", "number"])
    def test_a_layer_is_given_by_its_name(self, given):
        model = SmallNet()
        layer = {"module": model.bn2, "list": [model.bn2], "number": 0}[given]
        told = "not 0" if given == "number" else "here 'bn2', not the layer itself"
        with pytest.raises(ModelvizError, match=f"target_layer takes a layer's name.*{told}"):
            CamMapView(model, images(), target_layer=layer, method="refinecam")

    def test_an_empty_list_is_no_layer(self):
        with pytest.raises(ModelvizError, match="target_layer is empty: name a layer, or leave it out"):
            CamMapView(SmallNet(), images(), method="refinecam", target_layer=[])

    def test_an_empty_batch_and_a_model_without_numbers(self):
        with pytest.raises(ModelvizError, match="the batch is empty"):
            CamMapView(SmallNet(), images()[:0]).capture()
        with pytest.raises(ModelvizError, match="on the meta device, where tensors hold no numbers"):
            CamMapView(SmallNet().to("meta"), images().to("meta"), target=1).capture()

    def test_fullgrad_takes_no_layer(self):
        with pytest.raises(ModelvizError, match="explains all layers at once: leave target_layer out"):
            CamMapView(SmallNet(), images(), method="fullgrad", target_layer="conv1")

    def test_several_layers_are_for_refinecam(self):
        with pytest.raises(ModelvizError, match="several are for method 'refinecam', not 'gradcam'"):
            CamMapView(SmallNet(), images(), target_layer=["conv1", "conv2"])

    def test_finercam_compares_classes(self):
        with pytest.raises(ModelvizError, match="target takes a class, not a function"):
            CamMapView(SmallNet(), images(), method="finercam", target=lambda scores: scores[0])

    def test_an_image_beside_another_tensor(self):
        class Shifted(SmallNet):
            def forward(self, x, shift):
                return super().forward(x) + shift

        view = CamMapView(Shifted(), (images(), torch.zeros(())), method="scorecam", target=0)
        with pytest.raises(ModelvizError, match="needs an input of one tensor"):
            view.capture()

    def test_a_model_that_cannot_be_copied(self):
        class Unique(SmallNet):
            def __deepcopy__(self, memo):
                raise TypeError("there is only one")

        with pytest.raises(ModelvizError, match="runs a copy of the model, which cannot be copied: there is only one"):
            CamMapView(Unique(), images(), method="scorecam").capture()

    def test_what_the_library_cannot_explain_is_told_with_its_own_words(self):
        model = nn.Sequential(nn.Conv3d(1, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(2, 2))
        with pytest.raises(ModelvizError, match="needs an input of one tensor"):
            CamMapView(model, torch.rand(1, 1, 5, 5, 5), method="scorecam", target=0).capture()
        shared = ZOO["shared"].build()
        with pytest.raises(ModelvizError):
            CamMapView(shared, ZOO["shared"].input(), method="fullgrad").capture()

    def test_a_failure_inside_the_library_leaves_nothing_behind(self, monkeypatch):
        def fail(*arguments):
            raise IndexError("list index out of range")

        monkeypatch.setattr(pytorch_grad_cam.ScoreCAM, "get_cam_weights", fail)
        model = SmallNet()
        with pytest.raises(ModelvizError, match=r"ScoreCAM cannot explain this model \(IndexError: list index"):
            CamMapView(model, images(), method="scorecam").capture()
        assert all(not module._forward_hooks for module in model.modules())

    @pytest.mark.parametrize("method", ["scorecam", "ablationcam", "shapleycam"])
    def test_the_remains_of_a_failed_pass_are_collected_silently_also_inside_a_transform(self, monkeypatch, method):
        def fail(*arguments):
            raise IndexError("list index out of range")

        raised = []
        monkeypatch.setattr(getattr(pytorch_grad_cam, RUNNING[method]), "get_cam_weights", fail)
        monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: raised.append(unraisable.exc_value))
        with pytest.raises(ModelvizError, match="list index out of range"):
            CamMapView(SmallNet(), images(), method=method, target=1, target_layer="bn2").capture()
        bare = nn.Sequential(nn.AvgPool2d(2), nn.Flatten())  # it has no parameter whose device could be asked for
        with pytest.raises(ModelvizError, match="cannot explain this model"):
            CamMapView(bare, images(), method=method, target=1, target_layer="0").capture()

        def collect(x):
            gc.collect()
            return x * 2

        torch.func.jvp(collect, (torch.ones(2),), (torch.ones(2),))
        assert raised == []


def test_methods_that_only_the_installed_version_has_are_known(monkeypatch):
    class BrandNewCAM(pytorch_grad_cam.HiResCAM):
        pass

    monkeypatch.setattr(pytorch_grad_cam, "BrandNewCAM", BrandNewCAM, raising=False)
    model = SmallNet()
    ours = raw(model, images(), target=1, method="brandnewcam", target_layer="bn2")
    assert ours == pytest.approx(raw(model, images(), target=1, method="hirescam", target_layer="bn2"), abs=1e-6)


def test_a_method_that_the_installed_version_lacks_says_so(monkeypatch):
    monkeypatch.delattr(pytorch_grad_cam, "RefineCAM")
    with pytest.raises(ModelvizError, match="the installed grad-cam has no RefineCAM: upgrade it"):
        CamMapView(SmallNet(), images(), method="refinecam")


def test_every_class_of_the_installed_version_has_a_name():
    base = pytorch_grad_cam.GradCAM.__mro__[1]
    kinds = {
        name
        for name, value in vars(pytorch_grad_cam).items()
        if isinstance(value, type) and issubclass(value, base) and value is not base
    }
    assert kinds - set(known_methods().values()) == {"RandomCAM"}


def test_the_sign_of_a_principal_component_follows_the_baseline_s_in_the_picture():
    model = SmallNet()
    view = CamMapView(model, images(), target=1, method="eigencam")
    capture = view.capture()
    from dataclasses import replace

    turned = replace(capture, arrays={**capture.arrays, "map": -capture.arrays["map"]})
    from pytest_modelviz.compare.tolerance import Tolerances

    assert view.compare(capture, turned, Tolerances()).matched
    (same,), (aligned,) = view.picture(capture, capture), view.picture(turned, capture)
    assert np.array_equal(same.image, aligned.image)


def test_integer_parameters_are_no_obstacle():
    class Packed(SmallNet):
        def __init__(self):
            super().__init__()
            self.codes = nn.Parameter(torch.zeros(3, dtype=torch.int8), requires_grad=False)

    assert raw(Packed(), images(), target=1, method="scorecam").shape == (2, 8, 8)


def test_another_dtype_is_drift_however_near_the_map_is():
    model = SmallNet()
    half = CamMapView(copy.deepcopy(model).bfloat16(), images().bfloat16(), target=1)
    verdict = compared(CamMapView(model, images(), target=1), half)
    assert not verdict.matched
    assert DtypeFinding("", "dtype", "float32", "bfloat16") in verdict.findings


def test_fullgrad_is_pytorch_grad_cam_s_own_at_any_size_and_kept_small():
    model, image = SmallNet().eval(), torch.rand(1, 3, 96, 80)
    expected = pytorch_grad_cam.FullGrad(theirs := copy.deepcopy(model), [])(image, [ClassifierOutputTarget(1)])
    assert theirs is not None
    capture = CamMapView(model, image, target=1, method="fullgrad").capture()
    assert capture.result.normalized == pytest.approx(expected, abs=2e-3)
    assert capture.result.raw.shape == (1, 96, 80)
    assert capture.arrays["map"].shape == (1, 56, 56)


@pytest.mark.parametrize("method", [*METHODS, "scorecam", "ablationcam"])
def test_the_table_of_methods_without_a_gradient_is_the_library_s(method):
    kind = getattr(pytorch_grad_cam, known_methods()[method])
    made = kind(nn.Sequential(nn.Conv2d(1, 1, 1)), [])
    assert made.uses_gradients == differentiates(method)
    assert uses_gradients(method) == (method in METHODS and differentiates(method))
