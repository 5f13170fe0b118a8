"""Baselines whose test is gone, and what they may be called now. Knows neither pytest nor torch.

A baseline is an orphan only if its recorded test id was not found though that test's file was collected whole.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from pytest_modelviz.storage.definitions import is_defined
from pytest_modelviz.storage.formats import text_sha256
from pytest_modelviz.storage.names import Location, file_folder
from pytest_modelviz.storage.store import Store

Row = dict[str, Any]

_LARGEST_TEST_FILE = 64 * 2**20


def find_orphans(store: Store, files: Mapping[str, Iterable[str]], rootdir: Path) -> list[Row]:
    """One row for each baseline in the store whose test is none of those that its file holds.

    `files` are the test files that were collected whole, with the ids of their tests (and `any_parameters` of some).
    """
    ids = {file: set(tests) for file, tests in files.items()}
    by_folder = {file_folder(f"{file}::"): file for file in ids}
    alive = {path.parent for tests in ids.values() for test in tests for path in Location.of(test, "").paths}
    rows = []
    for stem in store.stems():
        file = by_folder.get(stem.parent.parent)
        if file is None or stem.parent in alive:
            continue
        document = store.ids(stem)
        if document is None or store.where(location_of(document)).path != stem:
            continue  # none of ours, damaged, or moved by hand
        nodeid = document["nodeid"]
        if nodeid.partition("::")[0] == file and not {nodeid, any_parameters(nodeid)} & ids[file]:
            is_there = is_defined(rootdir, nodeid) is True
            rows.append(orphan_row(store, document, file_digest(rootdir, nodeid), is_there=is_there))
    return sorted(rows, key=lambda row: (row["nodeid"], row["baseline"]))


def any_parameters(nodeid: str) -> str:
    """What stands for a test function with whatever parameters; no test can be called that."""
    file, separator, test = nodeid.partition("::")
    return f"{file}{separator}{test.partition('[')[0]}["


def location_of(document: Mapping[str, Any]) -> Location:
    """Where a baseline with these ids belongs."""
    variant = document.get("variant")
    return Location.of(document["nodeid"], document["name"], variant if isinstance(variant, str) else None)


def orphan_row(store: Store, document: Mapping[str, Any], test_file: str | None, *, is_there: bool = False) -> Row:
    """What is kept of an orphan.

    `test_file` is the digest of its test's file, None where there is none; `is_there` says that the test's function is
    still in it, so that only parameters are gone.
    """
    location = location_of(document)
    return {
        "nodeid": document["nodeid"],
        "view": document["view"],
        "name": document["name"],
        "variant": location.variant,
        "baseline": store.display_path(location),
        "baseline_sha256": store.digest(location),
        "test_file_sha256": test_file,
        "sources": {},
        "function_is_there": is_there,
        "renamed_to": None,
        "new_has_baseline": False,
    }


def file_digest(rootdir: Path, nodeid: str) -> str | None:
    """The digest of a test's file, None where there is none."""
    with contextlib.suppress(OSError, ValueError):  # a name with NUL is a ValueError
        path = rootdir / nodeid.partition("::")[0]
        if path.is_file() and path.stat().st_size < _LARGEST_TEST_FILE:
            return text_sha256(path.read_bytes())
    return None


def digests(rootdir: Path, files: Iterable[str]) -> dict[str, str]:
    """The digests of those of these files that can be read."""
    found = {file: file_digest(rootdir, file) for file in sorted(files)}
    return {file: digest for file, digest in found.items() if digest is not None}


def suggest_renames(orphans: list[Row], store: Store, new: Iterable[tuple[Store, PurePosixPath]]) -> None:
    """Note in each orphan's row the test of which a `new` capture has the same content.

    That is the only one, or the only one of the same name in another file. `new` are captures that had no baseline
    until now, each with the store it lies in: that of the candidates or, where it was recorded, of the baselines.
    """
    contents: dict[str, set[str]] = {}
    recorded = set()
    for where, stem in new:
        document = where.ids(stem)
        if document is not None:
            contents.setdefault(_content(document), set()).add(document["nodeid"])
            if where is store:
                recorded.add(document["nodeid"])
    gone = {row["nodeid"] for row in orphans}
    for row in orphans:
        document = store.ids(store.where(location_of(row)).path)
        found = contents.get(_content(document), set()) - gone if document is not None else set()
        namesakes = {nodeid for nodeid in found if nodeid.partition("::")[2] == row["nodeid"].partition("::")[2]}
        found = found if len(found) == 1 else namesakes
        if len(found) == 1:
            row["renamed_to"] = found.pop()
            row["new_has_baseline"] = row["renamed_to"] in recorded


def files_moved_whole(orphans: Iterable[Row]) -> set[str]:
    """The test files of which all orphans have become tests of the same name in one other file."""
    by_file: dict[str, set[str | None]] = {}
    for row in orphans:
        file, separator, test = row["nodeid"].partition("::")
        new = (row["renamed_to"] or "").removesuffix(separator + test)
        moved = new and new != row["renamed_to"] and not row.get("new_has_baseline")
        by_file.setdefault(file, set()).add(new if moved else None)
    return {file for file, new in by_file.items() if len(new) == 1 and None not in new}


def key_of(row: Row) -> tuple[Any, ...]:
    """What tells one baseline from another: its test, its check and its variant."""
    return row["nodeid"], row["name"], row["variant"]


class _Sight(NamedTuple):
    """What a run has seen: the baselines that it calls orphans, the files that it collected whole, the tests it ran."""

    orphans: frozenset[tuple[Any, ...]]
    files: frozenset[str]
    tests: frozenset[str]

    @classmethod
    def of(cls, results: Mapping[str, Any]) -> _Sight:
        orphans = frozenset(key_of(row) for row in results.get("orphans", ()))
        tests = (check["nodeid"] for check in results["checks"])
        return cls(orphans, frozenset(results.get("judged_files", ())), frozenset(tests))

    def knows(self, row: Row) -> bool:
        """Whether the test of this baseline is there, as far as this run can tell."""
        seen = row["nodeid"] in self.tests or row["nodeid"].partition("::")[0] in self.files
        return seen and key_of(row) not in self.orphans


def judged_together(results: Sequence[Mapping[str, Any]]) -> list[Row]:
    """The orphans of all runs together, once each: what one of several shards has seen, or run, is not gone."""
    sights = [_Sight.of(one) for one in results]
    rows = {key_of(row): row for one in reversed(results) for row in one.get("orphans", ())}
    return [row for row in rows.values() if not any(sight.knows(row) for sight in sights)]


def _content(document: Mapping[str, Any]) -> str:
    """What people see of a capture, without the digits that differ between machines."""
    return repr((document["view"], document["name"], document["facts"]))
