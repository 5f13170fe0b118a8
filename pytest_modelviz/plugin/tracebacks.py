"""What a user sees of an error that a model raises: the way through the model, not the way to it."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType

_HOME = f"{Path(__file__).parents[1]}{os.sep}"  # a package beside may have a name that begins as this one's
_MODES = ("__torch_dispatch__", "__torch_function__")  # operators of the model pass through these
_MACHINERY = ("torch/_ops.py", "torch/_compile.py", "torch/_dynamo/eval_frame.py", "torch/utils/flop_counter.py")


def hide_own_frames(error: BaseException) -> None:
    """Take this package's frames out of the traceback of an error, and of those that it followed from.

    An error that the package itself raises keeps its traceback.
    """
    known: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is not None and id(one) not in known:
            known.add(id(one))
            waiting += [one.__cause__, one.__context__]
            one.__traceback__ = _without_own(one.__traceback__)


def _without_own(trace: TracebackType | None) -> TracebackType | None:
    frames = []
    rest = trace
    while rest is not None:
        frames.append(rest)
        rest = rest.tb_next
    if frames and _is_own(frames[-1]) and frames[-1].tb_frame.f_code.co_name not in _MODES:
        return trace
    is_watched = any(_is_own(one) and one.tb_frame.f_code.co_name in _MODES for one in frames)
    shown = None
    for one in reversed(frames):
        if not _is_own(one) and not (is_watched and _is_machinery(one)):
            shown = TracebackType(shown, one.tb_frame, one.tb_lasti, one.tb_lineno)
    return shown


def _is_own(trace: TracebackType) -> bool:
    return trace.tb_frame.f_code.co_filename.startswith(_HOME)


def _is_machinery(trace: TracebackType) -> bool:
    """Whether torch comes by here only because operators are watched."""
    return Path(trace.tb_frame.f_code.co_filename).as_posix().endswith(_MACHINERY)
