"""Reports taken apart by their labels."""

import pytest

from pytest_modelviz.reports.message_rows import message_rows

REPORT = """n drifted, first at conv
  output    off by 0.1
            sample 0: 1 -> 2
  cause     weights: they differ
  evidence  first
            second
  note      a
  note      b
  accept    modelviz accept --run R t.py::t"""


def test_rows_by_label():
    rows = message_rows(REPORT)
    assert rows.heading == "n drifted, first at conv"
    assert [row.label for row in rows.rows] == ["output", "cause", "evidence", "note", "accept"]
    assert rows.of("output") == ["off by 0.1", "sample 0: 1 -> 2"]
    assert rows.of("note") == ["a", "b"]
    assert rows.of("spread") == []
    assert not rows.is_quoted


def test_sentences_have_no_label():
    rows = message_rows("n: no baseline at b\n  record it: modelviz accept x, or pytest --modelviz-update-missing x")
    assert [(row.label, row.lines[0][:10]) for row in rows.rows] == [("", "record it:")]


def test_what_is_quoted_says_so_and_ends_in_our_own_lines():
    quoted = "\n".join(f"  | {line}" for line in REPORT.split("\n")[:-1])
    rows = message_rows(f"n: drift, as its run reports it\n{quoted}\n  accept    modelviz accept X")
    assert rows.is_quoted
    assert rows.heading == "n drifted, first at conv"
    assert rows.of("evidence") == ["first", "second"]
    assert rows.of("accept") == ["modelviz accept X"]


@pytest.mark.parametrize(
    "line", ["text", " text", "  text", "            before any label", "  Cause     x", "  a      b"]
)
def test_other_texts_stay_whole(line):
    assert message_rows(f"n drifted\n{line}") is None
    assert message_rows(f"n: drift, as its run reports it\n  | n drifted\n  | {line}") is None
