"""What a model is made of, as numbers and texts for people and for git: modules, shapes, parameters, totals."""

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import torch

from pytest_modelviz.compare.bracketed import in_one_order
from pytest_modelviz.compare.interchangeable_calls import interchangeable_calls
from pytest_modelviz.probe.configuration import Describer, Parameters, configuration, digest, parameters_of
from pytest_modelviz.probe.modules import (
    class_name,
    observed_modules,
    own_tensors,
    packed_tensors,
    tie_groups,
    unsaved_buffers,
)
from pytest_modelviz.probe.sketch import record_shape
from pytest_modelviz.probe.torch_internals import unsaved_buffer_names
from pytest_modelviz.records.call_order import Runs, runs_of
from pytest_modelviz.records.structure import LENT, MARKS, NOT_SAVED, REWRITTEN
from pytest_modelviz.records.tensors import TensorRecord
from pytest_modelviz.records.trace import Call, ForwardTrace, Leaves
from pytest_modelviz.text.side_by_side import split_path
from pytest_modelviz.views.model_summary.records import LayerSummary, ModelSummary

_NO_ATTRIBUTES = ("extra_repr", "repr", "forward", "defaults", *MARKS)
_LONGEST = 200  # letters of an attribute that are written out
_MOST_INTERCHANGEABLE = 16  # calls whose inputs are listed


class SummaryPass(NamedTuple):
    """What a summary takes from a pass: its calls, and, by layer, multiply-adds and caches (see `caches_of`).

    `notes` are for the user, beside those of the trace.
    """

    trace: ForwardTrace | None = None
    mult_adds: Mapping[str, int] = MappingProxyType({})
    caches: Mapping[str, Sequence[str]] = MappingProxyType({})
    notes: tuple[str, ...] = ()


def torchinfo_table(
    model: torch.nn.Module,
    data: Sequence[object] | Mapping[str, object] | None = None,
    device: torch.device | None = None,
) -> str:
    """torchinfo's table, with shapes where the model's data is given; whatever torchinfo raises is passed on."""
    import torchinfo
    import torchinfo.layer_info

    rows = ("depth", "var_names")
    with _leftovers_cached(torchinfo.layer_info.LayerInfo):
        return str(
            torchinfo.summary(model, input_data=data, device=device, verbose=0, depth=4, row_settings=rows, mode="eval")
        )


@contextlib.contextmanager
def _leftovers_cached(layer_info: type) -> Iterator[None]:
    """Let torchinfo compute each layer's leftover parameters once in a block.

    It does so anew for each of the layers around it, which doubles the calls with each level of nesting.
    """
    methods = {name: vars(layer_info)[name] for name in ("leftover_params", "leftover_trainable_params")}
    try:
        for name, method in methods.items():
            setattr(layer_info, name, functools.cache(method))
        yield
    finally:
        for name, method in methods.items():
            setattr(layer_info, name, method)


def table_without_pass(model: torch.nn.Module) -> str:
    """torchinfo's table without shapes."""
    try:
        return torchinfo_table(model)
    except Exception as error:  # scripted and lazy modules, by version
        return f"torchinfo cannot show this model ({type(error).__name__}: {error})"


def unsaved_shapes(model: torch.nn.Module) -> dict[tuple[str, str], str]:
    """The shapes of buffers that are in no state dict, by layer and name."""
    return {
        (name, local): _text(tensor)
        for name, module in observed_modules(model)
        for local, tensor in unsaved_buffers(module)
    }


def caches_of(before: Mapping[tuple[str, str], str], after: Mapping[tuple[str, str], str]) -> dict[str, list[str]]:
    """By layer, the unsaved buffers that have another shape after a pass than before it, or that only one of both has.

    The recorder marks those that the pass writes (`REWRITTEN`). What was not there before is in no trace: a summary
    needs both.
    """
    caches: dict[str, list[str]] = {}
    for layer, local in sorted({*before, *after}):
        if before.get((layer, local)) != after.get((layer, local)):
            caches.setdefault(layer, []).append(local)
    return caches


def summarise(model: torch.nn.Module, observed: SummaryPass, table: str) -> ModelSummary:
    """The summary of a model as it stands, with what a pass, if one was made, has shown."""
    trace = observed.trace
    calls: dict[str, list[Call]] = {}
    for call in trace.calls if trace else ():
        calls.setdefault(call.layer, []).append(call)
    modules = dict(observed_modules(model))
    starts = _interchangeable_first_calls(trace.calls if trace else ())
    runs = runs_of(trace.calls if trace else (), modules)
    describer = Describer()
    records = trace.modules if trace else {name: describer.describe(module, {}) for name, module in modules.items()}
    layers = {
        name: _layer(
            name, module, observed, records[name].config, calls.get(name, []), starts.get(name), runs.get(name)
        )
        for name, module in modules.items()
    }
    sizes = [(_numel(p), p.requires_grad, p.dtype.itemsize) for p in model.parameters()]
    return ModelSummary(
        layers=layers,
        total_params=sum(count for count, _, _ in sizes),
        trainable_params=sum(count for count, trainable, _ in sizes if trainable),
        buffer_elements=sum(_numel(b) for b in model.buffers()),
        parameter_bytes=sum(count * size for count, _, size in sizes),
        mult_adds=sum(observed.mult_adds.values()),
        ties=tie_groups(model),
        table=table,
    )


def _layer(
    name: str,
    module: torch.nn.Module,
    observed: SummaryPass,
    config: Mapping[str, str],
    calls: list[Call],
    starts: list[Call] | None,
    runs: Runs | None,
) -> LayerSummary:
    own = dict([*own_tensors(module), *packed_tensors(module)])
    parameters = {n: t for n, t in own.items() if isinstance(t, torch.nn.Parameter)}
    unsaved = unsaved_buffer_names(module)
    tensors = observed.trace.tensors if observed.trace else {}
    first = sorted(starts or calls[:1], key=lambda call: _shapes(call.inputs, tensors))  # in one order in all processes
    return LayerSummary(
        name=name,
        class_name=class_name(module),
        config=_config(module),
        parameters={n: _text(t) for n, t in parameters.items()},
        buffers={n: _text(t) + (NOT_SAVED if n in unsaved else "") for n, t in own.items() if n not in parameters},
        frozen=tuple(n for n, p in parameters.items() if not p.requires_grad),
        inputs=_shapes(first[0].inputs, tensors) if first else "",
        outputs=_shapes(first[0].outputs or {}, tensors) if first else "",
        calls=len(calls),
        mult_adds=observed.mult_adds.get(name, 0),
        attributes=_attributes(module, config),
        state=tuple(dict.fromkeys([*config.get(REWRITTEN, "").splitlines(), *observed.caches.get(name, ())])),
        runs=runs,
        forward=_forward(parameters_of(module), calls),
        other_inputs=tuple(_shapes(call.inputs, tensors) for call in first[1:]),
    )


def _interchangeable_first_calls(calls: Sequence[Call]) -> dict[str, list[Call]]:
    """By layer, the calls that may as well be its first: few, as a set has few members that stand for something."""
    groups = [[calls[at] for at in group] for group in interchangeable_calls(calls)]
    return {group[0].layer: group for group in groups if group[0].index == 0 and len(group) <= _MOST_INTERCHANGEABLE}


def _forward(parameters: Parameters, calls: list[Call]) -> str:
    """The parameters of a forward, unless the first call gives it all of them, or there is none.

    A name that the model knows must not be taken for one that has been renamed, so that others than those given count.
    """
    paths = (path for path in (calls[0].inputs if calls else ()) if not path.endswith(LENT))
    given = [*dict.fromkeys(split_path(path)[0] for path in paths)]
    return "" if not calls or ", ".join(given) == parameters.signature else parameters.signature


def _config(module: torch.nn.Module) -> str:
    config = configuration(module)
    return config.get("repr") or config["extra_repr"]


def _attributes(module: torch.nn.Module, config: Mapping[str, str]) -> dict[str, str]:
    """Plain attributes, which torch's own modules show in `extra_repr` if they have one."""
    if type(module).__module__.startswith("torch.nn.") and config.get("extra_repr"):
        return {}
    texts = {key: text for key, text in config.items() if key not in _NO_ATTRIBUTES}
    return {key: text if len(text) <= _LONGEST else f"<{digest(in_one_order(text))}>" for key, text in texts.items()}


def _text(tensor: torch.Tensor) -> str:
    if torch.nn.parameter.is_lazy(tensor):
        return "uninitialized"
    return record_shape(tensor).dtype_and_shape


def _numel(tensor: torch.Tensor) -> int:
    return 0 if torch.nn.parameter.is_lazy(tensor) else tensor.numel()


def _shapes(leaves: Leaves, tensors: Mapping[str, TensorRecord]) -> str:
    texts = []
    for path, leaf in leaves.items():
        if not path.endswith(LENT):
            text = str(leaf.literal) if leaf.tensor is None else tensors[leaf.tensor].dtype_and_shape
            texts.append(f"{path}: {text}" if path else text)
    return ", ".join(texts)
