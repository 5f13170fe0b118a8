"""Leave the process as it was found: random states, grad mode, threads and backend flags."""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch


@contextlib.contextmanager
def process_untouched() -> Iterator[None]:
    """Put back random states, modes, threads and backend flags after the block."""
    state = _GlobalState()
    try:
        with torch.random.fork_rng(devices=_cuda_devices()):
            yield
    finally:
        state.restore()


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


def _cuda_devices() -> list[int]:
    return list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []


class _GlobalState:
    """Random states outside torch, modes, threads and backend flags."""

    def __init__(self) -> None:
        self._python = random.getstate()
        self._numpy = sys.modules["numpy"].random.get_state() if "numpy" in sys.modules else None
        states = [*(_device_state(backend) for backend in _BACKENDS), _mps_state()]
        self._devices = [put_back for put_back in states if put_back is not None]
        self._flags = [(read, write, _try(read)) for read, write in _flags()]

    def restore(self) -> None:
        random.setstate(self._python)
        if self._numpy is not None:
            sys.modules["numpy"].random.set_state(self._numpy)
        for put_back in self._devices:
            put_back()
        for read, write, before in self._flags:
            if before is not _UNREADABLE and _try(read) != before:
                write(before)


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


_UNREADABLE = object()


def _try(read: Callable[[], Any]) -> Any:
    """A flag's value. Some cannot be read once the user has set precisions backend by backend."""
    try:
        return read()
    except RuntimeError:
        return _UNREADABLE


def _deterministic() -> tuple[bool, bool]:
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


def _flags() -> list[tuple[Callable[[], Any], Callable[[Any], Any]]]:
    """Pairs of (read, write) for every switch of the process that changes how torch computes."""
    cuda = torch.backends.cuda
    pairs: list[tuple[Callable[[], Any], Callable[[Any], Any]]] = [
        (torch.is_grad_enabled, torch.set_grad_enabled),
        (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
        (torch.get_default_dtype, torch.set_default_dtype),
        (torch.get_default_device, torch.set_default_device),
        (torch.get_num_threads, torch.set_num_threads),
        (_deterministic, lambda both: torch.use_deterministic_algorithms(both[0], warn_only=both[1])),
        (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
        (torch.backends.mha.get_fastpath_enabled, torch.backends.mha.set_fastpath_enabled),
        (cuda.flash_sdp_enabled, cuda.enable_flash_sdp),
        (cuda.mem_efficient_sdp_enabled, cuda.enable_mem_efficient_sdp),
        (cuda.math_sdp_enabled, cuda.enable_math_sdp),
    ]
    for owner, name in (
        (torch.backends.cudnn, "enabled"),
        (torch.backends.cudnn, "benchmark"),
        (torch.backends.cudnn, "deterministic"),
        (torch.backends.cudnn, "allow_tf32"),
        (torch.backends.mkldnn, "enabled"),
    ):
        pairs.append((lambda o=owner, n=name: getattr(o, n), lambda value, o=owner, n=name: setattr(o, n, value)))  # type: ignore[misc]
    return pairs
