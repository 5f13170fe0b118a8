"""What a user sees of an error that a model raises: the way through the model, not the way to it."""

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
        raised = waiting.pop()
        if raised is not None and id(raised) not in known:
            known.add(id(raised))
            waiting += [raised.__cause__, raised.__context__]
            raised.__traceback__ = _without_own(raised.__traceback__)


def _without_own(trace: TracebackType | None) -> TracebackType | None:
    frames = []
    rest = trace
    while rest is not None:
        frames.append(rest)
        rest = rest.tb_next
    if frames and _is_own(frames[-1]) and frames[-1].tb_frame.f_code.co_name not in _MODES:
        return trace
    is_watched = any(_is_own(frame) and frame.tb_frame.f_code.co_name in _MODES for frame in frames)
    left = None
    for frame in reversed(frames):
        if not _is_own(frame) and not (is_watched and _is_machinery(frame)):
            left = TracebackType(left, frame.tb_frame, frame.tb_lasti, frame.tb_lineno)
    return left


def _is_own(trace: TracebackType) -> bool:
    return trace.tb_frame.f_code.co_filename.startswith(_HOME)


def _is_machinery(trace: TracebackType) -> bool:
    """Whether torch comes by here only because operators are watched."""
    return Path(trace.tb_frame.f_code.co_filename).as_posix().endswith(_MACHINERY)
