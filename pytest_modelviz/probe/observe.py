"""Watch every module call of a pass, in the order in which it happens.

Calls are seen by putting a function around `torch.nn.Module.__call__` for the length of the pass (as `torch.fx` does
when it traces), not by hooks on each module. No module is touched; TransformerEncoderLayer stays on its fast path,
which hooks would push it off; and keyword arguments are seen.
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any, cast

import torch

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.probe.modules import argument_names, class_name, module_record, observed_modules, tie_groups
from pytest_modelviz.probe.purity import writes_into
from pytest_modelviz.probe.sketch import WEIGHT_WIDTH, record_number, record_shape, record_tensor
from pytest_modelviz.probe.structure import leaves, literal
from pytest_modelviz.probe.weights import Weights
from pytest_modelviz.trace import Call, Leaf, TensorRecord, Trace

Look = Callable[[torch.Tensor], TensorRecord]
OnEnter = Callable[[Call], None]
OnOutput = Callable[[Call, torch.nn.Module, Any], Any]


class Observer:
    """Records one pass of one model into a Trace.

    `look` turns a tensor into its record; `weight_width` is the width of the sketches of parameters and buffers, None
    leaves them out.
    `on_enter` is called as each call is entered, `on_output` as it is left: it may return another output to be used
    instead (returning what it was given changes nothing).
    """

    def __init__(
        self,
        model: torch.nn.Module,
        *,
        look: Look = record_tensor,
        weight_width: int | None = WEIGHT_WIDTH,
        on_enter: OnEnter | None = None,
        on_output: OnOutput | None = None,
    ) -> None:
        named = list(observed_modules(model))
        self._names = {id(module): name for name, module in named}
        self._modules_seen = [module for _, module in named]
        self._inside: tuple[int, type[torch.nn.Module]] | None = None
        self._look = look
        self._numbers = look is not record_shape
        self._on_enter, self._on_output = on_enter, on_output
        self._thread = threading.get_ident()
        self._depth = 0
        self._counts: dict[str, int] = {}
        self._seen: dict[int, tuple[weakref.ref[torch.Tensor], int, str]] = {}
        self.calls: list[Call] = []
        self.tensors: dict[str, TensorRecord] = {}
        self._weights = Weights(named, weight_width)
        self._modules = {name: module_record(module, self._weights.names(module)) for name, module in named}
        self._ties = tie_groups(model)

    @property
    def trace(self) -> Trace:
        return Trace(self._modules, self.calls, self.tensors, self._weights.records(), self._ties)

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Observe every call made by this thread inside the block. A pass that calls nothing is an error."""
        classes = {base for module in self._modules_seen for base in type(module).__mro__ if "__call__" in vars(base)}
        classes = {base for base in classes if issubclass(base, torch.nn.Module)} | {torch.nn.Module}
        originals = {base: vars(base)["__call__"] for base in classes}
        try:
            for base, original in originals.items():
                self._put_around(base, original)
            yield
        finally:
            for base, original in originals.items():
                cast(Any, base).__call__ = original
        if not self.calls:
            raise ModelvizError(
                f"no module call of {class_name(self._modules_seen[0])} could be observed: the model must be called as "
                f"model(...), in this thread"
            )

    def _put_around(self, base: type[torch.nn.Module], original: Callable[..., Any]) -> None:
        def observed_call(module: torch.nn.Module, /, *args: Any, **kwargs: Any) -> Any:
            name = self._names.get(id(module))
            # a class's own __call__ that goes on to its base's is one call, not two
            further = self._inside is not None and self._inside[0] == id(module) and self._inside[1] is not base
            if name is None or further or threading.get_ident() != self._thread:
                return original(module, *args, **kwargs)
            outer, self._inside = self._inside, (id(module), base)
            try:
                return self._observe(original, module, name, args, kwargs)
            finally:
                self._inside = outer

        cast(Any, base).__call__ = observed_call

    def _observe(
        self, original: Callable[..., Any], module: torch.nn.Module, name: str, args: tuple[Any, ...], kwargs: Any
    ) -> Any:
        index = self._counts.get(name, 0)
        self._counts[name] = index + 1
        place = f"{name}#{index}" if index else name
        call = Call(name, index, self._depth, self._leaves(_named(module, args, kwargs), f"{place}<"))
        self.calls.append(call)
        if self._on_enter is not None:
            self._on_enter(call)
        self._depth += 1
        try:
            output = original(module, *args, **kwargs)
        finally:
            self._depth -= 1
        call.outputs = self._leaves([("", output)], place)
        self._weights.called(module)
        return output if self._on_output is None else self._on_output(call, module, output)

    def _leaves(self, values: list[tuple[str, Any]], place: str) -> dict[str, Leaf]:
        found: dict[str, Leaf] = {}
        for name, value in values:
            if isinstance(value, torch.Tensor):  # nearly always
                found[name] = Leaf(self._key(value, place + name))
                continue
            for path, item in leaves(value, name):
                if isinstance(item, torch.Tensor):
                    found[path] = Leaf(tensor=self._key(item, place + path))
                elif isinstance(item, (float, complex)) and self._numbers:
                    found[path] = Leaf(tensor=self._keep(record_number(item), place + path))
                else:
                    found[path] = Leaf(literal=literal(item))
        return found

    def _key(self, tensor: torch.Tensor, place: str) -> str:
        """Sketch a tensor unless this very tensor, unchanged since, was sketched before."""
        version = writes_into(tensor)
        known = self._seen.get(id(tensor))
        if known is not None and known[0]() is tensor and known[1] == version:
            return known[2]
        key = self._keep(self._look(tensor), place)
        self._seen[id(tensor)] = (weakref.ref(tensor), version, key)
        return key

    def _keep(self, record: TensorRecord, place: str) -> str:
        key, again = place, 1
        while key in self.tensors:  # a module that calls itself meets its own place again
            again += 1
            key = f"{place}~{again}"
        self.tensors[key] = record
        return key


def _named(module: torch.nn.Module, args: tuple[Any, ...], kwargs: Any) -> list[tuple[str, Any]]:
    """Arguments by the name of forward's parameter, so that `f(x)` and `f(x=x)` are the same call."""
    names, rest = argument_names(module)
    named = []
    for index, value in enumerate(args):
        named.append((names[index] if index < len(names) else f"{rest}[{index - len(names)}]", value))
    return named + sorted(kwargs.items())
