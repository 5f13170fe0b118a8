"""What a model computes, operator by operator, whatever modules the operators are called from."""

from __future__ import annotations

import re
from dataclasses import replace

import torch

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.probe.environment import environment
from pytest_modelviz.probe.forward import ModelInput, prepared, require_model
from pytest_modelviz.probe.modules import opaque_modules, tie_groups
from pytest_modelviz.probe.nested_values import plain_text
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.text.side_by_side import cut_short
from pytest_modelviz.views.model_graph import compare as comparison
from pytest_modelviz.views.model_graph import pictures
from pytest_modelviz.views.model_graph.export import exported, warm_calls
from pytest_modelviz.views.model_graph.function_trace import traced
from pytest_modelviz.views.model_graph.records import TRACED, OperatorGraph

_MOST_NAMED = 5
_PATH = re.compile(r"\S*[/\\]\S+")


class ModelGraphView:
    """The view of `model_graph`; `ModelGraphFixture` says what its arguments mean.

    Compares operators, their arguments, shapes and order. The values of weights and activations do not count:
    `feature_maps` and `kernel_maps` compare those.
    """

    view = "model_graph"
    compare = staticmethod(comparison.compare)
    picture = staticmethod(pictures.picture)
    describe = staticmethod(pictures.describe)

    def __init__(self, model: torch.nn.Module, input_data: ModelInput) -> None:
        require_model(model)
        if input_data is None:
            raise ModelvizError(
                "model_graph needs an input to follow: pass a tensor, a tuple of positional arguments or a dict of "
                "keyword arguments as input_data"
            )
        self.model, self._input = model, input_data

    def capture(self) -> Capture[OperatorGraph]:
        # in a block of its own: what modules keep of this pass is put back, only caches outside of them stay warm
        with prepared(self.model, self._input) as model:
            calls = warm_calls(model, self._input)
        graph = replace(self._followed(), calls=calls, ties=None if calls is None else tie_groups(self.model))
        notes = []
        if graph.source == TRACED:
            notes.append(
                f"torch.export cannot follow this model ({graph.reason}): its operators are those of one pass, as its "
                f"code calls them"
            )
            opaque = opaque_modules(self.model)
            if opaque:
                names = "the model" if opaque == [""] else ", ".join(opaque)
                notes.append(f"{names} is TorchScript: it counts as one operator")
        uncompared = graph.uncompared()
        if uncompared:
            notes.append(f"the graph holds what is not compared: {', '.join(uncompared[:_MOST_NAMED])}")
        facts, around, layers = graph.to_facts(), environment(self.model, self._input), tuple(graph.modules)
        return Capture(self.view, facts, environment=around, result=graph, notes=tuple(notes), layers=layers)

    def _followed(self) -> OperatorGraph:
        try:
            with prepared(self.model, self._input) as model:
                return exported(model, self._input)
        except ModelvizError:
            raise
        except Exception as error:  # whatever export raises; a faulty model fails the pass below, too
            reason = _reason(error)
        with prepared(self.model, self._input) as model:
            return traced(model, self._input, reason)


def _reason(error: Exception) -> str:
    """The first line of an error, without what differs from machine to machine."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = _PATH.sub("...", plain_text(lines[0])) if lines else ""
    text = re.sub(r"0x[0-9a-fA-F]+", "...", text)
    text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return cut_short(text, 160)
