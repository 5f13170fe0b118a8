"""The difference of two arrays, and the scale on which it can be seen."""

from collections.abc import Callable, Iterable

import numpy as np

from pytest_modelviz.pictures.colour import DIVERGING, Image, Scale, Values, not_finite
from pytest_modelviz.pictures.composite import Panel
from pytest_modelviz.pictures.layout import text_box

HALF_PRECISION = 2.0**-10  # relative to the larger of two numbers of which each was rounded to half precision
_SMALLEST = 2.0**-23  # relative to the largest number of an array: smaller ones vanish when it is stored
_STEPS = (1, 2, 5)
_MOST_APART = 20.0


def difference_of(baseline: Values, actual: Values, *, precision: float = 0.0) -> Values:
    """Subtract the baseline from an array of the same shape.

    Zero where both are the same, be it NaN or an infinity, and where they differ by no more than `precision` times the
    larger one, the rounding of what is stored.
    """
    before, after = (np.asarray(values, np.float64) for values in (baseline, actual))
    with np.errstate(all="ignore"):
        difference = after - before
        larger = np.maximum(np.abs(before), np.abs(after))
        largest = float(larger[np.isfinite(larger)].max(initial=0.0))
        rounding = precision * (larger + _SMALLEST / HALF_PRECISION * largest)
        is_rounding = np.isfinite(difference) & (np.abs(difference) <= rounding)
    return np.where((before == after) | (np.isnan(before) & np.isnan(after)) | is_rounding, 0.0, difference)


def difference_panel(
    difference: Values, scale: Scale, draw: Callable[[Values, Scale], Image], colours: str = DIVERGING, shown: str = ""
) -> Panel:
    """A difference of values that are painted on `scale`: on the same one where it can be seen there, else enlarged.

    Where there is none a sentence stands in its place, with what is `shown` of all that was compared.
    """
    own, note = difference_scale(difference, scale, colours)
    image = draw(difference, own)
    if not difference.any():
        text = f"What is stored for this picture does not differ{f': {shown}' if shown else ''}."
        return Panel(text_box(text, *image.shape[:2]))
    return Panel(image, own, note=note, kinds=not_finite(difference))


def difference_scale(difference: Values, scale: Scale, colours: str = DIVERGING) -> tuple[Scale, str]:
    """The scale about zero for a difference of values that are painted on `scale`, and what to say of it."""
    greatest, factor = _greatest(difference), magnification(difference, scale.reach)
    is_wider = greatest > scale.reach
    note = "on a wider scale" if is_wider else "" if factor == 1.0 else f"enlarged {factor:g} x"
    return Scale.about_zero(greatest if is_wider else scale.reach / factor, colours), note


def far_apart(baseline: Values, actual: Values) -> str:
    """What to say where one side is so much larger that nothing of the other is seen on one scale."""
    before, after = _greatest(baseline), _greatest(actual)
    for larger, smaller, name in ((before, after, "baseline"), (after, before, "actual")):
        if 0.0 < _MOST_APART * smaller < larger:
            return f"{name} is up to {larger / smaller:.3g} times as large."
    return ""


def sentences(texts: Iterable[str]) -> str:
    """Sentences in one line, without empty ones."""
    return " ".join(filter(None, texts))


def magnification(difference: Values, reach: float) -> float:
    """The round number (1, 2, 5, 10, ...) that makes the greatest difference fill about half of `reach`."""
    greatest = _greatest(difference)
    if greatest == 0.0 or greatest >= reach / 4:
        return 1.0
    wanted = min(reach / 2 / greatest, 1e300)
    power = 10.0 ** np.floor(np.log10(wanted))
    return float(max(step * power for step in _STEPS if step * power <= wanted))


def _greatest(difference: Values) -> float:
    return float(np.abs(difference[np.isfinite(difference)]).max(initial=0.0))
