"""How much is read of a baseline at most, and what names its modules may have: anybody may have written it."""

from typing import NamedTuple

from pytest_modelviz.records.capture import Array
from pytest_modelviz.text.strict_json import MOST_VALUES


class Limits(NamedTuple):
    """The largest JSON file, arrays (unpacked), safetensors header and trace structure that are read."""

    json_bytes: int = 64 * 2**20
    json_values: int = MOST_VALUES
    array_bytes: int = 512 * 2**20
    header_bytes: int = 32 * 2**20
    structure_bytes: int = 64 * 2**20
    structure_values: int = 2 * MOST_VALUES


# Modules inside each other, and letters of a module's name: Python's stack bears no pass through more. Whoever looks at
# each module around a module, or at each name inside it, takes that many times what the file holds.
MOST_NESTED, LONGEST_NAME = 300, 10_000

STRUCTURE = ".structure"  # ends the name of each array that holds compressed JSON, whatever it begins with

FIXED = Limits()
SMALL = Limits(4 * 2**20, 250_000, 32 * 2**20, 2 * 2**20, 8 * 2**20, 500_000)


def is_structure(name: str, array: Array) -> bool:
    """Whether an array is compressed JSON: the structure of a pass, of its shadow, or of an explanation's passes.

    Only such arrays are unpacked as JSON, and what each of them unpacks to is measured when a file is read.
    """
    return name.endswith(STRUCTURE) and array.dtype == "uint8" and array.ndim == 1


def is_recordable(layer: str) -> bool:
    """Whether a module has a name that baselines may hold."""
    return len(layer) <= LONGEST_NAME and layer.count(".") < MOST_NESTED
