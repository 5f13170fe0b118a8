"""What a model's convolutions have learned: their kernels, compared as weights and shown as tiles."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import torch

from pytest_modelviz.compare.stored import stored_trace
from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.probe.environment import environment
from pytest_modelviz.probe.forward import prepared, require_model
from pytest_modelviz.probe.layer_names import layer_patterns
from pytest_modelviz.probe.modules import class_name, observed_modules
from pytest_modelviz.probe.torch_internals import without_dispatch_modes
from pytest_modelviz.probe.value_changes import with_value_changes
from pytest_modelviz.records.capture import Array, Capture
from pytest_modelviz.records.trace import ForwardTrace
from pytest_modelviz.records.trace_arrays import captured_arrays
from pytest_modelviz.records.verdict import Verdict
from pytest_modelviz.text.dotted import MODEL_LABEL, enclosing
from pytest_modelviz.text.strict_json import JsonObject
from pytest_modelviz.views.kernel_maps import compare as comparison
from pytest_modelviz.views.kernel_maps import pictures
from pytest_modelviz.views.kernel_maps.convolutions import (
    Convolution,
    convolutions,
    first_of_stages,
    is_plain_to_read,
    selected,
)
from pytest_modelviz.views.kernel_maps.kernels import kernel_structure, sample, statistics
from pytest_modelviz.views.kernel_maps.records import (
    INPUTS,
    MOST_FILTERS,
    PICTURE,
    FilterSample,
    KernelMaps,
    KernelStatistics,
)
from pytest_modelviz.views.stored_pictures import packed

_UNPICTURED_FILTERS = 16  # of a layer that is pictured only if it drifts


class KernelMapsView:
    """The view of `kernel_maps`; `KernelMapsFixture` says what its arguments mean."""

    view = "kernel_maps"
    compare = staticmethod(comparison.compare)
    picture = staticmethod(pictures.picture)
    describe = staticmethod(pictures.describe)

    def __init__(self, model: torch.nn.Module, *, layers: str | Collection[str] | None = None):
        require_model(model)
        self.model, self._layers = model, layer_patterns(layers)
        if self._layers is not None and not self._layers:
            raise ModelvizError("layers is empty, so there is nothing to compare: leave it out, or name convolutions")

    def explain_values(self, verdict: Verdict, baseline: Capture) -> Verdict:
        """The verdict with what has become of the weights that differ."""
        return with_value_changes(verdict, stored_trace(baseline.arrays), self.model)

    def capture(self) -> Capture[KernelMaps]:
        with _ready_to_read(self.model) as model:
            layers = convolutions(model)
            if self._layers is not None:
                layers = selected(model, layers, self._layers)
            pictured = {layer.name for layer in (layers if self._layers is not None else first_of_stages(layers))}
            with torch.inference_mode(False), torch.no_grad(), without_dispatch_modes():  # only read from here on
                structure = kernel_structure(model, layers)
                numbers = {convolution.name: statistics(convolution) for convolution in layers}
                samples = _samples(layers, pictured)
            containers = _containers(model, list(numbers))
        arrays: dict[str, Array] = {}
        pages: dict[str, JsonObject] = {}
        for name, filters in samples.items():
            arrays[PICTURE + name], exponent = packed(filters.values)
            arrays[INPUTS + name] = np.array(filters.inputs, np.int32)
            pages[name] = filters.to_page(exponent, pictured=name in pictured)
        facts: JsonObject = {
            "model": class_name(self.model),
            "asked": self._layers if self._layers is None else sorted(self._layers),
            "layers": {name: kernels.to_row() for name, kernels in numbers.items()},
            "containers": containers,
            "pictures": pages,
        }
        result = KernelMaps(numbers, {name: filters.values for name, filters in samples.items() if name in pictured})
        notes = _quality_notes(numbers)
        captured = captured_arrays(ForwardTrace(structure), arrays)
        return Capture(self.view, facts, captured, environment(self.model), result, notes, tuple(numbers))


def _ready_to_read(model: torch.nn.Module) -> contextlib.AbstractContextManager[torch.nn.Module]:
    """The model in eval mode, to be restored afterwards; as it is where reading it runs nobody's code."""
    return contextlib.nullcontext(model) if is_plain_to_read(model) else prepared(model, None)


def _samples(layers: Sequence[Convolution], pictured: Collection[str]) -> dict[str, FilterSample]:
    """A few filters of each layer that has any to look at."""
    samples = {}
    for convolution in layers:
        most = MOST_FILTERS if convolution.name in pictured else _UNPICTURED_FILTERS
        if (filters := sample(convolution, most)) is not None:
            samples[convolution.name] = filters
    return samples


def _containers(model: torch.nn.Module, names: Sequence[str]) -> dict[str, str]:
    """The class of every module that holds one of these, in the order of registration."""
    outer = {module for name in names for module in enclosing(name)} - set(names)
    return {name: class_name(module) for name, module in observed_modules(model) if name in outer}


def _quality_notes(numbers: Mapping[str, KernelStatistics]) -> tuple[str, ...]:
    """What is odd about the kernels by themselves, whatever the baseline says, and which could not be compared."""
    notes = []
    broken = [f"{n or MODEL_LABEL} ({s.not_finite} of {s.filters} filters)" for n, s in numbers.items() if s.not_finite]
    if broken:
        notes.append(f"kernels hold NaN or infinities: {', '.join(broken)}")
    empty = [n or MODEL_LABEL for n, s in numbers.items() if s.rms is None and not s.not_finite]
    if empty:
        notes.append(f"the kernels of {', '.join(empty)} hold no numbers yet (lazy, meta or empty): not compared")
    return tuple(notes)
