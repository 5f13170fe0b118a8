"""Generators and other iterators that a model returns: their code runs only when somebody takes items out of them."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Generator, Iterator
from typing import Any

import torch

from pytest_modelviz.probe.containers import ends, rebuilt
from pytest_modelviz.probe.structure import tensors

MOST_ITEMS = 256


def is_lazy(value: Any) -> bool:
    """Whether this is a generator, or one of Python's own iterators that run a function for each item."""
    return inspect.isgenerator(value) or isinstance(value, (map, filter)) or type(value).__module__ == "itertools"


def consumed(output: Any) -> tuple[Any, tuple[str, ...]]:
    """An output with a list of its items for every iterator in it, and notes on what could not be consumed.

    Of each iterator no more than 256 items are taken. Async generators and coroutines are left alone. An output
    without any of these is returned as it is.
    """
    notes: list[str] = []
    return _consumed(output, notes), tuple(dict.fromkeys(notes))


def _consumed(value: Any, notes: list[str]) -> Any:
    if not any(_is_stream(item) for item in ends(value)):
        return value
    return rebuilt(value, lambda item: _items(item, notes) if _is_stream(item) else item)


def _is_stream(value: Any) -> bool:
    """Whether a value gives its items only when it is asked: an iterator, or what merely makes one.

    What has a length or takes an index, as caches do, holds its items already; and so does what holds tensors.
    """
    if isinstance(value, (torch.Tensor, torch.nn.Module)) or inspect.isclass(value):
        return False
    if isinstance(value, Iterator) or _is_async(value):
        return True
    kind = type(value)
    holds = any(hasattr(kind, name) for name in ("__len__", "__getitem__", "__contains__"))
    return hasattr(kind, "__iter__") and not holds and next(tensors(value), None) is None


def _is_async(value: Any) -> bool:
    return inspect.isasyncgen(value) or inspect.iscoroutine(value)


def _items(stream: Any, notes: list[str]) -> Any:
    kind = type(stream).__name__
    if _is_async(stream):
        if inspect.iscoroutine(stream):
            stream.close()  # or Python warns that nobody has awaited it
        notes.append(f"the model returns an object of type {kind}, which is not run: what it gives is not compared")
        return stream
    iterator, end = iter(stream), object()
    found = [_consumed(item, notes) for item in itertools.islice(iterator, MOST_ITEMS)]
    if len(found) == MOST_ITEMS and next(iterator, end) is not end:
        notes.append(
            f"the model returns a {kind} of more than {MOST_ITEMS} items: only the first {MOST_ITEMS} are compared"
        )
        if inspect.isgenerator(iterator):
            iterator.close()
    return found


def stepwise(iterator: Iterator[Any], step: Callable[[Callable[[], Any]], Any]) -> Generator[Any, Any, Any]:
    """A generator in the place of `iterator`, each step of which is run by `step`."""

    def advance() -> Any:
        return next(iterator)

    resume: Callable[[], Any] = advance
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
            resume = _thrower(iterator, error)
        else:
            resume = advance if sent is None else _sender(iterator, sent)


def _sender(iterator: Any, value: Any) -> Callable[[], Any]:
    return lambda: iterator.send(value)


def _thrower(iterator: Any, error: BaseException) -> Callable[[], Any]:
    return lambda: iterator.throw(error)
