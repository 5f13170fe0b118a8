"""Leave the process as it was found: random states, modes, hooks, threads and backend flags."""

from __future__ import annotations

import contextlib
import random
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch

from pytest_modelviz.errors import ModelvizWarning
from pytest_modelviz.probe.modes import Modes
from pytest_modelviz.probe.randomness import RandomStates
from pytest_modelviz.probe.switches import Switches

Step = tuple[str, Callable[[], Any]]


@contextlib.contextmanager
def process_untouched(also: Iterable[Step] = ()) -> Iterator[None]:
    """Put back random states, modes, hooks, threads and backend flags after the block, and then do what `also` says.

    A step that fails is warned of and keeps no other from being done; what the block has raised is raised all the same.
    """
    modes, switches, states = Modes(), Switches(), RandomStates()
    raised = False
    failures: list[str] = []
    try:
        # as it is left, this puts all back that autograd and the dispatcher keep for a thread
        with torch.inference_mode(torch.is_inference_mode_enabled()):
            _do(switches.steps_in_inference_mode(), failures)
            try:
                yield
            finally:
                with torch.inference_mode(False):
                    _do(modes.steps(), failures)
                    _do(also, failures)
                # again, for what is forgotten now may have entered some itself, and leaves them as it goes
                _do(modes.steps(), failures)
                _do(switches.steps(), failures)
    except BaseException:
        raised = True
        raise
    finally:
        _do(states.steps(), failures)
        _warn(failures, raised)


@contextlib.contextmanager
def modes_untouched() -> Iterator[None]:
    """Leave after a block whatever it has entered and not left, so that it intercepts nothing of what follows it.

    What fails is tried again, and warned of, by `process_untouched`.
    """
    modes = Modes()
    try:
        yield
    finally:
        _do(modes.steps(), [])


def _do(steps: Iterable[Step], failures: list[str]) -> None:
    """Do every step, also after one has failed."""
    for name, action in steps:
        failure = _failure(action)
        if failure:
            failures.append(f"{name} ({failure})")


def _failure(action: Callable[[], Any]) -> str:
    try:
        action()
    except Exception as error:
        return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
    return ""


def _warn(failures: list[str], raised: bool) -> None:
    if failures:
        listed = "; ".join(dict.fromkeys(failures))
        # where warnings are errors, this one must not hide an exception on its way
        with contextlib.suppress(ModelvizWarning) if raised else contextlib.nullcontext():
            warnings.warn(ModelvizWarning(f"could not be put back after a check: {listed}"), stacklevel=4)


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Run a block whose random numbers come from one seed; everything is put back after it."""
    with process_untouched():
        torch.manual_seed(seed)  # of all devices; one that is not in use yet is seeded when it is
        random.seed(seed)
        if "numpy" in sys.modules:
            sys.modules["numpy"].random.seed(seed % 2**32)
        yield


def other_randomness() -> contextlib.AbstractContextManager[None]:
    """Run a block from random states that no caller has: what it draws is not what it would have drawn."""
    return seeded(0x6D6F64656C76697A)
