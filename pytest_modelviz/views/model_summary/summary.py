"""What a model is made of, as numbers and texts for people and for git: modules, shapes, parameters, totals."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from pytest_modelviz.compare.bracketed import in_one_order
from pytest_modelviz.compare.interchangeable_calls import interchangeable_calls
from pytest_modelviz.probe.configuration import digest
from pytest_modelviz.records.call_order import Runs, runs_of
from pytest_modelviz.records.structure import LENT, MARKS, REWRITTEN
from pytest_modelviz.records.tensors import TensorRecord
from pytest_modelviz.records.trace import Call, ForwardTrace, Leaves
from pytest_modelviz.text.side_by_side import split_path
from pytest_modelviz.views.model_summary.contents import Contents, LayerContents
from pytest_modelviz.views.model_summary.records import LayerSummary, ModelSummary

_NO_ATTRIBUTES = ("extra_repr", "repr", "forward", "defaults", *MARKS)
_LONGEST = 200  # letters of an attribute that are written out
_MOST_INTERCHANGEABLE = 16  # calls whose inputs are listed


class SummaryPass(NamedTuple):
    """What a summary takes from a pass: its calls, and, by layer, multiply-adds and caches (see `Contents.caches`).

    `notes` are for the user, beside those of the trace.
    """

    trace: ForwardTrace | None = None
    mult_adds: Mapping[str, int] = MappingProxyType({})
    caches: Mapping[str, Sequence[str]] = MappingProxyType({})
    notes: tuple[str, ...] = ()


def summarise(contents: Contents, observed: SummaryPass, make_table: Callable[[], str]) -> ModelSummary:
    """The summary of a model: what it holds, and what a pass, if one was made, has shown.

    Args:
        contents: the model as it stood before the pass.
        observed: what the pass has shown.
        make_table: makes the table for people, when it is asked for.

    """
    trace = observed.trace
    calls: dict[str, list[Call]] = {}
    for call in trace.calls if trace else ():
        calls.setdefault(call.layer, []).append(call)
    starts = _interchangeable_first_calls(trace.calls if trace else ())
    runs = runs_of(trace.calls if trace else (), contents.layers)
    records = trace.modules if trace else contents.structure.modules
    layers = {
        name: _layer(name, layer, observed, records[name].config, calls.get(name, []), starts.get(name), runs.get(name))
        for name, layer in contents.layers.items()
    }
    return ModelSummary(
        layers=layers,
        total_params=contents.parameters,
        trainable_params=contents.trainable,
        buffer_elements=contents.buffers,
        parameter_bytes=contents.parameter_bytes,
        mult_adds=sum(observed.mult_adds.values()),
        ties=contents.structure.ties,
        table=make_table,
    )


def _layer(
    name: str,
    contents: LayerContents,
    observed: SummaryPass,
    config: Mapping[str, str],
    calls: list[Call],
    starts: list[Call] | None,
    runs: Runs | None,
) -> LayerSummary:
    tensors = observed.trace.tensors if observed.trace else {}
    first = calls[:1]
    if starts:
        first = sorted(starts, key=lambda call: _shapes(call.inputs, tensors))  # in one order in all processes
    return LayerSummary(
        name=name,
        class_name=contents.class_name,
        config=contents.config,
        parameters=contents.parameters,
        buffers=contents.buffers,
        frozen=contents.frozen,
        inputs=_shapes(first[0].inputs, tensors) if first else "",
        outputs=_shapes(first[0].outputs or {}, tensors) if first else "",
        calls=len(calls),
        mult_adds=observed.mult_adds.get(name, 0),
        attributes=_attributes(config, is_of_torch=contents.is_of_torch),
        state=tuple(dict.fromkeys([*config.get(REWRITTEN, "").splitlines(), *observed.caches.get(name, ())])),
        runs=runs,
        forward=_forward(contents.signature, first),
        other_inputs=tuple([_shapes(call.inputs, tensors) for call in first[1:]]),
    )


def _interchangeable_first_calls(calls: Sequence[Call]) -> dict[str, list[Call]]:
    """By layer, the calls that may as well be its first: few, as a set has few members that stand for something."""
    groups = [[calls[at] for at in group] for group in interchangeable_calls(calls)]
    return {group[0].layer: group for group in groups if group[0].index == 0 and len(group) <= _MOST_INTERCHANGEABLE}


def _forward(signature: str, calls: list[Call]) -> str:
    """The parameters of a forward, unless the first call gives it all of them, or there is none.

    A name that the model knows must not be taken for one that has been renamed, so that others than those given count.
    """
    if not calls:
        return ""
    given = dict.fromkeys([split_path(path)[0] for path in calls[0].inputs if not path.endswith(LENT)])
    return "" if ", ".join(given) == signature else signature


def _attributes(config: Mapping[str, str], *, is_of_torch: bool) -> dict[str, str]:
    """Plain attributes, which torch's own modules show in `extra_repr` if they have one."""
    if is_of_torch and config.get("extra_repr"):
        return {}
    texts = {key: text for key, text in config.items() if key not in _NO_ATTRIBUTES}
    return {key: text if len(text) <= _LONGEST else f"<{digest(in_one_order(text))}>" for key, text in texts.items()}


def _shapes(leaves: Leaves, tensors: Mapping[str, TensorRecord]) -> str:
    texts = []
    for path, leaf in leaves.items():
        if not path.endswith(LENT):
            text = str(leaf.literal) if leaf.tensor is None else tensors[leaf.tensor].dtype_and_shape
            texts.append(f"{path}: {text}" if path else text)
    return ", ".join(texts)
