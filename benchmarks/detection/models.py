"""The models: torchvision's, timm's and transformers' architectures with random weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

Built = tuple[nn.Module, Any]


def _vision(name: str, side: int = 64, **options: Any) -> Callable[[], Built]:
    def build() -> Built:
        import torchvision

        return torchvision.models.get_model(name, weights=None, **options), torch.rand(1, 3, side, side)

    return build


def _timm(name: str, side: int = 64, **options: Any) -> Callable[[], Built]:
    def build() -> Built:
        import timm

        return timm.create_model(name, pretrained=False, num_classes=10, **options), torch.rand(1, 3, side, side)

    return build


def _bert() -> Built:
    import transformers

    config = transformers.BertConfig(hidden_size=64, num_hidden_layers=3, num_attention_heads=4, intermediate_size=128)
    tokens = torch.randint(0, 1000, (2, 12))
    return transformers.BertForSequenceClassification(config), {"input_ids": tokens}


def _gpt2() -> Built:
    import transformers

    config = transformers.GPT2Config(n_embd=64, n_layer=3, n_head=4, vocab_size=1000)
    return transformers.GPT2LMHeadModel(config), {"input_ids": torch.randint(0, 1000, (2, 12))}


BUILDERS: dict[str, Callable[[], Built]] = {
    "resnet18": _vision("resnet18"),
    "mobilenet_v3_small": _vision("mobilenet_v3_small"),
    "efficientnet_b0": _vision("efficientnet_b0"),
    "densenet121": _vision("densenet121"),
    "vit_b_16": _vision("vit_b_16", image_size=64),
    "swin_t": _vision("swin_t"),
    "convnext_tiny": _vision("convnext_tiny"),
    "shufflenet_v2_x0_5": _vision("shufflenet_v2_x0_5"),
    "googlenet": _vision("googlenet", init_weights=False, aux_logits=False),
    "regnet_y_400mf": _vision("regnet_y_400mf"),
    "lraspp_mobilenet_v3_large": _vision("lraspp_mobilenet_v3_large", weights_backbone=None),
    "timm mobilevit_xxs": _timm("mobilevit_xxs"),
    "timm mixer_s32_224": _timm("mixer_s32_224", 224),
    "timm resnetv2_50x1_bit": _timm("resnetv2_50x1_bit"),
    "bert": _bert,
    "gpt2": _gpt2,
}


def build(name: str) -> Built:
    """The model in eval mode and its input, the same in every process on one kind of processor."""
    torch.manual_seed(0)
    model, data = BUILDERS[name]()
    for module in model.modules():  # a trained network is not as it was initialised
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
        if isinstance(module, nn.Linear) and not module.weight.any():
            nn.init.normal_(module.weight, std=0.02)
    for name, parameter in model.named_parameters():
        if name.endswith(("layer_scale", ".gamma")) or (parameter.dim() == 1 and not parameter.any()):
            nn.init.uniform_(parameter, 0.05, 0.2)
    return model.eval(), data
