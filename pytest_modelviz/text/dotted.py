"""Dotted names of modules and attributes, and how the model itself, whose name is empty, is called among them."""

import re
from collections.abc import Collection, Iterator

MODEL_LABEL = "(model)"
INPUT_LABEL, OUTPUT_LABEL = "(input)", "(output)"  # of the model, beside its layers, none of which can be called so


def enclosing(name: str) -> list[str]:
    """The names of the modules around one, from the model itself on; none for the model.

    Example:
        >>> enclosing("layer1.0.conv")
        ['', 'layer1', 'layer1.0']

    """
    return ["", *(name[: dot.start()] for dot in re.finditer(r"\.", name))] if name else []


def holders(name: str, among: Collection[str], lengths: Collection[int]) -> Iterator[str]:
    """The names `among` which `name` is one, or lies inside one, the longest last.

    `lengths` are the lengths of all names `among`: only beginnings of such lengths are looked up.
    """
    for end in (*(dot.start() for dot in re.finditer(r"\.", name) if dot.start() in lengths), len(name)):
        if name[:end] in among:
            yield name[:end]
