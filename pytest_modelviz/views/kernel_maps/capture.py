"""What a model's convolutions have learned: their kernels, compared as weights and shown as tiles."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pytest_modelviz.compare.naming import baseline_name, renames_of
from pytest_modelviz.compare.readable import contradiction, is_mean_of, is_rms_of, require_rows
from pytest_modelviz.compare.stored import stored_trace
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.errors import ModelvizError, UnreadableBaselineError
from pytest_modelviz.pictures.exhibits import Exhibit
from pytest_modelviz.probe.environment import environment
from pytest_modelviz.probe.forward import layer_patterns, prepared, require_model
from pytest_modelviz.probe.modules import class_name, observed_modules
from pytest_modelviz.records.capture import Array, Capture
from pytest_modelviz.records.structure import ModelStructure
from pytest_modelviz.records.trace import ForwardTrace
from pytest_modelviz.records.trace_arrays import pack_trace
from pytest_modelviz.records.verdict import Finding, Verdict
from pytest_modelviz.text.dotted import MODEL_LABEL
from pytest_modelviz.views.kernel_maps.compare import compare_kernels
from pytest_modelviz.views.kernel_maps.convolutions import MOST_PICTURED, asked_for, convolutions, first_of_stages
from pytest_modelviz.views.kernel_maps.kernels import (
    MOST_FILTERS,
    MOST_LENGTH,
    MOST_SIDE,
    Filters,
    FilterSample,
    KernelStatistics,
    kernel_structure,
    sample,
    statistics,
)
from pytest_modelviz.views.kernel_maps.pictures import kernels_composite, kernels_picture
from pytest_modelviz.views.numbers import error_text
from pytest_modelviz.views.packing import packed, unpacked_values

_ROUNDED = 1.01  # what numbers of three digits may be larger in truth
_PICTURE, _INPUTS = "picture.", "inputs."
_SHOWN, _KEPT = MOST_FILTERS, 16  # filters of a layer that is pictured, and of others, which are shown if they drift
_KINDS = {
    "colour": "in colour",
    "strongest": "each filter's strongest input channel",
    "positions": "each filter a row, of its strongest input channel",
    "inputs": "each filter a row, each input channel a column",
}


@dataclass(frozen=True)
class KernelMaps:
    """What `kernel_maps` returns: statistics of every convolution compared, and the filters that are shown.

    `pictures` maps a layer's name to float32: (filters, 3, h, w) for filters of three channels, (filters, h, w) of each
    filter's strongest input channel (of a volume the middle slice), (1, filters, n) where a filter is a row.
    """

    layers: Mapping[str, KernelStatistics]
    pictures: Mapping[str, Filters]


class KernelMapsView:
    """`kernel_maps(model, *, layers=None)`."""

    view = "kernel_maps"

    def __init__(self, model: torch.nn.Module, *, layers: Sequence[str] | str | None = None):
        require_model(model)
        self._model, self._layers = model, layer_patterns(layers)
        if self._layers is not None and not self._layers:
            raise ModelvizError("layers is empty, so there is nothing to compare: leave it out, or name convolutions")

    @property
    def model(self) -> torch.nn.Module:
        return self._model

    def capture(self) -> Capture:
        with prepared(self._model, None) as model:
            found = convolutions(model)
            if self._layers is not None:
                found = asked_for(model, found, self._layers)
            pictured = {one.name for one in (found if self._layers is not None else first_of_stages(found))}
            structure = kernel_structure(model, found)
            numbers = {one.name: statistics(one) for one in found}
            containers = _containers(model, [one.name for one in found])
            samples = {one.name: sample(one, _SHOWN if one.name in pictured else _KEPT) for one in found}
        arrays: dict[str, Array] = dict(pack_trace(ForwardTrace(structure)))
        pages: dict[str, Any] = {}
        for name, seen in samples.items():
            if seen is not None:
                arrays[_PICTURE + name], exponent = packed(seen.values)
                arrays[_INPUTS + name] = np.array(seen.inputs, np.int32)
                pages[name] = _page(seen, name in pictured, exponent)
        facts = {
            "model": class_name(self._model),
            "asked": self._layers if self._layers is None else sorted(self._layers),
            "layers": {name: _row(one) for name, one in numbers.items()},
            "containers": containers,
            "pictures": pages,
        }
        shown = {name: seen.values for name, seen in samples.items() if seen is not None and name in pictured}
        result, notes = KernelMaps(numbers, shown), _doubts(numbers)
        return Capture(self.view, facts, arrays, environment(self._model), result, notes, tuple(numbers))

    def compare(self, baseline: Capture, actual: Capture, tolerances: Tolerances) -> Verdict:
        before, after = (stored_trace(capture.arrays, tolerances.ignored).structure for capture in (baseline, actual))
        asked = [_texts(capture.facts.get("asked")) for capture in (baseline, actual)]
        if asked[0] != asked[1]:
            finding = Finding("asked", what="layers", before=asked[0], after=asked[1])
            return Verdict(False, len(after.modules), 0, math.inf, 0.0, None, None, (finding,))
        _require_rows(baseline, before)
        held = _held(baseline, before), _held(actual, after) or {}
        return compare_kernels(before, after, tolerances, _broken(baseline, actual), held)

    def picture(
        self, actual: Capture, baseline: Capture | None = None, verdict: Verdict | None = None
    ) -> Sequence[Exhibit]:
        after = _unpacked(actual, actual.facts["pictures"])
        pictured = [name for name in after if actual.facts["pictures"][name].get("pictured")]
        if baseline is None:
            return [kernels_picture(name or MODEL_LABEL, _captions(actual, name), after[name]) for name in pictured]
        errors = {} if verdict is None else {error.layer: error for error in verdict.layers}
        renamed = renames_of(verdict)
        old = {name: baseline_name(name, renamed) for name in after}
        before = _unpacked(baseline, list(old.values()))
        drifted = [name for name in after if old[name] in errors and errors[old[name]].drifted]
        drifted += [name for name in after if old[name] not in before or before[old[name]].shape != after[name].shape]
        drifted += [name for name in after if old[name] != name]
        pictures = []
        for name in sorted(set(drifted[:MOST_PICTURED]), key=list(after).index) or pictured:
            label, error = name or MODEL_LABEL, errors.get(old[name])
            told = "" if error is None else error_text(error.error, error.tolerance)
            captions = _captions(actual, name)
            if old[name] != name:
                captions = [f"was {old[name]}", *captions]
            if old[name] not in before:
                pictures.append(kernels_picture(label, ["not in the baseline", *captions], after[name]))
                continue
            captions[-1] += _other_inputs(baseline, actual, old[name], name)
            pictures.append(kernels_composite(label, [f"{label}{told}", *captions], before[old[name]], after[name]))
        return pictures

    def describe(self, actual: Capture) -> str:
        rows = actual.facts["layers"].items()
        return "\n".join(
            f"{name or MODEL_LABEL}: {', '.join(f'{k} {v}' for k, v in row.items())}" for name, row in rows
        )


def _containers(model: torch.nn.Module, names: Sequence[str]) -> dict[str, str]:
    """The class of every module that holds one of these, in the order of registration."""
    outer = {".".join(parts[:count]) for name in names for parts in [name.split(".")] for count in range(len(parts))}
    return {name: class_name(module) for name, module in observed_modules(model) if name in outer - set(names)}


def _held(capture: Capture, structure: ModelStructure) -> dict[str, str] | None:
    """The modules around the convolutions; None of a baseline that was recorded before they were."""
    held = capture.facts.get("containers")
    if held is None:
        return None
    if not isinstance(held, Mapping) or any(name in structure.modules for name in held):
        raise UnreadableBaselineError("what it says of the modules around its convolutions is damaged")
    return {str(name): str(text) for name, text in held.items()}


def _page(seen: FilterSample, pictured: bool, exponent: int) -> dict[str, Any]:
    page: dict[str, Any] = {
        "shows": seen.kind,
        "filter": list(seen.shape),
        "of": seen.of,
        "step": seen.step,
        "exponent": exponent,
    }
    return {**page, "pictured": True} if pictured else page


def _row(one: KernelStatistics) -> dict[str, Any]:
    row: dict[str, Any] = {"class": one.class_name, "weight": one.weight}
    if one.bias:
        row["bias"] = one.bias
    if one.rms is not None and one.mean is not None and one.low is not None and one.high is not None:
        # a mean that cancels out has no digits beyond those of what cancels
        places = 2 - math.floor(math.log10(one.rms)) if one.rms > 0 else 0
        row |= {"mean": float(f"{round(one.mean, places):.3g}") + 0.0, "rms": float(f"{one.rms:.3g}")}
        row |= {"min": float(f"{one.low:.3g}"), "max": float(f"{one.high:.3g}")}
    if one.not_finite:
        row["not_finite"] = f"{one.not_finite} of {one.filters} filters"
    return row


def _require_rows(baseline: Capture, structure: ModelStructure) -> None:
    """Make sure that the text of a baseline says what its arrays hold; raises UnreadableBaselineError."""
    rows = baseline.facts.get("layers")
    if not isinstance(rows, Mapping) or not all(isinstance(row, Mapping) for row in rows.values()):
        raise UnreadableBaselineError("it does not list layers")
    expected: dict[str, dict[str, str]] = {}
    for name, module in structure.modules.items():
        records = {local: structure.weights[key] for local, key in module.weights.items()}
        texts = {local: record.dtype_and_shape for local, record in records.items()}
        expected[name] = {"class": module.class_name, "weight": "not initialised", **texts}
        row, weight = rows.get(name, {}), records.get("weight")
        if weight is None or not weight.sketch.size or ("not_finite" in row and weight.value_fingerprints):
            continue
        low, mean, high = (_number(row.get(key)) for key in ("min", "mean", "max"))
        rms = _number(row.get("rms"))
        slack = (_ROUNDED - 1) * max(-low, high)
        is_ordered = low - slack <= mean <= high + slack and max(-low, high) + slack >= rms
        if not (is_ordered and is_rms_of(weight, rms, measured=True) and is_mean_of(weight, mean)):
            raise contradiction(f"layer {name or MODEL_LABEL!r}")
    kept = ("class", "weight", "bias")
    require_rows({name: {k: row[k] for k in kept if k in row} for name, row in rows.items()}, expected, "layer")


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan


def _doubts(numbers: Mapping[str, KernelStatistics]) -> tuple[str, ...]:
    """What is odd about the kernels by themselves, whatever the baseline says, and what could not be looked at."""
    notes = []
    broken = [f"{n or MODEL_LABEL} ({s.not_finite} of {s.filters} filters)" for n, s in numbers.items() if s.not_finite]
    if broken:
        notes.append(f"kernels hold NaN or infinities: {', '.join(broken)}")
    unseen = [name or MODEL_LABEL for name, one in numbers.items() if one.rms is None and not one.not_finite]
    if unseen:
        notes.append(f"the kernels of {', '.join(unseen)} hold no numbers yet (lazy, meta or empty): not compared")
    return tuple(notes)


def _broken(baseline: Capture, actual: Capture) -> list[Finding]:
    """Where the count of filters that are not finite changed."""
    counts = []
    for capture in (baseline, actual):
        rows = capture.facts.get("layers")
        if not isinstance(rows, Mapping) or not all(isinstance(row, Mapping) for row in rows.values()):
            raise UnreadableBaselineError("it does not list layers")
        counts.append({name: str(row.get("not_finite", "none")) for name, row in rows.items()})
    before, after = counts
    changed = [name for name in after if name in before and before[name] != after[name]]
    return [Finding("broken", name, "kernels that are not finite", before[name], after[name]) for name in changed]


def _texts(asked: Any) -> str:
    if asked is None:
        return "all"
    return ", ".join(str(name) or MODEL_LABEL for name in asked) if isinstance(asked, list) else str(asked)


def _captions(capture: Capture, layer: str) -> list[str]:
    page = capture.facts["pictures"][layer]
    size = "x".join(map(str, page["filter"]))
    part = "" if page["step"] == 1 else f", 1 in {page['step']} shown"
    shows = "" if page["filter"][0] == 1 and page["shows"] != "inputs" else _KINDS[page["shows"]]
    return [f"{page['of']} filters of {size}{part}", *([shows] if shows else [])]


def _fits(values: Array) -> bool:
    row = values.ndim == 3 and len(values) == 1
    most = (_SHOWN, MOST_SIDE, MOST_LENGTH if row else MOST_SIDE)
    return all(side <= limit for side, limit in zip((len(values), *values.shape[-2:]), most, strict=True))


def _other_inputs(baseline: Capture, actual: Capture, old: str, layer: str) -> str:
    """Of how many filters the strongest channel is another one than in the baseline: there the difference misleads."""
    before, after = baseline.arrays.get(_INPUTS + old), actual.arrays.get(_INPUTS + layer)
    if before is None or after is None or before.shape != after.shape:
        return ""
    count = int((before != after).sum())
    return f"; of {count} now another channel" if count else ""


def _unpacked(capture: Capture, layers: Collection[str]) -> dict[str, Filters]:
    """The filters to be shown of those layers that have a picture; raises UnreadableBaselineError."""
    pages = capture.facts.get("pictures")
    if not isinstance(pages, Mapping):
        raise UnreadableBaselineError("it does not list its pictures")
    found = {}
    for name in layers:
        if name not in pages:
            continue
        values = capture.arrays.get(_PICTURE + name)
        if values is None or values.ndim not in (3, 4) or (values.ndim == 4 and values.shape[1] != 3):
            raise UnreadableBaselineError(f"its picture of {name!r} is damaged")
        if not _fits(values):  # what a small file can hold would be painted for minutes
            raise UnreadableBaselineError(f"its picture of {name!r} is larger than any that is kept")
        found[name] = unpacked_values(values, pages, name)
    return found
