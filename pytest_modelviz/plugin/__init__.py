"""The pytest plugin: it registers options, marker, fixtures and the hooks of a run.

Every pytest run loads this where the package is installed, so it imports only what a run needs that makes no check:
the names of options and fixtures, and `start`.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

import pytest

from pytest_modelviz.plugin import fixtures
from pytest_modelviz.plugin.data_folders import default_data_folders, named_paths, refuse_conftests
from pytest_modelviz.plugin.start import HookSpecifications, RunStarter
from pytest_modelviz.run.options import IGNORE, IGNORE_HELP, OPTIONS, InvalidSettingError

if TYPE_CHECKING:
    from pytest_modelviz.run.settings import Settings

_TYPED_INI = pytest.version_tuple >= (8, 4)  # before, pytest had no numbers in ini files


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    pluginmanager.add_hookspecs(HookSpecifications)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("modelviz", "model visual regression testing")
    parser.addini(IGNORE, IGNORE_HELP, type="linelist", default=None)
    for option in OPTIONS:
        kind: Any = option.ini_type if _TYPED_INI or option.ini_type != "float" else "string"
        parser.addini(option.ini, option.help, type=kind, default=None)
        if option.is_flag:
            group.addoption(option.name, dest=option.ini, action="store_true", default=None, help=option.help)
            if option.default:
                group.addoption(option.off, dest=option.ini, action="store_false", help="do not " + option.help)
        else:
            group.addoption(option.name, default=None, metavar=option.metavar, help=option.help)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    options = early_config.known_args_namespace
    try:
        settings = _settings(early_config, options)
    except InvalidSettingError:  # pytest_configure reports it
        return
    folders = default_data_folders(early_config.rootpath) if settings is None else settings.data_folders()
    named = options.file_or_dir or early_config.getini("testpaths") or ["."]
    refuse_conftests(folders, named_paths(early_config, named))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "modelviz(rtol=, atol=, variant=, compare=True, ignore=): tolerances of the model checks of a test, as "
        "numbers or by layer ({'layer4.*': 1e-3}), a variant for a platform's own baselines, compare=False to compare "
        "nothing, or globs of attributes that are not configuration",
    )
    config.addinivalue_line("markers", f"{IGNORE}(*globs): the same as modelviz(ignore=[...])")
    try:
        settings = _settings(config, config.option)
    except InvalidSettingError as error:
        from pytest_modelviz.text.printable import printable

        raise pytest.UsageError(f"modelviz: {printable(str(error))}") from None
    config.stash[fixtures.STARTER] = starter = RunStarter(config, settings)
    config.pluginmanager.register(starter, "modelviz-start")
    if settings is not None and settings.concerns_every_test:
        starter.run()
    if config.option.showfixtures or config.option.show_fixtures_per_test:
        fixtures.add_docstrings()
    config.pluginmanager.register(fixtures, "modelviz-fixtures")
    config.hook.pytest_modelviz_views.call_historic(result_callback=starter.add_views)


def _settings(config: pytest.Config, options: argparse.Namespace) -> Settings | None:
    """What command line and ini files say, None where they say nothing. Raises InvalidSettingError."""
    command_line = {option.name: getattr(options, option.ini) for option in OPTIONS}
    ini = {option.name: _ini(config, option.ini) for option in OPTIONS}
    ini[IGNORE] = _ini(config, IGNORE)
    if all(value is None for value in (*command_line.values(), *ini.values())):
        return None
    from pytest_modelviz.run.settings import read_settings

    return read_settings(command_line, ini, config.rootpath)


def _ini(config: pytest.Config, key: str) -> object:
    try:
        return config.getini(key)
    except (TypeError, ValueError, pytest.UsageError) as error:
        raise InvalidSettingError(f"{key} in the configuration file: {error}") from None
