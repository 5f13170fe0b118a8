"""The operators of a model as one pass calls them, for models that `torch.export` cannot follow.

The outermost call into torch is recorded (`F.relu`, `torch.add`, a method of Tensor), as the caller writes it, not the
operators that it is made of.
"""

import inspect
import weakref
from collections.abc import Mapping
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from pytest_modelviz.probe.forward import ModelInput, ModelOutput, arguments_of
from pytest_modelviz.probe.modules import loose_tensors, observed_modules, opaque_modules
from pytest_modelviz.probe.nested_values import Placeholder, leaves, placeholder, tensors
from pytest_modelviz.probe.pass_recorder import CallObserver, PassRecorder
from pytest_modelviz.probe.process import modes_untouched
from pytest_modelviz.probe.sketch import record_shape
from pytest_modelviz.records.trace import Call
from pytest_modelviz.views.model_graph import naming
from pytest_modelviz.views.model_graph.export_reader import TRANSPARENT
from pytest_modelviz.views.model_graph.records import DATA_WRITE, TENSOR, TRACED, Operator, OperatorGraph

# Calls that read or set something about a tensor, or return the same one.
_NOT_COMPUTED = frozenset({"data", "__set__", "detach", "detach_", "requires_grad_", "register_hook", "contiguous"})
# Values leave torch through these calls: later numbers, and tensors made outside of torch, may be made of activations.
_READS = frozenset({"item", "tolist", "__float__", "__int__", "__index__", "__complex__", "numpy", "__array__"})
_IGNORED = naming.PLACEMENT | {"out", "_stacklevel"}


def traced(model: torch.nn.Module, input_data: ModelInput, reason: str) -> OperatorGraph:
    """Run a prepared model once and list what it calls; `reason` says why it could not be exported."""
    args, kwargs = arguments_of(input_data)
    given = dict(naming.named_inputs(model, args, kwargs))
    recorder = _Recorder(model, given)
    calls = PassRecorder(model, [recorder], record=record_shape, weight_width=None)
    rows = naming.module_rows(model)
    torch.backends.mha.set_fastpath_enabled(False)
    results = naming.Results(model, args, kwargs)
    with calls.recording(), recorder, modes_untouched():
        output = model(*args, **kwargs)
    items = results.items(output)
    outputs = tuple(recorder.reference(item) for _, item in items if isinstance(item, torch.Tensor))
    inputs = {name: naming.input_text(value) for name, value in given.items()}
    returned = naming.returned_items(items, recorder.returned_text)
    operators = tuple(recorder.operators)
    return OperatorGraph(TRACED, reason, inputs, operators, outputs, rows, by_name=bool(kwargs), returned=returned)


class _Recorder(TorchFunctionMode, CallObserver):
    """Lists calls into torch, and what TorchScript modules return."""

    def __init__(self, model: torch.nn.Module, given: Mapping[str, object]) -> None:
        super().__init__()
        self._names, self._counts = naming.Names(model, model), naming.Counts()
        self._open: list[str] = [""]
        self._opaque = opaque_modules(model)
        self._made: dict[int, tuple[weakref.ref[torch.Tensor], str]] = {}
        self._held = {id(tensor) for _, module in observed_modules(model) for _, tensor in loose_tensors(module)}
        self._any_read = False
        self._read: set[float | complex] = set()
        self.operators: list[Operator] = []
        for name, value in given.items():
            if isinstance(value, torch.Tensor):
                self._keep(value, name)

    def enter(self, call: Call) -> None:
        self._open.append(call.layer)

    def leave(self, call: Call, module: torch.nn.Module, output: ModelOutput) -> ModelOutput:
        layer = self._open.pop()
        if layer in self._opaque:
            self._record(layer, "torchscript", (), {}, output)
        return output

    def abandon(self, call: Call) -> None:
        self._open.pop()

    def reference(self, tensor: torch.Tensor) -> str:
        known = self._made.get(id(tensor))
        if known is not None and known[0]() is tensor:
            return known[1]
        name = self._names.tensors.get(id(tensor))
        if name is None:
            may_be_computed = self._any_read and id(tensor) not in self._held
            name = f"constant {naming.tensor_text(tensor)}" if may_be_computed else naming.constant(tensor)
        return name

    def returned_text(self, item: object) -> str:
        """What the model returns beside tensors; a number or text may follow from values that were read."""
        if self._any_read and isinstance(item, (bool, int, float, complex, str)) and not isinstance(item, Placeholder):
            return placeholder(item)
        return naming.returned_text(item)

    def _keep(self, tensor: torch.Tensor, name: str) -> None:
        self._made[id(tensor)] = (weakref.ref(tensor), name)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self._open[-1] in self._opaque:  # what runs in there depends on torch's version and on the device
            return func(*args, **kwargs)
        inputs: list[str] = []
        arguments: dict[str, str] = {}
        for name, value in [*((f"argument{at}", value) for at, value in enumerate(args)), *sorted(kwargs.items())]:
            references = [self.reference(tensor) for tensor in tensors(value)]
            prefix = f"{name}=" if name in kwargs else ""
            inputs += [prefix + reference for reference in references]
            if name in _IGNORED or isinstance(value, (torch.device, torch.memory_format)):
                continue
            if not references or any(not isinstance(item, torch.Tensor) for _, item in leaves(value)):
                arguments[name] = self._text(value)
        output = func(*args, **kwargs)
        kind = _kind(func)
        if kind in _READS:
            self._any_read = True
            self._read.update(number for _, number in leaves(output) if isinstance(number, (float, complex)))
        if kind not in _NOT_COMPUTED and kind.partition(".")[0] not in TRANSPARENT:
            self._record(self._open[-1], _plain_name(kind), tuple(inputs), arguments, output)
        elif kind != "__set__" and args and isinstance(args[0], torch.Tensor) and isinstance(output, torch.Tensor):
            self._keep(output, self.reference(args[0]))
        return output

    def _text(self, value: object) -> str:
        """An argument, with tensors as `TENSOR`. A number equal to one that was read is taken for that one."""
        if isinstance(value, (list, tuple)):
            return f"({', '.join(self._text(item) for item in value)})"
        items = dict(leaves(value))
        if any(isinstance(item, torch.Tensor) for item in items.values()):
            texts = [f"{path}: {self._text(item)}" for path, item in items.items() if path]
            return f"({', '.join(texts)})" if texts else TENSOR
        if isinstance(value, (float, complex)) and value in self._read:
            return "a number"
        if inspect.isroutine(value):  # the text of a method is that of its whole module
            return f"<{getattr(value, '__qualname__', type(value).__name__)}>"
        return naming.plain(value)

    def _record(
        self, module: str, kind: str, inputs: tuple[str, ...], arguments: Mapping[str, str], output: object
    ) -> None:
        results = list(tensors(output))
        if not results and kind not in ("setitem", DATA_WRITE):
            return
        name = self._counts.name(module, kind)
        for at, tensor in enumerate(results):
            self._keep(tensor, name if len(results) == 1 else f"{name}[{at}]")
        text = naming.tensor_text(results[0]) if len(results) == 1 else naming.tensor_text(results)
        self.operators.append(Operator(name, kind, inputs, dict(arguments), text))


def _kind(func: object) -> str:
    """What a call is called; reading or writing an attribute such as `x.mT` by the attribute."""
    kind = getattr(func, "__name__", None) or type(func).__name__
    if kind in ("__get__", "__set__"):
        attribute = getattr(func, "__self__", None)
        name = getattr(attribute, "__name__", None) or getattr(getattr(attribute, "fget", None), "__name__", None)
        if kind == "__set__":
            return DATA_WRITE if name == "data" else kind
        kind = name or kind
    return str(kind)


def _plain_name(name: str) -> str:
    """`__add__` and `_max_pool2d` are called for what they do."""
    return name.strip("_") + ("_" if name.endswith("_") and not name.endswith("__") else "")
