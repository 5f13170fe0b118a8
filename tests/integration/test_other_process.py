"""What is kept of a model's configuration is the same in every process that builds it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_modelviz.compare.bracketed import in_one_order

LIBRARIES = ("diffusers", "lightning", "peft", "transformers")
PROGRAM = Path(__file__).parent.parent / "library_models.py"


def started(folder: Path, seed: str, libraries: list[str]) -> subprocess.Popen[str]:
    """The program in surroundings of its own: hash seed, current folder, temporary files, home."""
    folder.mkdir()
    surroundings = {"PYTHONHASHSEED": seed, "TMPDIR": str(folder), "HOME": str(folder), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), str(folder / "models"), *libraries],
        cwd=folder,
        env={**os.environ, **surroundings},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def differences(one: Any, two: Any, path: str = "") -> list[str]:
    if isinstance(one, dict) and isinstance(two, dict):
        keys = sorted({*one, *two})
        return [line for key in keys for line in differences(one.get(key), two.get(key), f"{path}/{key}")]
    if isinstance(one, list) and isinstance(two, list) and len(one) == len(two):
        return [
            line for at, pair in enumerate(zip(one, two, strict=True)) for line in differences(*pair, f"{path}/{at}")
        ]
    if isinstance(one, str) and isinstance(two, str):  # a list of texts is kept in the order that it has
        one, two = in_one_order(one), in_one_order(two)
    return [] if one == two else [f"{path}: {one} -> {two}"]


@pytest.fixture(scope="module")
def processes(tmp_path_factory) -> list[dict[str, Any]]:
    """All that two processes have kept of the same models."""
    installed = [name for name in LIBRARIES if _is_installed(name)]
    folder = tmp_path_factory.mktemp("processes")
    running = [started(folder / name, seed, ["own", *installed]) for name, seed in (("a", "1"), ("a longer", "2"))]
    return [_kept(process) for process in running]


def _kept(process: subprocess.Popen[str]) -> dict[str, Any]:
    output, told = process.communicate()
    assert process.returncode == 0, told
    return json.loads(output)


def _is_installed(name: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(name) is not None


@pytest.mark.parametrize("library", ["own", *LIBRARIES])
def test_no_attribute_that_is_kept_differs_between_two_processes(processes, library):
    one, two = ({n: kept for n, kept in all_.items() if n.startswith(f"{library}/")} for all_ in processes)
    if not one:
        pytest.skip(f"{library} is not installed")
    assert differences(one, two) == []


def test_what_is_no_property_of_a_process_is_kept(processes):
    kept = processes[0]["own/restless"]["0"]["passes"]
    assert {"eps": "1e-05", "width": "50257", "seed": "1234567890", "limit": str(2**63 - 1)}.items() <= kept.items()
    assert kept["options.eps"] == "1e-05"
    assert "eps=1e-05" in kept["extra_repr"]
    if "transformers/llama" in processes[0]:
        llama = processes[0]["transformers/llama"][""]["passes"]
        assert {"config.vocab_size": "64", "config.rms_norm_eps": "1e-06", "config.hidden_act": "'silu'"}.items() <= (
            llama.items()
        )


CAUSAL_LM = """
import pathlib, torch
from transformers import LlamaConfig, LlamaForCausalLM

def test_lm(feature_maps, monkeypatch, tmp_path):
    fault = (pathlib.Path(__file__).parent / "fault.txt").exists()
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2))
    # as another process, with another hash seed and temporary folder, has them
    model.config._name_or_path = str(tmp_path / str(fault))
    model.generation_config._original_object_hash = hash(str(fault)) + fault
    if fault:
        before = LlamaForCausalLM.forward
        def forward(self, *args, **kwargs):
            output = before(self, *args, **kwargs)
            output.logits = output.logits * 1.5
            return output
        monkeypatch.setattr(LlamaForCausalLM, "forward", forward)
    feature_maps(model, {"input_ids": torch.tensor([[1, 5, 9, 3]])})
"""


def test_own_code_of_a_causal_language_model_is_computation(project):
    pytest.importorskip("transformers")
    project.test(CAUSAL_LM)
    project.run_once("--modelviz-update").assert_outcomes(passed=1)
    project.fault("code")
    project.run("--modelviz").assert_outcomes(failed=1)
    check = project.check("feature_maps")
    assert (check["cause"], check["first_divergence"]["layer"]) == ("computation", "")
    assert "also" not in check["message"]
