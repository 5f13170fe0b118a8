"""Dotted names: which of some others a name is, or lies in, found without holding each against each."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator


def holders(name: str, among: Collection[str], lengths: Collection[int]) -> Iterator[str]:
    """Those `among` some names, the longest last, that are this one or that it begins with before a dot.

    `lengths` are those of all of them.
    """
    for end in (*(found.start() for found in re.finditer(r"\.", name) if found.start() in lengths), len(name)):
        if name[:end] in among:
            yield name[:end]
