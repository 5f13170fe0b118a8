"""Untrusted text within Markdown: it stands in code alone, where nothing makes a link, a heading, a mention or HTML.

Outside of code Markdown has dozens of characters that mean something, and each host adds its own (`@name`, `#1`,
`:tada:`, `$x$`). Within code there is one: the backtick that ends it.
"""

from __future__ import annotations

import html
import re

from pytest_modelviz.text.printable import printable, printable_lines

_BACKTICKS = re.compile("`+")
_SHORTEST_FENCE = 3


def code(text: str) -> str:
    """A text as a code span within a line.

    Example:
        >>> code("conv1"), code("a`b")
        ('`conv1`', '``a`b``')

    """
    text = printable(text) or " "
    lengths = {len(run) for run in _BACKTICKS.findall(text)}
    ends = "`" * next(length for length in range(1, len(lengths) + 2) if length not in lengths)
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{ends}{space}{text}{space}{ends}"


def html_code(text: str) -> str:
    """A text as code within a line of HTML, where Markdown is not read."""
    return f"<code>{html.escape(printable(text))}</code>"


def code_block(text: str) -> str:
    """A text of several lines as a block of code; it takes whole lines."""
    text = printable_lines(text)
    longest = max(map(len, _BACKTICKS.findall(text)), default=0)
    fence = "`" * max(_SHORTEST_FENCE, longest + 1)
    return f"{fence}text\n{text}\n{fence}"
