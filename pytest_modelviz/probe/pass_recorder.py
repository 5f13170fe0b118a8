"""Records every module call of a pass, in the order in which they happen.

The recorder wraps `torch.nn.Module.__call__` for the length of the pass (as `torch.fx` does when it traces) instead of
hooking modules. So no module is changed, TransformerEncoderLayer stays on its fast path, which it leaves where there
are hooks, and keyword arguments are recorded.
"""

import contextlib
import functools
import sys
import threading
from collections.abc import Callable, Iterator, Sequence

import torch

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.probe import modules
from pytest_modelviz.probe.configuration import Describer, Parameters, parameters_of
from pytest_modelviz.probe.leaf_recorder import LeafRecorder, RecordTensor
from pytest_modelviz.probe.lent import LentWeights
from pytest_modelviz.probe.modules import class_name, observed_modules, tie_groups
from pytest_modelviz.probe.nested_values import uncompared_items
from pytest_modelviz.probe.replaced_calls import replaced_calls
from pytest_modelviz.probe.side_effects import Arguments, WatchedArguments
from pytest_modelviz.probe.sketch import record_tensor
from pytest_modelviz.probe.sketch_queue import SketchQueue
from pytest_modelviz.probe.state_marker import ModuleStateMarker, marked
from pytest_modelviz.probe.streams import consume, run_stepwise, runs_on_demand
from pytest_modelviz.probe.torch_internals import Args, Kwargs, Operator, is_any_autocast_enabled
from pytest_modelviz.probe.weights import Weights
from pytest_modelviz.records.findings import AUTOCAST
from pytest_modelviz.records.structure import NAMESAKE, SIDE_EFFECTS, UNCOMPARED, WRITTEN, ModelStructure, ModuleRecord
from pytest_modelviz.records.tensors import WEIGHT_WIDTH
from pytest_modelviz.records.trace import Call, ForwardTrace, Leaf

_MOST_NAMED = 3
_FRAMES_PER_CALL = 5  # that observing adds to the stack
_LITERALS = (bool, int, float, str, type(None))


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
        queue: where sketches wait on a device; None copies each to the host at once. It must record as `record` does.
        structure: how an earlier pass has recorded the modules of this model, so that they are not described anew.

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
        queue: SketchQueue | None = None,
        structure: ModelStructure | None = None,
    ) -> None:
        named = observed_modules(model)
        self._names = {id(module): name for name, module in named}
        compiled = [module for module in modules.all_modules(model) if type(module).__name__ == "OptimizedModule"]
        self._wrapped = {id(wrapper): modules.unwrap(wrapper) for wrapper in compiled}
        self._observed = [module for _, module in named]
        self._running: tuple[int, int, type[torch.nn.Module]] | None = None  # module, its wrapper, class of __call__
        self._root_autocast: str | None = None
        self._observers = tuple(observers)
        self._entering = [o.enter for o in observers if type(o).enter is not CallObserver.enter]
        self._thread = threading.get_ident()
        self._depth = 0
        self._counts: dict[str, int] = {}
        self._parameters: dict[type[torch.nn.Module], Parameters] = {}
        self._notes: tuple[str, ...] = ()
        self.calls: list[Call] = []
        self._leaves, self._queue = LeafRecorder(record, queue), queue
        self.tensors = self._leaves.tensors
        self._weights = Weights(named, weight_width, queue)
        if structure is None:
            self._modules, self._ties = self._described(named), tie_groups(model)
        else:
            self._modules, self._ties = dict(structure.modules), structure.ties
        self._state = ModuleStateMarker(named if structure is None else [])
        self._lent = LentWeights(module for _, module in named)

    def _described(self, named: Sequence[tuple[str, torch.nn.Module]]) -> dict[str, ModuleRecord]:
        describer = Describer()
        described = {name: describer.describe(module, self._weights.names(module)) for name, module in named}
        for name, module in named:
            if modules.is_namesake(module):
                described[name] = marked(described[name], **{NAMESAKE: "yes"})
        if self._leaves.records_numbers:
            described[""] = marked(described[""], **{SIDE_EFFECTS: "yes"})
        return described

    @property
    def trace(self) -> ForwardTrace:
        """The recorded pass."""
        structure = ModelStructure(self._modules, self._weights.records(), self._ties)
        return ForwardTrace(structure, self.calls, self.tensors, notes=self._notes)

    @property
    def structure(self) -> ModelStructure:
        """The modules as they stand, without sketches of their weights, of which some wait for the pass."""
        return ModelStructure(dict(self._modules), ties=self._ties)

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """Record every call that this thread makes inside the block.

        Raises:
            ModelvizError: no module was called.

        """
        kinds = set(map(type, self._observed))
        classes = {base for kind in kinds for base in kind.__mro__ if "__call__" in vars(base)}
        classes = {base for base in classes if issubclass(base, torch.nn.Module)} | {torch.nn.Module}
        self._state.begin()
        limit = sys.getrecursionlimit()
        deepest = max([name.count(".") for name in self._modules]) + 1
        try:
            sys.setrecursionlimit(limit + _FRAMES_PER_CALL * deepest)  # a model that runs unobserved must run here
            with replaced_calls(classes, self._observing):
                yield
        finally:
            sys.setrecursionlimit(limit)
            self._state.mark(self._modules)
        if not self.calls:
            raise ModelvizError(
                f"no module call of {class_name(self._observed[0])} could be observed: the model must be called as "
                f"model(...), in this thread"
            )

    def _observing(self, base: type[torch.nn.Module], original: Operator) -> Operator:
        """A `__call__` for a class that records the call and makes it as the original does."""

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

        return observed_call

    def _observe(self, original: Operator, module: torch.nn.Module, name: str, args: Args, kwargs: Kwargs) -> object:
        index = self._counts.get(name, 0)
        self._counts[name] = index + 1
        call = Call(name, index, self._depth, {})
        prefix, arguments = call.key, _name_arguments(self._parameters_of(module), args, kwargs)
        call.inputs = inputs = self._leaves.record(arguments, f"{prefix}<", are_given=True)
        watched = WatchedArguments(arguments) if not self._depth and self._leaves.records_numbers else None
        autocast = _autocast() if is_any_autocast_enabled() else ""
        if self._depth == 0:
            self._root_autocast = autocast
        elif autocast != self._root_autocast:  # the caller's code has changed it
            inputs[AUTOCAST] = Leaf(literal=autocast)
        self.calls.append(call)
        for local, tensor in self._lent.borrowed(module):
            self._lent.add(call, module, local, Leaf(self._leaves.key(tensor, f"{prefix}<{local}")))
        for enter in self._entering:
            enter(call)
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
        if not self._depth and self._queue is not None:
            self._queue.settle()
        if watched is None:
            call.outputs = self._leaves.record([("", output)], prefix, anew=not self._depth)
        else:
            call.outputs = self._leaves.record([("", output)], prefix, anew=True, with_empty=True)
            changes = watched.changes()
            uncompared = {f"{c.argument}{WRITTEN}": Leaf(literal=UNCOMPARED) for c in changes if c.is_repeated}
            call.outputs |= uncompared | self._leaves.written(call, arguments, watched.empty, f"{prefix}<")
            self._note("the model's output holds what is not compared", uncompared_items(output))
            self._note("the model writes what is not compared into its arguments", [change.path for change in changes])
        self._left(call)
        self._weights.record_waiting(module)
        for observer in self._observers:
            output = observer.leave(call, module, output)
        if self._depth and not isinstance(output, torch.Tensor) and runs_on_demand(output):
            return self._watch(output, module, name)
        return output

    def _parameters_of(self, module: torch.nn.Module) -> Parameters:
        """The parameters of a module's forward, looked up once for each class."""
        parameters = self._parameters.get(type(module))
        if parameters is None:
            parameters = self._parameters[type(module)] = parameters_of(module)
        return parameters

    def _left(self, call: Call) -> None:
        """A call has been left and its outputs are recorded; a subclass may add to them."""

    def _watch(self, output: Iterator[object], module: torch.nn.Module, name: str) -> Iterator[object]:
        """Record each step of a generator that a module returns to its caller as a call without arguments."""

        def step(resume: Callable[[], object]) -> object:
            if threading.get_ident() != self._thread or not self._depth:
                return resume()
            return self._observe(resume, module, name, (), {})

        return run_stepwise(output, step)

    def _note(self, subject: str, items: Sequence[str]) -> None:
        if items:
            names = [*items[:_MOST_NAMED], *(["..."] if len(items) > _MOST_NAMED else [])]
            self._notes += (f"{subject}: {', '.join(names)}",)


def _autocast() -> str:
    """The devices and dtypes of autocast, which is on, as a text."""
    kinds = [kind for kind in ("cpu", "cuda") if torch.is_autocast_enabled(kind)]
    return ", ".join(f"{kind} {torch.get_autocast_dtype(kind)}" for kind in kinds) or "other devices"


def _name_arguments(parameters: Parameters, args: Args, kwargs: Kwargs) -> Arguments:
    """Arguments by name, without those that equal the default: it makes no difference whether they are passed."""
    defaults = parameters.defaults
    if kwargs or len(args) > len(parameters.names):
        named = list(parameters.named(args, kwargs).items())
    else:
        named = list(zip(parameters.names, args, strict=False))
    return [pair for pair in named if pair[0] not in defaults or not _is_default(pair[1], defaults[pair[0]])]


def _is_default(value: object, default: object) -> bool:
    return type(value) is type(default) and isinstance(value, _LITERALS) and bool(value == default)
