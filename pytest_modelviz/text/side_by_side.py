"""Two texts side by side that stand for different things: short, and never the same to read."""

import re

_MARGIN = 24  # letters of what two long texts share that are left before what they do not
_DIGEST = re.compile(r"(?<=items), [0-9a-f]{8}(?=[)}])|(?<=\w) [0-9a-f]{8}(?=>)|<[0-9a-f]{8}>")
_BRACKET = re.compile(r"[\[\](){}]")
_ENDS_NAME = re.compile(r"[.\[]")
_MOST_DIGITS = 17


def split_items(text: str) -> list[str]:
    """The items of a list in text form: split at commas that are followed by a blank and stand outside of brackets.

    Outside is where the next bracket, if any, is an opening one.
    """
    items: list[list[str]] = [[]]
    following = ""  # the first bracket in what stands after this piece
    for piece in reversed(text.split(", ")):
        if following in ("]", ")", "}") or not items[-1]:
            items[-1].append(piece)
        else:
            items.append([piece])
        bracket = _BRACKET.search(piece)
        following = bracket[0] if bracket else following
    return [", ".join(reversed(item)) for item in reversed(items)]


def split_path(path: str) -> tuple[str, str]:
    """The argument that a path such as `boxes[0].size` begins with, and what leads into it."""
    end = _ENDS_NAME.search(path)
    return (path[: end.start()], path[end.start() :]) if end else (path, "")


def apart(first: float, second: float, digits: int = 3) -> tuple[str, str]:
    """Two numbers with so few digits as show that they differ, if they do."""
    first, second = first + 0.0, second + 0.0  # no -0.0, which is no other number
    for count in range(digits, _MOST_DIGITS + 1):
        texts = f"{first:.{count}g}", f"{second:.{count}g}"
        if texts[0] != texts[1] or first == second:
            break
    return texts


def cut_short(text: str, most: int) -> str:
    """A text cut to `most` letters."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def without_middle(text: str, most: int) -> str:
    """A text without its middle, if it is longer than `most` letters, and how long it is."""
    half = most // 2
    return text if len(text) <= most else f"{text[:half]} ... {text[-half:]} ({len(text)} letters)"


def cut_apart(first: str, second: str, most: int) -> tuple[str, str]:
    """Two texts cut to `most` letters each, around the first letter in which they differ."""
    if max(len(first), len(second)) <= most:
        return first, second
    if first == second:
        return (cut_short(first, most),) * 2
    shortest = min(len(first), len(second))
    shared = next((at for at in range(shortest) if first[at] != second[at]), shortest)
    return _window(first, shared, most), _window(second, shared, most)


def _window(text: str, at: int, most: int) -> str:
    if len(text) <= most:
        return text
    start = 0 if at <= most - 4 - _MARGIN else max(0, min(at - _MARGIN, len(text) - most + 3))
    begun = f"...{text[start:]}" if start else text
    return cut_short(begun, most)


def without_digests(first: str, second: str) -> tuple[str, str]:
    """Both without the letters that stand for long lists and objects, which say nothing to people."""
    short = _DIGEST.sub("", first), _DIGEST.sub("", second)
    if short == (first, second) or short[0] != short[1]:
        return short
    return short[0] or "a long text", f"{short[1] or 'a long text'}, with other contents"
