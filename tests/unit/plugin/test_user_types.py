"""A user's project under `mypy --strict`: right calls of the fixtures pass, and mistakes are found where they are."""

import re
from pathlib import Path

from mypy import api

ROOT = Path(__file__).resolve().parents[3]
PROJECT = ROOT / "tests/user_project"
ERROR = re.compile(r"^.*\b(\w+\.py):(\d+): error: .*\[([\w-]+)\]$", re.MULTILINE)
COMMENT = re.compile(r"# error: (.+)$")


def test_right_calls_and_views_of_one_s_own_pass_and_each_mistake_is_found(monkeypatch):
    """One test, so that torch's own types are read once, which takes some seconds where mypy has no cache."""
    monkeypatch.setenv("MYPYPATH", str(ROOT))
    options = [f"--config-file={PROJECT / 'mypy.ini'}", f"--cache-dir={ROOT / '.mypy_cache' / 'users'}"]
    output, trouble, _ = api.run([*options, str(PROJECT)])
    assert not trouble
    found = {(file, int(line), code) for file, line, code in ERROR.findall(output)}
    assert output.count(": error: ") >= len(found) > 30
    mistakes = (PROJECT / "mistakes.py").read_text("utf-8").splitlines()
    comments = {number: COMMENT.search(line) for number, line in enumerate(mistakes, 1)}
    expected = {
        ("mistakes.py", number, code)
        for number, comment in comments.items()
        for code in (comment[1].split(", ") if comment else ())
    }
    assert found == expected, output
