"""Untrusted text in Markdown, as a parser of CommonMark reads it."""

import pytest
from markdown_it import MarkdownIt

from pytest_modelviz.text.markdown import code, code_block, html_code

HOSTILE = [
    "",
    " ",
    "`",
    "``",
    "a`b``c",
    "`a",
    "a``` b\n```\n# heading",
    "<script>x</script>",
    "</code></summary></details><img src=x>",
    "[a](https://evil.example)",
    "![a](https://evil.example/p.png)",
    "https://evil.example",
    "<https://evil.example>",
    "@everyone #1 :tada: $x$",
    "a\n# heading",
    "a\n\n<b>",
    "\u2028# a",
    "\\`a",
    "&lt;b&gt; &#35;",
    "a | b",
    "~~~",
]


def tokens(text: str):
    for token in MarkdownIt("commonmark").parse(text):
        yield token
        yield from token.children or ()


@pytest.mark.parametrize("text", HOSTILE)
def test_a_code_span_holds_the_text_and_nothing_else(text):
    inline = list(tokens(f"before {code(text)} after"))
    kinds = [token.type for token in inline if not token.type.startswith("paragraph")]
    assert kinds == ["inline", "text", "code_inline", "text"]
    (span,) = [token for token in inline if token.type == "code_inline"]
    assert span.content == (text.replace("\n", "\\n").replace("\u2028", "\\u2028") or " ")


@pytest.mark.parametrize("text", HOSTILE)
def test_a_block_of_code_holds_the_text_and_nothing_else(text):
    first, block, last = [
        token for token in tokens(f"before\n\n{code_block(text)}\n\nafter") if token.type in ("inline", "fence")
    ]
    assert (first.content, last.content) == ("before", "after")
    assert block.content == text.replace("\u2028", "\\u2028") + "\n"


@pytest.mark.parametrize("text", HOSTILE)
def test_in_html_it_makes_no_tag_and_ends_no_line(text):
    written = html_code(text)
    assert written.count("<") == 2
    assert "\n" not in written


def test_plain_texts_stay_readable():
    assert (code("layer1.0.conv"), code("a`b")) == ("`layer1.0.conv`", "``a`b``")
    assert code_block("a\n b") == "```text\na\n b\n```"
    assert html_code("a[b]") == "<code>a[b]</code>"
