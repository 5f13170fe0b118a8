"""The views as they look at stored captures: two are compared and pictured without their model, and without torch."""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.pictures.exhibits import Exhibit
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.verdict import Cause, Verdict

# Each view, and the function of its compare.py that compares two captures.
_COMPARED_BY = {
    "activation_maximization": "compare",
    "cam_map": "compare_in_float32",
    "feature_maps": "compare",
    "kernel_maps": "compare",
    "model_graph": "compare",
    "model_summary": "compare",
    "saliency_map": "compare_in_float32",
    "training_curve": "compare",
}
NAMES = tuple(_COMPARED_BY)


class _Compare(Protocol):
    def __call__(self, baseline: Capture, actual: Capture, tolerances: Tolerances) -> Verdict: ...


class _Picture(Protocol):
    def __call__(
        self, actual: Capture, baseline: Capture | None = None, verdict: Verdict | None = None
    ) -> Sequence[Exhibit]: ...


@dataclass(frozen=True)
class StoredView:
    """A view's name, how it compares two captures and pictures them, and what causes mean in it, as in `base.View`."""

    view: str
    compare: _Compare
    picture: _Picture
    cause_texts: Mapping[Cause, str] = field(default_factory=dict)


def stored_view(name: str) -> StoredView | None:
    """The view of this name; None where it is none of ours. Its code is imported here: the name may be anything."""
    if name not in _COMPARED_BY:
        return None
    comparison = importlib.import_module(f"{__package__}.{name}.compare")
    pictures = importlib.import_module(f"{__package__}.{name}.pictures")
    compare: _Compare = getattr(comparison, _COMPARED_BY[name])
    return StoredView(name, compare, pictures.picture, getattr(comparison, "CAUSE_TEXTS", {}))
