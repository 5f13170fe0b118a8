"""Counts of things in words."""

from __future__ import annotations

from collections.abc import Sequence


def counted(count: int, noun: str, *, of: str = "") -> str:
    """A count and a noun, in the plural where it is not a single one; `of` stands after the noun.

    Example:
        >>> counted(1, "layer"), counted(2, "value", of=" of the map")
        ('1 layer', '2 values of the map')

    """
    return f"{count} {noun}{'' if count == 1 else 's'}{of}"


def cut(texts: Sequence[str], most: int | None) -> list[str]:
    """The first texts, and a count of the others, so that there are no more than `most`."""
    if most is None or len(texts) <= most:
        return [*texts]
    return [*texts[: most - 1], f"and {len(texts) - most + 1} more"]
