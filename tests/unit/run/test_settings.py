"""Precedence and validation, as tables."""

from pathlib import Path

import pytest

from pytest_modelviz.records.colormap import Colormap
from pytest_modelviz.run.options import OPTIONS, InvalidSettingError
from pytest_modelviz.run.setting_values import PARSERS
from pytest_modelviz.run.settings import Mode, read_settings

ROOT = Path("/project")


def read(command_line=None, ini=None):
    return read_settings(command_line or {}, ini or {}, ROOT)


def test_defaults():
    settings = read()
    assert (settings.mode, settings.rtol, settings.atol) == (Mode.OFF, None, None)
    assert (settings.baseline_dir, settings.results_dir) == (ROOT / "baselines", ROOT / ".modelviz")


@pytest.mark.parametrize(
    ("call", "marker", "command_line", "ini", "expected"),
    [
        (None, None, None, "", None),
        (None, None, None, "0.4", 0.4),
        (None, None, "0.3", "0.4", 0.3),
        (None, 0.2, "0.3", "0.4", 0.2),
        (0.1, 0.2, "0.3", "0.4", 0.1),
        (0.0, 0.2, "0.3", "0.4", 0.0),
        (None, None, "0", "0.4", 0.0),
    ],
)
@pytest.mark.parametrize("key", ["rtol", "atol"])
def test_call_marker_command_line_ini_default(key, call, marker, command_line, ini, expected):
    option = f"--modelviz-{key}"
    settings = read({option: command_line}, {option: ini})
    settings = settings.marked([] if marker is None else [{key: marker}]).called(**{key: call})
    assert getattr(settings, key) == expected


def test_the_closest_marker_wins_key_by_key():
    settings = read().marked([{"rtol": 0.1}, {"rtol": 0.2, "atol": 0.3}])
    assert (settings.rtol, settings.atol) == (0.1, 0.3)


@pytest.mark.parametrize(
    ("command_line", "ini", "expected"),
    [
        ({}, {"--modelviz": True}, Mode.COMPARE),
        ({"--modelviz": True}, {}, Mode.COMPARE),
        ({"--modelviz-update": True}, {}, Mode.UPDATE),
        ({"--modelviz": True, "--modelviz-update-missing": True}, {}, Mode.UPDATE_MISSING),
        ({"--modelviz-update-all": True}, {"--modelviz-update": True}, Mode.UPDATE_ALL),
        ({"--modelviz": None}, {"--modelviz-update-missing": True}, Mode.UPDATE_MISSING),
        # what is asked for on the command line outweighs the ini file
        ({"--modelviz": True}, {"--modelviz-update-all": True}, Mode.COMPARE),
    ],
)
def test_modes(command_line, ini, expected):
    assert read(command_line, ini).mode is expected


def test_two_updates_exclude_each_other():
    with pytest.raises(InvalidSettingError, match="--modelviz-update and --modelviz-update-all exclude each other"):
        read({"--modelviz-update": True, "--modelviz-update-all": True})


def test_folders_are_under_rootdir_unless_absolute():
    settings = read({"--modelviz-baseline-dir": "shots", "--modelviz-results-dir": "/tmp/out"})
    assert (settings.baseline_dir, settings.results_dir) == (ROOT / "shots", Path("/tmp/out"))
    assert read({}, {"--modelviz-baseline-dir": "elsewhere"}).baseline_dir == ROOT / "elsewhere"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"--modelviz-rtol": "x"}, r"--modelviz-rtol takes a number that is not negative, such as 1e-4, not 'x'"),
        ({"--modelviz-rtol": "-1"}, "--modelviz-rtol takes"),
        ({"--modelviz-atol": "nan"}, "--modelviz-atol takes"),
        ({"--modelviz-atol": "inf"}, "--modelviz-atol takes"),
        ({"--modelviz-rtol": ""}, "--modelviz-rtol takes"),
        ({"--modelviz-baseline-dir": ""}, "--modelviz-baseline-dir takes a folder"),
        ({"--modelviz-baseline-dir": __file__}, "--modelviz-baseline-dir takes a folder, and '.*' is a file"),
        ({"--modelviz-results-dir": "s3://bucket"}, "a folder of this machine, not 's3://bucket'"),
        ({"--modelviz-results-dir": "."}, "takes a folder of its own"),
        ({"--modelviz-results-dir": "/"}, "takes a folder of its own"),
        ({"--modelviz-results-dir": "baselines"}, "takes a folder of its own"),
        ({"--modelviz-results-dir": "baselines/out"}, "takes a folder of its own"),
        ({"--modelviz-baseline-dir": ".modelviz/x"}, "takes a folder of its own"),
    ],
)
def test_what_an_option_cannot_take_is_named(source, message):
    with pytest.raises(InvalidSettingError, match=message):
        read(source)


def test_what_ini_cannot_take_is_named_by_its_key():
    with pytest.raises(InvalidSettingError, match="modelviz_rtol takes"):
        read({}, {"--modelviz-rtol": "x"})


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"tolerance": 1}, "takes rtol, atol, layers, variant, compare, ignore, not 'tolerance'"),
        ({"rtol": "much"}, "the marker's rtol takes"),
        ({"rtol": True}, "the marker's rtol takes"),
        ({"compare": 0}, "compare takes True or False"),
    ],
)
def test_what_a_marker_cannot_take_is_named(keywords, message):
    with pytest.raises(InvalidSettingError, match=message):
        read().marked([keywords])


def test_a_marker_can_switch_comparison_off():
    assert read({"--modelviz": True}).marked([{"compare": False}]).mode is Mode.OFF
    assert read({"--modelviz": True}).marked([{"compare": True}, {"compare": False}]).mode is Mode.COMPARE


def test_what_a_printed_command_must_repeat():
    assert read({"--modelviz-rtol": "0.1", "--modelviz-baseline-dir": "a b"}).repeated == (
        "'--modelviz-baseline-dir=a b' --modelviz-rtol=0.1"
    )
    assert read({}, {"--modelviz-rtol": "0.1"}).repeated == ""


def test_heatmaps_have_the_colours_that_are_asked_for():
    assert read().colormap is Colormap.INFERNO
    assert read({}, {"--modelviz-colormap": "jet"}).colormap is Colormap.JET
    assert read({"--modelviz-colormap": "viridis"}, {"--modelviz-colormap": "jet"}).colormap is Colormap.VIRIDIS
    with pytest.raises(InvalidSettingError, match="modelviz_colormap takes inferno, viridis, cividis or jet"):
        read({}, {"--modelviz-colormap": "hsv"})


def test_every_option_has_an_ini_key_of_its_name():
    assert {option.ini for option in OPTIONS} == {option.name.lstrip("-").replace("-", "_") for option in OPTIONS}
    assert len({option.ini for option in OPTIONS}) == len(OPTIONS) == 15
    assert PARSERS.keys() == {option.name for option in OPTIONS if not option.is_flag}
