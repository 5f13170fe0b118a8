"""What a model is: its module tree with configuration, shapes, parameters, buffers, ties, calls and mult-adds."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import torch

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.probe.environment import environment
from pytest_modelviz.probe.fake import faked, needs_values
from pytest_modelviz.probe.forward import ModelInput, call, prepared, require_model
from pytest_modelviz.probe.modules import class_name
from pytest_modelviz.probe.nested_values import tensors
from pytest_modelviz.probe.pass_recorder import PassRecorder
from pytest_modelviz.probe.purity import untouched
from pytest_modelviz.probe.sketch import record_shape
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.views.model_summary import compare as comparison
from pytest_modelviz.views.model_summary import pictures, summary
from pytest_modelviz.views.model_summary.contents import Contents, contents_of
from pytest_modelviz.views.model_summary.flops import MultAdds, counted_pass
from pytest_modelviz.views.model_summary.records import ModelSummary
from pytest_modelviz.views.model_summary.summary import SummaryPass
from pytest_modelviz.views.model_summary.table import table_of_pass, table_without_pass

# One shape or several; a tensor, or what holds some, is input_data that was given in its place.
InputSize: TypeAlias = torch.Tensor | Sequence[object] | Mapping[str, object]


class ModelSummaryView:
    """The view of `model_summary`; `ModelSummaryFixture` says what its arguments mean."""

    view = "model_summary"
    compare = staticmethod(comparison.compare)
    picture = staticmethod(pictures.picture)

    def __init__(self, model: torch.nn.Module, input_size: InputSize | None = None, *, input_data: ModelInput = None):
        require_model(model)
        if input_size is not None and input_data is not None:
            raise ModelvizError("model_summary takes input_size or input_data, not both")
        if _is_data(input_size):
            input_size, input_data = None, input_size
        self.model = model
        self._given = _made_up(model, input_size) if input_size is not None else input_data
        self._input = _like_model(model, self._given)

    @property
    def is_on_meta(self) -> bool:
        return _device(self.model).type == "meta"

    def capture(self, *, is_table_of_pass: bool = True) -> Capture[ModelSummary]:
        """Look at the model; the table for people will be made in a pass of its own, or without one."""
        contents, observed = self._without_pass() if self._input is None else self._observed()
        return self.captured(contents, observed, is_table_of_pass=is_table_of_pass)

    def captured(
        self, contents: Contents, observed: SummaryPass, *, is_table_of_pass: bool = True
    ) -> Capture[ModelSummary]:
        """The capture of a model of which a pass, if any, was made already."""
        make_table = table_of_pass if is_table_of_pass and self._input is not None else table_without_pass
        result = summary.summarise(contents, observed, functools.partial(make_table, self.model, self._input))
        facts = {"model": class_name(self.model), **result.to_facts()}
        around = environment(self.model, self._input)
        notes = (*observed.notes, *(observed.trace.notes if observed.trace else ()))
        return Capture(self.view, facts, environment=around, result=result, notes=notes, layers=tuple(result.layers))

    def describe(self, actual: Capture) -> str:
        return str(actual.result)

    def _without_pass(self, *notes: str) -> tuple[Contents, SummaryPass]:
        with prepared(self.model, self._input) as model:
            return contents_of(model), SummaryPass(notes=notes)

    def _observed(self) -> tuple[Contents, SummaryPass]:
        """A pass; a meta model that reads values gets those of its input, and a note says where it reads others."""
        try:
            return counted_pass(self.model, lambda: prepared(self.model, self._input), self._pass)
        except Exception as error:
            if not self.is_on_meta or not needs_values(error):
                raise
        try:
            return counted_pass(self.model, self._prepared_for_values, functools.partial(self._pass, fake=True))
        except Exception as error:
            reason = " ".join(str(error).split("\n")[0].split())
            return self._without_pass(
                f"its forward reads values that a model on the meta device does not have ({type(error).__name__}: "
                f"{reason}): summarised without shapes, calls and mult-adds"
            )

    @contextlib.contextmanager
    def _prepared_for_values(self) -> Iterator[torch.nn.Module]:
        """The same for a pass that gets the input as it was given, which is not on the model's device."""
        with prepared(self.model, self._input) as model, untouched(torch.nn.Module(), self._given):
            yield model

    def _pass(
        self, model: torch.nn.Module, counter: MultAdds | None, *, fake: bool = False
    ) -> tuple[Contents, SummaryPass]:
        observers = [] if counter is None else [counter]
        recorder = PassRecorder(model, observers, record=record_shape, weight_width=None)
        contents = contents_of(model, recorder.structure)
        counting = contextlib.nullcontext() if counter is None else counter.counting()
        with faked(model, self._given) if fake else contextlib.nullcontext(self._input) as data:
            with counting, recorder.recording():
                call(model, data)
            own = {} if counter is None else counter.own
            return contents, SummaryPass(recorder.trace, own, contents.caches(model))


def _device(model: torch.nn.Module) -> torch.device:
    return next((p.device for p in model.parameters()), torch.device("cpu"))


def _is_data(given: object) -> bool:
    return not isinstance(given, np.ndarray) and (isinstance(given, Mapping) or any(True for _ in tensors(given)))


def _made_up(model: torch.nn.Module, input_size: InputSize) -> tuple[torch.Tensor, ...]:
    """Zeros of the wanted sizes, on the model's device and in its floating dtype. Only their shapes are looked at."""
    given = list(input_size) if isinstance(input_size, (list, tuple)) else [None]
    sizes: list[object] = [given] if given and all(isinstance(side, int) for side in given) else given
    shapes = [tuple(s) for s in sizes if isinstance(s, Sequence) and s and all(isinstance(side, int) for side in s)]
    if not shapes or len(shapes) != len(sizes) or any(side < 0 for shape in shapes for side in shape):
        raise ModelvizError(
            f"input_size must be a shape with its batch dimension, such as (1, 3, 224, 224), "
            f"or several of them, not {input_size!r}"
        )
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    device = torch.device("cpu") if _device(model).type == "meta" else _device(model)
    try:
        return tuple(torch.zeros(shape, dtype=dtype, device=device) for shape in shapes)
    except RuntimeError as error:  # torch's allocators, and sizes beyond 64 bits
        reason = str(error).partition("\n")[0]
        raise ModelvizError(f"no input of the input_size {input_size!r} can be made: {reason}") from None


def _like_model(model: torch.nn.Module, input_data: ModelInput) -> ModelInput:
    """A meta model gets its input on meta too: its shapes can be followed without any memory."""
    if input_data is None or _device(model).type != "meta":
        return input_data

    def moved(value: object) -> object:
        if isinstance(value, torch.Tensor):
            return value.to("meta")
        if isinstance(value, Mapping):
            return {key: moved(item) for key, item in value.items()}
        if type(value) is tuple:
            return tuple(map(moved, value))
        return list(map(moved, value)) if type(value) is list else value

    return moved(input_data)
