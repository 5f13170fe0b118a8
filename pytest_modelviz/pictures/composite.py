"""The pictures a reviewer sees: baseline | actual | difference on one scale, and the plain picture of one capture."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pytest_modelviz.pictures.colour import DIVERGING, HEAT, Image, Scale, Values, overlay, paint
from pytest_modelviz.pictures.layout import below, beside, enlarge, grid, labelled

TILE = 96
PANEL = 192  # pixels: twice the longest side of a stored map, whose pixels stay squares of equal size
_STEPS = (1, 2, 5)


@dataclass(frozen=True)
class Picture:
    """An image of one layer: shape (h, w, 3), uint8. `label` is the layer's name or another short word."""

    label: str
    image: Image


def tiles(channels: Values, scale: Scale) -> Image:
    """Paint channels (c, h, w) as a grid on one scale."""
    columns = min(4, len(channels))
    size = TILE if columns > 1 else PANEL
    return grid([enlarge(paint(channel, scale), size) for channel in channels], columns)


def channels_picture(label: str, channels: Values, caption: str = "") -> Picture:
    """One capture's channels of one layer, labelled with their scale."""
    scale = Scale.of(channels)
    return Picture(label, labelled(tiles(channels, scale), label, f"{caption}  scale {scale.text}".strip()))


def channels_composite(label: str, baseline: Values | None, actual: Values, headline: str) -> Picture:
    """Baseline | actual | difference of a layer's channels. All three share one scale.

    A difference too small to be seen on that scale is enlarged, and its label says how many times.
    """
    if baseline is None or baseline.shape != actual.shape:
        known = [("baseline", baseline), ("actual", actual)]
        return Picture(label, _row(headline, [(name, v, None) for name, v in known if v is not None], ""))
    scale = Scale.of(baseline, actual)
    name, difference = magnified_difference(baseline, actual, scale)
    reach = scale.high - scale.low if scale.colours != DIVERGING else scale.high
    difference_scale = Scale(-reach, reach, DIVERGING)
    panels = [("baseline", baseline, scale), ("actual", actual, scale), (name, difference, difference_scale)]
    return Picture(label, _row(headline, panels, f"scale {scale.text}"))


def magnified_difference(
    baseline: Values, actual: Values, scale: Scale, name: str = "difference"
) -> tuple[str, Values]:
    """The difference of two arrays, enlarged where it could not be seen on a scale, and a label that says so."""
    with np.errstate(invalid="ignore"):
        difference = np.asarray(actual, np.float64) - np.asarray(baseline, np.float64)
    factor = magnification(difference, scale)
    return name if factor == 1 else f"{name} x {factor:g}", difference * factor


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
    painted = _smooth_panel(heat, Scale(0.0, 1.0, HEAT))
    if photo is None:
        return painted
    under = enlarge(photo, PANEL, smooth=True)
    return overlay(under, painted) if under.shape == painted.shape else beside([under, painted])


def _smooth_panel(values: Values, scale: Scale) -> Image:
    return enlarge(paint(values, scale), PANEL, smooth=bool(np.isfinite(values).all()))


Heat = tuple[Values, Image | None]  # a map with values in [0, 1], and the photo it explains


def heat_picture(label: str, caption: str, heats: Sequence[Heat]) -> Picture:
    """One capture's heatmaps, of up to a few samples, each beside its photo."""
    rows = []
    for heat, photo in heats:
        panels = [] if photo is None else [_photo_panel(photo, "input")]
        rows.append(beside([*panels, labelled(heat_panel(heat, photo), "map")]))
    return Picture(label, labelled(below(rows, gap=12), caption))


def heat_composite(label: str, headline: str, baseline: Sequence[Heat], actual: Sequence[Heat]) -> Picture:
    """Baseline | actual | difference on the scale 0 to 1, one row a sample."""
    rows = list(map(_heat_row, baseline, actual))
    return Picture(label, labelled(below(rows, gap=12), headline, "scale 0 to 1"))


def _heat_row(baseline: Heat, actual: Heat) -> Image:
    panels = [labelled(heat_panel(*baseline), "baseline"), labelled(heat_panel(*actual), "actual")]
    if baseline[0].shape == actual[0].shape:
        scale = Scale(-1.0, 1.0, DIVERGING)
        name, difference = magnified_difference(baseline[0], actual[0], scale)
        panels.append(labelled(_smooth_panel(difference, scale), name))
    return beside(panels, gap=12)


def photo_composite(label: str, baseline: Image, actual: Image) -> Picture:
    """Two inputs side by side, each stretched to its own contrast."""
    panels = [_photo_panel(baseline, "baseline"), _photo_panel(actual, "actual")]
    return Picture(label, labelled(beside(panels, gap=12), "the input"))


def _photo_panel(photo: Image, name: str) -> Image:
    return labelled(enlarge(photo, PANEL, smooth=True), name)


def sheet(pictures: Sequence[Picture]) -> Image | None:
    """All pictures of a capture on one sheet, for people and for the diffs of hosting sites."""
    return below([picture.image for picture in pictures], gap=12) if pictures else None
