"""The two steps of each model: a recording, and in another process a comparison, a fault, and a comparison again."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch

from benchmarks.detection.judges import Judgement, Views
from benchmarks.zoo.faults import put_in_fault
from benchmarks.zoo.models import BUILDERS, build
from pytest_modelviz.compare.lockstep import executing_call
from pytest_modelviz.compare.stored import stored_trace
from pytest_modelviz.records.trace import ForwardTrace
from pytest_modelviz.storage.names import Location
from pytest_modelviz.storage.store import Store

Found = dict[str, Any]  # as JSON


def record(name: str, folder: Path) -> Found:
    """Record a model's baselines.

    Returns:
        The bytes of them on disk, and the number of parameters and of modules.

    """
    model, data = build(name)
    torch.manual_seed(0)  # as a test of a model that draws random numbers does before each check
    Views().record(folder, model, data)
    return {
        "bytes": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "modules": len(list(model.modules())),
    }


def compare(name: str, folder: Path) -> Found:
    """Compare a model with its baselines, as it is and with a fault."""
    model, data = build(name)
    torch.manual_seed(0)
    same = Views().judge(folder, model, data)
    found: Found = {"same": same._asdict(), "fault": None}
    trace = _recorded_pass(folder)
    if same.caught:
        found["noise"] = _noise(trace, same.layer)
    fault = put_in_fault(list(BUILDERS).index(name), model, data, [call.layer for call in trace.calls])
    if fault is not None:
        torch.manual_seed(0)
        faulty = Views().judge(folder, model, fault.data)
        found["fault"] = {"kind": fault.kind, "what": fault.what, "layers": list(fault.layers), "cause": fault.cause}
        found["faulty"] = faulty._asdict()
        found["named"] = is_right(faulty, fault.layers, fault.cause)
    return found


def is_right(judgement: Judgement, layers: Collection[str], cause: str) -> bool:
    """Whether a fault was caught, a layer of those to blame was named, and the cause given."""
    return judgement.caught and judgement.layer in layers and judgement.cause == cause


def _recorded_pass(folder: Path) -> ForwardTrace:
    at = Location.of("t.py::test", "feature_maps")
    stored = Store(folder).load(at, nodeid="t.py::test", name="feature_maps")
    assert stored is not None
    return stored_trace(stored.capture.arrays)


def _noise(trace: ForwardTrace, layer: str | None) -> float:
    """How far rounding alone takes what a layer returns or gives to others, as measured when the model was recorded."""
    events = [event for event in trace.events() if executing_call(event).layer == layer]
    keys = {leaf.tensor for event in events for leaf in event.leaves.values() if leaf.tensor is not None}
    return max((trace.tensors[key].noise or 0.0 for key in keys), default=0.0)
