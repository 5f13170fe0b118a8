"""Which tensor of a model's output holds the scores, and what of the output belongs to one sample."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.probe.containers import rebuilt
from pytest_modelviz.probe.structure import leaves

# What scores are called, the surest name first; then any name with one of the words.
_NAMES = (
    "logits",
    "out",
    "scores",
    "class_logits",
    "cls_logits",
    "pred_logits",
    "prediction_logits",
    "logits_per_image",
    "class_scores",
    "cls_scores",
    "pred_scores",
    "score",
    "probs",
    "probabilities",
    "predictions",
    "preds",
    "prediction",
    "y_hat",
)
_WORDS = {"logits", "scores"}
_SECOND_TO_ALL = {"loss", "losses", "aux", "auxiliary", "attention", "attentions"}


def main_output(output: Any) -> torch.Tensor:
    """The tensor that holds the scores: the output itself, the one with a name of scores, else the first of several.

    The order is that of the output's author. Only floating tensors count, and single numbers (a loss) only where there
    is nothing else. Raises ModelvizError where there is no tensor.
    """
    return _main(output)[1]


def main_path(output: Any) -> str:
    """Where in the output that tensor is: `scores`, `heads.logits`, `[0]`; empty where it is the output itself."""
    return "" if isinstance(output, torch.Tensor) else _main(output)[0].removeprefix(".")


def _main(output: Any) -> tuple[str, torch.Tensor]:
    if isinstance(output, torch.Tensor):
        return "", output
    found = [
        (path, value)
        for path, value in leaves(output, by_name=False)
        if isinstance(value, torch.Tensor) and value.is_floating_point()
    ]
    found = [pair for pair in found if pair[1].dim()] or found
    if not found:
        raise ModelvizError(f"the model returns {type(output).__name__} without a floating tensor to explain")
    return min(found, key=lambda pair: _rank(pair[0]))  # of equals the first


def _rank(path: str) -> tuple[int, int]:
    """How likely scores are called so, and how deep inside they lie; the name may be that of a list of them."""
    names = [name.lower() for name in re.findall(r"[^.\[\]']+", path) if not name.isdigit()]
    last = names[-1] if names else ""
    words = {word for name in names for word in name.split("_")}
    if words & _SECOND_TO_ALL:
        return len(_NAMES) + 2, 0
    if last in _NAMES:
        return _NAMES.index(last), len(names)
    return (len(_NAMES), len(names)) if words & _WORDS else (len(_NAMES) + 1, 0)


def samples_of(output: Any) -> Sequence[Any]:
    """What a target function is given, sample by sample: rows of scores, or the dicts of a detector."""
    if isinstance(output, (list, tuple)) and output and all(isinstance(item, Mapping) for item in output):
        return output
    return main_output(output)  # type: ignore[return-value]  # a tensor is a sequence of its samples


def sample_outputs(output: Any, count: int) -> list[Any]:
    """The output of a batch of `count` samples as `count` outputs, each as of a batch of one."""

    def part(at: int) -> Any:
        def of(value: Any) -> Any:
            is_batch = isinstance(value, torch.Tensor) and value.dim() > 0 and len(value) == count
            return value[at : at + 1] if is_batch else value

        return rebuilt(output, of)

    return [part(at) for at in range(count)]
