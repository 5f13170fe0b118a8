"""The operators of a model as `torch.export` finds them, in terms that do not depend on torch's version.

What is exported is the training IR: the operators that a model's code calls (`conv2d`, `batch_norm`, `dropout`), not
what they are made of. Export computes no numbers, so the list depends on no processor. It runs the model's code on fake
tensors: a cache that the code fills then keeps those, so one real pass (`probe.forward.warm_up`) has to go before.
"""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import warnings
from collections.abc import Callable, Iterator

import torch

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.probe.forward import ModelInput, arguments_of, warm_up
from pytest_modelviz.probe.pass_recorder import PassRecorder
from pytest_modelviz.probe.sketch import record_shape
from pytest_modelviz.probe.streams import consume
from pytest_modelviz.probe.torch_internals import child_table, compiled_from
from pytest_modelviz.records.trace import Call
from pytest_modelviz.views.model_graph import naming
from pytest_modelviz.views.model_graph.export_reader import Reader
from pytest_modelviz.views.model_graph.records import EXPORTED, Operator, OperatorGraph, producer_of, with_names

_TENSORS = ("float", "bfloat", "int", "uint", "bool", "complex", "(")  # begin the output's text where it holds any
_SYMBOLS = (torch.SymInt, torch.SymFloat, torch.SymBool)  # numbers that export knows by name, not by value


def exported(model: torch.nn.Module, input_data: ModelInput) -> OperatorGraph:
    """Export a model within `prepared`, which puts back all that an export leaves behind in torch's global state.

    What `torch.export` raises for a model that it cannot follow is passed on.
    """
    args, kwargs = arguments_of(input_data)
    kwargs = naming.in_order(model, kwargs)  # export tells inputs apart by their position
    rows = naming.module_rows(model)
    for module in list(model.modules()):  # a compiled child runs what it wraps without a call that export sees
        for name, child in child_table(module).items():
            if child is not None:
                child_table(module)[name] = compiled_from(child)
    returned: list[tuple[str, ...]] = []
    held = _Held(model, returned.append)
    # a fused fast path, taken or not by device and grad mode, would hide the operators of a transformer
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with _silence():
            program = _export()(held, args, kwargs, strict=False)
        reader = Reader(model, held)
        inputs, outputs = reader.read(program, dict(naming.named_inputs(model, args, kwargs)))
    finally:
        child_table(held).clear()  # a reference to the exported program keeps no model alive
    operators, outputs = _needed(reader, outputs)
    return OperatorGraph(EXPORTED, "", inputs, operators, outputs, rows, by_name=bool(kwargs), returned=returned[-1])


def warm_calls(model: torch.nn.Module, input_data: ModelInput) -> tuple[Call, ...] | None:
    """Run a prepared model once (`probe.forward.warm_up`): which module called which, None where that failed."""
    recorder = PassRecorder(model, record=record_shape, weight_width=None)
    try:
        with recorder.recording():
            warm_up(model, input_data)
    except ModelvizError:
        if recorder.calls:
            raise
    whole = recorder.calls and all(call.outputs is not None for call in recorder.calls)
    return tuple(Call(call.layer, call.index, call.depth, {}, {}) for call in recorder.calls) if whole else None


class _Held(torch.nn.Module):
    """Wraps a model: export refuses one that sets attributes or returns objects, but accepts it as a submodule."""

    def __init__(self, model: torch.nn.Module, notify: Callable[[tuple[str, ...]], None]) -> None:
        super().__init__()
        self.held = model
        self._notify = notify  # export undoes what is assigned to a module

    def forward(self, *args: object, **kwargs: object) -> list[torch.Tensor]:
        results = naming.Results(self.held, args, kwargs)
        items = results.items(consume(self.held(*args, **kwargs))[0])
        self._notify(naming.returned_items(items, _returned_text))
        return [item for _, item in items if isinstance(item, torch.Tensor)]


def _returned_text(item: object) -> str:
    return "<number>" if isinstance(item, _SYMBOLS) else naming.returned_text(item)


def _export() -> Callable[..., torch.export.ExportedProgram]:
    major, minor = (int(number) for number in torch.__version__.split(".")[:2])
    # before 2.7 `export` itself takes operators apart
    old: Callable[..., torch.export.ExportedProgram] | None = getattr(torch.export, "export_for_training", None)
    return old if old is not None and (major, minor) < (2, 7) else torch.export.export


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Suppress torch.export's logs and warnings; where it fails it also prints the graph so far."""
    before = logging.root.manager.disable
    structured = logging.getLogger("torch.__trace")  # heeds nothing but its own level
    level = structured.level
    logging.disable(logging.CRITICAL)
    structured.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
        structured.setLevel(level)


def _needed(reader: Reader, outputs: tuple[str, ...]) -> tuple[tuple[Operator, ...], tuple[str, ...]]:
    """Without what nothing is computed from, whether export keeps it or not; the rest is counted anew."""
    wanted = {producer_of(name) for name in outputs}
    needed = []
    for operator in reversed(reader.operators):
        is_needed = operator.name in wanted or not operator.output.startswith(_TENSORS)
        if is_needed or operator.kind.endswith("_") or operator.name in reader.writing:
            needed.append(operator)
            wanted |= {producer_of(name) for name in operator.inputs}
    needed.reverse()
    counts = naming.Counts()
    names = {operator.name: counts.name(operator.module, operator.kind) for operator in needed}

    rename = functools.partial(with_names, names=names)
    return tuple(operator.renamed(rename) for operator in needed), tuple(map(rename, outputs))
