"""Giving the tables and containers of Python objects back the items they had, item by item and only where they differ.

A step of restoring is an action with a name for people, so that one that fails can be reported and hold up no other.
"""

import operator
from collections.abc import Callable
from typing import Any

Step = tuple[str, Callable[[], object]]  # (name, action)


def restore_attributes(current: dict[str, object], before: dict[str, object]) -> None:
    """Give the table of an object's attributes the entries it had."""
    if _is_same(current, before):
        return
    for name in [name for name in current if name not in before]:
        del current[name]
    for name, value in before.items():
        if name not in current or current[name] is not value:
            current[name] = value


def restore_container(container: Any, before: Any) -> None:  # both of the same of four kinds, which no type expresses
    """Give a list, dict, set or deque the items it had, if it has others."""
    if isinstance(container, dict):
        if not _is_same(container, before):
            container.clear()
            container.update(before)
    elif isinstance(container, set):
        if container != before:
            container.clear()
            container.update(before)
    elif len(container) != len(before) or not all(map(operator.is_, container, before)):
        container.clear()
        container.extend(before)


def _is_same(table: dict[Any, Any], before: dict[Any, Any]) -> bool:
    """Whether a table holds the same objects under the same keys, in the same order."""
    return list(table) == list(before) and all(map(operator.is_, table.values(), before.values()))
