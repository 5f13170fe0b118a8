"""Tensors that stand in a model's code, as a graph's references name them. Knows no torch.

A small one is given by its values, a larger one by a sketch (`probe.count_sketch`), or by a digest if it is exact.
"""

import re

import numpy as np

from pytest_modelviz.compare.tolerance import weight_tolerance
from pytest_modelviz.records.norms import row_norms

SKETCH_WIDTH = 7  # numbers: the values of a tensor, and those without giants, are sketched each by itself
_CONSTANT = "constant "
_LARGE = re.compile(r" \((sketch|digest) ([^()]*)\)$")


def sketch_text(numbers: list[float], fingerprints: list[str]) -> str:
    """The values of a large constant: its sketch, and the fingerprints of what the sketch leaves out."""
    return f"sketch {', '.join([*(f'{number:.8g}' for number in numbers), *fingerprints])}"


def without_large_values(reference: str) -> str:
    """A reference as earlier versions wrote it, which gave no values of constants of more than eight elements."""
    is_constant = reference.rpartition("=")[2].startswith(_CONSTANT)
    return _LARGE.sub("", reference) if is_constant else reference


def is_without_values(reference: str) -> bool:
    """Whether a reference is to a constant whose values could not be read, or may follow from activations."""
    name = reference.rpartition("=")[2]
    return name.startswith(_CONSTANT) and not name.endswith(")")


def same_constant(before: str, after: str) -> bool:
    """Whether two references are to constants with the same values, but for the rounding of processors."""
    if before == after:
        return True
    old, new = _LARGE.search(before), _LARGE.search(after)
    if old is None or new is None or before[: old.start()] != after[: new.start()] or new[1] != "sketch":
        return False
    texts = old[2].split(", "), new[2].split(", ")
    fingerprints = [[text for text in items if ":" in text] for items in texts]
    if len(texts[0]) != len(texts[1]) or fingerprints[0] != fingerprints[1]:
        return False
    try:
        numbers = [[float(text) for text in items if ":" not in text] for items in texts]
    except ValueError:
        return False
    dtype = after.rpartition(_CONSTANT)[2].partition("[")[0]
    with np.errstate(all="ignore"):
        sketches, actual = (np.reshape(values, (-1, SKETCH_WIDTH)) for values in numbers)
        distances, sizes = row_norms(actual - sketches), row_norms(actual)
    return bool((distances <= weight_tolerance(dtype) * sizes).all())
