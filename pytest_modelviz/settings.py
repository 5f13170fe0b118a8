"""One frozen Settings out of call argument > marker > command line > ini > default. Imports nothing heavy."""

from __future__ import annotations

import enum
import math
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pytest_modelviz.compare.tolerance import LayerTolerance

ORPHANS = ("ignore", "warn", "fail")


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
    """A command-line option and the ini key of the same name. `parse` is None for a flag.

    A flag that is on by `default` has a second option that turns it off, `--no-...`.
    """

    name: str
    help: str
    parse: Callable[[str, str], Any] | None = None
    metavar: str | None = None
    default: bool = False

    @property
    def ini(self) -> str:
        return self.name.lstrip("-").replace("-", "_")

    @property
    def off(self) -> str:
        """The option that turns this flag off."""
        return f"--no-{self.name.lstrip('-')}"

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
    if not text.strip() or "\0" in text:
        raise InvalidSettingError(f"{name} takes a folder, not {text!r}")
    if "://" in text:
        raise InvalidSettingError(f"{name} takes a folder of this machine, not {text!r}")
    return text


def place(name: str, text: str) -> str:
    """A folder, or a URL that fsspec knows."""
    if "://" not in text:
        return folder(name, text)
    import fsspec

    protocol, _, path = text.partition("://")
    if protocol not in fsspec.available_protocols():
        raise InvalidSettingError(f"{name} takes a folder or a URL such as s3://bucket/baselines; {text!r} is neither")
    if not path.strip("/"):
        raise InvalidSettingError(
            f"{name} takes a URL of a folder, such as {protocol}://bucket/baselines, not {text!r}"
        )
    if protocol in ("file", "local"):
        from fsspec.implementations.local import LocalFileSystem

        return str(LocalFileSystem._strip_protocol(text))
    return text


def variant(name: str, text: Any) -> str:
    """The name of a platform."""
    if not isinstance(text, str) or not text.strip() or not text.isprintable():
        raise InvalidSettingError(f"{name} takes a name such as cuda or macos-arm64, not {text!r}")
    return text


def orphans(name: str, text: str) -> str:
    """What becomes of a run that finds baselines whose test is gone."""
    if text not in ORPHANS:
        raise InvalidSettingError(f"{name} takes {', '.join(ORPHANS[:-1])} or {ORPHANS[-1]}, not {text!r}")
    return text


def layer_tolerances(name: str, mapping: Any, key: str | None = None) -> tuple[LayerTolerance, ...]:
    """A mapping of layer globs to tolerances: numbers for `key`, or mappings with `rtol` and `atol`.

    Without a `key` a number is an rtol.
    """
    if not isinstance(mapping, Mapping):
        raise InvalidSettingError(f"{name} takes a mapping of layer globs to tolerances, not {mapping!r}")
    made = []
    for pattern, value in mapping.items():
        if not isinstance(pattern, str):
            raise InvalidSettingError(f"{name} takes globs of layer names such as 'layer4.*', not {pattern!r}")
        given = value if isinstance(value, Mapping) and key is None else {key or "rtol": value}
        if not given or not set(given) <= {"rtol", "atol"}:
            raise InvalidSettingError(f"{name} takes rtol and atol for {pattern!r}, not {value!r}")
        label = f"{name} for {pattern!r}"
        made.append(LayerTolerance(pattern, **{k: tolerance(f"{label}, {k},", v) for k, v in given.items()}))
    return tuple(made)


OPTIONS = (
    Option("--modelviz", "compare models with their baselines (off: capture only, compare nothing)"),
    Option("--modelviz-update", "record what has no baseline and what drifted beyond tolerance; touch nothing else"),
    Option("--modelviz-update-missing", "record only what has no baseline"),
    Option("--modelviz-update-all", "record everything, also what cannot be read"),
    Option("--modelviz-require", "fail a run that compared nothing"),
    Option(
        "--modelviz-baseline-dir",
        "folder of the baselines, or a URL such as s3://bucket/baselines (default: baselines under rootdir)",
        place,
        "DIR",
    ),
    Option("--modelviz-results-dir", "folder for what a run writes (default: .modelviz under rootdir)", folder, "DIR"),
    Option("--modelviz-rtol", "relative tolerance (default: by dtype and device, 1e-4 for float32)", tolerance, "X"),
    Option(
        "--modelviz-atol", "absolute tolerance: of activations, or of a map as a fraction of its peak", tolerance, "X"
    ),
    Option(
        "--modelviz-variant",
        "baselines of their own for a platform, where there are; else the common ones",
        variant,
        "NAME",
    ),
    Option("--modelviz-orphans", "baselines whose test is gone: ignore, warn (default) or fail", orphans, "WHAT"),
    Option("--modelviz-html", "write report.html into the results folder (default)", default=True),
)
_UPDATES = {
    "--modelviz-update": Mode.UPDATE,
    "--modelviz-update-missing": Mode.UPDATE_MISSING,
    "--modelviz-update-all": Mode.UPDATE_ALL,
}
_MARKER_KEYS = ("rtol", "atol", "layers", "variant", "compare")


@dataclass(frozen=True)
class Settings:
    """Everything a check needs to know about how it is to be made. Tolerances are None where the default holds.

    `repeated` are those options of the command line that a printed pytest command must have too.
    """

    mode: Mode
    rootdir: Path
    baseline_dir: Path | str
    results_dir: Path
    rtol: float | None = None
    atol: float | None = None
    layers: tuple[LayerTolerance, ...] = ()
    variant: str | None = None
    require: bool = False
    orphans: str = "warn"
    html: bool = True
    repeated: str = ""

    def shown(self, path: str | Path) -> str:
        """A path as people write it: relative to the project where it lies inside; a URL as it is."""
        inside = "://" not in str(path) and Path(path).is_relative_to(self.rootdir)
        return Path(path).relative_to(self.rootdir).as_posix() if inside else str(path)

    def marked(self, markers: Sequence[Mapping[str, Any]]) -> Settings:
        """With the keywords of `@pytest.mark.modelviz(...)`, the closest marker first.

        A mapping of layer globs, which may stand without a keyword, is called `layers` here.
        """
        changed, compare = self, True
        for keywords in reversed(markers):
            # of one marker the numbers come first: a mapping refines them
            for key, value in sorted(keywords.items(), key=lambda item: isinstance(item[1], Mapping)):
                if key not in _MARKER_KEYS:
                    raise InvalidSettingError(f"the marker modelviz takes {', '.join(_MARKER_KEYS)}, not {key!r}")
                if key == "compare":
                    if not isinstance(value, bool):
                        raise InvalidSettingError(f"the marker's compare takes True or False, not {value!r}")
                    compare = value
                else:
                    changed = changed._with(key, value)
        return changed if compare else replace(changed, mode=Mode.OFF)

    def _with(self, key: str, value: Any) -> Settings:
        label = f"the marker's {key}"
        if key == "variant":
            return replace(self, variant=None if value is None else variant(label, value))
        if key == "layers":
            return replace(self, layers=self.layers + layer_tolerances("the marker modelviz", value))
        return self._tolerating(key, label, value)

    def _tolerating(self, key: str, label: str, value: Any) -> Settings:
        """With an rtol or atol: a number for all layers, or a mapping of layer globs that refines what holds."""
        if isinstance(value, Mapping):
            return replace(self, layers=self.layers + layer_tolerances(label, value, key))
        number: dict[str, Any] = {key: tolerance(label, value)}
        nothing: dict[str, Any] = {key: None}
        others = tuple(replace(layer, **nothing) for layer in self.layers)
        return replace(self, layers=tuple(o for o in others if (o.rtol, o.atol) != (None, None)), **number)

    def called(self, *, rtol: Any = None, atol: Any = None) -> Settings:
        """With the tolerances given in the call of a fixture: numbers, or mappings of layer globs to numbers."""
        changed = self
        for key, value in (("rtol", rtol), ("atol", atol)):
            if value is not None:
                changed = changed._tolerating(key, key, value)
        return changed


def read_settings(command_line: Mapping[str, Any], ini: Mapping[str, Any], rootdir: Path) -> Settings:
    """Combine raw values, both keyed by option name (`--modelviz-rtol`); None and "" mean not given.

    The update flags are one choice: one of them on the command line outweighs another in the ini file.
    """
    values: dict[str, Any] = {}
    for option in OPTIONS:
        for source, label in ((command_line, option.name), (ini, option.ini)):
            value = source.get(option.name)
            if value is not None and (value != "" or source is command_line):
                values[option.name] = bool(value) if option.parse is None else option.parse(label, value)
                break
    baselines = values.get("--modelviz-baseline-dir", "baselines")
    results = rootdir / values.get("--modelviz-results-dir", ".modelviz")
    if "://" not in baselines:
        baselines = rootdir / baselines
        _keep_apart(baselines, results, rootdir)
    return Settings(
        mode=_mode(command_line) or _mode(ini) or Mode.OFF,
        rootdir=rootdir,
        baseline_dir=baselines,
        results_dir=results,
        rtol=values.get("--modelviz-rtol"),
        atol=values.get("--modelviz-atol"),
        variant=values.get("--modelviz-variant"),
        require=values.get("--modelviz-require", False),
        orphans=values.get("--modelviz-orphans", "warn"),
        html=values.get("--modelviz-html", True),
        repeated=" ".join(
            shlex.quote(f"{option.name}={command_line[option.name]}")
            for option in OPTIONS
            if not option.is_flag and command_line.get(option.name) is not None
        ),
    )


def _keep_apart(baselines: Path, results: Path, rootdir: Path) -> None:
    """The results folder hides itself from git: it must hold neither the baselines nor the project."""
    for at in (os.path.abspath, os.path.realpath):  # as written, and where links lead
        one, other, root = (Path(at(path)) for path in (results, baselines, rootdir))
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
