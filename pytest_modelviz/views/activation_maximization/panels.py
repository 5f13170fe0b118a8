"""Inputs that were made for a filter, side by side, as people see images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pytest_modelviz.pictures.colour import Image
from pytest_modelviz.pictures.composite import PANEL, Picture
from pytest_modelviz.pictures.layout import below, beside, enlarge, grid, labelled


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
