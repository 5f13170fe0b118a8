"""Contexts that code may enter and never leave: autocast, modes, hooks on saved tensors, levels of transforms.

A `with` statement leaves the context that it enters; a generator that is never resumed and a bare `__enter__` do not.
The stacks are torch's private ones, since there is no public way to read them. Those that a torch does not have are
skipped.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.autograd import forward_ad

from pytest_modelviz.probe.restoring import Step
from pytest_modelviz.probe.torch_internals import autograd, functorch, mode_stack

_AUTOCAST_DEVICES = ("cpu", "cuda", "mps", "xpu", "mtia", "hpu", "xla", "ipu", "maia", "privateuseone")


class Modes:
    """The contexts that are entered at the time of construction."""

    def __init__(self) -> None:
        self._stacks = [(stack, stack.read()) for stack in _STACKS]
        self._saving = _SavedTensorHooks() if hasattr(autograd, "_top_saved_tensors_default_hooks") else None
        self._autocast = _Autocast()
        self._functorch = _functorch_depth()
        self._dual = _dual_level()

    def steps(self) -> Iterator[Step]:
        """The steps that restore them; modes come first, since they intercept the operations of the other steps."""
        for stack, before in self._stacks:
            yield stack.name, functools.partial(stack.restore, before)
        if self._saving is not None:
            yield "hooks on saved tensors", self._saving.restore
        yield "autocast", self._autocast.restore
        if _functorch_depth() > self._functorch:
            leave = functools.partial(functorch.pop_dynamic_layer_stack_and_undo_to_depth, self._functorch)
            yield "torch.func's levels", leave
        for level in range(_dual_level(), self._dual, -1):
            yield "forward-mode AD's levels", functools.partial(forward_ad.exit_dual_level, level=level)


def _functorch_depth() -> int:
    """How many of torch.func's transforms are active."""
    return int(getattr(functorch, "get_dynamic_layer_stack_depth", int)())


def _dual_level() -> int:
    return int(vars(forward_ad).get("_current_level", -1))


class ModeStack:
    """One of torch's stacks of modes, innermost last."""

    def __init__(self, name: str, kind: str) -> None:
        self.name = name
        self._length, self._item_at, self._pop, self._push = mode_stack(kind)
        self._innermost = () if kind == "function" else (None,)

    def read(self) -> list[object]:
        return [self._item_at(at) for at in range(self._length())]

    def restore(self, before: list[object]) -> None:
        """Pop the modes that were left on the stack, and push those that were taken from it."""
        current = self.read()
        pairs = zip(current, before, strict=False)
        shared = next((at for at, (a, b) in enumerate(pairs) if a is not b), min(len(current), len(before)))
        for _ in current[shared:]:
            self._pop(*self._innermost)
        for mode in before[shared:]:
            self._push(mode)


FUNCTION_MODES = ModeStack("modes for torch functions", "function")
DISPATCH_MODES = ModeStack("dispatch modes", "dispatch")
_STACKS = (DISPATCH_MODES, FUNCTION_MODES)


_Hooks = tuple[Callable[[torch.Tensor], Any], Callable[[Any], torch.Tensor]]  # pack into any object, unpack


class _SavedTensorHooks:
    """Hooks that pack and unpack the tensors that autograd saves, and whether they are allowed."""

    def __init__(self) -> None:
        self._message = _disabled_message()
        self._hooks = self._read()

    def restore(self) -> None:
        if _disabled_message() != self._message:
            autograd._saved_tensors_hooks_enable()
        if self._read() != self._hooks:
            self._pop()
            self._push(self._hooks)
        if self._message is not None and _disabled_message() != self._message:
            autograd._saved_tensors_hooks_disable(self._message)

    def _read(self) -> list[_Hooks]:
        """All pairs, innermost last; none where hooks are not allowed, for then none could be pushed again."""
        if _disabled_message() is not None:
            return []
        hooks = self._pop()
        self._push(hooks)
        return hooks

    def _pop(self) -> list[_Hooks]:
        """Pop all pairs: torch gives access to the innermost alone."""
        hooks: list[_Hooks] = []
        while (top := autograd._top_saved_tensors_default_hooks(True)) is not None:
            hooks.insert(0, top)
            autograd._pop_saved_tensors_default_hooks()
        return hooks

    def _push(self, hooks: list[_Hooks]) -> None:
        for pair in hooks:
            autograd._push_saved_tensors_default_hooks(*pair)


def _disabled_message() -> str | None:
    """Why hooks on saved tensors are not allowed, None where they are."""
    return autograd._saved_tensors_hooks_get_disabled_error_message()


class _Autocast:
    """Autocast of every device: whether it is on, its dtype, its depth, and whether casts are cached.

    A pass without gradients casts weights without gradients, so its casts and those of the caller must not share the
    cache: it is cleared at both ends.
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
