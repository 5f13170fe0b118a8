"""The report of a check taken apart: its heading, and its lines by their labels, for pages that set them as a table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

_COLUMN = 12  # where the text of a line begins
_LABELLED = re.compile(r"  (?P<label>[a-z]{3,9}) +(?P<text>\S.*)")
_SENTENCE = re.compile(r"  (?:record it: |to replace it |this records all |nothing was recorded |\().*")
_QUOTED = "  | "


@dataclass
class MessageRow:
    """The lines of a report under one label; without a label, sentences of their own."""

    label: str
    lines: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class MessageRows:
    """A report: `heading` is its first line, `is_quoted` says that it stands there as somebody else's."""

    heading: str
    rows: tuple[MessageRow, ...]
    is_quoted: bool = False

    def of(self, label: str) -> list[str]:
        """The lines under a label."""
        return [line for row in self.rows if row.label == label for line in row.lines]


def message_rows(message: str) -> MessageRows | None:
    """A report by its labels; None for a text that does not look like one of our reports.

    Example:
        >>> message_rows("n drifted" + chr(10) + "  cause     weights: they differ").rows
        (MessageRow(label='cause', lines=['weights: they differ']),)

    """
    heading, *lines = message.split("\n")
    quoted = [line.removeprefix(_QUOTED) for line in lines if line.startswith(_QUOTED)]
    if not quoted:
        rows = _rows(lines)
        return None if rows is None else MessageRows(heading, rows)
    own = _rows([line for line in lines if not line.startswith(_QUOTED)])
    theirs = _rows(quoted[1:])
    if own is None or theirs is None:
        return None
    return MessageRows(quoted[0], (*theirs, *own), is_quoted=True)


def _rows(lines: Sequence[str]) -> tuple[MessageRow, ...] | None:
    rows: list[MessageRow] = []
    for line in lines:
        labelled = _LABELLED.fullmatch(line)
        if labelled is not None and labelled.start("text") == _COLUMN:
            rows.append(MessageRow(labelled["label"], [labelled["text"]]))
        elif rows and rows[-1].label and line.startswith(" " * _COLUMN):
            rows[-1].lines.append(line[_COLUMN:])
        elif _SENTENCE.fullmatch(line):
            rows.append(MessageRow("", [line.strip()]))
        else:
            return None
    return tuple(_merged(rows))


def _merged(rows: Sequence[MessageRow]) -> list[MessageRow]:
    """Rows of one label as a single row, where the first of them stands."""
    by_label: dict[str, MessageRow] = {}
    for row in rows:
        by_label.setdefault(row.label, MessageRow(row.label)).lines.extend(row.lines)
    return list(by_label.values())
