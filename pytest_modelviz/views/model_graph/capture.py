"""What a model computes, operator by operator, whatever modules the operators are called from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import torch

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.pictures.exhibits import Exhibit
from pytest_modelviz.probe.environment import environment
from pytest_modelviz.probe.forward import ModelInput, prepared, require_model
from pytest_modelviz.probe.modules import opaque_modules, tie_groups
from pytest_modelviz.probe.structure import plain_text
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.verdict import Verdict
from pytest_modelviz.views.model_graph import compare, pictures
from pytest_modelviz.views.model_graph.export import exported, warm_calls
from pytest_modelviz.views.model_graph.function_trace import traced
from pytest_modelviz.views.model_graph.records import TRACED, OperatorGraph

_PATH = re.compile(r"\S*[/\\]\S+")


class ModelGraphView:
    """The view of `model_graph`; `ModelGraphFixture` says what its arguments mean.

    Compares operators, their arguments, shapes and order. The values of weights and activations do not count:
    `feature_maps` and `kernel_maps` compare those.
    """

    view = "model_graph"

    def __init__(self, model: torch.nn.Module, input_data: ModelInput) -> None:
        require_model(model)
        if input_data is None:
            raise ModelvizError(
                "model_graph needs an input to follow: pass a tensor, a tuple of positional arguments or a dict of "
                "keyword arguments as input_data"
            )
        self._model, self._input = model, input_data

    @property
    def model(self) -> torch.nn.Module:
        return self._model

    def capture(self) -> Capture[OperatorGraph]:
        graph = self._graph()
        notes = []
        if graph.source == TRACED:
            notes.append(
                f"torch.export cannot follow this model ({graph.reason}): its operators are those of one pass, as its "
                f"code calls them"
            )
            opaque = opaque_modules(self._model)
            if opaque:
                names = "the model" if opaque == [""] else ", ".join(opaque)
                notes.append(f"{names} is TorchScript: it counts as one operator")
        around = environment(self._model, self._input)
        return Capture(
            self.view,
            graph.to_facts(),
            environment=around,
            result=graph,
            notes=tuple(notes),
            layers=tuple(graph.modules),
        )

    def compare(self, baseline: Capture, actual: Capture, tolerances: Tolerances) -> Verdict:
        return compare.compare(baseline, actual, tolerances)

    def picture(
        self, actual: Capture, baseline: Capture | None = None, verdict: Verdict | None = None
    ) -> Sequence[Exhibit]:
        return pictures.picture(actual, baseline, verdict)

    def describe(self, actual: Capture) -> str:
        return pictures.describe(actual)

    def _graph(self) -> OperatorGraph:
        # in a block of its own: what modules keep of this pass is put back, only caches outside of them stay warm
        with prepared(self._model, self._input) as model:
            calls = warm_calls(model, self._input)
        return replace(self._followed(), calls=calls, ties=None if calls is None else tie_groups(self._model))

    def _followed(self) -> OperatorGraph:
        try:
            with prepared(self._model, self._input) as model:
                return exported(model, self._input)
        except ModelvizError:
            raise
        except Exception as error:  # whatever export raises; a faulty model fails the pass below, too
            reason = _reason(error)
        with prepared(self._model, self._input) as model:
            return traced(model, self._input, reason)


def _reason(error: Exception) -> str:
    """The first line of an error, without what differs from machine to machine."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = _PATH.sub("...", plain_text(lines[0])) if lines else ""
    text = re.sub(r"0x[0-9a-fA-F]+", "...", text)
    text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return text if len(text) <= 160 else f"{text[:157]}..."
