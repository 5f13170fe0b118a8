"""The inputs that were climbed to, the curves of the climbs, and both in words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.pictures.colour import Image
from pytest_modelviz.pictures.exhibits import Curve, Exhibit
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.facts import items, rows
from pytest_modelviz.records.verdict import Verdict
from pytest_modelviz.views.activation_maximization.panels import inputs_composite, inputs_picture
from pytest_modelviz.views.activation_maximization.records import stored_climb
from pytest_modelviz.views.captions import verdict_caption


def picture(actual: Capture, baseline: Capture | None = None, verdict: Verdict | None = None) -> Sequence[Exhibit]:
    """The inputs of a capture; with a baseline, of both and their difference, and the curves of each filter."""
    layer = str(actual.facts["layer"])
    labels = [f"filter {number} of {layer or 'the model'}" for number in items(actual.facts, "filters")]
    ends = [f"{row['start']} to {row['end']}" for row in rows(actual.facts, "climbs").values()]
    after = _images(actual)
    if baseline is None:
        return [] if after is None else [inputs_picture(labels, [f"mean activation {span}" for span in ends], after)]
    exhibits: list[Exhibit] = []
    before = _images(baseline)
    if after is not None:
        exhibits.append(inputs_composite(f"{layer}{verdict_caption(verdict)}", labels, before, after))
    old, new = stored_climb(baseline).curves, stored_climb(actual).curves
    if old.shape == new.shape:
        exhibits += [
            Curve(label, {"baseline": before_curve.tolist(), "actual": after_curve.tolist()})
            for label, before_curve, after_curve in zip(labels, old.T, new.T, strict=True)
        ]
    return exhibits


def describe(actual: Capture) -> str:
    """How far each filter's climb went, a line for each."""
    climbs = rows(actual.facts, "climbs").items()
    return "\n".join(f"filter {name}: {', '.join(f'{k} {v}' for k, v in row.items())}" for name, row in climbs)


def _images(capture: Capture) -> Image | None:
    """The pictures (n, h, w, 1 or 3), None where the input is no image; raises UnreadableBaselineError."""
    stored = capture.arrays.get("images")
    if stored is None:
        return None
    if stored.dtype != np.uint8 or stored.ndim != 4 or stored.shape[3] not in (1, 3) or not stored.size:
        raise UnreadableBaselineError("its pictures are damaged")
    return stored.astype(np.uint8, copy=False)
