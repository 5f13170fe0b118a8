"""Random states of Python, NumPy and torch on every device."""

import functools
import random
import sys
from collections.abc import Callable

import torch

from pytest_modelviz.probe.restoring import Step


def random_states() -> list[Step]:
    """The steps that restore the present states."""
    steps: list[Step] = [("Python's random state", functools.partial(random.setstate, random.getstate()))]
    if "numpy" in sys.modules:
        numpy = sys.modules["numpy"].random
        steps.append(("NumPy's random state", functools.partial(numpy.set_state, numpy.get_state())))
    steps.append(("torch's random state", functools.partial(torch.set_rng_state, torch.get_rng_state())))
    for device in range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ():
        restore = functools.partial(torch.cuda.set_rng_state, torch.cuda.get_rng_state(device), device)
        steps.append((f"the random state of cuda:{device}", restore))
    states = (_device_state("cuda"), _device_state("xpu"), _mps_state())
    return steps + [("a device's random state", state) for state in states if state is not None]


_FIRST_SEED = 67280421310721  # of a device's generator that was never seeded


def _device_state(backend: str) -> Callable[[], None] | None:
    """An action that restores a device's random numbers; None where nothing is to be done.

    A device that is not in use yet has no state but a pending seed: ours must not be pending afterwards, and a device
    that was initialised meanwhile gets the seed that was pending before.
    """
    device = getattr(torch, backend)
    pending = getattr(device, "_lazy_seed_tracker", None)
    if device.is_initialized():
        if backend == "cuda":
            return None
        return functools.partial(device.set_rng_state_all, device.get_rng_state_all())
    if pending is None:
        return None
    before = dict(vars(pending))

    def restore() -> None:
        vars(pending).update(before)
        if device.is_initialized():
            device.manual_seed_all(_FIRST_SEED)
            for call in before["call_order"]:
                if call:
                    call[0]()

    return restore


def _mps_state() -> Callable[[], None] | None:
    if not torch.backends.mps.is_available():
        return None
    return functools.partial(torch.mps.set_rng_state, torch.mps.get_rng_state())
