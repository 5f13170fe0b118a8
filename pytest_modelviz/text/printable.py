"""Untrusted text made safe to stand within a line of output: names, ids, messages, paths, commands.

The only module that knows how. A field becomes printable before it is put into a line, so that nothing in it can end
the line, command the terminal, change the order of its letters or speak to the CI system that reads the output. Text
that does none of this stays as it is. Imports nothing heavy.
"""

import dataclasses
import enum
import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from typing import Any, overload

from pytest_modelviz.text.side_by_side import without_middle

# What CI systems obey in the output of a job: `::error::` at the start of a line (GitHub), the others anywhere in it
# (GitHub's older form, Azure Pipelines, TeamCity).
_WORKFLOW_COMMAND = re.compile(r"^(\s*):(?=:)|#(?=#(?:\[|vso\[|teamcity\[))", re.IGNORECASE)
_SHORT_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\", "'": "\\'"}
_LONGEST_WORD = 2000  # letters of a name or an id
_BYTES = range(0xDC80, 0xDD00)  # how Python spells the bytes of a file name that are no UTF-8


@overload
def printable(value: str) -> str: ...


@overload
def printable(value: Any) -> Any: ...


def printable(value: Any) -> Any:
    r"""The same with every character written out that is more than a letter: `\n`, `\x1b`, `\u202e`, `\udc80`.

    Args:
        value: A text, or mappings, lists and dataclasses that hold texts at any depth; anything else, members of
            enumerations too, is returned as it is.

    Returns:
        The same; mappings become dicts.

    Example:
        >>> printable("test_a\n::error::no")
        'test_a\\n::error::no'
        >>> printable("::error::no")
        '\\x3a:error::no'

    """
    if isinstance(value, str) and not isinstance(value, enum.Enum):
        text = value if value.isprintable() else "".join(map(_written_out, value))
        return _WORKFLOW_COMMAND.sub(_without_command, text) if "::" in text or "##" in text else text
    if isinstance(value, Mapping):
        return {printable(key): printable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [printable(item) for item in value]
        return tuple(items) if isinstance(value, tuple) else items
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = (field.name for field in dataclasses.fields(value))
        return dataclasses.replace(value, **{name: printable(getattr(value, name)) for name in fields})
    return value


def each_text(value: Any, change: Callable[[str], str]) -> Any:
    """The same with each text in it changed: those in mappings (but for the keys), lists and dataclasses, too."""
    if isinstance(value, str) and not isinstance(value, enum.Enum):
        return change(value)
    if isinstance(value, Mapping):
        return {key: each_text(item, change) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [each_text(item, change) for item in value]
        return tuple(items) if isinstance(value, tuple) else items
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = (field.name for field in dataclasses.fields(value))
        return dataclasses.replace(value, **{name: each_text(getattr(value, name), change) for name in fields})
    return value


def printable_lines(text: str) -> str:
    """A text of several lines, each of them printable. Its fields must have been printable before."""
    return "\n".join(printable(line) for line in text.split("\n"))


def printable_json(text: str) -> str:
    """The text of a JSON document, with the same meaning, of which no line commands a terminal or a CI system."""
    lines = text.split("\n")  # of which hardly any needs a look at each of its characters
    text = "\n".join(line if line.isprintable() else _json_line(line) for line in lines)
    return _WORKFLOW_COMMAND.sub(lambda match: _json(match[0]), text) if "##" in text else text


def quoted(word: str) -> str:
    r"""A word as a shell takes it, on one line; one that is not printable as bash and zsh do: `$'a\nb'`."""
    if printable(word) == word or (word.isprintable() and "##" not in word):
        return shlex.quote(word)
    return f"$'{''.join(map(_in_shell, word))}'".replace("##", "#\\x23")


def as_one_word(text: str) -> str:
    """A text that is one word, else the text quoted: so it cannot pass for a sentence or a command of ours.

    One that would fill a page loses its middle.
    """
    text = without_middle(text, _LONGEST_WORD)
    return text if text.split() == [text] else quoted(text)


def command_line(words: Iterable[str]) -> str:
    """A command as a shell takes it, on one line."""
    return " ".join(map(quoted, words))


def _written_out(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode("ascii")


def _without_command(match: re.Match[str]) -> str:
    return "\\x23" if match[0] == "#" else f"{match[1]}\\x3a"


def _json_line(line: str) -> str:
    return "".join(character if character.isprintable() else _json(character) for character in line)


def _json(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def _in_shell(character: str) -> str:
    r"""One character between `$'` and `'`, where `\x` stands for a byte and `\u` for a character."""
    code = ord(character)
    if character in _SHORT_ESCAPES or character.isprintable():
        return _SHORT_ESCAPES.get(character, character)
    if code in _BYTES:
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
