"""What a caller enters and leaves again: autocast, devices, modes that intercept, hooks on saved tensors, levels.

A `with` statement leaves what it enters; a generator that is never resumed and a bare `__enter__` do not. The stacks
are torch's own, since there is no public way to look at them. What a torch does not have is left out.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.autograd import forward_ad

from pytest_modelviz.probe.torch_internals import autograd, functorch, mode_stack

_AUTOCAST_DEVICES = ("cpu", "cuda", "mps", "xpu", "mtia", "hpu", "xla", "ipu", "maia", "privateuseone")


class Modes:
    """What was entered when this was made."""

    def __init__(self) -> None:
        self._stacks = [(stack, stack.read()) for stack in _STACKS]
        self._saving = _SavedTensorHooks() if hasattr(autograd, "_top_saved_tensors_default_hooks") else None
        self._autocast = _Autocast()
        self.functorch = functorch_depth()
        self._dual = _dual_level()

    def steps(self) -> Iterator[tuple[str, Callable[[], Any]]]:
        """(name, action) of all that is put back; what intercepts operations is first, for the rest are some."""
        for stack, before in self._stacks:
            yield stack.name, functools.partial(stack.restore, before)
        if self._saving is not None:
            yield "hooks on saved tensors", self._saving.restore
        yield "autocast", self._autocast.restore
        if functorch_depth() > self.functorch:
            leave = functools.partial(functorch.pop_dynamic_layer_stack_and_undo_to_depth, self.functorch)
            yield "torch.func's levels", leave
        for level in range(_dual_level(), self._dual, -1):
            yield "forward-mode AD's levels", functools.partial(forward_ad.exit_dual_level, level=level)


def functorch_depth() -> int:
    """How many of torch.func's transforms are active."""
    depth = getattr(functorch, "get_dynamic_layer_stack_depth", None)
    return 0 if depth is None else int(depth())


def _dual_level() -> int:
    return int(vars(forward_ad).get("_current_level", -1))


class ModeStack:
    """One of torch's stacks of modes, innermost last."""

    def __init__(self, name: str, kind: str) -> None:
        self.name = name
        self._length, self._at, self._pop, self._push = mode_stack(kind)
        self._innermost = () if kind == "function" else (None,)

    def read(self) -> list[Any]:
        return [self._at(at) for at in range(self._length())]

    def restore(self, before: list[Any]) -> None:
        """Take off what was left on the stack, and put on again what was taken from it."""
        now = self.read()
        pairs = zip(now, before, strict=False)
        same = next((at for at, (a, b) in enumerate(pairs) if a is not b), min(len(now), len(before)))
        for _ in now[same:]:
            self._pop(*self._innermost)
        for mode in before[same:]:
            self._push(mode)


FUNCTION_MODES = ModeStack("modes for torch functions", "function")
DISPATCH_MODES = ModeStack("dispatch modes", "dispatch")
_STACKS = (DISPATCH_MODES, FUNCTION_MODES)


class _SavedTensorHooks:
    """Hooks that pack and unpack what autograd saves, and whether they are allowed."""

    def __init__(self) -> None:
        self._message = _disabled()
        self._hooks = self._read()

    def restore(self) -> None:
        if _disabled() != self._message:
            autograd._saved_tensors_hooks_enable()
        now = self._read()
        same = len(now) == len(self._hooks) and all(
            a is c and b is d for (a, b), (c, d) in zip(now, self._hooks, strict=True)
        )
        if not same:
            self._take_off()
            self._put_on(self._hooks)
        if self._message is not None and _disabled() != self._message:
            autograd._saved_tensors_hooks_disable(self._message)

    def _read(self) -> list[Any]:
        """All pairs, innermost last; none where they are not allowed, for then none could be put on again."""
        if _disabled() is not None:
            return []
        hooks = self._take_off()
        self._put_on(hooks)
        return hooks

    def _take_off(self) -> list[Any]:
        """Torch shows the innermost pair only."""
        hooks: list[Any] = []
        while (top := autograd._top_saved_tensors_default_hooks(True)) is not None:
            hooks.insert(0, top)
            autograd._pop_saved_tensors_default_hooks()
        return hooks

    def _put_on(self, hooks: list[Any]) -> None:
        for pair in hooks:
            autograd._push_saved_tensors_default_hooks(*pair)


def _disabled() -> str | None:
    """Why hooks on saved tensors are not allowed, None where they are."""
    return autograd._saved_tensors_hooks_get_disabled_error_message()


class _Autocast:
    """Autocast of every device: whether, in which dtype, how deep, and with a cache of casts or not.

    Casts of weights are made without gradients in a pass without gradients. Neither may find the other's in the cache.
    """

    def __init__(self) -> None:
        self._devices = [(device, *_autocast_of(device)) for device in _autocast_devices()]
        self._cache = torch.is_autocast_cache_enabled()
        self._depth = _autocast_depth()
        if self._depth:
            torch.clear_autocast_cache()

    def restore(self) -> None:
        for device, enabled, dtype in self._devices:
            if _autocast_of(device) != (enabled, dtype):
                torch.set_autocast_enabled(device, enabled)
                torch.set_autocast_dtype(device, dtype)
        if torch.is_autocast_cache_enabled() != self._cache:
            torch.set_autocast_cache_enabled(self._cache)
        depth = _autocast_depth()
        if depth or self._depth:
            torch.clear_autocast_cache()
        for _ in range(depth, self._depth):
            torch.autocast_increment_nesting()
        for _ in range(self._depth, depth):
            torch.autocast_decrement_nesting()


@functools.lru_cache(maxsize=1)
def _autocast_devices() -> tuple[str, ...]:
    return tuple(device for device in _AUTOCAST_DEVICES if torch.amp.is_autocast_available(device))


def _autocast_of(device: str) -> tuple[bool, torch.dtype]:
    return torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)


def _autocast_depth() -> int:
    torch.autocast_increment_nesting()
    return int(torch.autocast_decrement_nesting())
