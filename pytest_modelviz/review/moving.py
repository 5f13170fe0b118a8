"""Baselines of renamed tests, moved to where they belong now, with the new ids in them. No torch, no pytest.

Each is written whole at its new place before the old one is removed, and nothing is overwritten there: killed at any
moment, a baseline is in the one place or in both. Until the old one is removed the new one says where it comes from, so
that the same command goes on from there, and does not take an equal baseline for it.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from pytest_modelviz.errors import ModelvizError, UnreadableBaselineError
from pytest_modelviz.review.review import Decision
from pytest_modelviz.storage.baseline_files import Files
from pytest_modelviz.storage.definitions import function_of, is_defined, is_file, is_same_file
from pytest_modelviz.storage.formats import renamed_json, text_sha256
from pytest_modelviz.storage.names import Location
from pytest_modelviz.storage.renaming import Renaming
from pytest_modelviz.storage.store import ChangedMeanwhileError, Store
from pytest_modelviz.text.printable import as_one_word


@dataclass(frozen=True)
class Move:
    """The move of the baseline with this `document`, whose files are at exactly `source`."""

    document: Mapping[str, Any]
    source: Location
    nodeid: str

    @property
    def old_nodeid(self) -> str:
        return str(self.document["nodeid"])

    @property
    def target(self) -> Location:
        """Where it belongs by its new id."""
        return Location.of_document(self.document, self.nodeid)

    def text(self, *, arriving: bool = False) -> bytes:
        """The JSON file at the destination; while it is `arriving`, with its old id."""
        return renamed_json(self.document, self.nodeid, moved_from=self.old_nodeid if arriving else None)

    @property
    def is_at_home(self) -> bool:
        """Whether it is where its old or its new id belongs, or belonged in earlier versions."""
        homes = (*self.target.paths, *Location.of_document(self.document).paths)
        return self.source.path in homes

    def is_copy_of(self, other: Move) -> bool:
        """Whether it is where another one goes, and has the same content or has come from there."""
        comes_from_there = self.document.get("moved_from") == other.old_nodeid
        is_equal = self.document == other.document or comes_from_there
        return self is not other and self.source == other.destination and is_equal

    @property
    def destination(self) -> Location:
        """Where it is put: also what earlier versions kept elsewhere moves to where it belongs today."""
        return _exactly(self.target.path, self.target)


@dataclass(frozen=True)
class Moved(Decision):
    """What was done about one baseline: `moved`, `would be moved`, `already there`, or `refused` with the reason."""

    new_nodeid: str = ""


def find_moves(store: Store, renaming: Renaming, rootdir: Path) -> list[Move]:
    """One for each baseline that a renaming concerns, by the ids in it: its files may have been moved already.

    Raises ModelvizError where there is none, and where the file of a test's new name does not exist.
    """
    stored = [(stem, document) for stem in store.stems() if (document := store.ids(stem)) is not None]
    ids = {document["nodeid"] for _, document in stored}
    renaming.require_sense(ids)
    moves = []
    for stem, document in stored:
        nodeid = renaming.of(document["nodeid"], ids)
        if nodeid is None and renaming.of(str(document.get("moved_from")), ids) == document["nodeid"]:
            nodeid = document["nodeid"]  # such a move was cut off here
        if nodeid is not None:
            moves.append(Move(document, _exactly(stem, Location.of_document(document, nodeid)), nodeid))
    if not moves:
        raise ModelvizError(f"no baseline in {store.root} belongs to {renaming.old!r}{renaming.hint(ids)}")
    # a file where neither id belongs may be anything: in the folder of yet another name, or a copy
    moves = [move for move in moves if move.is_at_home] or _distinct(store, moves)
    _require_files(moves, rootdir)
    _require_gone(moves, renaming, rootdir)
    arriving: dict[Location, list[Move]] = {}
    for move in moves:
        if move.source != move.destination:
            arriving.setdefault(move.destination, []).append(move)
    return [move for move in moves if not any(move.is_copy_of(other) for other in arriving.get(move.source, ()))]


def find_unreadable(store: Store, moves: Sequence[Move], renaming: Renaming) -> list[Moved]:
    """The files next to those that move that cannot be read, so that their test is unknown: they stay."""
    files = {move.source.folder.parent for move in moves}
    test = renaming.old.partition("::")[2].replace("::", ".").partition("*")[0]
    end = r"(?!\w)" if test and "*" not in renaming.old else ""
    refused = []
    for stem in store.stems():
        of_such_a_test = stem.parent.parent in files and re.match(f"{re.escape(test)}{end}", stem.parent.name)
        if of_such_a_test and store.ids(stem) is None:
            try:
                store.load(Location(stem.parent, stem.name), nodeid="", name="")
            except UnreadableBaselineError as error:
                reason = f"it cannot be read and stays where it is: {error}"
                refused.append(Moved(renaming.old, stem.name, "refused", reason, store.at(stem)))
    return refused


def _distinct(store: Store, moves: Sequence[Move]) -> list[Move]:
    """Raises ModelvizError where two files are of the same check, and either may be meant."""
    by_target: dict[Location, Move] = {}
    for move in moves:
        other = by_target.setdefault(move.target, move)
        if other is not move:
            paths = " and ".join(store.display_path(each.source) for each in (other, move))
            raise ModelvizError(
                f"{paths} both belong to {as_one_word(move.old_nodeid)}, and neither is in the right place"
            )
    return list(moves)


def _require_gone(moves: Sequence[Move], renaming: Renaming, rootdir: Path) -> None:
    """Raises ModelvizError where a test that is to be called otherwise is still called as it was.

    Nobody can see from a file which parameters a function has: those may move within it, and between two that exist.
    """
    names = [(move.old_nodeid, move.nodeid) for move in moves]
    if "::" in renaming.old and "[" not in renaming.old and "*" not in renaming.old:
        names.insert(0, (renaming.old, renaming.new))  # a class may be there without the tests
    for old, new in dict.fromkeys(names):
        if _is_renamed(old, new, rootdir) and is_defined(rootdir, old):
            if "[" in old and "[" in renaming.old and is_defined(rootdir, new) is not False:
                continue
            raise ModelvizError(
                f"{as_one_word(function_of(old))} is still there: rename it first, or name those of its tests that "
                f"have moved"
            )


def _is_renamed(old: str, new: str, rootdir: Path) -> bool:
    """Whether two ids are of different functions."""
    (old_file, _, old_test), (new_file, _, new_test) = (function_of(name).partition("::") for name in (old, new))
    return old_test != new_test or not is_same_file(rootdir, old_file, new_file)


def _require_files(moves: Sequence[Move], rootdir: Path) -> None:
    for file in sorted({move.nodeid.partition("::")[0] for move in moves}):
        if not is_file(rootdir / file):
            raise ModelvizError(
                f"there is no {as_one_word(file)} in {rootdir}: rename the tests first, then move their baselines; "
                f"names are relative to that folder (--rootdir chooses another)"
            )


def move_all(store: Store, moves: Sequence[Move], *, dry_run: bool = False) -> list[Moved]:
    """Make all moves, or none where some destinations are taken: then those moves are returned, refused.

    One that goes where another comes from waits for that one.
    """
    ordered = _in_order(moves)
    done = _conflicts(store, ordered) or [_carry_out(store, move, dry_run=dry_run) for move in ordered]
    return sorted(done, key=lambda moved: (moved.nodeid, moved.path))


def _in_order(moves: Sequence[Move]) -> list[Move]:
    waiting, ordered = list(moves), list[Move]()
    while waiting:
        occupied = {move.source.path for move in waiting}
        free = [move.destination.path not in occupied or move.destination.path == move.source.path for move in waiting]
        free = free if any(free) else [True] * len(waiting)
        ordered += itertools.compress(waiting, free)
        waiting = [move for move, is_free in zip(waiting, free, strict=True) if not is_free]
    return ordered


def _conflicts(store: Store, ordered: Sequence[Move]) -> list[Moved]:
    """The moves that go to another baseline's place, or to where another of them goes."""
    refused, vacated, filled = list[Moved](), set[PurePosixPath](), dict[PurePosixPath, str | None]()
    for move in ordered:
        digest = store.digest(move.source)
        if filled.setdefault(move.destination.path, digest) != digest or not _is_free(store, move, vacated):
            refused.append(_report(store, move, "refused", _conflict(store, move)))
        vacated.add(move.source.path)
    return refused


def _conflict(store: Store, move: Move) -> str:
    path = store.display_path(move.target)
    test = as_one_word(move.nodeid)
    return f"{test} already has a baseline, {path}: keep only one of the two; until then nothing is moved"


def _carry_out(store: Store, move: Move, *, dry_run: bool) -> Moved:
    # such a file may say that it has come from elsewhere, which nobody can see any more: nothing is moved here
    is_there = move.source == move.destination and move.nodeid == move.old_nodeid
    if is_there and "moved_from" not in move.document:
        if not dry_run:
            store.complete_interrupted_write(move.source)
        return _report(store, move, "already there")
    if dry_run and is_there:
        return _report(store, move, "already there")
    if dry_run:
        return _report(store, move, "would be moved")
    try:
        if not _is_free(store, move, set()):  # recorded meanwhile, or the baseline there could not be moved
            return _report(store, move, "refused", _conflict(store, move))
        _move_files(store, move)
    except ChangedMeanwhileError:
        return _report(store, move, "refused", "it was changed in the meantime: try again")
    except (ModelvizError, UnreadableBaselineError) as error:
        return _report(store, move, "refused", str(error))
    return _report(store, move, "already there" if is_there else "moved")


def _report(store: Store, move: Move, done: str, reason: str = "") -> Moved:
    path = store.display_path(move.destination)
    return Moved(move.old_nodeid, move.document["name"], done, reason, path, move.nodeid)


def _is_free(store: Store, move: Move, vacated: Collection[PurePosixPath]) -> bool:
    """Whether no other baseline is at the destination of a move."""
    target = store.where(move.target)
    if target.path == move.source.path or target.path in vacated:
        return True
    # the baseline there is this very one: copied by hand, left by an interrupted move, or, where the file
    # system does not tell the two places apart, not elsewhere at all
    return store.digest(target) in (None, store.digest(move.source), text_sha256(move.text(arriving=True)))


def _move_files(store: Store, move: Move) -> None:
    old, new, arriving = store.digest(move.source), move.text(), move.text(arriving=True)
    if move.source.path == move.destination.path:
        store.replace_if_unchanged(move.destination, replace(_files(store, move, old), text=new), expected_digest=old)
        return
    present = store.digest(move.destination)
    if present != text_sha256(arriving):
        files = replace(_files(store, move, old), text=arriving)
        store.replace_if_unchanged(move.destination, files, expected_digest=present)
    _require_own_picture(store, move.destination)
    arrived = store.files(move.destination, nodeid=move.nodeid, name=move.document["name"])  # raises unless it is whole
    if old is not None and store.digest(move.source) == old:
        try:
            store.remove(move.source, expected_digest=old)
        except ModelvizError as error:
            raise ModelvizError(f"it is in its new place, but also still in its old one: {error}") from error
    if arrived is not None:
        store.replace_if_unchanged(move.destination, replace(arrived, text=new), expected_digest=text_sha256(arriving))


def _require_own_picture(store: Store, location: Location) -> None:
    if store.has_linked_picture(location):
        raise ModelvizError(
            f"its {location.stem}.png is a symbolic link, which may lead to any picture: put a copy in its place, or "
            f"remove it"
        )


def _files(store: Store, move: Move, digest: str | None) -> Files:
    """The files to move, complete and unchanged since they were found. Raises ModelvizError for a linked picture."""
    _require_own_picture(store, move.source)
    files = store.files(move.source, nodeid=move.old_nodeid, name=move.document["name"])
    if files is None or text_sha256(files.text) != digest:
        raise ChangedMeanwhileError(store.display_path(move.source))
    return files


def _exactly(path: PurePosixPath, location: Location) -> Location:
    return Location(path.parent, path.name, location.variant)
