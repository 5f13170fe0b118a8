"""The numbers to differentiate, made from a model's output and a target."""

import contextlib
import operator
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import torch

from pytest_modelviz.attribution.outputs import main_output, main_path, samples_of
from pytest_modelviz.attribution.targets import Target, TargetFunction, WholeOutput
from pytest_modelviz.errors import ModelvizError

Weigh = Callable[[torch.Tensor, int], torch.Tensor]  # from a sample's scores and a class to the number to explain

_EMPTY_BATCH = "the batch is empty: there is no sample to explain"


def class_score(scores: torch.Tensor, index: int) -> torch.Tensor:
    """The score of a class, as the model gives it."""
    return scores[index]


@dataclass(frozen=True)
class Scores:
    """The numbers to differentiate and the targets that they belong to.

    Attributes:
        values: tensors with a single number: the sum over the batch, or, where several classes of a single sample are
            explained, one for each class.
        targets: the class of each map, empty for targets that are functions.
        predicted: the classes with the highest scores, empty where the output is no table of scores.
        explained: the path of the scores in an output of several tensors, empty where there is no other.
        functions: the targets that are functions; those that were given the whole output are `WholeOutput`.
        is_ambiguous: whether functions were given samples and would return another number for the whole output.

    """

    values: tuple[torch.Tensor, ...]
    targets: tuple[int, ...]
    predicted: tuple[int, ...]
    explained: str = ""
    functions: tuple[TargetFunction, ...] = ()
    is_ambiguous: bool = False

    @property
    def total(self) -> float:
        """The sum of the values."""
        return sum(float(value.detach()) for value in self.values)


def needs_no_target(output: object) -> bool:
    """Whether an output can be explained without a target: it is a table of scores, or a single number."""
    samples = samples_of(output)
    return isinstance(samples, torch.Tensor) and (samples.dim() == 2 or _is_number(samples))


def require_target(target: object) -> None:
    """Raise ModelvizError for a target that is neither a class, nor a function, nor a list of these."""
    if target is None:
        return
    for item in target if isinstance(target, (list, tuple)) else [target]:
        if not callable(item) and (isinstance(item, bool) or not _is_index(item)):
            raise ModelvizError(
                f"target takes a class (an integer), one a sample, or functions of one sample's output, not {item!r}"
            )


def is_class(target: Target) -> bool:
    """Whether a target is the predicted class, a class or several classes, but no function."""
    return not callable(target) and not _are_functions(target)


def _is_index(value: Any) -> bool:  # tensors have __index__, but not all are indices
    try:
        operator.index(value)
    except TypeError:
        return False
    return True


def scores_of(output: object, target: Target, weigh: Weigh = class_score) -> Scores:
    """The scores of a target in an output.

    Args:
        output: the model's output.
        target: a class, a function, or several of them; None for the predicted class.
        weigh: the number to explain of a sample's scores and a class.

    Raises:
        ModelvizError: the target does not fit the output.

    Example:
        >>> scores_of(torch.tensor([[1.0, 3.0]]), None).targets
        (1,)

    """
    if callable(target):
        return _score_functions(output, [target], is_single=True)
    if _are_functions(target):
        return _score_functions(output, list(target), is_single=False)
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
        return Scores((scores.reshape(()),), (), (), explained, (_flatten_number,))
    predicted = _predicted(scores)
    if scores.dim() != 2:
        name = f" {explained!r}" if explained else ""
        raise ModelvizError(
            f"the model's output{name} has shape {list(scores.shape)}; a class can be explained only in (batch, "
            f"classes): pass target= a function that takes one sample's output and returns a number, such as "
            f"pytorch-grad-cam's SemanticSegmentationTarget(class, mask) or FasterRCNNBoxScoreTarget(labels, boxes)"
        )
    classes = _classes(target, scores, predicted)
    if len(classes) == len(scores):
        numbers = [weigh(sample, index) for sample, index in zip(scores, classes, strict=True)]
        return Scores((torch.stack(numbers).sum(),), classes, predicted, explained)
    return Scores(tuple(weigh(scores[0], index) for index in classes), classes, predicted * len(classes), explained)


def _classes(target: Any, scores: torch.Tensor, predicted: tuple[int, ...]) -> tuple[int, ...]:
    count, classes = scores.shape
    if not count:
        raise ModelvizError(_EMPTY_BATCH)
    if target is None:
        wanted = predicted
    elif isinstance(target, Sequence):
        wanted = tuple(int(index) for index in target)
    else:
        wanted = (int(target),) * count
    if len(wanted) != count and (count != 1 or not wanted):
        raise ModelvizError(_describe_count(len(wanted), count))
    for index in wanted:
        if not 0 <= index < classes:
            raise ModelvizError(f"target {index} is out of range: the model has {classes} classes, from 0")
    return wanted


def _describe_count(wanted: int, batch: int) -> str:
    return f"{wanted} targets for a batch of {batch}: pass one a sample, a single one, or several for a single sample"


def _are_functions(target: object) -> TypeGuard[Sequence[TargetFunction]]:
    return isinstance(target, Sequence) and bool(target) and all(map(callable, target))


def _predicted(scores: object) -> tuple[int, ...]:
    if not isinstance(scores, torch.Tensor) or scores.dim() != 2 or not scores.shape[1]:
        return ()
    return tuple(int(index) for index in scores.detach().float().argmax(1))


def _flatten_number(number: torch.Tensor) -> torch.Tensor:
    return number.reshape(())


def _is_number(value: object) -> bool:
    return isinstance(value, torch.Tensor) and value.dim() < 2 and value.numel() == 1


class _NoNumberError(Exception):
    """A target function returned no number."""


def _score_functions(output: object, functions: list[TargetFunction], is_single: bool) -> Scores:
    """The functions of each sample's scores, or of the whole output where they ask for that or fail on samples."""
    if any(isinstance(function, WholeOutput) for function in functions):
        return _score_whole_output(output, functions)
    try:
        samples = samples_of(output)
    except ModelvizError:  # no tensor in it can be scores: it is left to the function
        return _score_whole_output(output, functions)
    if isinstance(samples, torch.Tensor) and not samples.dim():
        samples = samples[None]
    if not len(samples):
        raise ModelvizError(_EMPTY_BATCH)
    several = len(samples) == 1 and len(functions) > 1
    targets = functions * len(samples) if is_single else functions
    if len(targets) != len(samples) and not several:
        raise ModelvizError(_describe_count(len(targets), len(samples)))
    try:
        with _without_warnings():
            values = [_call_target(target, samples[0 if several else at]) for at, target in enumerate(targets)]
    except Exception as error:  # of any kind, from a function for another kind of output
        try:
            return _score_whole_output(output, functions)
        except Exception as whole_error:
            raise ModelvizError(_describe_failures(error, whole_error)) from error
    # `data`, for example, of a row instead of the output's field
    if not any(value.requires_grad for value in values) and (whole := _differentiable_whole(output, functions)):
        return whole
    explained = main_path(output) if isinstance(samples, torch.Tensor) else ""
    numbers = tuple(values) if several else (torch.stack(values).sum(),)
    is_ambiguous = bool(explained) and _gives_other_numbers(output, functions, numbers)
    return Scores(numbers, (), _predicted(samples), explained, tuple(targets), is_ambiguous)


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """Run a block without warnings: torch warns of unusual indices where a function is only tried."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _gives_other_numbers(output: object, functions: list[TargetFunction], numbers: tuple[torch.Tensor, ...]) -> bool:
    try:
        with _without_warnings():
            whole = [_call_target(function, output) for function in functions]
    except Exception:  # it fails on the whole output
        return False
    return [float(number.detach()) for number in whole] != [float(number.detach()) for number in numbers]


def _differentiable_whole(output: object, functions: list[TargetFunction]) -> Scores | None:
    """The scores of functions of the whole output, None where they fail or cannot be differentiated."""
    try:
        with _without_warnings():
            scores = _score_whole_output(output, functions)
    except Exception:  # they fail on it
        return None
    return scores if all(value.requires_grad for value in scores.values) else None


def _score_whole_output(output: object, functions: list[TargetFunction]) -> Scores:
    batch = _batch_size(output)
    if len(functions) > 1 and batch > 1:
        raise ModelvizError(
            f"{len(functions)} functions of the whole output for a batch of {batch}: pass a single one, or several for "
            f"a batch of one"
        )
    try:
        values = tuple(_call_target(function, output) for function in functions)
    except _NoNumberError as error:
        raise ModelvizError(str(error)) from None
    explained = "" if isinstance(output, torch.Tensor) else "a function of the whole output"
    wrapped = (target if isinstance(target, WholeOutput) else WholeOutput(target) for target in functions)
    return Scores(values, (), (), explained, tuple(wrapped))


def _batch_size(output: object) -> int:
    try:
        samples = samples_of(output)
    except ModelvizError:
        return 1
    return len(samples) if not isinstance(samples, torch.Tensor) or samples.dim() else 1


def _call_target(target: TargetFunction, value: object) -> torch.Tensor:
    number = target(value)
    if not isinstance(number, torch.Tensor) or number.numel() != 1:
        kind = f"a tensor {list(number.shape)}" if isinstance(number, torch.Tensor) else type(number).__name__
        raise _NoNumberError(f"a target function must return a tensor with one number, not {kind}")
    return number.reshape(())


def _describe_failures(sample: Exception, whole: Exception) -> str:
    """The message for a function that failed on a sample's scores and on the whole output."""
    own_errors = (_NoNumberError, ModelvizError)
    reasons = [
        str(error) if isinstance(error, own_errors) else f"it raises {type(error).__name__}: {error}"
        for error in (sample, whole)
    ]
    if isinstance(sample, _NoNumberError):
        return reasons[0]
    return f"the target function fails on one sample's scores ({reasons[0]}) and on the whole output ({reasons[1]})"
