"""From a model's output and a target to the numbers that are differentiated."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.probe.structure import tensors

Target = int | Sequence[Any] | Callable[..., Any] | None
Weigh = Callable[[torch.Tensor, int], torch.Tensor]  # of one sample's scores and a class, the number to explain


def class_score(scores: torch.Tensor, one: int) -> torch.Tensor:
    """The score of a class, as the model gives it."""
    return scores[one]


@dataclass(frozen=True)
class Scores:
    """What is explained.

    Each of `values` is one number to be differentiated: the sum over the batch, or, where several classes of a single
    sample are wanted, one for each class. `targets` are the classes meant, one a map, empty for targets that are
    functions; `predicted` the classes with the highest scores, empty where the output is no table of scores.
    """

    values: tuple[torch.Tensor, ...]
    targets: tuple[int, ...]
    predicted: tuple[int, ...]

    @property
    def total(self) -> float:
        return sum(float(value.detach()) for value in self.values)


def is_table(output: Any) -> bool:
    """Whether a model's output is scores (batch, classes), of which one class is the predicted one."""
    samples = samples_of(output)
    return isinstance(samples, torch.Tensor) and samples.dim() == 2


def require_target(target: Any) -> None:
    """Raise for a target that is neither a class, nor a function, nor several of one kind."""
    several = target if isinstance(target, (list, tuple)) else [target]
    for one in several:
        if not (one is None and target is None) and not callable(one) and (isinstance(one, bool) or not _is_index(one)):
            raise ModelvizError(
                f"target takes a class (an integer), one a sample, or functions of one sample's output, not {one!r}"
            )


def is_class(target: Target) -> bool:
    """Whether a target is the predicted class, a class or several, and no function."""
    return not callable(target) and not _are_functions(target)


def _is_index(value: Any) -> bool:
    try:
        operator.index(value)
    except TypeError:
        return False
    return True


def main_output(output: Any) -> torch.Tensor:
    """The tensor that holds the scores: the output itself, its `logits` or `out`, else its first floating tensor."""
    if isinstance(output, torch.Tensor):
        return output
    for name in ("logits", "out"):
        value = output.get(name) if isinstance(output, Mapping) else getattr(output, name, None)
        if isinstance(value, torch.Tensor):
            return value
    for tensor in tensors(output):
        if tensor.is_floating_point():
            return tensor
    raise ModelvizError(f"the model returns {type(output).__name__} without a floating tensor to explain")


def samples_of(output: Any) -> Sequence[Any]:
    """What a target function is given, sample by sample: rows of scores, or the dicts of a detector."""
    if isinstance(output, (list, tuple)) and output and all(isinstance(item, Mapping) for item in output):
        return output
    return main_output(output)  # type: ignore[return-value]  # a tensor is a sequence of its samples


def scores_of(output: Any, target: Target, weigh: Weigh = class_score) -> Scores:
    """The score that `target` means; None is the predicted class. Raises ModelvizError for what cannot be meant.

    `weigh` makes the number of a class out of one sample's scores.
    """
    if callable(target) or _are_functions(target):
        samples = samples_of(output)
        functions = [target] * len(samples) if callable(target) else list(target)  # type: ignore[arg-type]
        return Scores(_of_functions(samples, functions), (), _predicted(samples))
    if not isinstance(samples_of(output), torch.Tensor):
        raise ModelvizError(
            "the model returns detections, which have no class as a whole: pass target= a function of one image's "
            "detections, such as pytorch-grad-cam's FasterRCNNBoxScoreTarget(labels, boxes)"
        )
    scores = main_output(output)
    predicted = _predicted(scores)
    if scores.dim() != 2:
        raise ModelvizError(
            f"the model's output has shape {list(scores.shape)}; a class can be explained only in (batch, classes): "
            f"pass target= a function that takes one sample's output and returns a number, such as pytorch-grad-cam's "
            f"SemanticSegmentationTarget(class, mask) or FasterRCNNBoxScoreTarget(labels, boxes)"
        )
    wanted = _classes(target, scores, predicted)
    if len(wanted) == len(scores):
        numbers = [weigh(sample, one) for sample, one in zip(scores, wanted, strict=True)]
        return Scores((torch.stack(numbers).sum(),), wanted, predicted)
    return Scores(tuple(weigh(scores[0], one) for one in wanted), wanted, predicted * len(wanted))


def _classes(target: Any, scores: torch.Tensor, predicted: tuple[int, ...]) -> tuple[int, ...]:
    count, classes = scores.shape
    if not count:
        raise ModelvizError("the batch is empty: there is no sample to explain")
    if target is None:
        wanted = predicted
    elif isinstance(target, Sequence):
        wanted = tuple(int(one) for one in target)
    else:
        wanted = (int(target),) * count
    if len(wanted) != count and (count != 1 or not wanted):
        raise ModelvizError(_count(len(wanted), count))
    for one in wanted:
        if not 0 <= one < classes:
            raise ModelvizError(f"target {one} is out of range: the model has {classes} classes, from 0")
    return wanted


def _count(wanted: int, batch: int) -> str:
    return f"{wanted} targets for a batch of {batch}: pass one a sample, a single one, or several for a single sample"


def _are_functions(target: Any) -> bool:
    return isinstance(target, Sequence) and bool(target) and all(callable(one) for one in target)


def _predicted(scores: Any) -> tuple[int, ...]:
    if not isinstance(scores, torch.Tensor) or scores.dim() != 2 or not scores.shape[1]:
        return ()
    return tuple(int(index) for index in scores.detach().float().argmax(1))


def _of_functions(samples: Sequence[Any], targets: list[Any]) -> tuple[torch.Tensor, ...]:
    several = len(samples) == 1 and len(targets) > 1
    if len(targets) != len(samples) and not several:
        raise ModelvizError(_count(len(targets), len(samples)))
    pairs = [(target, samples[0 if several else at]) for at, target in enumerate(targets)]
    values = [target(sample) for target, sample in pairs]
    if not all(isinstance(value, torch.Tensor) and value.numel() == 1 for value in values):
        raise ModelvizError("a target function must return a tensor with one number")
    numbers = tuple(value.reshape(()) for value in values)
    return numbers if several else (torch.stack(numbers).sum(),)
