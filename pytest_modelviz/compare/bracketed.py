"""Texts of nested values, such as `Config(sizes={3, 5}, names=['a', 'b'])`, with entries left out and sorted.

The order of sets and dictionaries says nothing, so their entries are always sorted; those of lists only on request. A
text whose brackets do not match is returned as it is.
"""

import functools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

NamePredicate = Callable[[str], bool]
_EntriesPredicate = Callable[[list[str]], bool]

_QUOTED = {"'": r"'(?:[^'\\]|\\.)*'", '"': r'"(?:[^"\\]|\\.)*"'}
_MAX_DEPTH = 100  # brackets within brackets
_CLOSING = {"(": ")", "[": "]", "{": "}"}
_ENTRY = re.compile(r"""\s*(?:'(?P<quoted>[\w.]+)'|"(?P<json>[\w.]+)")\s*:|\s*(?P<argument>\w+)=""")
_LONGEST_CACHED = 2000  # letters of a text whose result is remembered


def arranged(text: str, left_out: NamePredicate, are_sorted: _EntriesPredicate = lambda entries: False) -> str:
    """A text without the entries and arguments whose names are `left_out`, with sets and dictionaries sorted.

    Args:
        text: nested values as Python writes them.
        left_out: whether to leave out the entry or argument of a name.
        are_sorted: whether to sort the entries between other brackets, too.

    """
    groups = [_Group("")]
    for piece in _pieces(text):
        if piece in _CLOSING:
            if len(groups) > _MAX_DEPTH:
                return text  # not how values are written
            groups.append(_Group(piece))
        elif piece == ",":
            groups[-1].entries.append([])
        elif piece in (")", "]", "}"):
            group = groups.pop()
            if _CLOSING.get(group.opening) != piece:
                return text
            groups[-1].entries[-1].append(group.opening + group.text(left_out, are_sorted) + piece)
        else:
            groups[-1].entries[-1].append(piece)
    return groups[0].text(left_out, are_sorted) if len(groups) == 1 else text


def in_one_order(text: str) -> str:
    """A text with its lists of texts sorted as well, since two processes may write one set as different lists."""
    if "'" not in text and '"' not in text:
        return text
    return (_in_one_order if len(text) <= _LONGEST_CACHED else _in_one_order.__wrapped__)(text)


@functools.lru_cache(maxsize=8192)
def _in_one_order(text: str) -> str:
    return arranged(text, lambda name: False, are_sorted=_may_have_been_set)


def _may_have_been_set(entries: list[str]) -> bool:
    """Whether entries are different texts, which a set writes in another order in each process."""
    return len({*entries}) == len(entries) > 1 and all(entry[0] in "'\"" for entry in entries)


@dataclass
class _Group:
    """What stands between two brackets: entries, each in pieces and with the blanks around it."""

    opening: str
    entries: list[list[str]] = field(default_factory=lambda: [[]])

    def text(self, left_out: NamePredicate, are_sorted: _EntriesPredicate) -> str:
        entries = ["".join(pieces) for pieces in self.entries]
        cores = [entry.strip() for entry in entries]
        trailing = [""] if len(cores) > 1 and not cores[-1] else []  # after a comma at the end
        remaining = [core for core in cores if core and not _is_named(core, left_out)]
        if self.opening == "{" or (self.opening and are_sorted(remaining)):
            remaining.sort()
        elif len(remaining) + len(trailing) == len(cores):
            return ",".join(entries)
        blanks = [(entry[: len(entry) - len(entry.lstrip())], entry[len(entry.rstrip()) :]) for entry in entries]
        pairs = zip(blanks, remaining + trailing, strict=False)
        return ",".join(before + core + after for (before, after), core in pairs)


def _is_named(entry: str, left_out: NamePredicate) -> bool:
    match = _ENTRY.match(entry)
    return match is not None and left_out(match["quoted"] or match["json"] or match["argument"])


def _pieces(text: str) -> Iterator[str]:
    """Brackets, commas, quoted texts and what stands between them.

    A quotation mark that opens a text which does not end is a piece by itself, and so are all such marks after it:
    looking for the end of each would take hours.
    """
    quotes, position = "'\"", 0
    while position < len(text):
        match = _piece(quotes).match(text, position)
        if match is None:
            return
        position, piece = match.end(), match[0]
        if piece in quotes:
            quotes = quotes.replace(piece, "")
        yield piece


@functools.cache
def _piece(quotes: str) -> re.Pattern[str]:
    quoted = (_QUOTED[quote] for quote in quotes)
    return re.compile("|".join([*quoted, r"""[\[\](){}]|,|[^'"\[\](){},]+|."""]), re.DOTALL)
