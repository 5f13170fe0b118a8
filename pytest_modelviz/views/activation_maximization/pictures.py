"""The inputs that were climbed to, the curves of the climbs, and both in words."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.pictures.composite import Picture, Row, composite, plain_picture
from pytest_modelviz.pictures.exhibits import Curve, Exhibit
from pytest_modelviz.pictures.photos import Photo, photo_panel, photo_row
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.facts import items, rows
from pytest_modelviz.records.verdict import Verdict
from pytest_modelviz.text.dotted import MODEL_LABEL
from pytest_modelviz.views.activation_maximization.records import stored_climb
from pytest_modelviz.views.captions import rows_in_words, verdict_caption
from pytest_modelviz.views.stored_pictures import stored_range


def picture(actual: Capture, baseline: Capture | None = None, verdict: Verdict | None = None) -> Sequence[Exhibit]:
    """The inputs of a capture; with a baseline, of both and their difference, and the curves of each filter."""
    layer = str(actual.facts["layer"])
    label = layer or MODEL_LABEL
    labels = [f"filter {number} of {layer or 'the model'}" for number in items(actual.facts, "filters")]
    after = _photos(actual)
    if baseline is None:
        spans = (f"mean activation {row['start']} to {row['end']}" for row in rows(actual.facts, "climbs").values())
        alone = (replace(photo_panel(photo), note=span) for photo, span in zip(after, spans, strict=False))
        panels = list(zip(labels, alone, strict=False))
        return [plain_picture(label, [], panels)] if after else []
    exhibits: list[Exhibit] = []
    if after:
        exhibits.append(_composite(label, verdict_caption(verdict).strip(), labels, _photos(baseline), after))
    old, new = stored_climb(baseline).curves, stored_climb(actual).curves
    if old.shape == new.shape:
        exhibits += [
            Curve(label, {"baseline": before_curve.tolist(), "actual": after_curve.tolist()})
            for label, before_curve, after_curve in zip(labels, old.T, new.T, strict=True)
        ]
    return exhibits


def describe(actual: Capture) -> str:
    """How far each filter's climb went, a line for each."""
    return rows_in_words(actual, "climbs", "filter ")


def _photos(capture: Capture) -> list[Photo]:
    """A picture for each filter, none where the input is no image; raises UnreadableBaselineError."""
    stored = capture.arrays.get("images")
    if stored is None:
        return []
    if stored.dtype != np.uint8 or stored.ndim != 4 or stored.shape[3] not in (1, 3) or not stored.size:
        raise UnreadableBaselineError("its pictures are damaged")
    scales = capture.arrays.get("scales")
    if scales is not None and (scales.ndim != 2 or len(scales) != len(stored)):
        raise UnreadableBaselineError("the ranges of its pictures are damaged")
    pixels = np.repeat(stored, 3, axis=3) if stored.shape[3] == 1 else stored
    return [Photo(pixels[at], *stored_range(None if scales is None else scales[at])) for at in range(len(stored))]


def _composite(label: str, headline: str, titles: Sequence[str], before: list[Photo], after: list[Photo]) -> Picture:
    """A row for each filter: baseline | actual | difference, whose grey is zero."""
    if len(before) == len(after):
        compared = [photo_row(*pair) for pair in zip(before, after, strict=True)]
    else:
        compared = [Row(photo_panel(photo)) for photo in after]
    return composite(label, [headline], [replace(row, title=t) for row, t in zip(compared, titles, strict=False)])
