"""What a model is: its module tree with configuration, shapes, parameters, buffers, ties, calls and mult-adds."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from pytest_modelviz.compare.naming import baseline_name, renames_of
from pytest_modelviz.compare.texts import same
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.pictures.diff import Line, around_changes, text_picture
from pytest_modelviz.pictures.exhibits import Exhibit
from pytest_modelviz.probe.environment import environment
from pytest_modelviz.probe.fake import faked, needs_values
from pytest_modelviz.probe.forward import arguments_of, call, prepared, require_model
from pytest_modelviz.probe.modules import (
    class_name,
)
from pytest_modelviz.probe.observe import Observer
from pytest_modelviz.probe.purity import untouched
from pytest_modelviz.probe.sketch import record_shape
from pytest_modelviz.probe.structure import tensors
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.trace import ForwardTrace
from pytest_modelviz.records.verdict import Finding, Verdict
from pytest_modelviz.text.dotted import MODEL_LABEL
from pytest_modelviz.text.natural import natural
from pytest_modelviz.views.model_summary.compare import COMPARED, compare_trees, layers_of
from pytest_modelviz.views.model_summary.flops import MultAdds
from pytest_modelviz.views.model_summary.shapes import common_attributes
from pytest_modelviz.views.model_summary.summary import (
    TABLE_OPTIONS,
    LayerSummary,
    caches_of,
    summarised,
    table_without_pass,
    unsaved_shapes,
)

_BESIDE = ("runs",)  # shown where both have it, and no drift by itself


class ModelSummaryView:
    """`model_summary(model, input_size=None, *, input_data=None)`.

    Tensors in the place of `input_size`, or anything that holds some, are `input_data`.
    """

    view = "model_summary"

    def __init__(self, model: torch.nn.Module, input_size: Any = None, *, input_data: Any = None):
        require_model(model)
        if input_size is not None and input_data is not None:
            raise ModelvizError("model_summary takes input_size or input_data, not both")
        if _is_data(input_size):
            input_size, input_data = None, input_size
        self._model = model
        self._given = _made_up(model, input_size) if input_size is not None else input_data
        self._input = _like_model(model, self._given)

    @property
    def model(self) -> torch.nn.Module:
        return self._model

    @property
    def is_on_meta(self) -> bool:
        return _device(self._model).type == "meta"

    def capture(self) -> Capture:
        return self.with_table(self._table)

    def with_table(self, table: Callable[[torch.nn.Module], str]) -> Capture:
        """The capture with a table for people that is made by this."""
        with prepared(self._model, self._input) as model:
            notes: tuple[str, ...] = ()
            trace, mult_adds, caches = None, dict[str, int](), dict[str, list[str]]()
            if self._input is not None:
                try:
                    trace, mult_adds, caches = self._pass(model)
                except Exception as error:
                    if not self.is_on_meta or not needs_values(error):
                        raise
                    trace, mult_adds, caches, notes = self._faked_pass(model)
            return self.captured(model, trace, mult_adds, table(model), caches, notes)

    def captured(
        self,
        model: torch.nn.Module,
        trace: ForwardTrace | None,
        mult_adds: Mapping[str, int],
        table: str,
        caches: Mapping[str, Sequence[str]] | None = None,
        notes: tuple[str, ...] = (),
    ) -> Capture:
        """The capture of a model of which a pass, if any, was made already."""
        summary = summarised(model, trace, mult_adds, table, caches)
        facts: dict[str, Any] = {
            "model": class_name(self._model),
            "totals": {
                "parameters": summary.total_params,
                "trainable": summary.trainable_params,
                "buffers": summary.buffer_elements,
                "parameter_bytes": summary.parameter_bytes,
                "mult_adds": summary.mult_adds,
            },
            "ties": [list(group) for group in summary.ties],
            "layers": {name: _row(summary.layers[name]) for name in sorted(summary.layers, key=natural)},
        }
        common = common_attributes(facts["layers"])
        if common:
            facts["attributes"] = common
        around = environment(self._model, self._input)
        notes = notes if trace is None else (*notes, *trace.notes)
        return Capture(self.view, facts, environment=around, result=summary, notes=notes, layers=tuple(summary.layers))

    def compare(self, baseline: Capture, actual: Capture, tolerances: Tolerances) -> Verdict:
        return compare_trees(baseline.facts, actual.facts, tolerances.ignored)

    def picture(
        self, actual: Capture, baseline: Capture | None = None, verdict: Verdict | None = None
    ) -> Sequence[Exhibit]:
        if baseline is None:
            return []  # the JSON file is a page for people already
        lines = _lines(layers_of(baseline.facts), layers_of(actual.facts), verdict)
        return [text_picture("layers", f"{actual.facts['model']}, layer by layer", around_changes(lines))]

    def describe(self, actual: Capture) -> str:
        return str(actual.result)

    def _faked_pass(
        self, model: torch.nn.Module
    ) -> tuple[ForwardTrace | None, dict[str, int], dict[str, list[str]], tuple[str, ...]]:
        """A pass of a meta model that reads values of its input, and a note where it reads others."""
        try:
            return *self._pass(model, fake=True), ()
        except Exception as error:
            reason = " ".join(str(error).split("\n")[0].split())
            note = (
                f"its forward reads values that a model on the meta device does not have ({type(error).__name__}: "
                f"{reason}): summarised without shapes, calls and mult-adds"
            )
            return None, {}, {}, (note,)

    def _pass(
        self, model: torch.nn.Module, *, fake: bool = False
    ) -> tuple[ForwardTrace, dict[str, int], dict[str, list[str]]]:
        given = self._given if fake else self._input

        def around() -> contextlib.AbstractContextManager[Any]:
            return faked(model, given) if fake else contextlib.nullcontext(given)

        counter = MultAdds(model)
        observer = Observer(
            model,
            look=record_shape,
            weight_width=None,
            on_enter=counter.enter,
            on_output=counter.leave,
            on_raise=counter.close,
        )
        before = unsaved_shapes(model)
        try:
            with untouched(model, given), around() as data:
                with counter.counting(), observer.watching():
                    call(model, data)
                return observer.trace, counter.own, caches_of(before, unsaved_shapes(model))
        except Exception as error:
            if not counter.is_to_blame(error):
                raise
            observer = Observer(model, look=record_shape, weight_width=None)
            with untouched(model, given), around() as data:
                with observer.watching():
                    call(model, data)
                return observer.trace, {}, caches_of(before, unsaved_shapes(model))

    def _table(self, model: torch.nn.Module) -> str:
        """torchinfo's table, for people. It fails on outputs it does not know; then it is made without a pass."""
        import torchinfo

        options: dict[str, Any] = {**TABLE_OPTIONS, "mode": "eval"}
        try:
            with untouched(model, self._input):
                if self._input is not None:
                    args, kwargs = arguments_of(self._input)
                    # an explicit device keeps torchinfo from moving the model to a GPU
                    return str(torchinfo.summary(model, input_data=kwargs or args, device=_device(model), **options))
        except Exception:  # noqa: S110  # what torchinfo cannot show with shapes, it shows without
            pass
        finally:
            torchinfo.torchinfo.clear_cached_forward_pass()
        return table_without_pass(model)


def _lines(before: Mapping[str, Any], after: Mapping[str, Any], verdict: Verdict | None = None) -> list[Line]:
    """A line for each module; of one that changed, or has another name, what it was and what it is now.

    Of what is compared, only that which was found to differ; of attributes, those that are evidence.
    """
    renamed = renames_of(verdict)
    found = None if verdict is None else {(finding.layer, finding.kind) for finding in verdict.findings}
    attributes: dict[str, list[Finding]] = {}
    for finding in verdict.findings if verdict is not None else ():
        if finding.kind == "attribute":
            attributes.setdefault(finding.layer, []).append(finding)
    new = {baseline_name(name, renamed): name for name in after}
    lines: list[Line] = []
    for name in sorted({*before, *new}, key=natural):
        one, two = before.get(name), after.get(new.get(name, ""), None) if name in new else None
        if one is None or two is None:
            sign, row, told = ("-", one or {}, name) if two is None else ("+", two, new[name])
            lines.append((sign, f"{_title(told, row)}({row.get('config', '')})"))
            continue
        beside = [key for key in _BESIDE if key in one and key in two]
        keys = [key for key in (*COMPARED, *beside) if not same(one.get(key), two.get(key))]
        keys = [key for key in keys if found is None or key in beside or (name, key) in found]
        if any(finding.before == name for finding in renamed) or "class" in keys:
            lines += [("-", _title(name, one)), ("+", _title(new[name], two))]
        elif not keys and name not in attributes:
            lines.append((" ", _title(new[name], two)))
        for key in (key for key in keys if key != "class"):
            pairs = [(sign, told, row) for sign, told, row in (("-", name, one), ("+", new[name], two)) if key in row]
            lines += [(sign, f"{_title(told, row)}  {key}: {row[key]}") for sign, told, row in pairs]
        for changed in attributes.get(name, ()):
            lines += [
                ("-", f"{_title(name, one)}  {changed.what}: {changed.before}"),
                ("+", f"{_title(new[name], two)}  {changed.what}: {changed.after}"),
            ]
    return lines


def _title(name: str, row: Mapping[str, Any]) -> str:
    return f"{name or MODEL_LABEL}: {row.get('class', '')}"


def _row(layer: LayerSummary) -> dict[str, Any]:
    """One line of the JSON file: what is empty is left out."""
    row = {
        "class": layer.class_name,
        "config": layer.config,
        "in": layer.inputs,
        "forward": layer.forward,
        "out": layer.outputs,
        "parameters": dict(layer.parameters),
        "buffers": dict(layer.buffers),
        "frozen": list(layer.frozen),
        "calls": layer.calls,
        "mult_adds": layer.mult_adds,
        "attributes": dict(layer.attributes),
        "state": list(layer.state),
        "runs": layer.runs,
    }
    # a module that runs nothing, though it has children, says so
    return {key: value for key, value in row.items() if value or key == "class" or (key == "runs" and value == [])}


def _device(model: torch.nn.Module) -> torch.device:
    return next((p.device for p in model.parameters()), torch.device("cpu"))


def _is_data(given: Any) -> bool:
    return not isinstance(given, np.ndarray) and (isinstance(given, Mapping) or any(True for _ in tensors(given)))


def _made_up(model: torch.nn.Module, input_size: Any) -> tuple[torch.Tensor, ...]:
    """Zeros of the wanted sizes, on the model's device and in its floating dtype. Only their shapes are looked at."""
    given = list(input_size) if isinstance(input_size, (list, tuple)) else [None]
    sizes: list[Any] = [given] if given and all(isinstance(side, int) for side in given) else given
    if not sizes or not all(
        isinstance(size, Sequence) and size and all(isinstance(s, int) for s in size) for size in sizes
    ):
        raise ModelvizError(
            f"input_size must be a shape with its batch dimension, such as (1, 3, 224, 224), "
            f"or several of them, not {input_size!r}"
        )
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    device = torch.device("cpu") if _device(model).type == "meta" else _device(model)
    return tuple(torch.zeros(tuple(size), dtype=dtype, device=device) for size in sizes)


def _like_model(model: torch.nn.Module, input_data: Any) -> Any:
    """A meta model gets its input on meta too: its shapes can be followed without any memory."""
    if input_data is None or _device(model).type != "meta":
        return input_data

    def moved(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return value.to("meta")
        if isinstance(value, Mapping):
            return {key: moved(item) for key, item in value.items()}
        return type(value)(moved(item) for item in value) if type(value) in (tuple, list) else value

    return moved(input_data)
