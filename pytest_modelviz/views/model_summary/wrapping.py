"""Modules around which another one was put, or was taken away: what they hold has other names, and is the same."""

import bisect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pytest_modelviz.compare.texts import same
from pytest_modelviz.text.dotted import holders
from pytest_modelviz.views.model_summary.findings import WrapFinding
from pytest_modelviz.views.model_summary.rows import Rows, built


@dataclass(frozen=True)
class Unwrapped:
    """The rows of two summaries without the modules that are wrapped around others; `after` has the baseline's names.

    `names` are these, by actual name.
    """

    findings: list[WrapFinding]
    before: Rows
    after: Rows
    names: Mapping[str, str]


class _Tree:
    """What the modules of a summary are made of, and which of them are within which."""

    def __init__(self, layers: Rows) -> None:
        self.rows, self._names = built(layers), sorted(layers)

    def size(self, root: str) -> int:
        """The number of modules within a module, itself included."""
        first, last = self._span(root)
        return 1 + last - first if root else len(self._names)

    def within(self, root: str) -> dict[str, str]:
        """The names of these modules, by what follows the module's own."""
        if not root:
            return {f".{name}" if name else "": name for name in self._names}
        first, last = self._span(root)
        return {name[len(root) :]: name for name in (root, *self._names[first:last])}

    def _span(self, root: str) -> tuple[int, int]:
        first, last = (bisect.bisect_left(self._names, f"{root}{mark}") for mark in "./")  # the next character
        return first, last

    def is_same(self, root: str, actual: "_Tree", other: str) -> bool:
        """Whether a module and all within it are built as another one of the actual tree."""
        if self.size(root) != actual.size(other) or not same(self.rows[root], actual.rows[other]):
            return False
        own, theirs = self.within(root), actual.within(other)
        return own.keys() == theirs.keys() and all(same(self.rows[own[at]], actual.rows[theirs[at]]) for at in own)


def unwrapped(before: Rows, after: Rows, names: Mapping[str, str]) -> Unwrapped | None:
    """Find modules that are now within a new one of their old name, or were within a former one of their name.

    Args:
        before: the rows of the baseline.
        after: the actual rows.
        names: what modules were called in the baseline, by their actual names.

    Returns:
        None where there are no such modules, or where two modules would have one name.

    """
    old, new = _Tree(before), _Tree(after)
    found: dict[str, WrapFinding] = {}
    former, lengths = dict(names), set[int]()
    for inner in sorted(before.keys() ^ after.keys()):
        outer, is_added = inner.rpartition(".")[0], inner in after
        is_known = "" in found or any(holders(outer, found, lengths))
        if is_known or not inner or outer not in before or outer not in after:
            continue
        roots = (outer, inner) if is_added else (inner, outer)
        if old.is_same(roots[0], new, roots[1]):
            wrapper, within = (after if is_added else before)[outer], old.within(roots[0])
            change: Literal["added", "removed"] = "added" if is_added else "removed"
            found[outer] = WrapFinding(outer, change, inner, str(wrapper.get("class", "")), len(within))
            former |= {name: within[rest] for rest, name in new.within(roots[1]).items()}
            lengths.add(len(outer))
    added = {name for name, finding in found.items() if finding.change == "added"}
    former = {name: former[name] for name in after if name not in added}
    if not found or len(set(former.values())) < len(former):
        return None
    remaining = {name: row for name, row in before.items() if name not in found or name in added}
    return Unwrapped([*found.values()], remaining, {former[name]: after[name] for name in former}, former)
