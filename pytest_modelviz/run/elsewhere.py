"""Baselines under another root folder, of another id or version: which they are, and how they can be used."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_modelviz.storage.names import Location
from pytest_modelviz.storage.renaming import move_command
from pytest_modelviz.text.printable import quoted

if TYPE_CHECKING:
    from pytest_modelviz.run.check import Check

_USUAL = "baselines"


def baseline_elsewhere(check: Check) -> str | None:
    """What to say of a check without a baseline where the project has one under another root folder, else None.

    pytest's root folder depends on its arguments and configuration files: a test may have been recorded with another.
    """
    root, folder = check.settings.rootdir, check.settings.baseline_dir
    file, _, test = check.nodeid.partition("::")
    path = Path(os.path.normpath(root / file))
    inside = isinstance(folder, Path) and folder.is_relative_to(root)
    names = {_USUAL, *([str(folder.relative_to(root))] if inside and isinstance(folder, Path) else [])}
    others = dict.fromkeys(above for start in check.folders() for above in (start, *start.parents))
    for other in others:
        if other == root or other.anchor != path.anchor:
            continue
        nodeid = f"{os.path.relpath(path, other)}::{test}".replace(os.sep, "/")
        own = Location.of(nodeid, check.name, check.settings.variant)
        for name in sorted(names):
            for stem in dict.fromkeys((*own.paths, *own.common.paths)):
                baseline = other / name / f"{stem}.json"
                if baseline.is_file() and other / name != folder:
                    return (
                        f"there is a baseline at {baseline}, recorded with the root folder {other}, and this run's is "
                        f"{root}: run pytest with {quoted(f'--rootdir={other}')}, or there"
                    )
    return None


def former_note(former: str, check: Check) -> str:
    """What to say of a check for which there is a baseline that an earlier version has recorded."""
    command = move_command(former, check.nodeid, options=check.review)
    if check.is_former:
        return f"its baseline has the id that an earlier version gave to this test; to bring it up to date: {command}"
    return (
        f"a baseline has the id that an earlier version gave to this test, {former}, and perhaps to another one; "
        f"if it is this test's: {command}"
    )


def earlier_version_note(check: Check) -> str:
    """What to say of a check whose baseline has the sketches of an earlier version."""
    return (
        f"its baseline was recorded by an earlier version of pytest-modelviz, and the model was captured again; to "
        f"bring it up to date: pytest --modelviz-update-all {check.arguments}"
    )
