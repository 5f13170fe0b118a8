"""What has become of each baseline between two sides: changed, added, removed or renamed.

Both sides are untrusted. They are paired by where a check's baseline belongs, which follows from the ids in it; what is
the same on both sides is not even decoded.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.review.sides import Side, is_same_baseline
from pytest_modelviz.storage.baseline_files import Stored
from pytest_modelviz.storage.names import Location

# A JSON file that cannot be read is a baseline, or was one, if it has these or arrays beside it.
_SIGNS = (b'"content_sha256"', b"version https://git-lfs")


class Change(str, enum.Enum):
    """What has become of a baseline."""

    DRIFT = "drift"
    WITHIN_TOLERANCE = "within tolerance"
    UNREADABLE = "unreadable"
    NOT_COMPARED = "not compared"
    ADDED = "added"
    REMOVED = "removed"
    RENAMED = "renamed"

    __str__ = str.__str__

    @property
    def needs_review(self) -> bool:
        """Whether something drifted, or may have: it could not be compared."""
        return self in (Change.DRIFT, Change.UNREADABLE, Change.NOT_COMPARED)

    @property
    def is_listed(self) -> bool:
        """Whether it is another set of checks than before."""
        return self in (Change.ADDED, Change.REMOVED, Change.RENAMED)


@dataclass(frozen=True)
class Entry:
    """A baseline of one side: its path there, and what it says of itself."""

    side: Side
    stem: PurePosixPath
    nodeid: str
    name: str
    variant: str | None = None
    view: str = ""
    content: str = ""  # its digest

    @property
    def key(self) -> PurePosixPath:
        """Where its baseline belongs or, where it lies elsewhere or does not say that, its path."""
        owner = Location.of(self.nodeid, self.name, self.variant)
        return owner.path if self.stem in owner.paths else self.stem

    def stored(self) -> Stored:
        """The capture in it; raises UnreadableBaselineError."""
        location = Location(self.stem.parent, self.stem.name, self.variant)
        stored = self.side.store.load(location, nodeid=self.nodeid, name=self.name)
        if stored is None:
            raise UnreadableBaselineError("it is gone")
        owner = Location.of(self.nodeid, self.name, self.variant)
        if self.stem not in owner.paths:
            raise UnreadableBaselineError(
                f"it belongs to another test or check, {self.nodeid!r}, whose baseline belongs at {owner.path}.json"
            )
        return stored


@dataclass(frozen=True)
class Pair:
    """A baseline before and after; None where it was not, or is not any more. At least one of them is there."""

    before: Entry | None
    after: Entry | None

    @property
    def current(self) -> Entry:
        """The one that people look for: the newer, unless only the older says whose it is."""
        entries = [entry for entry in (self.after, self.before) if entry is not None]
        return next((entry for entry in entries if entry.content), entries[0])

    @property
    def is_renamed(self) -> bool:
        """Whether it is the same content in two places."""
        before, after = self.before, self.after
        is_elsewhere = before is not None and after is not None and before.key != after.key
        return is_elsewhere and _content(before) == _content(after)  # type: ignore[arg-type]  # both are there


def changed_pairs(before: Side, after: Side) -> list[Pair]:
    """All baselines that are not the same on both sides, by test and check."""
    stems = [set(side.store.stems()) for side in (before, after)]
    same = {stem for stem in stems[0] & stems[1] if is_same_baseline(stem, before, after)}
    olds, news = (
        _by_key([entry for stem in sorted(own - same) for entry in _entries(side, stem, (before, after))])
        for side, own in zip((before, after), stems, strict=True)
    )
    pairs = [_completed(Pair(olds.get(key), news.get(key)), before, after) for key in olds.keys() | news.keys()]
    return sorted(_renamed(pairs), key=lambda pair: (pair.current.nodeid, pair.current.name, pair.current.stem))


def _by_key(entries: Sequence[Entry]) -> dict[PurePosixPath, Entry]:
    """Entries by where their baselines belong; a second one for the same check by its path."""
    found: dict[PurePosixPath, Entry] = {}
    for entry in sorted(entries, key=lambda entry: entry.stem != entry.key):
        found[entry.stem if entry.key in found else entry.key] = entry
    return found


def _entries(side: Side, stem: PurePosixPath, sides: Sequence[Side]) -> list[Entry]:
    """What lies at this path, if it is a baseline, or seems to be one or to have been one."""
    document = side.store.ids(stem)
    if document is not None:
        variant = document.get("variant")
        ids = document["nodeid"], document["name"], variant if isinstance(variant, str) else None
        return [Entry(side, stem, *ids, document["view"], document["content_sha256"])]
    if any(_seems_a_baseline(stem, each) for each in sides):
        return [Entry(side, stem, str(stem.parent), stem.name)]  # it does not say whose it is
    return []


def _seems_a_baseline(stem: PurePosixPath, side: Side) -> bool:
    text = side.raw(f"{stem}.json") or b""
    return any(sign in text for sign in _SIGNS) or bool(side.content_ids(f"{stem}.safetensors"))


def _completed(pair: Pair, before: Side, after: Side) -> Pair:
    """With arrays that were left behind where the JSON file is gone: that is no baseline that was removed."""
    if pair.before is None or pair.after is None:
        missing, there = (before, pair.after) if pair.before is None else (after, pair.before)
        if there is not None and missing.content_ids(f"{there.stem}.safetensors"):
            remains = Entry(missing, there.stem, there.nodeid, there.name, there.variant)
            return Pair(pair.before or remains, pair.after or remains)
        if there is not None:
            hidden = _read_instead(there, missing)
            return Pair(pair.before or hidden, pair.after or hidden)
    return pair


def _read_instead(entry: Entry, side: Side) -> Entry | None:
    """What a run reads on a side that lacks a baseline: the former path's or, of a variant, the common one.

    None where that holds the same, or there is none, and for a baseline that no run reads itself.
    """
    owner = Location.of(entry.nodeid, entry.name, entry.variant)
    if entry.stem == entry.side.store.where(owner).path:
        for location in dict.fromkeys((owner, owner.common)):
            found = _entries(side, side.store.where(location).path, (side,))
            if found:
                return found[0] if _content(found[0]) != _content(entry) else None
    return None


def _renamed(pairs: Sequence[Pair]) -> list[Pair]:
    """The same with what was removed and added paired where the content is the same, and it is clear which is which."""
    removed = {entry.stem: entry for pair in pairs if pair.after is None and (entry := pair.current).content}
    added = {entry.stem: entry for pair in pairs if pair.before is None and (entry := pair.current).content}
    renames: dict[PurePosixPath, Entry] = {}  # what it was, by the path of what it is
    for likeness in (_test_and_check, _check, _content):
        olds, news = (_only_ones(entries.values(), likeness) for entries in (removed, added))
        for what in olds.keys() & news.keys():
            renames[news[what].stem] = removed.pop(olds[what].stem)
            del added[news[what].stem]
    was = {entry.stem for entry in renames.values()}
    return [
        Pair(renames.get(pair.current.stem), pair.after) if pair.before is None else pair
        for pair in pairs
        if pair.after is not None or pair.current.stem not in was
    ]


def _test_and_check(entry: Entry) -> tuple[str, ...]:
    return (*_check(entry), entry.nodeid.partition("::")[2])


def _check(entry: Entry) -> tuple[str, ...]:
    return (*_content(entry), entry.name, entry.variant or "")


def _content(entry: Entry) -> tuple[str, ...]:
    return (entry.view, entry.content)


def _only_ones(entries: Iterable[Entry], likeness: Callable[[Entry], tuple[str, ...]]) -> dict[tuple[str, ...], Entry]:
    """The entries that are like no other."""
    counts = Counter(map(likeness, entries := list(entries)))
    return {what: entry for entry in entries if counts[what := likeness(entry)] == 1}
