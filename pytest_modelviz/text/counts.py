"""Counts of things in words."""

from __future__ import annotations


def counted(count: int, noun: str, *, of: str = "") -> str:
    """A count and a noun, in the plural where it is not a single one; `of` stands after the noun.

    Example:
        >>> counted(1, "layer"), counted(2, "value", of=" of the map")
        ('1 layer', '2 values of the map')

    """
    return f"{count} {noun}{'' if count == 1 else 's'}{of}"
