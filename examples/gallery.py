"""Makes the pictures of docs/gallery.md: one of each view, of a trained network and a real photograph.

Most show a drift, as a reviewer sees it: baseline | actual | difference. Use: python examples/gallery.py
"""

import copy
import sys
from pathlib import Path

import torch
from imagenet import load_classifier, load_photo
from torch import nn

from pytest_modelviz.extend import Picture, Tolerances
from pytest_modelviz.pictures.files import png_bytes
from pytest_modelviz.views.activation_maximization.capture import ActivationMaximizationView
from pytest_modelviz.views.base import measured
from pytest_modelviz.views.cam_map.capture import CamMapView
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView
from pytest_modelviz.views.kernel_maps.capture import KernelMapsView
from pytest_modelviz.views.model_graph.capture import ModelGraphView
from pytest_modelviz.views.model_summary.capture import ModelSummaryView
from pytest_modelviz.views.saliency_map.capture import SaliencyMapView
from pytest_modelviz.views.training_curve.capture import TrainingCurveView

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "images" / "gallery"
CAT = 285


def turned(model, layer, count=64):
    """The same model, but with the sign of some of a layer's filters changed."""
    model = copy.deepcopy(model)
    with torch.no_grad():
        model.get_submodule(layer).weight[:count].neg_()
    return model


class Block(nn.Module):
    """A residual block, and the same after a refactoring that lost its dropout and took another activation."""

    def __init__(self, refactored=False):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.refactored = refactored

    def forward(self, x):
        y = nn.functional.gelu(self.conv1(x)) if self.refactored else torch.relu(self.conv1(x))
        y = self.conv2(y if self.refactored else nn.functional.dropout(y, 0.1, self.training))
        return torch.relu(x + y)


def training(rate):
    """A step that teaches a small network to tell two photographs' patches apart."""
    torch.manual_seed(0)
    photos = [load_photo(name)[0] for name in ("chelsea", "coffee")]
    patches = torch.stack(
        [p[:, y : y + 16, x : x + 16] for p in photos for y in range(0, 208, 32) for x in range(0, 208, 32)]
    )
    labels = torch.arange(2).repeat_interleave(len(patches) // 2)
    model = nn.Sequential(nn.Conv2d(3, 8, 5, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 6 * 6, 2))
    optimiser = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)

    def step(number):
        loss = nn.functional.cross_entropy(model(patches), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return loss

    return TrainingCurveView(step, steps=20, model=model)


def views():
    """View name -> (before, after); what has no `after` is shown as it is recorded."""
    model, photo = load_classifier(), load_photo("chelsea")
    turned_layer = "_blocks.15._project_conv"
    fault = turned(model, turned_layer)
    smoother = copy.deepcopy(model)
    smoother._blocks[3]._bn1.eps = 2e-3
    block = torch.rand(1, 8, 16, 16)
    return {
        "model_summary": [ModelSummaryView(one, input_data=photo) for one in (model, smoother)],
        "feature_maps": [FeatureMapsView(one, photo, layers=turned_layer) for one in (model, fault)],
        "cam_map": [CamMapView(one, photo, target=CAT) for one in (model, fault)],
        "kernel_maps": [KernelMapsView(model, layers=["_conv_stem"])],
        "saliency_map": [SaliencyMapView(model, photo, target=CAT, method="guided")],
        "activation_maximization": [ActivationMaximizationView(model, "_blocks.4", filters=(0, 5, 9), steps=40)],
        "training_curve": [training(0.02), training(0.03)],
        "model_graph": [ModelGraphView(Block(), block), ModelGraphView(Block(refactored=True), block)],
    }


def picture_of(view, other=None) -> Picture:
    """The first picture of a view, or of what became of it."""
    before = measured(view, view.capture())
    if other is None:
        shown = view.picture(before)
    else:
        after = measured(other, other.capture())
        shown = other.picture(after, before, other.compare(before, after, Tolerances()))
    return next(one for one in shown if isinstance(one, Picture))


def main() -> int:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, pair in views().items():
        png = png_bytes(picture_of(*pair).image)
        (FOLDER / f"{name}.png").write_bytes(png)
        print(f"{name}: {len(png) // 1024} KiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
