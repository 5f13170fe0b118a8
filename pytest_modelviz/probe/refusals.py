"""What a model raised where it was run once more, in a form that fits into a note."""

from __future__ import annotations

_LONGEST = 200  # letters


def refusal(error: Exception) -> str:
    """An exception of a model on one line.

    Example:
        >>> refusal(TypeError("this kernel takes bfloat16"))
        'the model raises TypeError: this kernel takes bfloat16'

    """
    text = " ".join(str(error).split())[:_LONGEST]
    return f"the model raises {type(error).__name__}{f': {text}' if text else ''}"


def without_noise(error: Exception) -> str:
    """The note that noise could not be measured, because a model refuses numbers that are moved a little."""
    return (
        f"how far rounding takes this model was not measured (with weights and input moved a little, "
        f"{refusal(error)}): the usual tolerance of its dtype holds"
    )
