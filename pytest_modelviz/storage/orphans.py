"""Baselines whose test is gone, and what they may be called now. Knows neither pytest nor torch.

A baseline is an orphan only if its recorded test id was not found though that test's file was collected whole.
"""

import contextlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from pytest_modelviz.records.check_result import CheckResult
from pytest_modelviz.records.orphan import OrphanRecord
from pytest_modelviz.records.run_result import RunResult
from pytest_modelviz.storage.definitions import function_of, is_defined
from pytest_modelviz.storage.formats import text_sha256
from pytest_modelviz.storage.names import Location, file_folder, has_clean_path
from pytest_modelviz.storage.store import Store

_LARGEST_TEST_FILE = 64 * 2**20


def find_orphans(store: Store, files: Mapping[str, Iterable[str]], rootdir: Path) -> list[OrphanRecord]:
    """One for each baseline in the store whose test is none of those that its file holds.

    `files` are the test files that were collected whole, with the ids of their tests (and `any_parameters` of some).
    """
    ids = {file: set(tests) for file, tests in files.items()}
    by_folder = {file_folder(f"{file}::"): file for file in ids}
    alive = {path.parent for tests in ids.values() for test in tests for path in Location.of(test, "").paths}
    orphans = []
    for stem in store.stems():
        file = by_folder.get(stem.parent.parent)
        if file is None or stem.parent in alive:
            continue
        document = store.ids(stem)
        if document is None or store.where(Location.of_document(document)).path != stem:
            continue  # no baseline, damaged, or moved by hand
        nodeid = document["nodeid"]
        if nodeid.partition("::")[0] == file and not {nodeid, any_parameters(nodeid)} & ids[file]:
            record = orphan_record(store, document, file_digest(rootdir, nodeid))
            is_there = is_defined(rootdir, nodeid) is True
            collected = function_of(nodeid) in {function_of(test) for test in ids[file]}
            orphans.append(replace(record, function_is_there=is_there, function_was_collected=collected))
    return sorted(orphans, key=lambda orphan: (orphan.nodeid, orphan.baseline))


def without_file(store: Store, rootdir: Path) -> list[OrphanRecord]:
    """One for each baseline in the store whose test file does not exist.

    Of the baselines of a file that exists only the first is read: there may be thousands.
    """
    by_folder: dict[PurePosixPath, list[PurePosixPath]] = {}
    for stem in store.stems():
        by_folder.setdefault(stem.parent.parent, []).append(stem)
    orphans = []
    for stems in by_folder.values():
        for stem in stems:
            document = store.ids(stem)
            if document is None or store.where(Location.of_document(document)).path != stem:
                continue  # no baseline, damaged, or moved by hand
            if file_digest(rootdir, document["nodeid"]) is not None:
                break
            orphans.append(orphan_record(store, document, None))
    return sorted(orphans, key=lambda orphan: (orphan.nodeid, orphan.baseline))


def find_not_made(
    store: Store, passed: Iterable[str], results: Iterable[CheckResult], variant: str | None
) -> list[tuple[str, str]]:
    """(test id, name) of each baseline of a test that `passed` and did not make that check.

    Those of another variant than this run's are another run's to compare.
    """
    tests = {path.parent: test for test in passed for path in Location.of(test, "").paths}
    locations = [Location.of(result.nodeid, result.name, result.variant) for result in results]
    paths = {path for location in locations for each in (location, location.common) for path in each.paths}
    missed = set()
    for stem in store.stems():
        if stem.parent in tests and stem not in paths:
            document = store.ids(stem)
            is_own = document is not None and document["nodeid"] == tests[stem.parent]
            if document is not None and is_own and document.get("variant") in (None, variant):
                missed.add((document["nodeid"], document["name"]))
    return sorted(missed)


def any_parameters(nodeid: str) -> str:
    """Stands for a test function with any parameters; no test can have this id."""
    file, separator, test = nodeid.partition("::")
    return f"{file}{separator}{test.partition('[')[0]}["


def orphan_record(store: Store, document: Mapping[str, Any], test_file_sha256: str | None) -> OrphanRecord:
    """The record of an orphan."""
    location = Location.of_document(document)
    return OrphanRecord(
        nodeid=document["nodeid"],
        view=document["view"],
        name=document["name"],
        variant=location.variant,
        baseline=store.display_path(location),
        baseline_sha256=store.digest(location),
        test_file_sha256=test_file_sha256,
    )


def file_digest(rootdir: Path, nodeid: str) -> str | None:
    """The digest of a test's file, None where there is none."""
    if not has_clean_path(nodeid):
        return None
    with contextlib.suppress(OSError, ValueError):  # a name with NUL is a ValueError
        path = rootdir / nodeid.partition("::")[0]
        if path.is_file() and path.stat().st_size < _LARGEST_TEST_FILE:
            return text_sha256(path.read_bytes())
    return None


def digests(rootdir: Path, files: Iterable[str]) -> dict[str, str]:
    """The digests of those of these files that can be read."""
    known = {file: file_digest(rootdir, file) for file in sorted(files)}
    return {file: digest for file, digest in known.items() if digest is not None}


def suggest_renames(
    orphans: Sequence[OrphanRecord], store: Store, new: Iterable[tuple[Store, PurePosixPath]]
) -> list[OrphanRecord]:
    """The same orphans, each with the test of which a `new` capture has the same content.

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
    gone = {orphan.nodeid for orphan in orphans}
    suggested = []
    for orphan in orphans:
        document = store.ids(store.where(Location.of(*orphan.key)).path)
        equal = contents.get(_content(document), set()) - gone if document is not None else set()
        namesakes = {nodeid for nodeid in equal if nodeid.partition("::")[2] == orphan.nodeid.partition("::")[2]}
        equal = equal if len(equal) == 1 else namesakes
        if len(equal) == 1:
            renamed_to = equal.pop()
            suggested.append(replace(orphan, renamed_to=renamed_to, new_has_baseline=renamed_to in recorded))
        else:
            suggested.append(orphan)
    return suggested


def files_moved_whole(orphans: Iterable[OrphanRecord]) -> set[str]:
    """The test files of which all orphans have become tests of the same name in one other file."""
    by_file: dict[str, set[str | None]] = {}
    for orphan in orphans:
        file, separator, test = orphan.nodeid.partition("::")
        new = (orphan.renamed_to or "").removesuffix(separator + test)
        moved = new and new != orphan.renamed_to and not orphan.new_has_baseline
        by_file.setdefault(file, set()).add(new if moved else None)
    return {file for file, new in by_file.items() if len(new) == 1 and None not in new}


def judged_together(results: Sequence[RunResult]) -> list[OrphanRecord]:
    """The orphans of all runs together, once each: what one of several shards has collected, or run, is not gone."""
    orphans = {orphan.key: orphan for result in reversed(results) for orphan in result.orphans}
    # in how many runs each file was collected, a test of another file was run, and one that was looked for was gone
    collected, ran, gone = Counter[str](), Counter[str](), Counter[tuple[str, str, str | None]]()
    for result in results:
        files, tests = set(result.judged_files), {check.nodeid for check in result.checks}
        own = {orphan.key: orphan for orphan in result.orphans}
        collected.update(files)
        ran.update(test for test in tests if test.partition("::")[0] not in files)
        gone.update(key for key, orphan in own.items() if orphan.test_file in files or orphan.nodeid in tests)
    return [orphan for key, orphan in orphans.items() if gone[key] == collected[orphan.test_file] + ran[orphan.nodeid]]


def _content(document: Mapping[str, Any]) -> str:
    """The readable content of a capture, without the digits that differ between machines."""
    return repr((document["view"], document["name"], document["facts"]))
