"""The options with which pytest runs a test again as this run does: its configuration and the project's own options.

A printed command names one test and says how its checks are to be recorded. Without the other options of this run
(another configuration, `-o`, an option of the project that chooses the model) it would record something else.
"""

import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_modelviz.plugin.identity import relative_file
from pytest_modelviz.run.project import pytest_root
from pytest_modelviz.run.settings import Settings
from pytest_modelviz.text.printable import quoted


def repeated_options(config: pytest.Config, settings: Settings, file: Path) -> str:
    """The options for a command line in the folder in which pytest was started, which names a test of this file."""
    here, given = config.invocation_params.dir, config.known_args_namespace
    options: list[str] = []
    if given.rootdir is not None or given.inifilename is not None or _root(file, here) != settings.rootdir:
        options = [] if config.inipath is None else ["-c", relative_file(config.inipath, here)]
        if config.inipath is None or config.inipath.parent != settings.rootdir:
            options.append(f"--rootdir={relative_file(settings.rootdir, here)}")
    options += [word for override in given.override_ini or () for word in ("-o", override)]
    return " ".join([*map(quoted, (*options, *_options_of_project(config))), settings.repeated]).rstrip()


@functools.lru_cache(maxsize=256)
def _root(file: Path, here: Path) -> Path:
    return pytest_root(file, here)


def _options_of_project(config: pytest.Config) -> Iterator[str]:
    """The options that a conftest.py has added, where they are not what they are by default.

    They are pytest's "Custom options", which it lists under a private name only; without it none are repeated.
    """
    group = getattr(getattr(config, "_parser", None), "_anonymous", None)
    for option in getattr(group, "options", ()):
        value, default = getattr(config.option, option.dest, None), option.attrs().get("default")
        name = max(option.names(), key=len)
        if isinstance(value, bool):
            yield from [name] if value != bool(default) else ()
        elif value != default:
            values = value if isinstance(value, list) else [value]
            yield from (f"{name}={each}" for each in values if isinstance(each, (str, int, float, Path)))
