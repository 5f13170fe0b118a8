"""The folders of a run's baselines and results: what lies there is data, and pytest runs none of it."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from pytest_modelviz.run.options import RESULTS_DIR


def named_paths(config: pytest.Config, arguments: Sequence[str]) -> list[Path]:
    """The files and folders that pytest's arguments name."""
    files = dict.fromkeys(argument.partition("::")[0] for argument in arguments)
    here = config.invocation_params.dir
    return [Path(os.path.abspath(here / file)) for file in files]  # noqa: PTH100  # as pytest: a link keeps its name


def default_data_folders(root: Path) -> list[Path]:
    """The folders of a run for which nothing has been set: `Settings.data_folders` has the rule."""
    return [root / RESULTS_DIR]


def unnamed(folders: Iterable[Path], named: Sequence[Path]) -> list[Path]:
    """Those of the folders of data in which the user has named no file or folder: pytest must not look into them."""
    return [folder for folder in folders if not any(_is_in(path, folder) for path in named)]


def refuse_conftests(folders: Iterable[Path], named: Sequence[Path]) -> None:
    """Raises UsageError for a conftest.py among the data: pytest may run it before it asks what to collect."""
    for folder in unnamed(folders, named):
        conftest = folder / "conftest.py"
        if conftest.is_file():
            from pytest_modelviz.text.printable import printable

            raise pytest.UsageError(
                f"modelviz: {printable(str(conftest))} lies among baselines or results, which anybody "
                f"may have written: remove it, or choose another folder for them"
            )


def is_same(path: Path, other: Path) -> bool:
    """Whether both lead to the same folder, by whatever names or links."""
    try:
        return path.samefile(other)
    except (OSError, ValueError):  # one of them is not there
        return False


def _is_in(path: Path, folder: Path) -> bool:
    return any(is_same(above, folder) for above in (path, *path.parents))
