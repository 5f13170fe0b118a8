"""Small models of the libraries that keep most in attributes; and, started as a program, all that is recorded of them.

`python library_models.py FOLDER` builds each model, as a user would, with files in FOLDER, and prints as JSON what the
views keep of its configuration. Run twice, in other surroundings, the two texts must be the same.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import functools
import json
import logging
import os
import random
import sys
import threading
import time
import uuid
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pytest_modelviz.probe.configuration import Describer, configuration
from pytest_modelviz.probe.modules import observed_modules
from pytest_modelviz.views.model_graph.naming import module_rows

Build = Callable[[Path], nn.Module]


def saved_and_loaded(model: nn.Module, folder: Path) -> nn.Module:
    """The model as its library loads it from a folder, whose path it then remembers."""
    model.save_pretrained(folder)
    return type(model).from_pretrained(folder)


def transformers_models() -> dict[str, Build]:
    import transformers as t

    small = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    llama = {**small, "vocab_size": 64, "num_key_value_heads": 2}
    bert = {**small, "vocab_size": 64, "max_position_embeddings": 32}
    vision = {**small, "image_size": 16, "patch_size": 8}
    t5 = {"vocab_size": 64, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}
    made = {
        "llama": lambda: t.LlamaForCausalLM(t.LlamaConfig(**llama)),
        "bert": lambda: t.BertModel(t.BertConfig(**bert)),
        "classifier": lambda: t.BertForSequenceClassification(
            t.BertConfig(**bert, id2label={0: "no", 1: "yes"}, label2id={"no": 0, "yes": 1})
        ),
        "vit": lambda: t.ViTForImageClassification(t.ViTConfig(**vision)),
        "t5": lambda: t.T5ForConditionalGeneration(t.T5Config(**t5)),
        "gpt2": lambda: t.GPT2LMHeadModel(
            t.GPT2Config(vocab_size=64, n_positions=32, n_embd=32, n_layer=2, n_head=4, n_inner=48)
        ),
        "mamba": lambda: t.MambaForCausalLM(
            t.MambaConfig(vocab_size=64, hidden_size=32, state_size=8, num_hidden_layers=2)
        ),
        "mixtral": lambda: t.MixtralForCausalLM(t.MixtralConfig(**llama, num_local_experts=2)),
        "clip": lambda: t.CLIPModel(
            t.CLIPConfig(text_config={**bert, "projection_dim": 16}, vision_config={**vision, "projection_dim": 16})
        ),
    }
    return {name: lambda folder, make=make: saved_and_loaded(make(), folder) for name, make in made.items()}


def diffusers_models() -> dict[str, Build]:
    import diffusers as d

    blocks = {"block_out_channels": (8, 8), "norm_num_groups": 4, "layers_per_block": 1}
    plain = {"down_block_types": ("DownBlock2D", "DownBlock2D"), "up_block_types": ("UpBlock2D", "UpBlock2D")}
    made = {
        "unet": lambda: d.UNet2DModel(sample_size=8, **blocks, **plain),
        "conditioned": lambda: d.UNet2DConditionModel(
            sample_size=8,
            cross_attention_dim=8,
            attention_head_dim=4,
            **blocks,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        ),
        "vae": lambda: d.AutoencoderKL(
            **blocks,
            down_block_types=("DownEncoderBlock2D", "DownEncoderBlock2D"),
            up_block_types=("UpDecoderBlock2D", "UpDecoderBlock2D"),
        ),
    }
    return {name: lambda folder, make=make: saved_and_loaded(make(), folder) for name, make in made.items()}


def lightning_models() -> dict[str, Build]:
    import lightning

    class Classifier(lightning.LightningModule):
        def __init__(self, width: int = 4, folder: str = "") -> None:
            super().__init__()
            self.save_hyperparameters()
            self.head = nn.Linear(4, width)
            self.example_input_array = torch.zeros(1, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(x)

        def training_step(self, batch: list[torch.Tensor], number: int) -> torch.Tensor:
            loss = self(batch[0]).square().mean()
            self.log("loss", loss)
            return loss

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
            return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1)]

    def fitted(folder: Path) -> nn.Module:
        model = Classifier(folder=str(folder))
        trainer = lightning.Trainer(
            max_steps=1,
            default_root_dir=folder,
            accelerator="cpu",
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=True,
        )
        data = torch.utils.data.TensorDataset(torch.ones(2, 4))
        trainer.fit(model, torch.utils.data.DataLoader(data))
        return model

    def loaded(folder: Path) -> nn.Module:
        fitted(folder)
        (path,) = folder.rglob("*.ckpt")
        return Classifier.load_from_checkpoint(path)

    return {"new": lambda folder: Classifier(folder=str(folder)), "fitted": fitted, "loaded": loaded}


def peft_models() -> dict[str, Build]:
    import peft
    import transformers as t

    def base(kind: str, folder: Path) -> nn.Module:
        return transformers_models()[kind](folder / "base")

    def lora(folder: Path) -> nn.Module:
        config = peft.LoraConfig(target_modules=["q_proj", "v_proj", "o_proj"], r=2, task_type="CAUSAL_LM")
        return peft.get_peft_model(base("llama", folder), config)

    def loaded(folder: Path) -> nn.Module:
        config = peft.LoraConfig(target_modules=["query", "value"], modules_to_save=["pooler"], r=2)
        peft.get_peft_model(base("bert", folder), config).save_pretrained(folder / "adapter")
        return peft.PeftModel.from_pretrained(t.BertModel.from_pretrained(folder / "base"), folder / "adapter")

    def ia3(folder: Path) -> nn.Module:
        config = peft.IA3Config(target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"])
        return peft.get_peft_model(base("llama", folder), config)

    return {"lora": lora, "loaded": loaded, "ia3": ia3}


class Restless(nn.Module):
    """Holds one of everything that another process has otherwise."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        words = {"north", "east", "south", "west", "up", "down"}
        self.conv = nn.Conv2d(3, 4, 3)
        self.hash, self.negative, self.address = hash("north"), -abs(hash("east")), id(words)
        self.path, self.relative = str(folder), os.path.relpath(folder)
        self.paths, self.uri, self.note = [str(folder / "a"), str(folder)], folder.as_uri(), f"read from {folder}/x.pt"
        self.words, self.table = list(words), {word: hash(word) for word in words}
        self.nested = {"names": list(words), "inner": {"words": tuple(words), "folder": str(folder)}}
        self.now, self.nanoseconds, self.seconds = time.time(), time.time_ns(), int(time.time())
        self.start_time, self._t0 = time.perf_counter(), time.monotonic()
        self.moment, self.run = datetime.datetime.now().isoformat(), time.strftime("%Y%m%d-%H%M%S")
        self.day, self.created = time.ctime(), datetime.datetime.now()
        self.pid, self.process_id, self.thread_id = os.getpid(), os.getpid(), threading.get_ident()
        self.name, self.hex, self.uuid = str(uuid.uuid4()), uuid.uuid4().hex, uuid.uuid4()
        self.log, self.lock, self.generator = logging.getLogger(str(folder)), threading.Lock(), random.Random()
        self.home, self.worker = Path(folder), threading.Thread(name=str(folder))
        self.options = argparse.Namespace(
            folder=folder, root=str(folder), key=hash("up"), words=list(words), pid=os.getpid(), eps=1e-5, inner=None
        )
        self.options.inner = argparse.Namespace(cache=str(folder), stamp=time.time(), tags=set(words), depth=3)
        self.options.trainer = argparse.Namespace(root=str(folder), step=1)
        self.make = functools.partial(sorted, key=hash("down"))
        self.eps, self.width, self.seed, self.limit = 1e-5, 50257, 1234567890, 2**63 - 1

    def extra_repr(self) -> str:
        return f"eps={self.eps}, root={self.path!r}, words={set(self.words)}, pid={self.pid}, key={self.hash}"


class Shown(nn.Module):
    """An own `repr`, which is compared by `model_summary`."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def __repr__(self) -> str:
        return f"Shown({self.folder!r}, {hash('x')}, {object()}, {frozenset(('a', 'b', 'c', 'd'))}, at={time.time()})"


def own_models() -> dict[str, Build]:
    return {"restless": lambda folder: nn.Sequential(Restless(folder), Shown(folder))}


LIBRARIES = {
    "own": own_models,
    "transformers": transformers_models,
    "diffusers": diffusers_models,
    "lightning": lightning_models,
    "peft": peft_models,
}


def recorded(model: nn.Module) -> dict[str, dict[str, Any]]:
    """What each view keeps of the configuration of every module."""
    describer = Describer()
    rows = module_rows(model)
    return {
        name: {
            "passes": dict(describer.describe(module, {}).config),
            "summary": configuration(module),
            "graph": [rows[name].class_name, dict(rows[name].config)],
        }
        for name, module in observed_modules(model)
    }


def main(folder: Path, libraries: list[str]) -> None:
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    found: dict[str, Any] = {}
    with contextlib.redirect_stdout(sys.stderr):  # libraries tell about themselves
        for library in libraries:
            for name, build in LIBRARIES[library]().items():
                torch.manual_seed(0)
                own = folder / library / name
                own.mkdir(parents=True)
                found[f"{library}/{name}"] = recorded(build(own).eval())
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    os.environ["HF_HUB_OFFLINE"] = "1"
    main(Path(sys.argv[1]), sys.argv[2:] or list(LIBRARIES))
