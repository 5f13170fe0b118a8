"""Generators and other iterators that a model returns: their code runs only as items are taken from them."""

import functools
import inspect
import itertools
import operator
from collections.abc import Callable, Generator, Iterator
from typing import Any, TypeGuard

import torch

from pytest_modelviz.probe.containers import innermost_items, rebuild
from pytest_modelviz.probe.nested_values import tensors

MOST_ITEMS = 256


def runs_on_demand(value: object) -> TypeGuard[Iterator[object]]:
    """Whether a value is a generator, or a built-in iterator that runs a function for each item."""
    return inspect.isgenerator(value) or isinstance(value, (map, filter)) or type(value).__module__ == "itertools"


def consume(output: object) -> tuple[object, tuple[str, ...]]:
    """Replace every iterator in an output by a list of its items.

    No more than 256 items are taken from each. Async generators and coroutines are not run.

    Returns:
        The output, the same object where there is no iterator in it, and notes on what could not be consumed.

    Example:
        >>> consume({"steps": (step for step in "ab")})
        ({'steps': ['a', 'b']}, ())

    """
    notes: list[str] = []
    return _consume(output, notes), tuple(dict.fromkeys(notes))


def _consume(value: object, notes: list[str]) -> object:
    if not any(_is_stream(item) for item in innermost_items(value)):
        return value
    return rebuild(value, lambda item: _take_items(item, notes) if _is_stream(item) else item)


def _is_stream(value: object) -> bool:
    """Whether a value makes its items on demand: an iterator, or an object that has no other use than to make one.

    An object with a length or an index, such as a cache, holds its items already; so does one that holds tensors.
    """
    if isinstance(value, (torch.Tensor, torch.nn.Module)) or inspect.isclass(value):
        return False
    if isinstance(value, Iterator) or _is_async(value):
        return True
    kind = type(value)
    holds = any(hasattr(kind, name) for name in ("__len__", "__getitem__", "__contains__"))
    return hasattr(kind, "__iter__") and not holds and next(tensors(value), None) is None


def _is_async(value: object) -> bool:
    return inspect.isasyncgen(value) or inspect.iscoroutine(value)


def _take_items(stream: Any, notes: list[str]) -> object:
    kind = type(stream).__name__
    if _is_async(stream):
        if inspect.iscoroutine(stream):
            stream.close()  # or Python warns that it was never awaited
        notes.append(f"the model returns an object of type {kind}, which is not run: its result is not compared")
        return stream
    iterator, end = iter(stream), object()
    items = [_consume(item, notes) for item in itertools.islice(iterator, MOST_ITEMS)]
    if len(items) == MOST_ITEMS and next(iterator, end) is not end:
        notes.append(
            f"the model returns a {kind} of more than {MOST_ITEMS} items: only the first {MOST_ITEMS} are compared"
        )
        if inspect.isgenerator(iterator):
            iterator.close()
    return items


def run_stepwise(
    iterator: Iterator[object], step: Callable[[Callable[[], object]], object]
) -> Generator[object, object, object]:
    """Wrap an iterator in a generator that calls `step(resume)` for each item, where `resume()` computes the item."""
    resume = advance = functools.partial(next, iterator)
    while True:
        try:
            item = step(resume)
        except StopIteration as end:
            return end.value
        try:
            sent = yield item
        except GeneratorExit:
            if inspect.isgenerator(iterator):
                iterator.close()
            raise
        except BaseException as error:
            if not inspect.isgenerator(iterator):
                raise
            resume = functools.partial(iterator.throw, error)
        else:
            resume = advance if sent is None else functools.partial(operator.methodcaller("send", sent), iterator)
