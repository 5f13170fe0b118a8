"""Records every module call of a pass, in the order in which they happen.

The recorder puts a function around `torch.nn.Module.__call__` for the length of the pass (as `torch.fx` does when it
traces) and hooks no module. No module is touched; TransformerEncoderLayer stays on its fast path, which hooks would
push it off; and keyword arguments are recorded.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import torch

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.probe.call_observer import CallObserver
from pytest_modelviz.probe.lent import LentWeights
from pytest_modelviz.probe.modules import (
    OWN_OF_MODULE,
    Describer,
    class_name,
    compiled_modules,
    observed_modules,
    parameters_of,
    tie_groups,
    unsaved_buffers,
    unwrapped,
)
from pytest_modelviz.probe.purity import state_of
from pytest_modelviz.probe.sketch import WEIGHT_WIDTH, record_number, record_shape, record_tensor
from pytest_modelviz.probe.streams import consumed, is_lazy, stepwise
from pytest_modelviz.probe.structure import leaves, literal, unread
from pytest_modelviz.probe.torch_internals import buffer_table, is_any_autocast_enabled
from pytest_modelviz.probe.weights import Weights
from pytest_modelviz.records.structure import ATTRIBUTE_SUFFIX, REWRITTEN, UNSAVED, ModelStructure, ModuleRecord
from pytest_modelviz.records.tensors import TensorRecord
from pytest_modelviz.records.trace import Call, ForwardTrace, Leaf

_MOST_NAMED = 3
_LITERALS = (bool, int, float, str, type(None))
Look = Callable[[torch.Tensor], TensorRecord]


class PassRecorder:
    """Records one pass of one model into a `ForwardTrace`.

    Args:
        model: the model that is to be called.
        observers: what else follows the calls; each gets the output that the one before it gave.
        look: turns a tensor into its record.
        weight_width: the width of the sketches of parameters and buffers, None leaves them out.

    Example:
        >>> recorder = PassRecorder(model)
        >>> with recorder.recording():
        ...     model(image)
        >>> [call.layer for call in recorder.trace.calls]

    """

    def __init__(
        self,
        model: torch.nn.Module,
        observers: Sequence[CallObserver] = (),
        *,
        look: Look = record_tensor,
        weight_width: int | None = WEIGHT_WIDTH,
    ) -> None:
        named = list(observed_modules(model))
        self._names = {id(module): name for name, module in named}
        self._wrapped = {id(wrapper): unwrapped(wrapper) for wrapper in compiled_modules(model)}
        self._modules_seen = [module for _, module in named]
        self._inside: tuple[int, int, type[torch.nn.Module]] | None = None
        self._ambient: str | None = None
        self._look = look
        self._numbers = look is not record_shape
        self._observers = tuple(observers)
        self._thread = threading.get_ident()
        self._depth = 0
        self._counts: dict[str, int] = {}
        self._seen: dict[int, tuple[weakref.ref[torch.Tensor], Any, str]] = {}
        self._notes: tuple[str, ...] = ()
        self.calls: list[Call] = []
        self.tensors: dict[str, TensorRecord] = {}
        self._weights = Weights(named, weight_width)
        describer = Describer()
        self._modules = {name: describer.describe(module, self._weights.names(module)) for name, module in named}
        self._attributes = [
            (name, module, {key: value for key, value in vars(module).items() if key not in OWN_OF_MODULE})
            for name, module in named
            if not isinstance(module, torch.jit.ScriptModule)
        ]
        self._ties = tie_groups(model)
        self._lent = LentWeights(module for _, module in named)

    @property
    def trace(self) -> ForwardTrace:
        structure = ModelStructure(self._modules, self._weights.records(), self._ties)
        return ForwardTrace(structure, self.calls, self.tensors, notes=self._notes)

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """Record every call made by this thread inside the block. A pass that calls nothing is an error."""
        classes = {base for module in self._modules_seen for base in type(module).__mro__ if "__call__" in vars(base)}
        classes = {base for base in classes if issubclass(base, torch.nn.Module)} | {torch.nn.Module}
        originals = {base: vars(base)["__call__"] for base in classes}
        buffers = [
            (name, module, local, buffer, state_of(buffer))
            for name, module in zip(self._modules, self._modules_seen, strict=True)
            for local, buffer in unsaved_buffers(module)
        ]
        try:
            for base, original in originals.items():
                self._put_around(base, original)
            yield
        finally:
            for base, original in originals.items():
                cast(Any, base).__call__ = original
            self._forget_state()
            self._mark_rewritten(buffers)
        if not self.calls:
            raise ModelvizError(
                f"no module call of {class_name(self._modules_seen[0])} could be observed: the model must be called as "
                f"model(...), in this thread"
            )

    def _forget_state(self) -> None:
        """An attribute that the pass itself has changed is state, and says nothing about how a module is made."""
        for name, module, before in self._attributes:
            now = vars(module)
            changed = {key for key, value in before.items() if now.get(key) is not value}
            if changed:
                record = self._modules[name]
                config = {key: text for key, text in record.config.items() if key not in changed}
                names = {local: key for local, key in record.weights.items() if not _is_of(local, changed)}
                self._modules[name] = ModuleRecord(record.class_name, config, names)

    def _mark_rewritten(self, buffers: list[tuple[str, torch.nn.Module, str, torch.Tensor, Any]]) -> None:
        """A buffer that no state dict holds, and that the pass itself writes, is state too.

        It is marked, not left out: an earlier baseline has it among the weights.
        """
        unsaved: dict[str, list[str]] = {}
        written: dict[str, list[str]] = {}
        for name, module, local, buffer, state in buffers:
            unsaved.setdefault(name, []).append(local)
            if buffer_table(module).get(local) is not buffer or state_of(buffer) != state:
                written.setdefault(name, []).append(local)
        for name, names in unsaved.items():
            record = self._modules[name]
            marks = {UNSAVED: "\n".join(names), **({REWRITTEN: "\n".join(written[name])} if name in written else {})}
            self._modules[name] = ModuleRecord(record.class_name, {**record.config, **marks}, record.weights)

    def _put_around(self, base: type[torch.nn.Module], original: Callable[..., Any]) -> None:
        def observed_call(module: torch.nn.Module, /, *args: Any, **kwargs: Any) -> Any:
            meant = self._wrapped.get(id(module), module)  # a compiled child may call what it wraps unseen
            name = self._names.get(id(meant))
            # a class's own __call__ that goes on to its base's is one call, not two, and so is a wrapper's
            inside = self._inside
            further = inside is not None and inside[0] == id(meant) and inside[1:] != (id(module), base)
            if name is None or further or threading.get_ident() != self._thread:
                return original(module, *args, **kwargs)
            self._inside = (id(meant), id(module), base)
            try:
                return self._observe(functools.partial(original, module), meant, name, args, kwargs)
            finally:
                self._inside = inside

        cast(Any, base).__call__ = observed_call

    def _observe(
        self, call_on: Callable[..., Any], module: torch.nn.Module, name: str, args: tuple[Any, ...], kwargs: Any
    ) -> Any:
        index = self._counts.get(name, 0)
        self._counts[name] = index + 1
        place = f"{name}#{index}" if index else name
        inputs = self._leaves(_named(module, args, kwargs), f"{place}<")
        ambient = _autocast()
        if self._depth == 0:
            self._ambient = ambient
        elif ambient != self._ambient:  # the code of a caller has changed it
            inputs["(autocast)"] = Leaf(literal=ambient)
        call = Call(name, index, self._depth, inputs)
        self.calls.append(call)
        for local, tensor in self._lent.enter(call, module):
            self._lent.give(call, local, Leaf(self._key(tensor, f"{place}<{local}")))
        for observer in self._observers:
            observer.enter(call)
        self._depth += 1
        try:
            output = call_on(*args, **kwargs)
            if self._depth == 1:  # what the model returns runs inside of it, however late
                output, notes = consumed(output)
                self._notes += notes
        except BaseException:
            for observer in self._observers:
                observer.abandon(call)
            raise
        finally:
            self._depth -= 1
            self._lent.leave(call)
        call.outputs = self._leaves([("", output)], place)
        if not (self._depth or self._notes) and (opaque := unread(output)):
            self._notes += (f"the model's output holds what is not compared: {', '.join(opaque[:_MOST_NAMED])}",)
        self._weights.called(module)
        for observer in self._observers:
            output = observer.leave(call, module, output)
        return self._watched(output, module, name) if self._depth and is_lazy(output) else output

    def _watched(self, output: Iterator[Any], module: torch.nn.Module, name: str) -> Any:
        """A generator that a module returns to its caller: each step is a call of the module, without arguments."""

        def step(resume: Callable[[], Any]) -> Any:
            if threading.get_ident() != self._thread or not self._depth:
                return resume()
            return self._observe(resume, module, name, (), {})

        return stepwise(output, step)

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
        state = state_of(tensor)
        known = self._seen.get(id(tensor))
        if known is not None and known[0]() is tensor and known[1] == state:
            return known[2]
        key = self._keep(self._look(tensor), place)
        self._seen[id(tensor)] = (weakref.ref(tensor), state, key)
        return key

    def _keep(self, record: TensorRecord, place: str) -> str:
        key, again = place, 1
        while key in self.tensors:  # a module that calls itself meets its own place again
            again += 1
            key = f"{place}~{again}"
        self.tensors[key] = record
        return key


def _is_of(local: str, attributes: set[str]) -> bool:
    """Whether a loose tensor is, or lies in, one of these attributes."""
    return local.endswith(ATTRIBUTE_SUFFIX) and local.removesuffix(ATTRIBUTE_SUFFIX).partition("[")[0] in attributes


def _autocast() -> str:
    """Which devices compute in which dtype by themselves, empty where none does."""
    if not is_any_autocast_enabled():
        return ""
    kinds = [kind for kind in ("cpu", "cuda") if torch.is_autocast_enabled(kind)]
    return ", ".join(f"{kind} {torch.get_autocast_dtype(kind)}" for kind in kinds) or "other devices"


def _named(module: torch.nn.Module, args: tuple[Any, ...], kwargs: Any) -> list[tuple[str, Any]]:
    """Arguments by the name of forward's parameter, in the order of its signature: `f(x, y)` is `f(y=y, x=x)`.

    What is the default anyway is left out, so that it may be spelled out or not.
    """
    parameters = parameters_of(module)
    named = dict(zip(parameters.names, args, strict=False))
    named.update((f"{parameters.rest}[{at}]", value) for at, value in enumerate(args[len(parameters.names) :]))
    named.update((name, kwargs[name]) for name in (*parameters.names, *parameters.only_by_name) if name in kwargs)
    named.update((name, kwargs[name]) for name in sorted(kwargs) if name not in named)
    defaults = parameters.defaults
    return [(name, value) for name, value in named.items() if name not in defaults or not _is(value, defaults[name])]


def _is(value: Any, default: Any) -> bool:
    return type(value) is type(default) and isinstance(value, _LITERALS) and bool(value == default)
