"""What may become a baseline: the candidate of a test file of this project, whole, with a picture made anew.

A results folder may come from anybody. JSON and safetensors prove by their digests that they belong together; a picture
is proved by nothing, so that only its colours are taken over.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pytest_modelviz.errors import ModelvizError, UnreadableBaselineError
from pytest_modelviz.storage.baseline_files import Files
from pytest_modelviz.storage.names import Location
from pytest_modelviz.storage.orphans import file_digest
from pytest_modelviz.storage.store import Store

_MOST_PICTURE_BYTES = 64 * 2**20
# Tests are Python; doctests and their like also stand in documents, of which those outside of the project are refused.
_PYTHON, _DOCUMENTS = (".py",), (".rst", ".md", ".txt", ".yaml", ".yml", ".ipynb")


def require_test_file(nodeid: str, rootdir: Path, excluded: Sequence[Path] = ()) -> None:
    """Raises ModelvizError unless a test id names a file that can hold a test of the project in `rootdir`.

    It is spelled as pytest's ids are: relative, `..` only where it really lies outside. No test lies in the `excluded`
    folders.
    """
    file = nodeid.partition("::")[0]
    if not _is_relative(file):
        raise ModelvizError(f"{file!r} is no test file of the project in {rootdir}")
    if file_digest(rootdir, nodeid) is None:
        raise ModelvizError(f"there is no {file} in {rootdir}: name the project's folder with --rootdir")
    path = Path(os.path.normpath(rootdir / file))
    outside = not path.is_relative_to(rootdir)
    is_named_otherwise = file.startswith("../") and (not outside or path.resolve().is_relative_to(rootdir.resolve()))
    endings = _PYTHON if outside else (*_PYTHON, *_DOCUMENTS)
    is_excluded = any(path.is_relative_to(os.path.normpath(folder)) for folder in (*excluded, rootdir / ".git"))
    if is_named_otherwise or is_excluded or not file.endswith(endings):
        raise ModelvizError(f"{file!r} is no test file of the project in {rootdir}")


def _is_relative(file: str) -> bool:
    is_clean = file == posixpath.normpath(file) and "\0" not in file
    return is_clean and not posixpath.isabs(file) and not Path(file).is_absolute() and not Path(file).drive


def candidate_files(candidates: Store, location: Location, *, nodeid: str, name: str) -> Files:
    """The files of a candidate as they may be stored: found whole, no links, the picture encoded anew.

    Raises ModelvizError.
    """
    linked = candidates.linked(location)
    if linked is not None:
        raise ModelvizError(
            f"the candidate's {linked} is a link, and what is behind a link is not copied: copy the results folder as "
            f"'cp -rL' does, and name the copy with --from"
        )
    try:
        picture = candidates.stored_picture(location, _MOST_PICTURE_BYTES)
        files = candidates.files(location, nodeid=nodeid, name=name)
    except UnreadableBaselineError as error:
        raise ModelvizError(f"the candidate {candidates.display_path(location)} cannot be read: {error}") from error
    if files is None:
        raise ModelvizError("nothing is kept of what was captured: it was rejected, or its file is gone")
    return replace(files, picture=None if picture is None else _made_anew(picture, f"{location.stem}.png"))


def _made_anew(picture: bytes, name: str) -> bytes:
    from pytest_modelviz.pictures.files import encoded_anew

    try:
        return encoded_anew(picture)
    except ValueError as error:
        raise ModelvizError(f"the candidate's {name} is no picture of a capture ({error}): run pytest again") from error
