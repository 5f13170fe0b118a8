"""From a model's output and a target to the numbers that are differentiated."""

from __future__ import annotations

import contextlib
import operator
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from pytest_modelviz.attribution.outputs import main_output, main_path, samples_of
from pytest_modelviz.attribution.targets import Target, TargetFunction, WholeOutput
from pytest_modelviz.errors import ModelvizError

Weigh = Callable[[torch.Tensor, int], torch.Tensor]  # of one sample's scores and a class, the number to explain

_EMPTY = "the batch is empty: there is no sample to explain"


def class_score(scores: torch.Tensor, index: int) -> torch.Tensor:
    """The score of a class, as the model gives it."""
    return scores[index]


@dataclass(frozen=True)
class Scores:
    """What is explained.

    Each of `values` is one number to be differentiated: the sum over the batch, or, where several classes of a single
    sample are wanted, one for each class. `targets` are the classes meant, one a map, empty for targets that are
    functions; `predicted` the classes with the highest scores, empty where the output is no table of scores.
    `explained` says which tensor of an output of several the scores are, empty where there is no other; `functions`
    are the targets that are functions, those that were given the whole output as `WholeOutput`; `is_ambiguous` where
    they were given samples and would have made another number of the whole output.
    """

    values: tuple[torch.Tensor, ...]
    targets: tuple[int, ...]
    predicted: tuple[int, ...]
    explained: str = ""
    functions: tuple[TargetFunction, ...] = ()
    is_ambiguous: bool = False

    @property
    def total(self) -> float:
        return sum(float(value.detach()) for value in self.values)


def is_explained_by_itself(output: Any) -> bool:
    """Whether an output says without a target what is explained: a table of scores, or a single number."""
    samples = samples_of(output)
    return isinstance(samples, torch.Tensor) and (samples.dim() == 2 or _is_number(samples))


def require_target(target: Any) -> None:
    """Raise for a target that is neither a class, nor a function, nor several of one kind."""
    if target is None:
        return
    for item in target if isinstance(target, (list, tuple)) else [target]:
        if not callable(item) and (isinstance(item, bool) or not _is_index(item)):
            raise ModelvizError(
                f"target takes a class (an integer), one a sample, or functions of one sample's output, not {item!r}"
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


def scores_of(output: Any, target: Target, weigh: Weigh = class_score) -> Scores:
    """The score that `target` means; None is the predicted class. Raises ModelvizError for what cannot be meant.

    `weigh` makes the number of a class out of one sample's scores.
    """
    if callable(target) or _are_functions(target):
        return _of_functions(output, [target] if callable(target) else list(target), callable(target))  # type: ignore[arg-type]
    if not isinstance(samples_of(output), torch.Tensor):
        raise ModelvizError(
            "the model returns detections, which have no class as a whole: pass target= a function of one image's "
            "detections, such as pytorch-grad-cam's FasterRCNNBoxScoreTarget(labels, boxes)"
        )
    scores, explained = main_output(output), main_path(output)
    if _is_number(scores):
        if target is not None:
            raise ModelvizError(
                "the model returns a single number, which is explained as it is: there is no class to choose, leave "
                "target out or pass a function"
            )
        if weigh is not class_score:
            raise ModelvizError("the model returns a single number: there are no classes to compare with each other")
        return Scores((scores.reshape(()),), (), (), explained, (_itself,))
    predicted = _predicted(scores)
    if scores.dim() != 2:
        name = f" {explained!r}" if explained else ""
        raise ModelvizError(
            f"the model's output{name} has shape {list(scores.shape)}; a class can be explained only in (batch, "
            f"classes): pass target= a function that takes one sample's output and returns a number, such as "
            f"pytorch-grad-cam's SemanticSegmentationTarget(class, mask) or FasterRCNNBoxScoreTarget(labels, boxes)"
        )
    wanted = _classes(target, scores, predicted)
    if len(wanted) == len(scores):
        numbers = [weigh(sample, index) for sample, index in zip(scores, wanted, strict=True)]
        return Scores((torch.stack(numbers).sum(),), wanted, predicted, explained)
    return Scores(tuple(weigh(scores[0], index) for index in wanted), wanted, predicted * len(wanted), explained)


def _classes(target: Any, scores: torch.Tensor, predicted: tuple[int, ...]) -> tuple[int, ...]:
    count, classes = scores.shape
    if not count:
        raise ModelvizError(_EMPTY)
    if target is None:
        wanted = predicted
    elif isinstance(target, Sequence):
        wanted = tuple(int(index) for index in target)
    else:
        wanted = (int(target),) * count
    if len(wanted) != count and (count != 1 or not wanted):
        raise ModelvizError(_count(len(wanted), count))
    for index in wanted:
        if not 0 <= index < classes:
            raise ModelvizError(f"target {index} is out of range: the model has {classes} classes, from 0")
    return wanted


def _count(wanted: int, batch: int) -> str:
    return f"{wanted} targets for a batch of {batch}: pass one a sample, a single one, or several for a single sample"


def _are_functions(target: Any) -> bool:
    return isinstance(target, Sequence) and bool(target) and all(map(callable, target))


def _predicted(scores: Any) -> tuple[int, ...]:
    if not isinstance(scores, torch.Tensor) or scores.dim() != 2 or not scores.shape[1]:
        return ()
    return tuple(int(index) for index in scores.detach().float().argmax(1))


def _itself(number: torch.Tensor) -> torch.Tensor:
    return number.reshape(())


def _is_number(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.dim() < 2 and value.numel() == 1


class _NoNumberError(Exception):
    """A target function made no number of what it was given."""


def _of_functions(output: Any, functions: list[TargetFunction], is_single: bool) -> Scores:
    """Of each sample's scores, or, where the functions say so or can do nothing with those, of the whole output."""
    if any(isinstance(function, WholeOutput) for function in functions):
        return _of_whole(output, functions)
    try:
        samples = samples_of(output)
    except ModelvizError:  # it holds no tensor that could be scores: only the function knows what is meant
        return _of_whole(output, functions)
    if isinstance(samples, torch.Tensor) and not samples.dim():
        samples = samples[None]
    if not len(samples):
        raise ModelvizError(_EMPTY)
    several = len(samples) == 1 and len(functions) > 1
    targets = functions * len(samples) if is_single else functions
    if len(targets) != len(samples) and not several:
        raise ModelvizError(_count(len(targets), len(samples)))
    try:
        with _without_warnings():
            values = [_number(target, samples[0 if several else at]) for at, target in enumerate(targets)]
    except Exception as error:  # whatever a function raises that was meant for another kind of output
        try:
            return _of_whole(output, functions)
        except Exception as other:
            raise ModelvizError(_neither(error, other)) from error
    if not any(value.requires_grad for value in values):  # a row's `data`, say, is no field of the output
        whole = _meant_for_all(output, functions)
        if whole is not None:
            return whole
    explained = main_path(output) if isinstance(samples, torch.Tensor) else ""
    numbers = tuple(values) if several else (torch.stack(values).sum(),)
    is_ambiguous = bool(explained) and _has_another_meaning(output, functions, numbers)
    return Scores(numbers, (), _predicted(samples), explained, tuple(targets), is_ambiguous)


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """What torch says of an index that it does not take is no news where a function is merely tried."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _has_another_meaning(output: Any, functions: list[TargetFunction], numbers: tuple[torch.Tensor, ...]) -> bool:
    try:
        with _without_warnings():
            others = [_number(function, output) for function in functions]
    except Exception:  # it can do nothing with the whole output
        return False
    return [float(other.detach()) for other in others] != [float(number.detach()) for number in numbers]


def _meant_for_all(output: Any, functions: list[TargetFunction]) -> Scores | None:
    """The scores of functions of the whole output, where those can be differentiated."""
    try:
        with _without_warnings():
            scores = _of_whole(output, functions)
    except Exception:  # they can do nothing with it
        return None
    return scores if all(value.requires_grad for value in scores.values) else None


def _of_whole(output: Any, functions: list[TargetFunction]) -> Scores:
    batch = _batch(output)
    if len(functions) > 1 and batch > 1:
        raise ModelvizError(
            f"{len(functions)} functions of the whole output for a batch of {batch}: pass a single one, or several for "
            f"a batch of one"
        )
    try:
        values = tuple(_number(function, output) for function in functions)
    except _NoNumberError as error:
        raise ModelvizError(str(error)) from None
    explained = "" if isinstance(output, torch.Tensor) else "a function of the whole output"
    whole = (target if isinstance(target, WholeOutput) else WholeOutput(target) for target in functions)
    return Scores(values, (), (), explained, tuple(whole))


def _batch(output: Any) -> int:
    try:
        samples = samples_of(output)
    except ModelvizError:
        return 1
    return len(samples) if not isinstance(samples, torch.Tensor) or samples.dim() else 1


def _number(target: TargetFunction, value: Any) -> torch.Tensor:
    number = target(value)
    if not isinstance(number, torch.Tensor) or number.numel() != 1:
        kind = f"a tensor {list(number.shape)}" if isinstance(number, torch.Tensor) else type(number).__name__
        raise _NoNumberError(f"a target function must return a tensor with one number, not {kind}")
    return number.reshape(())


def _neither(sample: Exception, whole: Exception) -> str:
    """What is wrong with a function that could use neither one sample's scores nor the whole output."""
    known = (_NoNumberError, ModelvizError)
    reasons = [
        str(error) if isinstance(error, known) else f"it raises {type(error).__name__}: {error}"
        for error in (sample, whole)
    ]
    if isinstance(sample, _NoNumberError) and (reasons[0] == reasons[1] or not isinstance(whole, _NoNumberError)):
        return reasons[0]
    return f"the target function fails on one sample's scores ({reasons[0]}) and on the whole output ({reasons[1]})"
