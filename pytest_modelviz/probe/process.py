"""Restoring the global state of the process: random states, modes, hooks, threads and backend flags."""

import contextlib
import random
import sys
import warnings
from collections.abc import Iterable, Iterator

import torch

from pytest_modelviz.errors import ModelvizWarning
from pytest_modelviz.probe.context_stacks import Modes
from pytest_modelviz.probe.randomness import random_states
from pytest_modelviz.probe.restoring import Step
from pytest_modelviz.probe.switches import Switches


@contextlib.contextmanager
def process_untouched(further_steps: Iterable[Step] = ()) -> Iterator[None]:
    """Run a block and restore random states, modes, hooks, threads and backend flags after it.

    A step that fails does not keep the others from being taken, and the block's own exception is raised all the same.

    Args:
        further_steps: what else to restore: after the modes, whose interception it might trigger, before the switches.

    Raises:
        ModelvizWarning: as a warning, with the names of the steps that failed.

    Example:
        >>> with process_untouched():
        ...     torch.use_deterministic_algorithms(True)

    """
    modes, switches, states = Modes(), Switches(), random_states()
    raised = False
    failures: list[str] = []
    try:
        # leaving this context restores all that autograd and the dispatcher hold for a thread
        with torch.inference_mode(torch.is_inference_mode_enabled()):
            _take(switches.steps_in_inference_mode(), failures)
            try:
                yield
            finally:
                with torch.inference_mode(False):
                    _take(modes.steps(), failures)
                    _take(further_steps, failures)
                # again: generators that are collected by now may have entered modes, and leave them as they go
                _take(modes.steps(), failures)
                _take(switches.steps(), failures)
    except BaseException:
        raised = True
        raise
    finally:
        _take(states, failures)
        if failures:
            listed = "; ".join(dict.fromkeys(failures))
            # where warnings are errors, this one must not hide an exception on its way
            with contextlib.suppress(ModelvizWarning) if raised else contextlib.nullcontext():
                warnings.warn(ModelvizWarning(f"could not be put back after a check: {listed}"), stacklevel=3)


@contextlib.contextmanager
def modes_untouched() -> Iterator[None]:
    """Run a block and leave every mode that it has entered and not left, so that none intercepts later operations.

    Steps that fail are taken again, and their failures reported, by the enclosing `process_untouched`.
    """
    modes = Modes()
    try:
        yield
    finally:
        _take(modes.steps(), [])


def _take(steps: Iterable[Step], failures: list[str]) -> None:
    """Take every step, also after others have failed, and add a text for each failure."""
    for name, action in steps:
        try:
            action()
        except Exception as error:  # noqa: PERF203  # one that fails must not keep the others from being taken
            failures.append(f"{name} ({type(error).__name__}: {str(error).strip().partition(chr(10))[0]})")


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Run a block whose random numbers come from one seed; the global state is restored after it."""
    with process_untouched():
        torch.manual_seed(seed)  # of all devices; those not yet initialised are seeded when they are
        random.seed(seed)
        if "numpy" in sys.modules:
            sys.modules["numpy"].random.seed(seed % 2**32)
        yield


def independent_randomness() -> contextlib.AbstractContextManager[None]:
    """Run a block from random states that no caller has, so that it draws other numbers than it would have."""
    return seeded(0x6D6F64656C76697A)
