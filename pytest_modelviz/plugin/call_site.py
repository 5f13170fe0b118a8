"""Where in a user's code a check is made: in the test's own file if there, else where this package was called."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from pytest_modelviz.plugin.identity import relative_file

_HOME = f"{Path(__file__).parents[1]}{os.sep}"  # a package beside may have a name that begins as this one's


def call_site(test_file: Path, rootdir: Path) -> tuple[str, int] | None:
    """The file, relative to rootdir, and the line of the innermost call in a test file."""
    sites = list(_sites(sys._getframe(1)))
    inner = next((site for site in sites if site[0] == str(test_file)), sites[0] if sites else None)
    return None if inner is None else (relative_file(Path(inner[0]), rootdir), inner[1])


def _sites(frame: FrameType | None) -> Iterator[tuple[str, int]]:
    while frame is not None:
        if not frame.f_code.co_filename.startswith(_HOME):
            yield frame.f_code.co_filename, frame.f_lineno
        frame = frame.f_back
