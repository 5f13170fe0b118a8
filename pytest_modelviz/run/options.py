"""Every option: its name and its help, on the command line and in ini files alike; `setting_values` reads the values.

Every pytest run loads this module where the package is installed: it imports nothing else of it.
"""

from __future__ import annotations

from typing import NamedTuple

RESULTS_DIR = ".modelviz"  # under rootdir, unless another is chosen
IGNORE = "modelviz_ignore"  # in ini files and markers alone: a list is no word of a command line
IGNORE_HELP = "module attributes that are not configuration, as globs such as *._trainer, one per line"


class InvalidSettingError(ValueError):
    """A setting has a value it cannot have; the message names the setting and says what it takes."""


class Option(NamedTuple):
    """A command-line option and the ini key of the same name. `metavar` stands for its value, None for a flag.

    A flag that is on by `default` has a second option that turns it off, `--no-...`.
    """

    name: str
    help: str
    metavar: str | None = None
    default: bool = False
    is_number: bool = False

    @property
    def ini(self) -> str:
        return self.name.lstrip("-").replace("-", "_")

    @property
    def off(self) -> str:
        """The option that turns this flag off."""
        return f"--no-{self.name.lstrip('-')}"

    @property
    def is_flag(self) -> bool:
        return self.metavar is None

    @property
    def ini_type(self) -> str:
        return "bool" if self.is_flag else "float" if self.is_number else "string"


OPTIONS = (
    Option("--modelviz", "compare models with their baselines (default: capture them, but compare nothing)"),
    Option("--modelviz-update", "record what has no baseline and what drifted beyond tolerance; touch nothing else"),
    Option("--modelviz-update-missing", "record only what has no baseline"),
    Option("--modelviz-update-all", "record everything, even over unreadable baselines"),
    Option("--modelviz-require", "fail a run that compared nothing"),
    Option(
        "--modelviz-baseline-dir",
        "folder of the baselines, or a URL such as s3://bucket/baselines (default: baselines under rootdir)",
        "DIR",
    ),
    Option("--modelviz-results-dir", "folder for what a run writes (default: .modelviz under rootdir)", "DIR"),
    Option(
        "--modelviz-rtol",
        "relative tolerance (default: what rounding does to each layer, as measured when recording, within bounds by "
        "dtype and device: 1e-6 to 1e-4 for float32)",
        "X",
        is_number=True,
    ),
    Option(
        "--modelviz-atol",
        "absolute tolerance; for maps, a fraction of the peak",
        "X",
        is_number=True,
    ),
    Option(
        "--modelviz-variant",
        "use a platform's own baselines where they exist, else the common ones",
        "NAME",
    ),
    Option(
        "--modelviz-orphans",
        "what to do about baselines whose test is gone: ignore, warn (default) or fail",
        "WHAT",
    ),
    Option(
        "--modelviz-shadow",
        "repeat passes in lower precision in float32: always, never, or auto where memory and time allow it (default)",
        "WHEN",
    ),
    Option(
        "--modelviz-colormap",
        "colours of heatmaps laid over a photograph: inferno (default), viridis, cividis or jet",
        "NAME",
    ),
    Option(
        "--modelviz-github",
        "on GitHub Actions, add what did not match to the job's summary and annotate the lines: auto (default) or off",
        "WHEN",
    ),
    Option("--modelviz-html", "write report.html into the results folder (default)", default=True),
)
