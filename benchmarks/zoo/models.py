"""The zoo: all of torchvision's registry, a small model of each of timm's families, and tiny ones of transformers'."""

from __future__ import annotations

import contextlib
import functools
import random
import unittest.mock
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.zoo.names import PICTURES, TEXT, TIMM
from pytest_modelviz import seed_weights

Built = tuple[nn.Module, Any]

_RESIZED = {"min_size": 96, "max_size": 96}
_PROPOSALS = {"rpn_post_nms_top_n_test": 50}
# arguments of torchvision's builders and input sizes, where 64 x 64 will not do, by the beginning of a model's name
_VISION: dict[str, tuple[int, dict[str, Any]]] = {
    "googlenet": (64, {"init_weights": False, "aux_logits": False}),
    "inception_v3": (96, {"init_weights": False, "aux_logits": False}),
    "maxvit": (224, {}),
    "vit_": (64, {"image_size": 64}),
    "vit_h_14": (56, {"image_size": 56}),
    # detectors resize what they are given, and take the best of so many places; of SSD both are fixed
    "fasterrcnn": (96, {**_RESIZED, **_PROPOSALS}),
    "maskrcnn": (96, {**_RESIZED, **_PROPOSALS}),
    "keypointrcnn": (96, {**_RESIZED, **_PROPOSALS}),
    "retinanet": (96, _RESIZED),
    "fcos": (96, _RESIZED),
    "ssd": (96, {}),
    "raft": (128, {}),
    "s3d": (224, {}),  # it pools 7 x 7 places at the end
}
# sides of timm's inputs that are neither 64 nor, in models of one size, 112; None: as it is by default
_TIMM_SIDES = {
    **dict.fromkeys(("inception_resnet_v2", "inception_v4"), 96),
    **dict.fromkeys(("coat_tiny", "efficientformerv2_s0", "gcvit_xxtiny", "hiera_tiny_224"), 128),
    **dict.fromkeys(("mvitv2_tiny", "test_coatnet", "twins_svt_small", "vit_tiny_r_s16_p8_224"), 128),
    **dict.fromkeys(("crossvit_tiny_240", "efficientformer_l1", "halonet_h1")),
}
_FRAMES, _FLOW_UPDATES = {"s3d": 16}, 4

# what makes a configuration tiny, by the name of the setting; each model takes those that it has
_TINY = {
    **dict.fromkeys(
        ("hidden_size", "d_model", "n_embd", "dim", "emb_dim", "embedding_size", "encoder_hidden_size"), 32
    ),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers", "decoder_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads", "encoder_attention_heads"), 4),
    **dict.fromkeys(("decoder_attention_heads",), 4),
    **dict.fromkeys(("num_key_value_heads",), 2),
    **dict.fromkeys(("intermediate_size", "d_ff", "hidden_dim", "encoder_ffn_dim", "decoder_ffn_dim", "ffn_dim"), 64),
    "d_kv": 8,
    "head_dim": 8,
    "vocab_size": 128,
    "max_position_embeddings": 64,
    "image_size": 32,
    "patch_size": 8,
    "num_local_experts": 4,
    "num_experts": 4,
}
_OWN: dict[str, dict[str, Any]] = {  # None: as it is by default
    "big_bird": {"block_size": 2, "num_random_blocks": 1},  # blocks that are shorter than the text
    "bigbird_pegasus": {"block_size": 2, "num_random_blocks": 1},
    "codegen": {"rotary_dim": 8},
    "cvt": {"num_heads": None},
    "esm": {"pad_token_id": 1, "mask_token_id": 2},
    "falcon": {"head_dim": None},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "gptj": {"rotary_dim": 8},
    "levit": {"num_attention_heads": None},
    "xlnet": {"max_position_embeddings": None},
}
_RANDOM = ("uniform_", "normal_", "trunc_normal_", "xavier_uniform_", "kaiming_uniform_", "kaiming_normal_")
_PADDING = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


@contextlib.contextmanager
def _without_random_weights() -> Iterator[None]:
    """Leave parameters as they are allocated, which halves the time of building a model that is seeded afterwards."""
    with contextlib.ExitStack() as stack:
        for name in _RANDOM:
            stack.enter_context(unittest.mock.patch.object(nn.init, name, lambda tensor, *_, **__: tensor))
        yield


def _seed(model: nn.Module) -> None:
    """Weights from names; and inputs that do not depend on how many numbers the model has drawn when it was built."""
    seed_weights(model)
    torch.manual_seed(0)


def _round_scales(model: nn.Module) -> None:
    """Give a quantised model scales of three digits: the last ones of those of a calibration differ on each processor.

    Users load them with the weights.
    """
    for module in model.modules():
        scale = vars(module).get("scale", module._buffers.get("scale"))
        if isinstance(scale, torch.Tensor):
            rounded = [float(f"{number:.3g}") for number in scale.flatten().tolist()]
            scale.copy_(torch.tensor(rounded).view(scale.shape))
        elif isinstance(scale, float):
            module.scale = float(f"{scale:.3g}")  # type: ignore[assignment]  # a plain number in quantised modules


def _vision(name: str) -> Built:
    import torchvision
    from torchvision.models.quantization.utils import quantize_model
    from torchvision.models.video import mvit

    kind = torchvision.models.get_model_builder(name).__module__.split(".")[2]
    begins = max((start for start in _VISION if name.removeprefix("quantized_").startswith(start)), key=len, default="")
    side, options = _VISION.get(begins, (64, {}))
    if kind in ("segmentation", "detection"):
        options = {**options, "weights_backbone": None}
    small = functools.partial(mvit._mvit, spatial_size=(side, side), temporal_size=8)
    resized = unittest.mock.patch.object(mvit, "_mvit", lambda **given: small(**{**given, **small.keywords}))
    with resized, _without_random_weights():
        model = torchvision.models.get_model(name, weights=None, **options).eval()
    _seed(model)
    if kind == "quantization":
        quantize_model(model, "fbgemm")
        _round_scales(model)
    if kind == "detection":
        return model, ([torch.rand(3, side, side)],)
    if kind == "optical_flow":
        return model, (torch.rand(1, 3, side, side), torch.rand(1, 3, side, side), _FLOW_UPDATES)
    if kind == "video":
        return model, torch.rand(1, 3, _FRAMES.get(name, 8), side, side)
    return model, torch.rand(1, 3, side, side)


def _timm(name: str) -> Built:
    import timm

    size = timm.get_pretrained_cfg(name)
    assert size is not None
    side = _TIMM_SIDES.get(name, 112 if size.fixed_input_size else 64)
    options = {"img_size": side} if size.fixed_input_size and side else {}
    model = timm.create_model(name, pretrained=False, num_classes=10, **options).eval()
    _seed(model)
    return model, torch.rand(1, 3, side, side) if side else torch.rand(1, *size.input_size)


def _transformers(name: str) -> Built:
    from transformers import AutoConfig, AutoModel

    default = AutoConfig.for_model(name)
    tiny = {} if hasattr(default, "depths") else {key: value for key, value in _TINY.items() if hasattr(default, key)}
    tiny = {key: value for key, value in {**tiny, **_OWN.get(name, {})}.items() if value is not None}
    config = AutoConfig.for_model(name, **tiny)
    for key, value in _PADDING.items():
        if getattr(config, key, None) is not None:
            setattr(config, key, value)
    model = AutoModel.from_config(config).eval()
    _seed(model)
    if name in PICTURES:
        side = getattr(config, "image_size", None) or 64
        return model, {"pixel_values": torch.rand(1, 3, side, side)}
    tokens = torch.randint(3, 128, (2, 16))
    inputs = {"input_ids": tokens}
    if config.is_encoder_decoder:
        inputs["decoder_input_ids"] = tokens[:, :8]
    return model, inputs


def _builders() -> dict[str, Callable[[], Built]]:
    import torchvision

    kinds = {
        "torchvision": (_vision, torchvision.models.list_models()),
        "timm": (_timm, TIMM),
        "transformers": (_transformers, [*TEXT, *PICTURES]),
    }
    return {
        f"{kind}/{name}": functools.partial(builder, name) for kind, (builder, names) in kinds.items() for name in names
    }


BUILDERS = _builders()


def build(name: str) -> Built:
    """A model in eval mode, seeded by the names of its parameters, and its input: the same in every process."""
    random.seed(0)  # some buffers are drawn, too
    np.random.seed(0)
    torch.manual_seed(0)
    return BUILDERS[name]()
