"""Which tests a PATTERN of the command line means: a shell glob, or a whole test id, which means that test alone."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Container, Iterable, Sequence
from typing import TypeVar

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.storage.store import Store

_SPECIAL = re.compile(r"[*?\[]")

Item = TypeVar("Item")


class KnownTests:
    """The ids of tests that results tell of, or of which captures are stored. Each is looked up by itself."""

    def __init__(self, reported: Iterable[str], stores: Sequence[Store]) -> None:
        """`reported` are those in results, `stores` hold baselines and candidates."""
        self._reported, self._stores = frozenset(reported), stores

    def __contains__(self, nodeid: object) -> bool:
        if not isinstance(nodeid, str) or "::" not in nodeid:
            return False
        return nodeid in self._reported or any(store.holds_test(nodeid) for store in self._stores)


def matching(
    items: Iterable[Item], patterns: Sequence[str], nodeid: Callable[[Item], str], known: Container[str], nothing: str
) -> list[Item]:
    """The items whose test id is a pattern or matches it as a shell glob; all of them if there are no patterns.

    A pattern that is one of the `known` test ids means that test alone, whatever it would match as a glob. Raises
    ModelvizError for a pattern that matches `nothing`, which says what there is none of.
    """
    items = list(items)
    if not patterns:
        return items
    ids = {nodeid(item) for item in items}
    chosen: set[str] = set()
    for pattern in patterns:
        is_id = not _SPECIAL.search(pattern) or pattern in ids or pattern in known
        found = {id_ for id_ in ids if (id_ == pattern if is_id else fnmatch.fnmatchcase(id_, pattern))}
        if not found:
            raise ModelvizError(f"{nothing} matches {pattern!r}{_hint(pattern, sorted(ids))}")
        chosen |= found
    return [item for item in items if nodeid(item) in chosen]


def _hint(pattern: str, ids: Sequence[str]) -> str:
    """What may have been meant."""
    escaped = pattern.replace("[", "[[]")
    meant = next((p for p in (f"{escaped}::*", f"{escaped}[[]*", escaped, f"*{escaped}*") if _any(ids, p)), None)
    return "" if meant is None else f"; did you mean {meant!r}?"


def _any(ids: Sequence[str], pattern: str) -> bool:
    return any(fnmatch.fnmatchcase(nodeid, pattern) for nodeid in ids)
