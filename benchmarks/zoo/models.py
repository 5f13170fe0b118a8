"""The zoo: all of torchvision's registry, a small model of each of timm's families, and tiny ones of transformers'."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from pytest_modelviz import seed_weights

Built = tuple[nn.Module, Any]

# arguments of torchvision's builders and input sizes, where 64 x 64 will not do, by the beginning of a model's name
_VISION: dict[str, tuple[int, dict[str, Any]]] = {
    "googlenet": (64, {"init_weights": False, "aux_logits": False}),
    "inception_v3": (96, {"init_weights": False, "aux_logits": False}),
    "maxvit": (224, {}),
    "vit_": (64, {"image_size": 64}),
    "vit_h_14": (56, {"image_size": 56}),
}
_VIDEO_FRAMES = {"s3d": 16, "mvit": 16}
_DETECTION_SIDE = 96

TIMM = [
    "beit_base_patch16_224",
    "halonet_h1",
    "test_byobnet",
    "cait_xxs24_224",
    "coat_tiny",
    "convit_tiny",
    "convmixer_768_32",
    "test_convnext",
    "cpubone_nano",
    "crossvit_tiny_240",
    "darknet17",
    "cspnext_tiny",
    "davit_tiny",
    "deit_tiny_patch16_224",
    "densenet121",
    "dla34",
    "dpn48b",
    "edgenext_xx_small",
    "efficientformer_l1",
    "efficientformerv2_s0",
    "test_efficientnet",
    "efficientvim_m1",
    "efficientvit_b0",
    "efficientvit_m0",
    "vit_tiny_patch16_dinov3_qkvb",
    "fasternet_t0",
    "fastvit_t8",
    "focalnet_tiny_srf",
    "gcvit_xxtiny",
    "ghostnet_050",
    "hardcorenas_b",
    "hgnetv2_b0",
    "hiera_tiny_224",
    "hrnet_w18_small",
    "iformer_s",
    "inception_next_atto",
    "inception_resnet_v2",
    "inception_v4",
    "lcnetv2_small",
    "levit_128",
    "lowformer_b0",
    "test_mambaout",
    "test_coatnet",
    "caformer_s18",
    "gmixer_12_224",
    "mobilenetv3_small_050",
    "mobilevit_xxs",
    "mvitv2_tiny",
    "nest_tiny",
    "nextvit_small",
    "test_nfnet",
    "pit_xs_224",
    "pvt_v2_b0",
    "rdnet_tiny",
    "regnetx_002",
    "repghostnet_050",
    "repvit_m1",
    "res2net50_26w_4s",
    "resnest14d",
    "test_resnet",
    "resnetv2_18",
    "rexnet_100",
    "selecsls42",
    "legacy_seresnet18",
    "sequencer2d_s",
    "shvit_s1",
    "skresnet18",
    "starnet_s050",
    "swiftformer_xs",
    "swin_tiny_patch4_window7_224",
    "swinv2_tiny_window8_256",
    "swinv2_cr_tiny_224",
    "tiny_vit_5m_224",
    "tnt_s_legacy_patch16_224",
    "tresnet_m",
    "twins_svt_small",
    "visformer_tiny",
    "test_vit",
    "vit_tiny_r_s16_p8_224",
    "test_vit_relpos",
    "vitamin_small_224",
    "volo_d1_224",
    "vovnet39a",
    "legacy_xception",
    "xception41p",
    "xcit_nano_12_p8_224",
]

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
    "codegen": {"rotary_dim": 8},
    "cvt": {"num_heads": None},
    "esm": {"pad_token_id": 1, "mask_token_id": 2},
    "falcon": {"head_dim": None},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "gptj": {"rotary_dim": 8},
    "levit": {"num_attention_heads": None},
    "xlnet": {"max_position_embeddings": None},
}
_PADDING = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
_TEXT = [
    "albert",
    "bart",
    "bert",
    "big_bird",
    "bigbird_pegasus",
    "biogpt",
    "bloom",
    "camembert",
    "canine",
    "codegen",
    "cohere",
    "convbert",
    "ctrl",
    "deberta",
    "deberta-v2",
    "distilbert",
    "electra",
    "ernie",
    "esm",
    "falcon",
    "fnet",
    "gemma",
    "gemma2",
    "glm",
    "gpt2",
    "gpt_bigcode",
    "gpt_neo",
    "gpt_neox",
    "gptj",
    "granite",
    "ibert",
    "led",
    "llama",
    "longformer",
    "mamba",
    "marian",
    "mbart",
    "mistral",
    "mixtral",
    "mobilebert",
    "modernbert",
    "mpnet",
    "mpt",
    "mvp",
    "nystromformer",
    "olmo",
    "olmo2",
    "opt",
    "pegasus",
    "persimmon",
    "phi",
    "phi3",
    "plbart",
    "qwen2",
    "qwen2_moe",
    "qwen3",
    "rembert",
    "roberta",
    "roformer",
    "rwkv",
    "squeezebert",
    "stablelm",
    "starcoder2",
    "t5",
    "xglm",
    "xlm-roberta",
    "xlnet",
    "yoso",
]
_PICTURES = [
    "beit",
    "bit",
    "convnext",
    "convnextv2",
    "cvt",
    "deit",
    "dinov2",
    "focalnet",
    "levit",
    "mobilenet_v1",
    "mobilenet_v2",
    "mobilevit",
    "poolformer",
    "pvt",
    "regnet",
    "resnet",
    "segformer",
    "swiftformer",
    "swin",
    "swinv2",
    "vit",
    "vit_mae",
    "vit_msn",
]


def _seed(model: nn.Module) -> None:
    """Weights from names; and inputs that do not depend on how many numbers the model has drawn when it was built."""
    seed_weights(model)
    torch.manual_seed(0)


def _vision(name: str) -> Built:
    import torchvision
    from torchvision.models.quantization.utils import quantize_model

    kind = torchvision.models.get_model_builder(name).__module__.split(".")[2]
    begins = max((start for start in _VISION if name.removeprefix("quantized_").startswith(start)), key=len, default="")
    side, options = _VISION.get(begins, (64, {}))
    if kind in ("segmentation", "detection"):
        options = {"weights_backbone": None}
    model = torchvision.models.get_model(name, weights=None, **options).eval()
    _seed(model)
    if kind == "quantization":
        quantize_model(model, "fbgemm")
    if kind == "detection":
        return model, ([torch.rand(3, _DETECTION_SIDE, _DETECTION_SIDE)],)
    if kind == "optical_flow":
        return model, (torch.rand(1, 3, 128, 128), torch.rand(1, 3, 128, 128))
    if kind == "video":
        side = 224 if name.startswith(("mvit", "s3d")) else side
        frames = next((count for start, count in _VIDEO_FRAMES.items() if name.startswith(start)), 8)
        return model, torch.rand(1, 3, frames, side, side)
    return model, torch.rand(1, 3, side, side)


def _timm(name: str) -> Built:
    import timm

    model = timm.create_model(name, pretrained=False, num_classes=10).eval()
    _seed(model)
    size = model.default_cfg["input_size"]
    is_fixed = model.default_cfg.get("fixed_input_size") or name == "halonet_h1"
    return model, torch.rand(1, *(size if is_fixed else (3, 128, 128)))


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
    if name in _PICTURES:
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
        "transformers": (_transformers, [*_TEXT, *_PICTURES]),
    }
    return {
        f"{kind}/{name}": functools.partial(builder, name) for kind, (builder, names) in kinds.items() for name in names
    }


BUILDERS = _builders()


def build(name: str) -> Built:
    """A model in eval mode, seeded by the names of its parameters, and its input: the same in every process."""
    return BUILDERS[name]()
