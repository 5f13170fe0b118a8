"""What has become of the values of a tensor of which only a sketch was recorded.

The sketch is linear, and the actual tensor is at hand: a supposition of what was done to the values ("all of them times
1.05", "one filter negated") says what the baseline's sketch must have been, and is right if that is what it was. The
simplest that is right is reported. A baseline holds nothing more for it, and nothing is done unless there is a drift.

What cannot be undone leaves no such trace: of values that were set to zero the sketch no longer says what they were.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from pytest_modelviz.probe.modules import observed_modules, own_tensors
from pytest_modelviz.probe.nested_values import tensors
from pytest_modelviz.probe.suppositions import Suppositions
from pytest_modelviz.records.changes import (
    ValueChange,
)
from pytest_modelviz.records.findings import AnyFinding, DivergingEvent, EventFinding, WeightFinding
from pytest_modelviz.records.tensors import LARGEST_PIECE, TensorRecord
from pytest_modelviz.records.trace import ForwardTrace
from pytest_modelviz.records.verdict import Verdict

_LARGEST = 1e30  # number of a sketch: those of weights and pictures are far smaller, and squares must be finite
_MOST_TENSORS = 12  # of a drift of which it is found out what has become of their values
_SLICES = {4: "filter", 5: "filter", 2: "row"}  # by the number of dimensions of a weight


def with_value_changes(
    verdict: Verdict, baseline: ForwardTrace, model: torch.nn.Module, input_data: object = None
) -> Verdict:
    """A verdict whose findings on weights, and on the model's input, say what has become of the values.

    Args:
        verdict: the verdict on a drift.
        baseline: the recorded pass, or structure.
        model: the model of this run.
        input_data: its input, if there was a pass.

    """
    modules = dict(observed_modules(model))
    findings: list[AnyFinding] = []
    looked_at = 0
    for finding in verdict.findings:
        pair = None
        if isinstance(finding, WeightFinding) and finding.layer in modules:
            pair = _weight(finding, baseline, modules[finding.layer])
        elif isinstance(finding, EventFinding) and finding.event is DivergingEvent.INPUT:
            pair = _input(finding, baseline, input_data)
        if pair is None or looked_at >= _MOST_TENSORS:
            findings.append(finding)
            continue
        looked_at += 1
        change = value_change(*pair, slices="sample" if isinstance(finding, EventFinding) else None)
        findings.append(replace(finding, change=change))  # type: ignore[call-arg]  # both kinds have it
    return replace(verdict, findings=tuple(findings))


def _weight(
    finding: WeightFinding, baseline: ForwardTrace, module: torch.nn.Module
) -> tuple[TensorRecord, torch.Tensor] | None:
    before = baseline.modules.get(finding.layer)
    key = None if before is None else before.weights.get(finding.name)
    record = None if key is None else baseline.weights.get(key)
    tensor = dict(own_tensors(module)).get(finding.name)
    return None if record is None or tensor is None else (record, tensor)


def _input(
    finding: EventFinding, baseline: ForwardTrace, input_data: object
) -> tuple[TensorRecord, torch.Tensor] | None:
    """The tensor at a path of the model's input, which is known by its number among all of them."""
    leaves = baseline.calls[0].inputs if baseline.calls else {}
    paths = [path for path, leaf in leaves.items() if leaf.tensor is not None]
    given = list(tensors(input_data))
    if finding.path not in paths or len(paths) != len(given):
        return None
    record = baseline.tensors.get(leaves[finding.path].tensor or "")
    return None if record is None else (record, given[paths.index(finding.path)])


def value_change(baseline: TensorRecord, actual: torch.Tensor, slices: str | None = None) -> ValueChange | None:
    """Find what was done to a tensor's values since the baseline was recorded.

    Args:
        baseline: the recorded tensor.
        actual: the tensor of this run, with floating-point numbers and of the same shape.
        slices: what people call a slice of it along the first dimension; by default "filter" or "row".

    Returns:
        The simplest change that explains the difference to a hundredth; None where none of the known ones does.

    Example:
        >>> weight = torch.arange(1000.0)
        >>> value_change(record_tensor(weight), weight * 1.05)
        Affine(factor=1.05, offset=0.0)

    """
    if not _is_readable(baseline, actual):
        return None
    values = actual.detach().to("cpu", torch.float64)
    if baseline.sketch.size > values.numel():
        return None
    name = slices or _SLICES.get(actual.dim(), "slice")
    return next(Suppositions(baseline, actual, values, name).right_ones(), None)


def _is_readable(baseline: TensorRecord, actual: torch.Tensor) -> bool:
    return (
        actual.is_floating_point()
        and actual.layout == torch.strided
        and not (actual.is_nested or actual.is_meta or actual.is_quantized)
        and tuple(actual.shape) == baseline.shape
        and 1 < baseline.numel == baseline.numbers <= LARGEST_PIECE
        and not baseline.value_fingerprints
        and baseline.sketch_without_giants is None
        and baseline.sketch.size > 0
        and bool((np.abs(baseline.sketch) < _LARGEST).all())
        and bool(torch.isfinite(actual).all())
    )
