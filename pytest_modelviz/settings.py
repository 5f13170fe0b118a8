"""One frozen Settings out of call argument > marker > command line > ini > default. Imports nothing heavy."""

from __future__ import annotations

import enum
import math
import os
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any


class Mode(enum.Enum):
    """What a run does with what it captures."""

    OFF = "off"
    COMPARE = "compare"
    UPDATE_MISSING = "update-missing"
    UPDATE = "update"
    UPDATE_ALL = "update-all"

    @property
    def records(self) -> bool:
        return self not in (Mode.OFF, Mode.COMPARE)


class InvalidSettingError(ValueError):
    """A setting has a value it cannot have; the message names the setting and says what it takes."""


@dataclass(frozen=True)
class Option:
    """A command-line option and the ini key of the same name. `parse` is None for a flag."""

    name: str
    help: str
    parse: Callable[[str, str], Any] | None = None
    metavar: str | None = None

    @property
    def ini(self) -> str:
        return self.name.lstrip("-").replace("-", "_")

    @property
    def is_flag(self) -> bool:
        return self.parse is None

    @property
    def ini_type(self) -> str:
        return "bool" if self.is_flag else "float" if self.parse is tolerance else "string"


def tolerance(name: str, text: Any) -> float:
    """A tolerance: a finite number, not negative."""
    try:
        value = float(text)
    except (TypeError, ValueError):
        value = math.nan
    if isinstance(text, bool) or not 0.0 <= value < math.inf:
        raise InvalidSettingError(f"{name} takes a number that is not negative, such as 1e-4, not {text!r}")
    return value


def folder(name: str, text: str) -> str:
    """A folder's path, absolute or relative to rootdir."""
    if not text.strip():
        raise InvalidSettingError(f"{name} takes a folder, not an empty text")
    if "://" in text:
        raise InvalidSettingError(f"{name} takes a folder; URLs such as {text!r} are not supported yet")
    return text


OPTIONS = (
    Option("--modelviz", "compare models with their baselines (off: capture only, compare nothing)"),
    Option("--modelviz-update", "record what has no baseline and what drifted beyond tolerance; touch nothing else"),
    Option("--modelviz-update-missing", "record only what has no baseline"),
    Option("--modelviz-update-all", "record everything, also what cannot be read"),
    Option("--modelviz-baseline-dir", "folder of the baselines (default: baselines under rootdir)", folder, "DIR"),
    Option("--modelviz-results-dir", "folder for what a run writes (default: .modelviz under rootdir)", folder, "DIR"),
    Option("--modelviz-rtol", "relative tolerance (default: by dtype and device, 1e-4 for float32)", tolerance, "X"),
    Option(
        "--modelviz-atol", "absolute tolerance: of activations, or of a map as a fraction of its peak", tolerance, "X"
    ),
)
_UPDATES = {
    "--modelviz-update": Mode.UPDATE,
    "--modelviz-update-missing": Mode.UPDATE_MISSING,
    "--modelviz-update-all": Mode.UPDATE_ALL,
}
_MARKER_KEYS = ("rtol", "atol", "compare")


@dataclass(frozen=True)
class Settings:
    """Everything a check needs to know about how it is to be made. Tolerances are None where the default holds.

    `repeated` are those options of the command line that a printed command must have too.
    """

    mode: Mode
    rootdir: Path
    baseline_dir: Path
    results_dir: Path
    rtol: float | None = None
    atol: float | None = None
    repeated: str = ""

    def marked(self, markers: list[Mapping[str, Any]]) -> Settings:
        """With the keywords of `@pytest.mark.modelviz(...)`, the closest marker first."""
        merged: dict[str, Any] = {}
        for keywords in reversed(markers):
            for key, value in keywords.items():
                if key not in _MARKER_KEYS:
                    raise InvalidSettingError(f"the marker modelviz takes {', '.join(_MARKER_KEYS)}, not {key!r}")
                if key == "compare":
                    if not isinstance(value, bool):
                        raise InvalidSettingError(f"the marker's compare takes True or False, not {value!r}")
                    merged[key] = value
                else:
                    merged[key] = tolerance(f"the marker's {key}", value)
        compare = merged.pop("compare", True)
        changed = replace(self, **merged)
        return changed if compare else replace(changed, mode=Mode.OFF)

    def called(self, *, rtol: float | None = None, atol: float | None = None) -> Settings:
        """With the tolerances given in the call of a fixture."""
        return replace(
            self,
            rtol=self.rtol if rtol is None else tolerance("rtol", rtol),
            atol=self.atol if atol is None else tolerance("atol", atol),
        )


def read_settings(command_line: Mapping[str, Any], ini: Mapping[str, Any], rootdir: Path) -> Settings:
    """Combine raw values, both keyed by option name (`--modelviz-rtol`); None and "" mean not given.

    The update flags are one choice: one of them on the command line outweighs another in the ini file.
    """
    values: dict[str, Any] = {}
    for option in OPTIONS:
        if option.parse is not None:
            for source, label in ((command_line, option.name), (ini, option.ini)):
                text = source.get(option.name)
                if text is not None and (text != "" or source is command_line):
                    values[option.name] = option.parse(label, text)
                    break
    baselines = rootdir / values.get("--modelviz-baseline-dir", "baselines")
    results = rootdir / values.get("--modelviz-results-dir", ".modelviz")
    _keep_apart(baselines, results, rootdir)
    return Settings(
        mode=_mode(command_line) or _mode(ini) or Mode.OFF,
        rootdir=rootdir,
        baseline_dir=baselines,
        results_dir=results,
        rtol=values.get("--modelviz-rtol"),
        atol=values.get("--modelviz-atol"),
        repeated=" ".join(
            shlex.quote(f"{option.name}={command_line[option.name]}")
            for option in OPTIONS
            if not option.is_flag and command_line.get(option.name) is not None
        ),
    )


def _keep_apart(baselines: Path, results: Path, rootdir: Path) -> None:
    """The results folder hides itself from git: it must hold neither the baselines nor the project."""
    one, other, root = (Path(os.path.abspath(path)) for path in (results, baselines, rootdir))  # noqa: PTH100
    if one.is_relative_to(other) or other.is_relative_to(one) or root.is_relative_to(one):
        raise InvalidSettingError(
            f"--modelviz-results-dir takes a folder of its own, not {str(results)!r}, "
            f"which holds the project or the baselines or lies among them"
        )


def _mode(source: Mapping[str, Any]) -> Mode | None:
    chosen = [name for name in _UPDATES if source.get(name)]
    if len(chosen) > 1:
        raise InvalidSettingError(f"{' and '.join(chosen)} exclude each other: choose one")
    if chosen:
        return _UPDATES[chosen[0]]
    return Mode.COMPARE if source.get("--modelviz") else None
