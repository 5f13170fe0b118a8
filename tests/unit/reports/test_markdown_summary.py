"""Summaries for pull requests: what they say, how large they get, and that no name says more than itself."""

from dataclasses import replace

import pytest
from check_results import DRIFT, MISSING
from markdown_it import MarkdownIt

from pytest_modelviz.records.check_result import CheckResult
from pytest_modelviz.records.run_result import RunFacts
from pytest_modelviz.reports.markdown import COMMENT_BYTES, MarkdownSummary

RUN = RunFacts("R", "2", "3", "linux", "cpu", 1, commit="0123456789abcdef", branch="topic", dirty=True)
HOSTILE = [
    "a\n# heading",
    "`a` b",
    "```\n\n<b>bold</b>",
    "</code></summary></details>\n\n# heading",
    "[link](https://evil.example) <https://evil.example>",
    "![image](https://evil.example/p.png)",
    "@everyone #1 :tada: $x$ https://evil.example",
    "<img src=https://evil.example onerror=x>",
    "$'```'",
]


def summary(*checks: CheckResult, **fields) -> MarkdownSummary:
    given = {
        "runs": [RUN],
        "options": lambda group: "--run R",
        "show_command": "modelviz show --run R",
    }
    return MarkdownSummary(checks=checks, **{**given, **fields})


def test_groups_come_first_with_a_report_and_other_reports_are_folded():
    text = summary(DRIFT, replace(DRIFT, name="cam_map"), MISSING, notes=["Pictures are in `report.html`."]).text()
    assert text == (
        "### modelviz: 3 checks did not match (2 drift, 1 missing)\n\n"
        "Run `R`, commit `0123456789` on `topic` with changes that are not committed\n\n"
        "#### weights at `conv` (`Conv2d`): 2 checks of 1 test\n\n"
        "- output: off by 0.025, top class changed in 1 of 8 samples\n"
        "- tests: `test_a.py::test_a`\n\n"
        "```text\nmodelviz accept --run R --group weights@conv\n```\n\n"
        "<details open><summary><code>test_a.py::test_a</code> <code>feature_maps</code>: "
        "<code>output off by 2.5 %, top-1 changed in 1 of 8: weights at conv</code></summary>\n\n"
        "```text\nfeature_maps drifted, first at conv (Conv2d)\n  error     0.05\n```\n\n</details>\n\n"
        "Pictures are in `report.html`.\n\n"
        "<details><summary><code>test_a.py::test_a</code> <code>cam_map</code>: "
        "<code>output off by 2.5 %, top-1 changed in 1 of 8: weights at conv</code></summary>\n\n"
        "```text\nfeature_maps drifted, first at conv (Conv2d)\n  error     0.05\n```\n\n</details>\n\n"
        "<details><summary><code>test_a.py::test_a</code> <code>new</code>: <code>no baseline</code></summary>\n\n"
        "```text\nnew: no baseline\n```\n\n</details>\n"
    )


def test_of_the_first_groups_a_report_is_unfolded_and_none_is_there_twice():
    first = DRIFT.first_divergence
    drifts = [replace(DRIFT, name=f"n{at}", first_divergence=replace(first, layer=f"l{at}")) for at in range(5)]
    text = summary(*drifts).text()
    assert (text.count("<details open>"), text.count("<details>")) == (3, 2)
    assert all(text.count(f"<code>n{at}</code>") == 1 for at in range(5))


def test_short_is_the_groups_alone():
    text = summary(DRIFT, MISSING).text(short=True)
    assert "#### weights at `conv`" in text
    assert "<details" not in text
    assert "left out" not in text


def test_a_group_without_a_layer_or_captures():
    bare = replace(DRIFT, cause=None, first_divergence=None, output=None, expected_failure=True, candidate=None)
    text = summary(bare).text()
    assert "#### another result: 1 check of 1 test\n\n- tests: `test_a.py::test_a`\n\n<details open>" in text
    assert "</code> (xfail): <code>" in text
    whole = replace(DRIFT, first_divergence=replace(DRIFT.first_divergence, layer=""))
    assert "#### weights at the model itself (`Conv2d`): " in summary(whole).text()


def test_without_checks_everything_matched():
    assert summary().text().startswith("### modelviz: all checks matched\n")


@pytest.mark.parametrize("most_bytes", [3_000, COMMENT_BYTES])
def test_what_there_is_no_room_for_is_left_out_and_counted(most_bytes):
    many = [replace(DRIFT, nodeid=f"test_a.py::test_{number}", message="x" * 400) for number in range(500)]
    huge = replace(DRIFT, first_divergence=replace(DRIFT.first_divergence, layer="\u00e4" * 100_000))
    text = summary(huge, *many, replace(DRIFT, message="\u00e4" * most_bytes)).text(most_bytes=most_bytes)
    assert most_bytes - 1_600 < len(text.encode()) <= most_bytes
    left = 502 - text.count("<details>") - text.count("<details open>")
    assert text.endswith(
        f"**1 group and {left} reports left out, for which there is no room here**: `modelviz show --run R`\n"
    )
    assert 502 - left == text.count("</details>") == text.count("<summary>")


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("field", ["nodeid", "name", "message", "layer", "class_name"])
def test_no_name_or_message_says_more_than_itself(text, field):
    if field in ("layer", "class_name"):
        check = replace(DRIFT, first_divergence=replace(DRIFT.first_divergence, **{field: text}))
    else:
        check = replace(DRIFT, **{field: text})
    require_harmless(summary(check, replace(check, name="other")).text())
    require_harmless(
        summary(check, runs=[replace(RUN, id=text, branch=text)], show_command=text).text(most_bytes=1_900)
    )


def require_harmless(text: str) -> None:
    """Two headings and the folded reports are all that is more than text and code."""
    tokens = MarkdownIt("commonmark").parse(text)
    tokens += [child for token in tokens for child in token.children or ()]
    kinds = {token.type for token in tokens}
    assert not kinds & {"link_open", "image", "html_inline", "hr", "blockquote_open", "code_block", "em_open"}
    assert sum(token.type == "heading_open" for token in tokens) <= 2
    for token in tokens:
        if token.type == "html_block":
            begins = ("<details><summary><code>", "<details open><summary><code>")
            folded = token.content.startswith(begins) and token.content.endswith("</summary>\n")
            assert (folded and token.content.count("<") == 9) or token.content == "</details>\n"
        elif token.type == "text":
            assert not set("@#<[$") & set(token.content)
            assert "evil" not in token.content


def test_many_runs_leave_room_for_the_heading():
    runs = [replace(RUN, id=f"{at}{'x' * 190}", branch="b" * 200) for at in range(400)]
    text = summary(DRIFT, runs=runs).text()
    assert text.startswith("### modelviz: 1 check did not match (1 drift)\n\nRun `0x")
    assert text.count("\n\nRun `") == 5
    assert "\n\nAnd 395 more runs\n\n" in text
