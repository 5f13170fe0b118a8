"""How an output lies over the image, and transformers explained without a reshape_transform."""

import pytest
import torch
import torchvision
from torch import nn
from zoo import SmallNet, images

from pytest_modelviz.attribution.spatial_layout import SpatialLayout, SpatialLayoutTracker, image_frame
from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.views.cam_map.capture import CamMapView


def layout_of_last(image, *shapes):
    """The layout of the last of some outputs that follow each other in a pass; a module may precede a shape."""
    tracker, layout = SpatialLayoutTracker(torch.zeros(image)), None
    for output in shapes:
        module, shape = output if isinstance(output[0], nn.Module) else (nn.Identity(), output)
        layout = tracker.track(module, torch.zeros(shape))
    return layout


SQUARE, WIDE = (2, 3, 64, 64), (2, 3, 64, 128)


@pytest.mark.parametrize(
    ("image", "outputs", "expected"),
    [
        (SQUARE, [(2, 5, 16, 16)], SpatialLayout("channels first", (16, 16))),
        (SQUARE, [(2, 16, 16, 5)], SpatialLayout("channels last", (16, 16))),
        (WIDE, [(2, 4, 8, 16)], SpatialLayout("channels first", (8, 16))),
        (WIDE, [(2, 4, 8, 96)], SpatialLayout("channels last", (4, 8))),
        (SQUARE, [(2, 8, 8, 8)], SpatialLayout("channels first", (8, 8))),  # both would do
        (SQUARE, [(2, 9, 8, 8), (2, 64, 9)], SpatialLayout("tokens", (8, 8), 0)),
        (SQUARE, [(2, 9, 8, 8), (2, 65, 9)], SpatialLayout("tokens", (8, 8), 1)),  # a class token
        (SQUARE, [(2, 9, 8, 8), (2, 69, 9)], SpatialLayout("tokens", (8, 8), 5)),  # and four registers
        (WIDE, [(2, 9, 4, 8), (2, 33, 9)], SpatialLayout("tokens", (4, 8), 1)),
        (SQUARE, [(2, 9, 8, 8), (2, 16, 9)], SpatialLayout("tokens", (4, 4), 0)),  # merged two by two
        (SQUARE, [(2, 9, 8, 8), (2, 90, 9)], None),
        (SQUARE, [(2, 65, 9)], SpatialLayout("tokens", (8, 8), 1)),  # no grid before: by proportions
        (WIDE, [(2, 33, 9)], SpatialLayout("tokens", (4, 8), 1)),
        (SQUARE, [(2, 9, 8, 8), (2, 65, 9), (2, 12, 65, 65)], None),  # attention from each token to each
        (SQUARE, [(2, 12, 65, 8)], None),  # heads
        (SQUARE, [(150, 5, 7, 7)], None),  # regions, not images
        (SQUARE, [(2, 5, 1, 1)], None),
        (SQUARE, [(2, 10)], None),
        # as many channels as rows and columns, beside as many tokens
        (SQUARE, [(2, 5, 16, 16), (2, 16, 9), (2, 16, 16, 16)], SpatialLayout("channels first", (16, 16))),
        (SQUARE, [(nn.LayerNorm(8), (2, 8, 8, 8))], SpatialLayout("channels last", (8, 8))),
        (SQUARE, [(nn.LayerNorm(8), (2, 8, 8, 8)), (2, 8, 8, 8)], SpatialLayout("channels last", (8, 8))),
        (
            SQUARE,
            [(nn.Linear(8, 8), (2, 8, 8, 8)), (nn.Conv2d(8, 8, 1), (2, 8, 8, 8))],
            SpatialLayout("channels first", (8, 8)),
        ),
        ((2, 3, 8, 16, 16), [(2, 5, 4, 8, 8)], SpatialLayout("channels first", (4, 8, 8))),
    ],
)
def test_layouts_of_outputs(image, outputs, expected):
    assert layout_of_last(image, *outputs) == expected


@pytest.mark.parametrize(
    ("one", "shape"),
    [
        (SpatialLayout("channels first", (2, 3)), (2, 4, 2, 3)),
        (SpatialLayout("channels last", (2, 3)), (2, 2, 3, 4)),
        (SpatialLayout("tokens", (2, 3), 1), (2, 7, 4)),
        (SpatialLayout("tokens", (2, 3), 0), (2, 6, 4)),
    ],
)
def test_maps_and_back(one, shape):
    output = torch.rand(shape)
    maps = one.channels_first(output)
    assert maps.shape == (2, 4, 2, 3)
    assert torch.equal(one.restore(maps, output), output)
    if one.form == "tokens":
        assert torch.equal(maps[:, :, 1, 2], output[:, one.before + 5])  # row by row


@pytest.mark.parametrize(
    ("layout", "text"),
    [
        (SpatialLayout("channels first", (2, 3)), ""),
        (SpatialLayout("channels last", (2, 3)), "2 x 3, channels last"),
        (SpatialLayout("tokens", (2, 3)), "2 x 3 tokens"),
        (SpatialLayout("tokens", (7,), 5), "7 tokens after 5 of another kind"),
    ],
)
def test_a_layout_in_words(layout, text):
    assert layout.text == text


def test_images_in_an_input():
    assert image_frame(torch.zeros(2, 3, 4, 5)) == (2, 4, 5)
    assert image_frame({"mask": torch.zeros(7), "x": torch.zeros(1, 1, 3, 4, 5)}) == (1, 3, 4, 5)
    assert image_frame(([torch.zeros(3, 8, 9), torch.zeros(3, 6, 7)],)) == (2, 8, 9)
    assert image_frame(torch.zeros(2, 5, 8)) is None


def vit(size=(32, 32), patch=8, **options):
    torch.manual_seed(0)
    model = torchvision.models.VisionTransformer(
        image_size=size[0], patch_size=patch, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=5
    )
    nn.init.normal_(model.heads.head.weight)  # torchvision's are zeros
    return model.eval()


def explained(model, image, **options):
    return CamMapView(model, image, target=1, **options).capture()


def test_torchvision_s_vit_is_explained_where_its_class_token_still_looks():
    model, image = vit(), images()[:, :, :, :].repeat(1, 1, 2, 2)
    capture = explained(model, image)
    assert capture.facts["layer"] == "encoder.layers.encoder_layer_1.ln_1"
    assert capture.facts["places"] == "4 x 4 tokens after 1 of another kind"
    assert capture.result.raw.shape == (2, 4, 4)

    def reshape(tokens):
        return tokens[:, 1:].transpose(1, 2).reshape(len(tokens), 16, 4, 4)

    own = explained(model, image, target_layer=capture.facts["layer"], reshape_transform=reshape)
    assert own.result.raw == pytest.approx(capture.result.raw)
    assert "places" not in own.facts


@pytest.mark.parametrize("method", ["finercam", "ablationcam", "shapleycam", "scorecam", "eigencam", "refinecam"])
def test_every_kind_of_method_explains_tokens(method):
    model, image = vit(), images()[:1].repeat(1, 1, 2, 2)
    capture = explained(model, image, method=method, target_layer="encoder.layers.encoder_layer_1.ln_1")
    assert capture.result.raw.shape == (1, 4, 4)
    if method == "ablationcam":  # a user's own way to lay them out leads to the same map

        def reshape(tokens):
            return tokens[:, 1:].transpose(1, 2).reshape(len(tokens), 16, 4, 4)

        own = explained(model, image, method=method, target_layer=capture.facts["layer"], reshape_transform=reshape)
        assert own.result.raw.shape == (1, 4, 4)


def test_torchvision_s_swin_is_explained_channels_last_and_first():
    torch.manual_seed(0)
    model = torchvision.models.SwinTransformer([4, 4], 8, [1, 1], [2, 2], [2, 2], num_classes=3).eval()
    image = images()[:1].repeat(1, 1, 2, 2)
    assert explained(model, image).facts["layer"] == "permute"
    inner = explained(model, image, target_layer="features.3")
    assert (inner.result.raw.shape, inner.facts["places"]) == ((1, 4, 4), "4 x 4, channels last")


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224", "swin_s3_tiny_224"])
def test_timm_s_transformers(name):
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    options = {"depth": 2} if "swin" not in name else {"depths": (1, 1, 1, 1)}
    image = torch.rand(1, 3, 224, 160) if "swin" not in name else torch.rand(1, 3, 224, 224)
    size = {"img_size": (224, 160)} if "swin" not in name else {}
    model = timm.create_model(name, pretrained=False, num_classes=4, **options, **size).eval()
    capture = explained(model, image)
    assert capture.result.raw.any()
    assert capture.result.raw.shape == ((1, 14, 10) if "swin" not in name else (1, 7, 7))
    assert capture.facts["layer"] == ("norm" if "swin" in name else "blocks.1.norm1")


def test_tokens_whose_grid_cannot_be_inferred_are_an_error_with_the_remedy():
    class Packed(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.norm, self.head = nn.Conv2d(3, 8, 4, stride=4), nn.LayerNorm(8), nn.Linear(8, 2)

        def forward(self, x):
            tokens = self.embed(x).flatten(2).transpose(1, 2)
            return self.head(self.norm(torch.cat([tokens, tokens[:, :20]], 1)).mean(1))

    view = CamMapView(Packed(), torch.rand(1, 3, 32, 32), target_layer="norm", target=0)
    with pytest.raises(ModelvizError, match=r"'norm' gives \[1, 84, 8\]: .* pass reshape_transform= a function from"):
        view.capture()


def test_a_class_token_s_own_layers_are_passed_over_but_may_be_named():
    capture = explained(vit(), images()[:1].repeat(1, 1, 2, 2), target_layer="encoder.ln")
    assert capture.notes[-1].startswith("the map at encoder.ln is empty")


def test_convolutions_are_explained_at_their_last_layer_as_before():
    assert explained(SmallNet(), images()).facts["layer"] == "bn2"
