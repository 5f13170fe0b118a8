"""What an optimiser is asked to do: class, options and parameters of its groups, its schedulers, before the first step.

An option that changes nothing but how the same numbers are computed is left out: its default differs between versions
of torch and between devices.
"""

import contextlib
import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeAlias, TypeGuard

import numpy as np
import torch
from torch.optim.lr_scheduler import LRScheduler

from pytest_modelviz.compare.volatile import is_volatile, normalised
from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.probe.modules import parameters_and_buffers
from pytest_modelviz.probe.nested_values import plain_text
from pytest_modelviz.records.tensors import dtype_and_shape
from pytest_modelviz.views.training_curve.optimizer_records import (
    OptimizerRecord,
    Option,
    ParameterGroup,
    SchedulerRecord,
)

# How a step is computed, not what it does.
_IMPLEMENTATION = frozenset({"params", "param_names", "foreach", "fused", "capturable", "differentiable"})
# Of the attributes of an optimiser and of a scheduler: what is recorded elsewhere, and what counts steps.
_STATE = frozenset({"param_groups", "defaults", "state", "step"})
_SCHEDULER_STATE = frozenset({"optimizer", "last_epoch", "verbose", "base_lrs"})
# What schedulers move. Other options that change while training are an optimiser's own state, such as an estimate of
# its rate.
_SCHEDULED = frozenset({"lr", "momentum", "betas", "weight_decay"})
# Private attributes in which torch's own schedulers keep what they were made with.
_PRIVATE = frozenset({"_schedulers", "_milestones", "_schedule_phases"})
_MOST_ITEMS = 1000
_DEEPEST = 4


class HasParameterGroups(Protocol):
    """An optimiser of `torch.optim`, or one that is built like those."""

    param_groups: list[dict[str, Any]]  # torch's own type


Optimizers: TypeAlias = "HasParameterGroups | LRScheduler | Sequence[Optimizers] | Mapping[str, Optimizers]"


def require_optimizers(given: Optimizers) -> None:
    """Raises ModelvizError unless these are optimisers and schedulers."""
    list(_named(given, ""))


class OptimizerRecorder:
    """Records the optimisers of a training, and how their options change from step to step."""

    def __init__(self, given: Optimizers, model: torch.nn.Module | None, step: Callable[..., object]) -> None:
        """`given` is an optimiser, a scheduler, or a list, tuple or dict of them.

        Schedulers that `step` refers to by a name of its own are found. Raises ModelvizError for anything else.
        """
        named = list(_named(given, ""))
        self._optimizers = [(name, value) for name, value in named if _is_optimizer(value)]
        schedulers = [value for _, value in named if _is_scheduler(value)]
        for scheduler in schedulers:
            if all(scheduler.optimizer is not optimizer for _, optimizer in self._optimizers):
                self._optimizers.append(("", scheduler.optimizer))
        known = {id(scheduler) for scheduler in schedulers}
        schedulers += [scheduler for scheduler in _schedulers_of(step) if id(scheduler) not in known]
        names = {id(p): name for name, p in parameters_and_buffers(model)[0].items()} if model is not None else {}
        self._records = [_record(name, optimizer, names, schedulers) for name, optimizer in self._optimizers]
        self._history: list[list[dict[str, Option]]] = []

    def record(self) -> None:
        """Record the options that hold now: before each step, and after the last."""
        self._history.append(
            [
                {
                    f"{at}.{name}": value
                    for at, group in enumerate(optimizer.param_groups)
                    for name, value in _plain_options(group, _IMPLEMENTATION).items()
                    if name in _SCHEDULED
                }
                for _, optimizer in self._optimizers
            ]
        )

    def records(self) -> tuple[OptimizerRecord, ...]:
        """What was given, in that order, with the schedules of the steps that were recorded."""
        records = []
        for at, record in enumerate(self._records):
            rows = [row[at] for row in self._history]
            schedules: dict[str, dict[int, Option]] = {}
            for key in dict.fromkeys(key for row in rows for key in row):
                values = [row.get(key) for row in rows]
                changes = {step: new for step, new in enumerate(values) if not step or new != values[step - 1]}
                if len(changes) > 1:
                    schedules[key] = changes
            records.append(replace(record, schedules=schedules))
        return tuple(records)


def _named(given: object, name: str) -> Iterator[tuple[str, object]]:
    if _is_optimizer(given) or _is_scheduler(given):
        yield name, given
    elif isinstance(given, (Mapping, list, tuple)) and given:
        for key, value in given.items() if isinstance(given, Mapping) else enumerate(given):
            yield from _named(value, f"{name}.{key}" if name else str(key))
    else:
        raise ModelvizError(
            f"optimizer takes an optimiser of torch.optim (or one with param_groups), a scheduler, or a list or dict "
            f"of them, not {given!r:.80}"
        )


def _is_optimizer(value: object) -> TypeGuard[HasParameterGroups]:
    groups = getattr(value, "param_groups", None)
    return isinstance(value, torch.optim.Optimizer) or (
        isinstance(groups, list) and all(isinstance(group, dict) and "params" in group for group in groups)
    )


def _is_scheduler(value: object) -> TypeGuard[LRScheduler]:
    return isinstance(value, LRScheduler) and _is_optimizer(getattr(value, "optimizer", None))


def _schedulers_of(step: Callable[..., object]) -> list[LRScheduler]:
    """The schedulers that a step function can name: in its closure, its globals, the object whose method it is."""
    function = getattr(step, "__func__", step)
    code = getattr(function, "__code__", None)
    held: list[object] = []
    for cell in getattr(function, "__closure__", None) or ():
        with contextlib.suppress(ValueError):  # of a variable that has no value yet
            held.append(cell.cell_contents)
    if code is not None:
        module_names = getattr(function, "__globals__", {})
        held += [module_names[name] for name in code.co_names if name in module_names]
    for owner in (getattr(step, "__self__", None), *held):
        if owner is not None and not isinstance(owner, (torch.nn.Module, type)):
            attributes = getattr(owner, "__dict__", None)
            held += list(attributes.values()) if isinstance(attributes, dict) else []
    held += [item for value in held if isinstance(value, (list, tuple)) for item in value]
    held += [item for value in held if isinstance(value, dict) for item in value.values()]
    return list({id(value): value for value in held if _is_scheduler(value)}.values())


def _record(
    name: str, optimizer: HasParameterGroups, names: Mapping[int, str], schedulers: Sequence[LRScheduler]
) -> OptimizerRecord:
    groups = []
    for group in optimizer.param_groups:
        # the names in the model; of parameters that have none, what they are
        parameters = [names.get(id(p)) or dtype_and_shape(p.dtype, p.shape) for p in group["params"]]
        groups.append(ParameterGroup(_plain_options(group, _IMPLEMENTATION), tuple(sorted(parameters))))
    own = [scheduler for scheduler in schedulers if scheduler.optimizer is optimizer]
    inner = {id(nested) for scheduler in own for nested in getattr(scheduler, "_schedulers", ())}
    records = [
        SchedulerRecord(type(scheduler).__name__, _attributes(scheduler, _SCHEDULER_STATE), _defaults(scheduler))
        for scheduler in own
        if id(scheduler) not in inner
    ]
    records.sort(key=lambda record: (record.class_name, str(record.options)))
    return OptimizerRecord(
        name,
        type(optimizer).__name__,
        _attributes(optimizer, _STATE),
        tuple(groups),
        tuple(records),
        defaults=_defaults(optimizer),
    )


def _defaults(holder: object) -> dict[str, Option]:
    """What turns an option of torch off unless somebody asks for it. The defaults of other classes are the model's."""
    classes = [base for base in reversed(type(holder).__mro__) if base.__module__.startswith("torch.optim.")]
    parameters = {name: p.default for base in classes for name, p in inspect.signature(base).parameters.items()}
    if "min_lr" in parameters:  # as ReduceLROnPlateau keeps it in later versions of torch
        parameters["default_min_lr"] = parameters["min_lr"]
    known = _plain_options(parameters, _IMPLEMENTATION)
    return {name: value for name, value in known.items() if not value}


def _attributes(holder: object, without: frozenset[str]) -> dict[str, Option]:
    """The plain attributes of an optimiser or a scheduler, without state and what is private."""
    held = vars(holder) if hasattr(holder, "__dict__") else {}
    chosen = {name: value for name, value in held.items() if not name.startswith("_") or name in _PRIVATE}
    return _plain_options(chosen, without)


def _plain_options(held: Mapping[str, object], without: frozenset[str]) -> dict[str, Option]:
    options = {}
    for name, value in sorted(held.items(), key=lambda pair: str(pair[0])):
        if name not in without and not is_volatile(str(name)):
            try:
                options[str(name)] = _plain(value)
            except _NotPlainError:
                continue  # functions, tensors, counters: what they do shows in the options from step to step
    return options


class _NotPlainError(Exception):
    """A value that is no number, text, or nest of these."""


def _plain(value: object, depth: int = 0) -> Option:
    if isinstance(value, torch.Tensor) and value.numel() == 1 and not value.is_meta:
        value = value.item()
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, str):
        text = plain_text(value)
        quoted, lasting = repr(text), normalised(repr(text))  # without the names of temporary folders and the like
        return text if lasting == quoted else lasting[1:-1]
    if _is_scheduler(value) and depth < _DEEPEST:
        return {"class": type(value).__name__, **_attributes(value, _SCHEDULER_STATE)}
    if isinstance(value, torch.optim.Optimizer):
        return {"class": type(value).__name__}
    if depth < _DEEPEST and isinstance(value, (list, tuple)) and len(value) <= _MOST_ITEMS:
        return [_plain(item, depth + 1) for item in value]
    if depth < _DEEPEST and isinstance(value, Mapping) and len(value) <= _MOST_ITEMS:
        return {str(key): _plain(item, depth + 1) for key, item in value.items()}
    raise _NotPlainError
