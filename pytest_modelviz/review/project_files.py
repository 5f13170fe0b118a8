"""Which files of a project can hold a test: ids from results and baselines may name any file."""

import os
import posixpath
from collections.abc import Sequence
from pathlib import Path

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.storage.files import lies_in
from pytest_modelviz.storage.names import has_clean_path
from pytest_modelviz.storage.orphans import file_digest
from pytest_modelviz.text.printable import as_one_word

# Tests are Python; doctests and their like also stand in documents, of which those outside of the project are refused.
_PYTHON, _DOCUMENTS = (".py",), (".rst", ".md", ".txt", ".yaml", ".yml", ".ipynb")


def require_test_file(nodeid: str, rootdir: Path, excluded: Sequence[Path] = ()) -> None:
    """Raises ModelvizError unless a test id names a file that can hold a test of the project in `rootdir`.

    It is spelled as pytest's ids are: relative, `..` only where it really lies outside. No test lies in the `excluded`
    folders.
    """
    file = nodeid.partition("::")[0]
    if not _is_relative(file):
        raise ModelvizError(f"{file!r} is not a test file of the project in {rootdir}")
    if file_digest(rootdir, nodeid) is None:
        raise ModelvizError(f"there is no {as_one_word(file)} in {rootdir}: name the project's folder with --rootdir")
    path = Path(os.path.normpath(rootdir / file))
    outside = not path.is_relative_to(rootdir)
    is_named_otherwise = file.startswith("../") and (not outside or path.resolve().is_relative_to(rootdir.resolve()))
    endings = _PYTHON if outside else (*_PYTHON, *_DOCUMENTS)
    if is_named_otherwise or not file.endswith(endings):
        raise ModelvizError(f"{file!r} is not a test file of the project in {rootdir}")
    if lies_in(path, (*excluded, rootdir / ".git")):
        raise ModelvizError(
            f"{file!r} is not a test file of the project in {rootdir}: it came with results or baselines"
        )


def _is_relative(file: str) -> bool:
    return has_clean_path(file) and not posixpath.isabs(file) and not Path(file).is_absolute() and not Path(file).drive
