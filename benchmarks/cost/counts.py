"""Work that can be counted: the same on every machine, however busy it is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from torch.profiler import ProfilerActivity, profile

import pytest_modelviz

PACKAGE = Path(pytest_modelviz.__file__).parent


def python_calls(action: Callable[[], object], *, is_counted: Callable[[Path], bool] | None = None) -> int:
    """How many Python functions are called, of all files or of those that `is_counted` says."""
    counted: dict[str, bool] = {}
    count = 0

    def look(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        if event == "call":
            file = frame.f_code.co_filename
            if file not in counted:
                counted[file] = is_counted is None or is_counted(Path(file))
            count += counted[file]

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        action()
    finally:
        sys.setprofile(before)
    return count


def makes_pictures(file: Path) -> bool:
    """Whether the functions in a file of the package make pictures."""
    return PACKAGE in file.parents and (PACKAGE / "pictures" in file.parents or file.stem.endswith("pictures"))


def operators(action: Callable[[], object]) -> int:
    """How many of torch's operators are called, not counting those that they call in their turn."""
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        action()
    events = [event for event in profiler.profiler.kineto_results.events() if event.name().startswith("aten::")]
    count, end = 0, 0
    for event in sorted(events, key=lambda event: (event.start_ns(), -event.duration_ns())):
        if event.start_ns() >= end:
            count, end = count + 1, event.start_ns() + event.duration_ns()
    return count
