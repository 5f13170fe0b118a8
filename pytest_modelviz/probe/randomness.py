"""Random states of Python, NumPy and torch, of every device."""

from __future__ import annotations

import functools
import random
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch


class RandomStates:
    """The states when this was made."""

    def __init__(self) -> None:
        self._python = random.getstate()
        self._numpy = sys.modules["numpy"].random.get_state() if "numpy" in sys.modules else None
        self._torch = torch.get_rng_state()
        self._cuda = [(device, torch.cuda.get_rng_state(device)) for device in _cuda_devices()]
        states = [*(_device_state(backend) for backend in _BACKENDS), _mps_state()]
        self._devices = [put_back for put_back in states if put_back is not None]

    def steps(self) -> Iterator[tuple[str, Callable[[], Any]]]:
        """(name, action) of each state to be put back."""
        yield "Python's random state", functools.partial(random.setstate, self._python)
        if self._numpy is not None:
            set_state: Any = sys.modules["numpy"].random.set_state
            yield "NumPy's random state", functools.partial(set_state, self._numpy)
        yield "torch's random state", functools.partial(torch.set_rng_state, self._torch)
        for device, state in self._cuda:
            yield f"the random state of cuda:{device}", functools.partial(torch.cuda.set_rng_state, state, device)
        for put_back in self._devices:
            yield "a device's random state", put_back


def _cuda_devices() -> list[int]:
    return list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []


_BACKENDS = ("cuda", "xpu")
_FIRST_SEED = 67280421310721  # of a device's generator that nobody has seeded


def _device_state(backend: str) -> Callable[[], None] | None:
    """What puts back a device's random numbers; fork_rng does that for CUDA devices in use.

    A device that is not in use yet has no state but a seed that waits for it: ours must not wait there afterwards, and
    one that was put to use meanwhile gets the seed that waited before.
    """
    device = getattr(torch, backend)
    waiting = getattr(device, "_lazy_seed_tracker", None)
    if device.is_initialized():
        if backend == "cuda":
            return None
        states = device.get_rng_state_all()
        return lambda: device.set_rng_state_all(states)
    if waiting is None:
        return None
    before = dict(vars(waiting))

    def put_back() -> None:
        vars(waiting).update(before)
        if device.is_initialized():
            device.manual_seed_all(_FIRST_SEED)
            for call in before["call_order"]:
                if call:
                    call[0]()

    return put_back


def _mps_state() -> Callable[[], None] | None:
    if not torch.backends.mps.is_available():
        return None
    state = torch.mps.get_rng_state()
    return lambda: torch.mps.set_rng_state(state)
