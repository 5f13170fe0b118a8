"""One frozen Settings out of call argument > marker > command line > ini > default. Imports nothing heavy."""

from __future__ import annotations

import enum
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pytest_modelviz.compare.tolerance import LayerTolerance
from pytest_modelviz.records.colormap import Colormap
from pytest_modelviz.records.shadow import Shadow
from pytest_modelviz.run import options, setting_values
from pytest_modelviz.storage.results import ResultsFolder
from pytest_modelviz.text.printable import quoted


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


_UPDATES = {
    "--modelviz-update": Mode.UPDATE,
    "--modelviz-update-missing": Mode.UPDATE_MISSING,
    "--modelviz-update-all": Mode.UPDATE_ALL,
}
_PLAIN = (
    "rtol",
    "atol",
    "variant",
    "require",
    "orphans",
    "shadow",
    "colormap",
    "github",
    "html",
)  # options that are settings as they are
_MARKER_KEYS = ("rtol", "atol", "layers", "variant", "compare", "ignore")


@dataclass(frozen=True)
class Settings:
    """Everything a check needs to know about how it is to be made. Tolerances are None where the default holds.

    `ignored` are globs of attributes of modules that are no configuration.
    `baseline_dir_is_configured` and `results_dir_is_configured` say that somebody has named that folder.
    `repeated` are those options of the command line that a printed pytest command must have too.
    """

    mode: Mode
    rootdir: Path
    baseline_dir: Path | str
    results_dir: Path
    rtol: float | None = None
    atol: float | None = None
    layers: tuple[LayerTolerance, ...] = ()
    ignored: tuple[str, ...] = ()
    variant: str | None = None
    require: bool = False
    orphans: str = "warn"
    shadow: Shadow = Shadow.AUTO
    colormap: Colormap = Colormap.INFERNO
    github: str = "auto"
    html: bool = True
    repeated: str = ""
    baseline_dir_is_configured: bool = True
    results_dir_is_configured: bool = True

    def results_folder(self) -> ResultsFolder:
        return ResultsFolder(self.results_dir, configured=self.results_dir_is_configured)

    @property
    def concerns_every_test(self) -> bool:
        """Whether the run has something to say even where no test makes a check."""
        return self.mode is not Mode.OFF or self.require

    def data_folders(self) -> list[Path]:
        """The folders of this machine in which there is data, and nothing that pytest may run.

        In a run that compares nothing a folder `baselines` is another tool's, unless somebody has chosen it.
        """
        has_baselines = self.mode is not Mode.OFF or self.baseline_dir_is_configured
        baselines = [self.baseline_dir] if has_baselines and isinstance(self.baseline_dir, Path) else []
        return [self.results_dir, *baselines]

    def marked(self, markers: Sequence[Mapping[str, Any]]) -> Settings:
        """With the keywords of `@pytest.mark.modelviz(...)`, the closest marker first.

        A mapping of layer globs, which may stand without a keyword, is called `layers` here.
        """
        changed, compare = self, True
        for keywords in reversed(markers):
            # of one marker the numbers come first: a mapping refines them
            for key, value in sorted(keywords.items(), key=lambda item: isinstance(item[1], Mapping)):
                if key not in _MARKER_KEYS:
                    raise options.InvalidSettingError(
                        f"the marker modelviz takes {', '.join(_MARKER_KEYS)}, not {key!r}"
                    )
                if key == "compare":
                    if not isinstance(value, bool):
                        raise options.InvalidSettingError(f"the marker's compare takes True or False, not {value!r}")
                    compare = value
                else:
                    changed = changed._with(key, value)
        return changed if compare else replace(changed, mode=Mode.OFF)

    def _with(self, key: str, value: Any) -> Settings:
        label = f"the marker's {key}"
        if key == "variant":
            return replace(self, variant=None if value is None else setting_values.parse_variant(label, value))
        if key == "ignore":
            return replace(self, ignored=self.ignored + setting_values.parse_attribute_globs(label, value))
        if key == "layers":
            return replace(
                self, layers=self.layers + setting_values.parse_layer_tolerances("the marker modelviz", value)
            )
        return self._tolerating(key, label, value)

    def _tolerating(self, key: str, label: str, value: Any) -> Settings:
        """With an rtol or atol: a number for all layers, or a mapping of layer globs that refines what holds."""
        if isinstance(value, Mapping):
            return replace(self, layers=self.layers + setting_values.parse_layer_tolerances(label, value, key))
        number: dict[str, Any] = {key: setting_values.parse_tolerance(label, value)}
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

    What ini files alone have is keyed by its own name (`modelviz_ignore`).

    The update flags are one choice: one of them on the command line outweighs another in the ini file.
    """
    values: dict[str, Any] = {}
    for option in options.OPTIONS:
        for source, label in ((command_line, option.name), (ini, option.ini)):
            value = source.get(option.name)
            if value is not None and (value != "" or source is command_line):
                values[option.name] = (
                    bool(value) if option.is_flag else setting_values.PARSERS[option.name](label, value)
                )
                break
    baselines = values.get("--modelviz-baseline-dir", "baselines")
    results = rootdir / values.get("--modelviz-results-dir", options.RESULTS_DIR)
    if "://" not in baselines:
        baselines = rootdir / baselines
        if "--modelviz-baseline-dir" in values and baselines.is_file():
            raise options.InvalidSettingError(
                f"--modelviz-baseline-dir takes a folder, and {str(baselines)!r} is a file"
            )
        _keep_apart(baselines, results, rootdir)
    return Settings(
        mode=_mode(command_line) or _mode(ini) or Mode.OFF,
        rootdir=rootdir,
        baseline_dir=baselines,
        baseline_dir_is_configured="--modelviz-baseline-dir" in values,
        results_dir=results,
        results_dir_is_configured="--modelviz-results-dir" in values,
        ignored=setting_values.parse_attribute_globs(options.IGNORE, ini.get(options.IGNORE) or ()),
        **{key: values[f"--modelviz-{key}"] for key in _PLAIN if f"--modelviz-{key}" in values},
        repeated=" ".join(
            quoted(f"{option.name}={command_line[option.name]}")
            for option in options.OPTIONS
            if not option.is_flag and command_line.get(option.name) is not None
        ),
    )


def _keep_apart(baselines: Path, results: Path, rootdir: Path) -> None:
    """The results folder hides itself from git: it must hold neither the baselines nor the project."""
    for at in (os.path.abspath, os.path.realpath):  # as written, and where links lead
        own, other, root = (Path(at(path)) for path in (results, baselines, rootdir))
        if own.is_relative_to(other) or other.is_relative_to(own) or root.is_relative_to(own):
            raise options.InvalidSettingError(
                f"--modelviz-results-dir takes a folder of its own, not {str(results)!r}, "
                f"which holds the project or the baselines or lies among them"
            )


def _mode(source: Mapping[str, Any]) -> Mode | None:
    chosen = [name for name in _UPDATES if source.get(name)]
    if len(chosen) > 1:
        raise options.InvalidSettingError(f"{' and '.join(chosen)} exclude each other: choose one")
    if chosen:
        return _UPDATES[chosen[0]]
    return Mode.COMPARE if source.get("--modelviz") else None
