"""Which tests a PATTERN of the command line means: a shell glob, or a whole test id, which means that test alone."""

import fnmatch
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.records.check_result import CheckResult
from pytest_modelviz.records.group import group_name

_CHARACTER_SET = re.compile(r"\[!?\]?[^\]]*\]")

_MOST_KNOWN = 8  # names that an error lists

Item = TypeVar("Item")


@dataclass(frozen=True)
class Choice:
    """Which checks are meant: those of tests that match a pattern, of these names, of drifts in these groups.

    Where nothing is given, all.
    """

    patterns: Sequence[str] = ()
    names: Sequence[str] = ()
    groups: Sequence[str] = ()

    def __bool__(self) -> bool:
        return bool(self.patterns or self.names or self.groups)

    def narrowed(self, items: Sequence[Item], check: Callable[[Item], CheckResult]) -> list[Item]:
        """The items with a check of these names and in these groups; raises ModelvizError where one has none."""
        chosen = list(items)
        for option, wanted, value in (("--check", self.names, _name), ("--group", self.groups, group_name)):
            values = {value(check(item)) for item in items}
            for name in wanted:
                if name not in values:
                    known = ", ".join(sorted(repr(text) for text in values if text)[:_MOST_KNOWN])
                    raise ModelvizError(f"{option} {name!r} matches nothing here{known and f'; there is {known}'}")
            chosen = [item for item in chosen if not wanted or value(check(item)) in wanted]
        return chosen


def _name(check: CheckResult) -> str | None:
    return check.name


def matching(
    items: Iterable[Item],
    patterns: Sequence[str],
    nodeid: Callable[[Item], str],
    is_known: Callable[[str], bool],
    nothing: str,
) -> list[Item]:
    """The items whose test id is a pattern or matches it as a shell glob; all of them if there are no patterns.

    A pattern that `is_known` as a test id means that test alone, whatever its brackets would match as a glob. One with
    wildcards outside of brackets is a glob all the same: ids come from untrusted files, and a test cannot be called so
    unless its parameters have brackets themselves. Raises ModelvizError for a pattern that matches `nothing`, which
    says what there is none of.
    """
    items = list(items)
    if not patterns:
        return items
    ids = {nodeid(item) for item in items}
    chosen: set[str] = set()
    for pattern in patterns:
        has_wildcards = bool(set("*?") & set(_CHARACTER_SET.sub("", pattern)))
        is_glob = has_wildcards or not (pattern in ids or is_known(pattern))
        matched = {id_ for id_ in ids if id_ == pattern or (is_glob and fnmatch.fnmatchcase(id_, pattern))}
        if not matched:
            raise ModelvizError(f"{nothing} matches {pattern!r}{_hint(pattern, sorted(ids))}")
        chosen |= matched
    return [item for item in items if nodeid(item) in chosen]


def _hint(pattern: str, ids: Sequence[str]) -> str:
    """What may have been meant."""
    escaped = pattern.replace("[", "[[]")
    meant = next((p for p in (f"{escaped}::*", f"{escaped}[[]*", escaped, f"*{escaped}*") if _any(ids, p)), None)
    return "" if meant is None else f"; did you mean {meant!r}?"


def _any(ids: Sequence[str], pattern: str) -> bool:
    return any(fnmatch.fnmatchcase(nodeid, pattern) for nodeid in ids)
