"""Tensors that stand in a model's code, as a graph's references name them. Knows no torch.

A small one is given by its values, a larger one by sketches of two widths (`probe.count_sketch`), or by a digest if it
is exact. The wider sketch of up to 61 numbers is the numbers themselves. Earlier versions wrote the narrow one alone:
changes at positions that are seven apart may cancel in it.
"""

import re
from collections.abc import Sequence

import numpy as np

from pytest_modelviz.compare.tolerance import weight_tolerance
from pytest_modelviz.records.norms import norm
from pytest_modelviz.records.tensors import WEIGHT_WIDTH, Sketch

SKETCH_WIDTHS = (7, WEIGHT_WIDTH)  # numbers: the values, and those without giants, are sketched each by itself
_CONSTANT = "constant "
_LARGE = re.compile(r" \((sketch|digest) ([^()]*)\)$")
_WIDER, _NEXT = "; wider ", " | "  # before the sketches of the second width, and between two of one width


def sketch_text(sketches: Sequence[Sequence[Sketch]], fingerprints: Sequence[str]) -> str:
    """The values of a large constant: its sketches, and the fingerprints of what they leave out.

    Args:
        sketches: of each width those of the values, of the values without giants, and so on.
        fingerprints: texts with a colon in each.

    """
    narrow, wide = ([", ".join(f"{number:.8g}" for number in sketch) for sketch in own] for own in sketches)
    return f"sketch {', '.join([*narrow, *fingerprints])}{_WIDER}{_NEXT.join(wide)}"


def without_large_values(reference: str) -> str:
    """A reference as earlier versions wrote it, which gave no values of constants of more than eight elements."""
    is_constant = reference.rpartition("=")[2].startswith(_CONSTANT)
    return _LARGE.sub("", reference) if is_constant else reference


def is_without_values(reference: str) -> bool:
    """Whether a reference is to a constant whose values could not be read, or may follow from activations."""
    name = reference.rpartition("=")[2]
    return name.startswith(_CONSTANT) and not name.endswith(")")


def is_sketched_narrowly(reference: str) -> bool:
    """Whether a reference is to a constant of which it has the narrow sketch alone, as earlier versions wrote it."""
    found = _LARGE.search(reference) if reference.rpartition("=")[2].startswith(_CONSTANT) else None
    return found is not None and found[1] == "sketch" and _WIDER not in found[2]


def same_constant(before: str, after: str) -> bool:
    """Whether two references are to constants with the same values, but for the rounding of processors.

    Sketches that `before` does not have are not compared.
    """
    if before == after:
        return True
    old, new = _LARGE.search(before), _LARGE.search(after)
    if old is None or new is None or before[: old.start()] != after[: new.start()] or {old[1], new[1]} != {"sketch"}:
        return False
    dtype = after.rpartition(_CONSTANT)[2].partition("[")[0]
    (narrow, is_wider, wide), (new_narrow, _, new_wide) = (match[2].partition(_WIDER) for match in (old, new))
    texts = narrow.split(", "), new_narrow.split(", ")
    fingerprints = [[text for text in items if ":" in text] for items in texts]
    numbers = [[text for text in items if ":" not in text] for items in texts]
    if fingerprints[0] != fingerprints[1] or len(numbers[0]) != len(numbers[1]):
        return False
    width = SKETCH_WIDTHS[0]
    pairs = [(numbers[0][at : at + width], numbers[1][at : at + width]) for at in range(0, len(numbers[1]), width)]
    if is_wider:
        rows = [[row.split(", ") for row in text.split(_NEXT)] for text in (wide, new_wide)]
        if len(rows[0]) != len(rows[1]):
            return False
        pairs += zip(rows[0], rows[1], strict=True)
    return all(_is_near(earlier, later, weight_tolerance(dtype)) for earlier, later in pairs)


def _is_near(before: Sequence[str], after: Sequence[str], tolerance: float) -> bool:
    try:
        old, new = (np.array(list(map(float, texts))) for texts in (before, after))
    except ValueError:
        return False
    with np.errstate(all="ignore"):
        return old.shape == new.shape and norm(new - old) <= tolerance * norm(new)
