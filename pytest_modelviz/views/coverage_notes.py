"""What a check does not cover, in words for the user."""

import torch

from pytest_modelviz.attribution.scores import Scores
from pytest_modelviz.probe.modules import opaque_modules
from pytest_modelviz.records.trace import ForwardTrace


def coverage_notes(model: torch.nn.Module, trace: ForwardTrace) -> tuple[str, ...]:
    """Notes on what this look at the model does not cover."""
    notes = []
    opaque = opaque_modules(model)
    if opaque:
        names = "the model" if opaque == [""] else ", ".join(opaque)
        notes.append(f"{names} is TorchScript: its inputs, outputs and weights are compared, not what happens inside")
    records = [*trace.tensors.values(), *trace.gradients.values()]
    blind = [record for record in records if not record.sketch.size and record.numel]
    if blind and len(blind) == len(records):
        notes.append("its tensors hold no numbers (device meta): only shapes and dtypes are compared")
    elif blind:
        notes.append(
            f"{len(blind)} of its tensors cannot be read as numbers (inside vmap, or of a class or dtype that torch "
            f"does not convert): only their shapes and dtypes are compared"
        )
    return (*notes, *trace.notes)


def target_notes(scores: Scores) -> tuple[str, ...]:
    """A note where a target function may have been meant for the whole output."""
    if not scores.is_ambiguous:
        return ()
    return (
        f"the target function was given a sample's scores ({scores.explained}); of the whole output it makes another "
        f"number: pass whole_output(function) if that is meant",
    )
