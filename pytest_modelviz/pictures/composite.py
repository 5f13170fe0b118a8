"""The pictures a reviewer sees: baseline | actual | difference on one scale, and the plain picture of one capture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pytest_modelviz.pictures.colour import DIVERGING, Image, Scale, Values, overlay, paint
from pytest_modelviz.pictures.layout import below, beside, enlarge, grid, labelled

TILE = 96
PANEL = 192  # pixels: twice the longest side that is kept of what is shown, so that its pixels stay squares of one size
_STEPS = (1, 2, 5)


@dataclass(frozen=True)
class Picture:
    """An image of one layer: shape (h, w, 3), uint8. `label` is the layer's name or another short word."""

    label: str
    image: Image


def tiles(channels: Values, scale: Scale, columns: int = 4) -> Image:
    """Paint channels (c, h, w) as a grid on one scale."""
    columns = min(columns, len(channels))
    size = TILE if columns > 1 else PANEL
    return grid([enlarge(paint(channel, scale), size) for channel in channels], columns)


def channels_picture(label: str, channels: Values, caption: str = "") -> Picture:
    """One capture's channels of one layer, labelled with their scale."""
    scale = Scale.of(channels)
    return Picture(label, labelled(tiles(channels, scale), label, f"{caption}  scale {scale.text}".strip()))


def channels_composite(label: str, baseline: Values | None, actual: Values, headline: str) -> Picture:
    """Baseline | actual | difference of a layer's channels. All three share one scale.

    A difference too small to be seen on that scale is shown enlarged, and says how many times.
    """
    if baseline is None or baseline.shape != actual.shape:
        known = [("baseline", baseline), ("actual", actual)]
        return Picture(label, _row(headline, [(name, v, None) for name, v in known if v is not None], ""))
    scale = Scale.of(baseline, actual)
    with np.errstate(invalid="ignore"):
        difference = np.asarray(actual, np.float64) - np.asarray(baseline, np.float64)
    factor = magnification(difference, scale)
    name = "difference" if factor == 1 else f"difference x {factor:g}"
    reach = scale.high - scale.low if scale.colours != DIVERGING else scale.high
    panels = [
        ("baseline", baseline, scale),
        ("actual", actual, scale),
        (name, difference * factor, Scale(-reach, reach, DIVERGING)),
    ]
    return Picture(label, _row(headline, panels, f"scale {scale.text}"))


def magnification(difference: Values, scale: Scale) -> float:
    """The round number (1, 2, 5, 10, ...) that makes the greatest difference fill about half of the scale."""
    finite = np.abs(difference[np.isfinite(difference)])
    greatest, half = float(finite.max(initial=0.0)), (scale.high - scale.low) / 2
    if greatest == 0.0 or greatest >= half / 2:
        return 1.0
    wanted = half / greatest
    power = 10.0 ** np.floor(np.log10(wanted))
    return float(max(step * power for step in _STEPS if step * power <= wanted))


def _row(headline: str, panels: Sequence[tuple[str, Values, Scale | None]], scale: str) -> Image:
    images = [labelled(tiles(values, s or Scale.of(values)), name) for name, values, s in panels]
    return labelled(beside(images, gap=12), headline, scale)


def heat_panel(heat: Values, photo: Image | None) -> Image:
    """A map with values in [0, 1], painted over the photo it explains where there is one."""
    painted = enlarge(paint(heat, Scale(0.0, 1.0, "jet")), PANEL, smooth=bool(np.isfinite(heat).all()))
    if photo is None:
        return painted
    under = enlarge(photo, PANEL, smooth=True)
    if under.shape != painted.shape:
        return beside([under, painted])
    return overlay(under, painted)


Heat = tuple[Values, Image | None]  # a map with values in [0, 1], and the photo it explains


def heat_picture(label: str, caption: str, heats: Sequence[Heat]) -> Picture:
    """One capture's heatmaps, of up to a few samples, each beside its photo."""
    rows = []
    for heat, photo in heats:
        panels = [] if photo is None else [labelled(enlarge(photo, PANEL, smooth=True), "input")]
        rows.append(beside([*panels, labelled(heat_panel(heat, photo), "map")]))
    return Picture(label, labelled(below(rows, gap=12), caption))


def heat_composite(label: str, headline: str, baseline: Sequence[Heat], actual: Sequence[Heat]) -> Picture:
    """Baseline | actual | difference on the scale 0 to 1, one row a sample."""
    rows = [_heat_row(one, other) for one, other in zip(baseline, actual, strict=False)]
    return Picture(label, labelled(below(rows, gap=12), headline, "scale 0 to 1"))


def _heat_row(baseline: Heat, actual: Heat) -> Image:
    panels = [labelled(heat_panel(*baseline), "baseline"), labelled(heat_panel(*actual), "actual")]
    if baseline[0].shape == actual[0].shape:
        difference = actual[0].astype(np.float64) - baseline[0].astype(np.float64)
        factor = magnification(difference, Scale(-1.0, 1.0))
        painted = paint(difference * factor, Scale(-1.0, 1.0, DIVERGING))
        name = "difference" if factor == 1 else f"difference x {factor:g}"
        panels.append(labelled(enlarge(painted, PANEL, smooth=bool(np.isfinite(difference).all())), name))
    return beside(panels, gap=12)


def photo_composite(label: str, headline: str, baseline: Image, actual: Image) -> Picture:
    """Two inputs side by side, each stretched to its own contrast."""
    panels = [("baseline", baseline), ("actual", actual)]
    images = [labelled(enlarge(photo, PANEL, smooth=True), name) for name, photo in panels]
    return Picture(label, labelled(beside(images, gap=12), headline))


def sheet(pictures: Sequence[Picture]) -> Image | None:
    """All pictures of a capture on one sheet, for people and for the diffs of hosting sites."""
    return below([picture.image for picture in pictures], gap=12) if pictures else None
