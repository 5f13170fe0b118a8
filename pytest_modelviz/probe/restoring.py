"""Giving the tables and containers of Python objects back the items they had, item by item and only where they differ.

A step of restoring is an action with a name for people, so that one that fails can be reported and hold up no other.
"""

from collections.abc import Callable
from typing import Any

Step = tuple[str, Callable[[], object]]  # (name, action)


def restore_attributes(current: dict[str, object], before: dict[str, object]) -> None:
    """Give the table of an object's attributes the entries it had."""
    for name in [name for name in current if name not in before]:
        del current[name]
    for name, value in before.items():
        if name not in current or current[name] is not value:
            current[name] = value


def restore_container(container: Any, before: Any) -> None:  # both of the same of four kinds, which no type expresses
    """Give a list, dict, set or deque the items it had, if it has others."""
    if isinstance(container, dict):
        if list(container) != list(before) or any(container[key] is not before[key] for key in before):
            container.clear()
            container.update(before)
    elif isinstance(container, set):
        if container != before:
            container.clear()
            container.update(before)
    elif len(container) != len(before) or any(a is not b for a, b in zip(container, before, strict=True)):
        container.clear()
        container.extend(before)
