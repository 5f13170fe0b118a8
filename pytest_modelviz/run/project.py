"""Which project the command line works on: its root folder and its ini settings, found as pytest finds them.

pytest itself is not asked: it would take longer to start than the command may take altogether.
"""

import contextlib
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from iniconfig import IniConfig, ParseError

from pytest_modelviz.run.options import OPTIONS
from pytest_modelviz.run.setting_values import PARSERS, parse_location
from pytest_modelviz.run.settings import Settings
from pytest_modelviz.storage.names import display_path
from pytest_modelviz.text.printable import command_line

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_DEDICATED = ("pytest.toml", ".pytest.toml", "pytest.ini", ".pytest.ini")  # count even if they say nothing
MOST_BELOW = 6  # levels of folders in which results folders are looked for
_SECTIONS = {"tox.ini": "pytest", "setup.cfg": "tool:pytest"}


@dataclass(frozen=True)
class Project:
    """A folder, and what its pytest configuration says."""

    root: Path
    ini: Mapping[str, Any] = field(default_factory=dict)

    def setting(self, name: str) -> str | None:
        """What an option is set to, by `addopts` or by its ini key; None where it is not."""
        given = None
        words = self.ini.get("addopts", "")
        words = list(words) if isinstance(words, list) else shlex.split(str(words))
        for word, following in zip(words, [*words[1:], ""], strict=False):
            if word == name or word.startswith(f"{name}="):
                given = word.partition("=")[2] or following
        option = next(option for option in OPTIONS if option.name == name)
        value = given or self.ini.get(option.ini)
        if value is None or option.is_flag or value == "":
            return None
        return str(PARSERS[option.name](f"{option.ini} of the project in {self.root}", str(value)))


def find_project(start: Path) -> Project:
    """The project in which a folder lies: the closest one above with a configuration of pytest, or a likely one."""
    folders = [start, *start.parents]
    configured = _configured(folders)
    if configured is not None:
        return configured
    for sign in ("pyproject.toml", "setup.py", ".modelviz/results.json"):
        for folder in folders:
            if (folder / sign).is_file():
                return Project(folder)
    return Project(start)


def _configured(folders: Sequence[Path]) -> Project | None:
    for folder in folders:
        for name in (*_DEDICATED, "pyproject.toml", *_SECTIONS):
            ini = _pytest_ini(folder / name)
            if ini is not None:
                return Project(folder, ini)
    return None


def pytest_root(file: Path, here: Path) -> Path:
    """The root folder that pytest, started `here`, takes where this test file is all that it is given."""
    folders = file.parents
    configured = _configured(folders)
    if configured is not None:
        return configured.root
    signs = (folder for sign in ("pyproject.toml", "setup.py") for folder in folders if (folder / sign).is_file())
    common = Path(os.path.commonpath([here, file.parent])) if here.anchor == file.anchor else file.parent
    return next(signs, common if common != common.parent else file.parent)


def _pytest_ini(path: Path) -> Mapping[str, Any] | None:
    """pytest's settings in a file; None where it is there for others, or not there."""
    if not path.is_file():
        return None
    settings: Any = None
    # a file that cannot be parsed is pytest's to complain about
    with contextlib.suppress(OSError, ValueError, ParseError):
        text = path.read_text("utf-8")
        if path.suffix == ".toml":
            document = tomllib.loads(text)
            if path.name == "pyproject.toml":
                tool = document.get("tool", {}).get("pytest")
                settings = None if tool is None else tool.get("ini_options", tool)
            else:
                settings = document.get("pytest", {})
        else:
            settings = IniConfig(str(path), text).sections.get(_SECTIONS.get(path.name, "pytest"))
    if settings is None and path.name in _DEDICATED:
        return {}
    return settings if isinstance(settings, Mapping) else None


def results_location(project: Project) -> Path:
    """The folder that a run writes into, as configured or `.modelviz` under the project's root."""
    return project.root / (project.setting("--modelviz-results-dir") or ".modelviz")


class FoundFolders(NamedTuple):
    """Results folders, and the folders that were not looked into: links, and what lies too deep."""

    results: list[Path]
    skipped: list[Path]


def results_folders(named: str, root: Path) -> FoundFolders:
    """The results folders that are meant by a folder: itself, as an archive unpacks, or all that lie in it.

    A relative one is looked for here, and in the project's root, as --modelviz-results-dir is meant.
    """
    here = Path(named).absolute()
    for folder in (here, here / ".modelviz", root / named):
        if _holds_results(folder):
            return FoundFolders([folder], [])
    found = FoundFolders([], [])
    for folder in dict.fromkeys((here, root / named)):
        _search(folder, MOST_BELOW, found)
    return found if found.results else FoundFolders([here], found.skipped)


def _search(folder: Path, depth: int, found: FoundFolders) -> None:
    """Add the results folders in a folder of such, in the order of their names."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.is_dir():
            if path.is_symlink() or not depth:
                found.skipped.append(path)
            elif _holds_results(path):
                found.results.append(path)
            else:
                _search(path, depth - 1, found)


def _holds_results(folder: Path) -> bool:
    return (folder / "results.json").exists() or any((folder / "runs").glob("*.json"))


def review_options(settings: Settings, here: Path, downloaded: str | None = None) -> str:
    """The options that the command `modelviz` needs to find the files of a run, if it is started `here`.

    `downloaded` is where the results will be, if they are to be read on another machine.
    """
    options = []
    project = find_project(here)
    if project.root != settings.rootdir:
        project = Project(settings.rootdir, find_project(settings.rootdir).ini)
        options += ["--rootdir", _from(here, settings.rootdir)]
    if downloaded is not None:
        options += ["--from", downloaded]
    elif results_location(project) != settings.results_dir:
        options += ["--from", _from(here, settings.results_dir)]
    if baselines_location(project, None) != settings.baseline_dir:
        options += ["--baseline-dir", display_path(settings.baseline_dir, settings.rootdir)]
    return command_line(options)


def _from(here: Path, path: Path) -> str:
    return os.path.relpath(path, here) if path.is_relative_to(here) or here.is_relative_to(path) else str(path)


def baselines_location(project: Project, given: str | None) -> str | Path:
    """Where the baselines are: as given on the command line, as configured, or in `baselines` under the project's root.

    Raises InvalidSettingError.
    """
    if given is not None:
        where = parse_location("--baseline-dir", given)
    else:
        where = project.setting("--modelviz-baseline-dir") or "baselines"
    return where if "://" in where else project.root / where


def names_baselines(project: Project, given: str | None) -> bool:
    """Whether somebody has named the folder of the baselines, on the command line or in the configuration."""
    return given is not None or project.setting("--modelviz-baseline-dir") is not None
