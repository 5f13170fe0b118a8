"""The folders of a run's baselines and results: what lies there is data, and pytest runs none of it."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from pytest_modelviz.run.settings import Mode, Settings
from pytest_modelviz.text.printable import printable


def named_paths(config: pytest.Config, arguments: Sequence[str]) -> list[Path]:
    """The files and folders that pytest's arguments name."""
    files = dict.fromkeys(argument.partition("::")[0] for argument in arguments)
    here = config.invocation_params.dir
    return [Path(os.path.abspath(here / file)) for file in files]  # noqa: PTH100  # as pytest: a link keeps its name


def data_folders(settings: Settings, named: Sequence[Path]) -> list[Path]:
    """The folders in which pytest must not look for tests: none in which the user has named a file or folder.

    In a run that compares nothing a folder `baselines` is another tool's, unless somebody has chosen it.
    """
    folders = [settings.results_dir]
    has_baselines = settings.mode is not Mode.OFF or settings.baseline_dir_is_configured
    if has_baselines and isinstance(settings.baseline_dir, Path):
        folders.append(settings.baseline_dir)
    return [folder for folder in folders if not any(_is_in(path, folder) for path in named)]


def refuse_conftests(settings: Settings, named: Sequence[Path]) -> None:
    """Raises UsageError for a conftest.py among the data: pytest may run it before it asks what to collect."""
    for folder in data_folders(settings, named):
        conftest = folder / "conftest.py"
        if conftest.is_file():
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
