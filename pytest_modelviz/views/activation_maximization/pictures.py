"""The inputs that were climbed to, the curves of the climbs, and both in words."""

from collections.abc import Sequence

import numpy as np

from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.pictures.colour import Image
from pytest_modelviz.pictures.composite import PANEL, Picture
from pytest_modelviz.pictures.exhibits import Curve, Exhibit
from pytest_modelviz.pictures.layout import below, beside, enlarge, grid, labelled
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.facts import items, rows
from pytest_modelviz.records.verdict import Verdict
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


def inputs_picture(labels: Sequence[str], captions: Sequence[str], images: Image) -> Picture:
    """One capture's inputs, (n, h, w, 1 or 3), each stretched to its own contrast: mean -/+ 3 standard deviations."""
    panels = [
        labelled(_panel(image), label, caption) for image, label, caption in zip(images, labels, captions, strict=True)
    ]
    return Picture(labels[0], grid(panels, 4, 8))


def inputs_composite(headline: str, labels: Sequence[str], baseline: Image | None, actual: Image) -> Picture:
    """A row for each filter: baseline | actual | difference, whose grey is zero."""
    rows = []
    for at, label in enumerate(labels):
        panels = [labelled(_panel(actual[at]), "actual")]
        if baseline is not None and baseline.shape == actual.shape:
            difference = (actual[at].astype(np.int16) - baseline[at].astype(np.int16)) // 2 + 128
            panels = [
                labelled(_panel(baseline[at]), "baseline"),
                *panels,
                labelled(_panel(difference.astype(np.uint8)), "difference"),
            ]
        rows.append(labelled(beside(panels, gap=12), label))
    return Picture(labels[0], labelled(below(rows, gap=8), headline))


def _panel(image: Image) -> Image:
    return enlarge(np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image, PANEL, smooth=True)
