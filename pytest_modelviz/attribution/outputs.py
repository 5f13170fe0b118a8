"""The tensor of a model's output that holds the scores, and the output of each sample in a batch."""

import functools
import re
from collections.abc import Mapping, Sequence

import torch

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.probe.containers import rebuild
from pytest_modelviz.probe.nested_values import leaves

# Names of scores, the least ambiguous first; then come names with any of the words.
_RANKED_NAMES = """
    logits out scores class_logits cls_logits pred_logits prediction_logits logits_per_image class_scores cls_scores
    pred_scores score probs probabilities predictions preds prediction y_hat
"""
_NAMES = tuple(_RANKED_NAMES.split())
_WORDS = {"logits", "scores"}
_SECOND_TO_ALL = {"loss", "losses", "aux", "auxiliary", "attention", "attentions"}


def main_output(output: object) -> torch.Tensor:
    """The tensor that holds the scores: the output itself, the tensor with a name of scores, else the first of several.

    The order is that of the output's author. Only floating tensors count, and single numbers (a loss) only where there
    is no other.

    Raises:
        ModelvizError: there is no floating tensor.

    Example:
        >>> main_output({"loss": loss, "logits": logits}) is logits
        True

    """
    return _main(output)[1]


def main_path(output: object) -> str:
    """The path of that tensor in the output: `scores`, `heads.logits`, `[0]`; empty where it is the output itself."""
    return _main(output)[0].removeprefix(".")


def _main(output: object) -> tuple[str, torch.Tensor]:
    if isinstance(output, torch.Tensor):
        return "", output
    candidates = [
        (path, value)
        for path, value in leaves(output, by_name=False)
        if isinstance(value, torch.Tensor) and value.is_floating_point()
    ]
    candidates = [pair for pair in candidates if pair[1].dim()] or candidates
    if not candidates:
        raise ModelvizError(f"the model returns {type(output).__name__} without a floating-point tensor to explain")
    return min(candidates, key=lambda pair: _rank(pair[0]))  # the first of equals


def _rank(path: str) -> tuple[int, int]:
    """How likely a path is that of scores, likely ones first, and how deep it is; it may end in the name of a list."""
    names = [name.lower() for name in re.findall(r"[^.\[\]']+", path) if not name.isdigit()]
    last = names[-1] if names else ""
    words = {word for name in names for word in name.split("_")}
    if words & _SECOND_TO_ALL:
        return len(_NAMES) + 2, 0
    if last in _NAMES:
        return _NAMES.index(last), len(names)
    return (len(_NAMES), len(names)) if words & _WORDS else (len(_NAMES) + 1, 0)


def samples_of(output: object) -> torch.Tensor | Sequence[object]:
    """The samples that target functions get: the rows of the scores, or the dicts of a detector."""
    if isinstance(output, (list, tuple)) and output and all(isinstance(item, Mapping) for item in output):
        return output
    return main_output(output)


def sample_outputs(output: object, count: int) -> list[object]:
    """Split the output of a batch of `count` samples into `count` outputs, each of a batch of one."""

    def row(value: object, index: int) -> object:
        if isinstance(value, torch.Tensor) and value.dim() > 0 and len(value) == count:
            return value[index : index + 1]
        return value

    return [rebuild(output, functools.partial(row, index=index)) for index in range(count)]
