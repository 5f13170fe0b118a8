"""The models that are measured, with their inputs, weights by `seed_weights`, and where a class activation map is made.

One image at 224 x 224, or 128 tokens, are the sizes that tests use.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from pytest_modelviz import seed_weights
from pytest_modelviz.views.cam_map.capture import CamMapView

TARGET = 1  # the class that is explained

Reshape = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Subject:
    """A model in eval mode and its input; `reshape` is what grad-cam needs to lay the layer's output out in space.

    `finds_layout` says that `cam_map` finds this layout by itself, as it must in `modelviz`.
    """

    name: str
    model: nn.Module
    data: Any
    cam_layer: str
    reshape: Reshape | None = None
    finds_layout: bool = True

    def run(self, model: nn.Module | None = None) -> torch.Tensor:
        """What the model returns, its class scores."""
        model = self.model if model is None else model
        output = model(**self.data) if isinstance(self.data, Mapping) else model(self.data)
        return getattr(output, "logits", output)


def _vision(name: str, layer: str = "", reshape: Reshape | None = None) -> Callable[[int], Subject]:
    def make(side: int) -> Subject:
        import torchvision

        options = {"image_size": side} if name.startswith("vit_") else {}  # whose position embedding has a fixed size
        return Subject(name, torchvision.models.get_model(name, weights=None, **options), _image(side), layer, reshape)

    return make


def _image(side: int) -> torch.Tensor:
    return torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))


def _patches(values: torch.Tensor) -> torch.Tensor:
    """The tokens of a ViT behind its class token, (batch, channels, rows, columns)."""
    side = round((values.shape[1] - 1) ** 0.5)
    return values[:, 1:].reshape(len(values), side, side, -1).permute(0, 3, 1, 2)


def _channels_first(values: torch.Tensor) -> torch.Tensor:
    return values.movedim(-1, 1)


def _bert(tokens: int) -> Subject:
    import transformers

    config = transformers.BertConfig(num_hidden_layers=4)
    model = transformers.BertForSequenceClassification(config)
    data = {"input_ids": torch.arange(tokens)[None] * 7 % config.vocab_size}
    return Subject("bert, 4 layers", model, data, "bert.encoder.layer.3.output", _channels_first, finds_layout=False)


BUILDERS: dict[str, Callable[[int], Subject]] = {
    "resnet18": _vision("resnet18", "layer4"),
    "resnet50": _vision("resnet50", "layer4"),
    "mobilenet_v3_small": _vision("mobilenet_v3_small", "features"),
    "vit_b_16": _vision("vit_b_16", "encoder.layers.encoder_layer_11.ln_1", _patches),
    "swin_t": _vision("swin_t", "features", _channels_first),
    "convnext_tiny": _vision("convnext_tiny", "features"),
    "bert": _bert,
}


def build(name: str, size: int | None = None) -> Subject:
    """A subject by its name, or any other convolutional network of torchvision, explained where `cam_map` does.

    `size` is the side of its image, 224 by default, or the number of its tokens, 128.
    """
    make = BUILDERS.get(name) or _vision(name)
    subject = make(size or (128 if name == "bert" else 224))
    seed_weights(subject.model)
    subject.model.eval()
    if not subject.cam_layer:
        view = CamMapView(subject.model, subject.data, target=TARGET)
        subject = replace(subject, cam_layer=view.capture().result.layer)
    return subject


def is_known(name: str) -> bool:
    """Whether there is a model of this name."""
    import torchvision

    return name in BUILDERS or name in torchvision.models.list_models(module=torchvision.models)
