"""The forward and backward pass of an explanation, and the layers at which a model can be explained."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from pytest_modelviz.attribution.activation_recorder import ActivationRecorder, LayerActivation
from pytest_modelviz.attribution.scores import Scores, Weigh, class_score, needs_no_target, scores_of
from pytest_modelviz.attribution.spatial_layout import SpatialLayout, SpatialLayoutTracker
from pytest_modelviz.attribution.targets import Target
from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.probe.forward import ModelInput, call
from pytest_modelviz.probe.modules import class_name
from pytest_modelviz.probe.pass_recorder import CallObserver, PassRecorder
from pytest_modelviz.probe.sketch import record_shape, record_tensor
from pytest_modelviz.probe.torch_internals import child_table
from pytest_modelviz.records.tensors import TensorRecord
from pytest_modelviz.records.trace import Call, ForwardTrace

# Narrower than a feature map's: they only have to distinguish an equal forward pass from another.
TRACE_WIDTH, TRACE_WEIGHT_WIDTH = 31, 13


@dataclass(frozen=True)
class Explanation:
    """The trace of the pass, the scores explained, and the layers' activations in the order of preference."""

    trace: ForwardTrace
    scores: Scores
    activations: Sequence[LayerActivation]


def explain(
    model: torch.nn.Module,
    input_data: ModelInput,
    target: Target,
    recorder: ActivationRecorder | None,
    *,
    weigh: Weigh = class_score,
    differentiate: bool = True,
) -> Explanation:
    """Run the model once and differentiate the target's score by the last outputs of the recorded layers.

    Args:
        model: a prepared model.
        input_data: its input.
        target: the class or function to explain, None for the predicted class.
        recorder: the recorder of the layers, None where no layer's activation is needed.
        weigh: the number to explain of a sample's scores and a class.
        differentiate: whether gradients are needed; without them a model needs no score where `target` is None.

    Raises:
        ModelvizError: the target does not fit the output, or a layer has no usable output.
        NotDifferentiableError: none of the layers has a gradient.

    """
    observers = [] if recorder is None else [recorder]
    pass_recorder = PassRecorder(model, observers, record=record_narrow, weight_width=TRACE_WEIGHT_WIDTH)
    with pass_recorder.recording():
        output = call(model, input_data)
    is_optional = target is None and not differentiate and not needs_no_target(output)
    scores = Scores((), (), ()) if is_optional else scores_of(output, target, weigh)
    activations = [] if recorder is None else recorder.activations(scores if differentiate else None)
    return Explanation(pass_recorder.trace, scores, activations)


def record_narrow(tensor: torch.Tensor) -> TensorRecord:
    """Record a tensor in the pass of an explanation, with a narrow sketch and no statistics."""
    return record_tensor(tensor, TRACE_WIDTH)


def spatial_layers(model: torch.nn.Module, input_data: ModelInput) -> dict[str, SpatialLayout]:
    """The layers whose outputs have a spatial layout, by name, the last to return first.

    Of the layers whose outputs are tokens only norms and blocks count: the layers inside attention do not show a stage.

    Raises:
        ModelvizError: no layer has a spatial layout.

    """
    layers = _SpatialLayers(input_data)
    with PassRecorder(model, [layers], record=record_shape, weight_width=None).recording(), torch.no_grad():
        call(model, input_data)
    if not layers.layouts:
        raise ModelvizError(
            "no layer of the model has an output with spatial extent (batch, channels, height, width), nor tokens in a "
            "grid that can be inferred, nor (batch, channels, length) of a one-dimensional convolution, which a class "
            "activation map needs; name a target_layer and pass reshape_transform="
        )
    return dict(reversed(layers.layouts.items()))


class _SpatialLayers(CallObserver):
    """Collects the layers whose outputs have a spatial layout, in the order in which they return last."""

    def __init__(self, input_data: ModelInput) -> None:
        self._tracker = SpatialLayoutTracker(input_data)
        self.layouts: dict[str, SpatialLayout] = {}

    def leave(self, call: Call, module: torch.nn.Module, output: object) -> object:
        layout = self._tracker.track(module, output)
        if call.layer and layout is not None:
            of_tokens = layout.form == "tokens" or (layout.form == "channels last" and len(layout.grid) == 1)
            inner = of_tokens and not child_table(module) and "norm" not in class_name(module).lower()
            if not inner:
                self.layouts.pop(call.layer, None)
                self.layouts[call.layer] = layout
        return output
