"""Records every module call of a pass, in the order in which they happen.

The recorder wraps `torch.nn.Module.__call__` for the length of the pass (as `torch.fx` does when it traces) instead of
hooking modules. So no module is changed, TransformerEncoderLayer stays on its fast path, which it leaves where there
are hooks, and keyword arguments are recorded.
"""

import contextlib
import functools
import sys
import threading
import weakref
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.probe import modules
from pytest_modelviz.probe.configuration import Describer, parameters_of
from pytest_modelviz.probe.lent import LentWeights
from pytest_modelviz.probe.modules import OWN_OF_MODULE, class_name, observed_modules, tie_groups
from pytest_modelviz.probe.nested_values import leaves, literal, uncompared_items
from pytest_modelviz.probe.purity import state_of
from pytest_modelviz.probe.side_effects import Arguments, WatchedArguments, is_item_of
from pytest_modelviz.probe.sketch import record_number, record_shape, record_tensor
from pytest_modelviz.probe.streams import consume, run_stepwise, runs_on_demand
from pytest_modelviz.probe.torch_internals import Args, Kwargs, Operator, buffer_table, is_any_autocast_enabled
from pytest_modelviz.probe.weights import Weights
from pytest_modelviz.records.findings import AUTOCAST
from pytest_modelviz.records.structure import (
    ATTRIBUTE_SUFFIX,
    EMPTY,
    LENT,
    NAMESAKE,
    PACKED,
    REWRITTEN,
    SIDE_EFFECTS,
    UNCOMPARED,
    UNSAVED,
    WRITTEN,
    ModelStructure,
    ModuleRecord,
)
from pytest_modelviz.records.tensors import WEIGHT_WIDTH, TensorRecord
from pytest_modelviz.records.trace import Call, ForwardTrace, Leaf

_MOST_NAMED = 3
_FRAMES_PER_CALL = 4  # that observing adds to the stack
_LITERALS = (bool, int, float, str, type(None))
RecordTensor = Callable[[torch.Tensor], TensorRecord]


class CallObserver:
    """Observes a pass call by call; a subclass overrides the methods it needs.

    Each `enter` is followed by the `enter`s of the calls inside and then by a single `leave` or `abandon`.
    """

    def enter(self, call: Call) -> None:
        """A module is entered; `call.inputs` are known."""

    def leave(self, call: Call, module: torch.nn.Module, output: object) -> object:
        """A module returns `output`; the result is passed to its caller in its place."""
        return output

    def abandon(self, call: Call) -> None:
        """A module raises an exception, which its caller may catch."""


class PassRecorder:
    """Records one pass of one model into a `ForwardTrace`.

    Args:
        model: the model that is to be called.
        observers: follow the calls as well; each gets the output that the observer before it returned.
        record: turns a tensor into its record.
        weight_width: the width of the sketches of parameters and buffers; None leaves them out.

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
        record: RecordTensor = record_tensor,
        weight_width: int | None = WEIGHT_WIDTH,
    ) -> None:
        named = list(observed_modules(model))
        self._names = {id(module): name for name, module in named}
        compiled = [module for module in model.modules() if type(module).__name__ == "OptimizedModule"]
        self._wrapped = {id(wrapper): modules.unwrap(wrapper) for wrapper in compiled}
        self._observed = [module for _, module in named]
        self._running: tuple[int, int, type[torch.nn.Module]] | None = None  # module, its wrapper, class of __call__
        self._root_autocast: str | None = None
        self._record = record
        self._records_numbers = record is not record_shape
        self._observers = tuple(observers)
        self._thread = threading.get_ident()
        self._depth = 0
        self._counts: dict[str, int] = {}
        self._sketched: dict[int, tuple[weakref.ref[torch.Tensor], object, str]] = {}  # tensor, state, key
        self._notes: tuple[str, ...] = ()
        self.calls: list[Call] = []
        self.tensors: dict[str, TensorRecord] = {}
        self._weights = Weights(named, weight_width)
        describer = Describer()
        self._modules = {name: describer.describe(module, self._weights.names(module)) for name, module in named}
        for name, module in named:
            if modules.is_namesake(module):
                self._modules[name] = _marked(self._modules[name], **{NAMESAKE: "yes"})
        if self._records_numbers:
            self._modules[""] = _marked(self._modules[""], **{SIDE_EFFECTS: "yes"})
        self._attributes = [
            (name, module, {key: value for key, value in vars(module).items() if key not in OWN_OF_MODULE})
            for name, module in named
            if not isinstance(module, torch.jit.ScriptModule)
        ]
        self._ties = tie_groups(model)
        self._lent = LentWeights(module for _, module in named)

    @property
    def trace(self) -> ForwardTrace:
        """The recorded pass."""
        structure = ModelStructure(self._modules, self._weights.records(), self._ties)
        return ForwardTrace(structure, self.calls, self.tensors, notes=self._notes)

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """Record every call that this thread makes inside the block.

        Raises:
            ModelvizError: no module was called.

        """
        classes = {base for module in self._observed for base in type(module).__mro__ if "__call__" in vars(base)}
        classes = {base for base in classes if issubclass(base, torch.nn.Module)} | {torch.nn.Module}
        originals = {base: vars(base)["__call__"] for base in classes}
        buffers = [
            (name, module, local, buffer, state_of(buffer))
            for name, module in zip(self._modules, self._observed, strict=True)
            for local, buffer in modules.unsaved_buffers(module)
        ]
        limit = sys.getrecursionlimit()
        deepest = max(name.count(".") for name in self._modules) + 1
        try:
            sys.setrecursionlimit(limit + _FRAMES_PER_CALL * deepest)  # a model that runs unobserved must run here
            for base, original in originals.items():
                self._wrap(base, original)
            yield
        finally:
            sys.setrecursionlimit(limit)
            for base, original in originals.items():
                _set_call(base, original)
            self._forget_state()
            self._mark_rewritten(buffers)
        if not self.calls:
            raise ModelvizError(
                f"no module call of {class_name(self._observed[0])} could be observed: the model must be called as "
                f"model(...), in this thread"
            )

    def _forget_state(self) -> None:
        """Remove attributes that the pass has changed: they are state, not configuration."""
        for name, module, before in self._attributes:
            current = vars(module)
            changed = {key for key, value in before.items() if current.get(key) is not value}
            if changed:
                record = self._modules[name]
                config = {key: text for key, text in record.config.items() if key not in changed}
                names = {local: key for local, key in record.weights.items() if not _is_of(local, changed)}
                self._modules[name] = replace(record, config=config, weights=names)

    def _mark_rewritten(self, buffers: list[tuple[str, torch.nn.Module, str, torch.Tensor, object]]) -> None:
        """Mark buffers that no state dict holds and those of them that the pass has written, which are state too.

        They are not left out, because earlier baselines have them among the weights.
        """
        unsaved: dict[str, list[str]] = {}
        written: dict[str, list[str]] = {}
        for name, module, local, buffer, state in buffers:
            unsaved.setdefault(name, []).append(local)
            if buffer_table(module).get(local) is not buffer or state_of(buffer) != state:
                written.setdefault(name, []).append(local)
        for mark, names_by_layer in ((UNSAVED, unsaved), (REWRITTEN, written)):
            for name, names in names_by_layer.items():
                self._modules[name] = _marked(self._modules[name], **{mark: "\n".join(names)})

    def _wrap(self, base: type[torch.nn.Module], original: Operator) -> None:
        def observed_call(module: torch.nn.Module, /, *args: object, **kwargs: object) -> object:
            inner = self._wrapped.get(id(module), module)  # a compiled wrapper may call its module unobserved
            name = self._names.get(id(inner))
            # a class's own __call__ that calls its base's is a single call, and so is a wrapper's
            running = self._running
            continues = running is not None and running[0] == id(inner) and running[1:] != (id(module), base)
            if name is None or continues or threading.get_ident() != self._thread:
                return original(module, *args, **kwargs)
            self._running = (id(inner), id(module), base)
            try:
                return self._observe(functools.partial(original, module), inner, name, args, kwargs)
            finally:
                self._running = running

        _set_call(base, observed_call)

    def _observe(self, original: Operator, module: torch.nn.Module, name: str, args: Args, kwargs: Kwargs) -> object:
        index = self._counts.get(name, 0)
        self._counts[name] = index + 1
        prefix = f"{name}#{index}" if index else name
        arguments = _name_arguments(module, args, kwargs)
        inputs = self._leaves(arguments, f"{prefix}<")
        watched = WatchedArguments(arguments) if not self._depth and self._records_numbers else None
        autocast = _autocast()
        if self._depth == 0:
            self._root_autocast = autocast
        elif autocast != self._root_autocast:  # the caller's code has changed it
            inputs[AUTOCAST] = Leaf(literal=autocast)
        call = Call(name, index, self._depth, inputs)
        self.calls.append(call)
        for local, tensor in self._lent.borrowed(module):
            self._lent.add(call, module, local, Leaf(self._key(tensor, f"{prefix}<{local}")))
        for observer in self._observers:
            observer.enter(call)
        self._depth += 1
        try:
            output = original(*args, **kwargs)
            if self._depth == 1:  # generators that the model returns run as part of its call
                output, notes = consume(output)
                self._notes += notes
        except BaseException:
            for observer in self._observers:
                observer.abandon(call)
            raise
        finally:
            self._depth -= 1
            self._lent.leave(call)
        if watched is None:
            call.outputs = self._leaves([("", output)], prefix, anew=not self._depth)
        else:
            call.outputs = self._leaves([("", output)], prefix, anew=True, with_empty=True)
            changes = watched.changes()
            uncompared = {f"{c.argument}{WRITTEN}": Leaf(literal=UNCOMPARED) for c in changes if c.is_repeated}
            call.outputs |= uncompared | self._written(call, arguments, watched.empty, f"{prefix}<")
            self._note("the model's output holds what is not compared", uncompared_items(output))
            self._note("the model writes what is not compared into its arguments", [change.path for change in changes])
        self._left(call)
        self._weights.record_waiting(module)
        for observer in self._observers:
            output = observer.leave(call, module, output)
        return self._watch(output, module, name) if self._depth and runs_on_demand(output) else output

    def _left(self, call: Call) -> None:
        """A call has been left and its outputs are recorded; a subclass may add to them."""

    def _watch(self, output: Iterator[object], module: torch.nn.Module, name: str) -> Iterator[object]:
        """Record each step of a generator that a module returns to its caller as a call without arguments."""

        def step(resume: Callable[[], object]) -> object:
            if threading.get_ident() != self._thread or not self._depth:
                return resume()
            return self._observe(resume, module, name, (), {})

        return run_stepwise(output, step)

    def _note(self, what: str, items: Sequence[str]) -> None:
        if items:
            names = [*items[:_MOST_NAMED], *(["..."] if len(items) > _MOST_NAMED else [])]
            self._notes += (f"{what}: {', '.join(names)}",)

    def _leaves(
        self, values: Arguments, prefix: str, *, anew: bool = False, with_empty: bool = False
    ) -> dict[str, Leaf]:
        """Record a nested value's leaves; `anew` also those tensors in which no write since was noticed."""
        leaf_by_path: dict[str, Leaf] = {}
        for name, value in values:
            # nearly all values are tensors, whose leaf is found faster without a walk
            is_tensor = isinstance(value, torch.Tensor)
            for written, item in [(name, value)] if is_tensor else leaves(value, name, with_empty=with_empty):
                path = _unused(written, leaf_by_path)  # a key such as "a.b" is written like the "b" within "a"
                if isinstance(item, torch.Tensor):
                    leaf_by_path[path] = Leaf(tensor=self._key(item, prefix + path, anew=anew))
                elif isinstance(item, (float, complex)) and self._records_numbers:
                    leaf_by_path[path] = Leaf(tensor=self._add(record_number(item), prefix + path))
                else:
                    leaf_by_path[path] = Leaf(literal=literal(item))
        return leaf_by_path

    def _written(self, call: Call, arguments: Arguments, empty: set[str], prefix: str) -> dict[str, Leaf]:
        """What a call has put into its arguments, or taken out of them; these were `empty` before."""
        recorded = set(self.tensors)
        before = {**dict.fromkeys(empty, Leaf(literal=EMPTY)), **call.inputs}
        after = self._leaves(arguments, prefix, anew=True, with_empty=True)
        written = {
            f"{path}{WRITTEN}": leaf for path, leaf in after.items() if not self._is_same(before.get(path), leaf)
        }
        for path in before.keys() - after.keys():
            if not path.endswith(LENT) and not any(is_item_of(inner, path) for inner in after):
                written[f"{path}{WRITTEN}"] = Leaf(literal="<removed>")
        used = {leaf.tensor for leaf in written.values()} | {key for _, _, key in self._sketched.values()}
        for key in self.tensors.keys() - recorded - used:  # numbers, which are recorded anew wherever they are
            del self.tensors[key]
        return written

    def _is_same(self, before: Leaf | None, after: Leaf) -> bool:
        if before is None or before.tensor is None or after.tensor is None:
            return before == after
        return before == after or self.tensors[before.tensor].is_bitwise(self.tensors[after.tensor])

    def _key(self, tensor: torch.Tensor, name: str, *, anew: bool = False) -> str:
        """The key of a tensor's record. It is recorded unless the same tensor was, and has not changed since.

        Not every write is noticed: NumPy writes into the memory of a tensor, and sparse tensors have none of their own.
        """
        state = state_of(tensor)
        sketched = self._sketched.get(id(tensor))
        known = sketched[2] if sketched and sketched[0]() is tensor and sketched[1] == state else None
        if known is not None and not anew:
            return known
        record = self._record(tensor)
        if known is not None and record.is_bitwise(self.tensors[known]):
            return known
        key = self._add(record, name)
        self._sketched[id(tensor)] = (weakref.ref(tensor), state, key)
        return key

    def _add(self, record: TensorRecord, name: str) -> str:
        key = _unused(name, self.tensors)  # a module that calls itself has the same name again
        self.tensors[key] = record
        return key


def _marked(record: ModuleRecord, **marks: str) -> ModuleRecord:
    return replace(record, config={**record.config, **marks})


def _unused(name: str, names: Container[str]) -> str:
    unused, repetition = name, 1
    while unused in names:
        repetition += 1
        unused = f"{name}~{repetition}"
    return unused


def _set_call(base: Any, function: Operator) -> None:  # a type checker forbids to assign a method
    base.__call__ = function


def _is_of(local: str, attributes: set[str]) -> bool:
    """Whether a loose or packed tensor is, or is inside, any of these attributes."""
    is_loose = local.endswith(ATTRIBUTE_SUFFIX) or PACKED in local
    return is_loose and local.partition("[")[0].partition(" ")[0] in attributes


def _autocast() -> str:
    """The devices and dtypes of autocast as a text, empty where it is off."""
    if not is_any_autocast_enabled():
        return ""
    kinds = [kind for kind in ("cpu", "cuda") if torch.is_autocast_enabled(kind)]
    return ", ".join(f"{kind} {torch.get_autocast_dtype(kind)}" for kind in kinds) or "other devices"


def _name_arguments(module: torch.nn.Module, args: Args, kwargs: Kwargs) -> Arguments:
    """Arguments by name, without those that equal the default: it makes no difference whether they are passed."""
    parameters = parameters_of(module)
    defaults = parameters.defaults
    return [
        (name, value)
        for name, value in parameters.named(args, kwargs).items()
        if name not in defaults or not _is_default(value, defaults[name])
    ]


def _is_default(value: object, default: object) -> bool:
    return type(value) is type(default) and isinstance(value, _LITERALS) and bool(value == default)
