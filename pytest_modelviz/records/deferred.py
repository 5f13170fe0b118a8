"""Tables of a capture that are made only where somebody asks for one: most captures match, and are then forgotten."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

Value_co = TypeVar("Value_co", covariant=True)


class DeferredTable(Mapping[str, Value_co]):
    """A mapping that is made when it is first looked into.

    Args:
        make: returns the mapping; it is called once, if at all.

    Example:
        >>> table = DeferredTable(lambda: {"conv1": 1})
        >>> table["conv1"]
        1

    """

    def __init__(self, make: Callable[[], Mapping[str, Value_co]]) -> None:
        self._make = make

    @functools.cached_property
    def _table(self) -> Mapping[str, Value_co]:
        return self._make()

    def __getitem__(self, name: str) -> Value_co:
        return self._table[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)

    def __repr__(self) -> str:
        return repr(self._table)
