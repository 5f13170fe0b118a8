"""Names in the order in which people count."""

import functools
import re
import unicodedata

_LONGEST_CACHED = 200  # letters
_DIGITS = re.compile(r"(\d+)")


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key that puts `layer.10` after `layer.9`.

    Of two numbers the longer one is larger, as digits: Python makes no integers of more than a few thousand of them.
    """
    return (_natural if len(name) <= _LONGEST_CACHED else _natural.__wrapped__)(name)


@functools.lru_cache(maxsize=16384)
def _natural(name: str) -> tuple[tuple[int, int, str], ...]:
    pieces = _DIGITS.split(name)
    return tuple([_number(piece) if piece.isdecimal() else (1, 0, piece) for piece in pieces if piece])


@functools.lru_cache(maxsize=256)
def _number(digits: str) -> tuple[int, int, str]:
    if not digits.isascii():  # digits of another script count the same
        digits = "".join(str(unicodedata.decimal(digit)) for digit in digits)
    digits = digits.lstrip("0")
    return (0, len(digits), digits)
