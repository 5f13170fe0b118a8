"""Every code block of the docs is executed: files are written, then the commands run, in the order of the page."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from transformers import BertModel

pytestmark = pytest.mark.unwatched

_IMPORTED = BertModel  # pytester forgets what an inner run imported, and this cannot be imported twice

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path) -> list[tuple[str, str]]:
    return re.findall(r"^```(\w+)\n(.*?)^```$", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_code_of_a_page_runs(project, page, monkeypatch):
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "somebody")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "somebody@example.org")
    subprocess.run(["git", "init", "--quiet"], cwd=project.path, check=True)
    for language, text in blocks(page):
        if language in ("python", "ini", "yaml"):
            name = re.match(r"# ([\w./-]+)\n", text)
            assert name, f"a block of {page.name} does not name its file:\n{text}"
            (project.path / name[1]).parent.mkdir(parents=True, exist_ok=True)
            (project.path / name[1]).write_text(text)
            for line in re.findall(r"- run: (pytest .*)", text):
                for job in jobs(line, text):
                    execute(project, job)
        else:
            assert language == "console", f"a block of {page.name} is {language}: say how to run it"
            for command in re.findall(r"^\$ (.*)$", text, re.MULTILINE):
                execute(project, command)
    project.run("--modelviz-update").assert_outcomes(passed=len(list(names_of(page))))
    project.run("--modelviz").assert_outcomes(passed=len(list(names_of(page))))


def jobs(line: str, workflow: str) -> list[str]:
    """A command of a workflow, once for each value of the matrix that it names."""
    variable = re.search(r"\$\{\{ matrix\.(\w+) \}\}", line)
    if variable is None:
        return [line]
    (values,) = re.findall(rf"^ +{variable[1]}: \[(.*)\]", workflow, re.MULTILINE)
    return [line.replace(variable[0], value.strip()) for value in values.split(",")]


def execute(project, line: str) -> None:
    """Run a command of a page in the project.

    `# fails` after it says that pytest is to fail, `# exits with 1` that modelviz is to find something.
    """
    command, _, remark = line.partition("  # ")
    program, *arguments = shlex.split(command)
    if program == "pytest":
        if "-n" in arguments:  # workers, of which test_workers.py is about, need seconds to start
            arguments[arguments.index("-n") + 1] = "0"
        assert project.run(*arguments).ret == (1 if remark.startswith("fails") else 0), line
    elif program == "modelviz":
        done = project.modelviz(*arguments)
        assert done.exit_code == (1 if remark.startswith("exits with 1") else 0), f"{line}: {done.output}"
    elif program == "gh":  # CI's artifact is the results folder
        assert arguments[:2] == ["run", "download"]
        shutil.copytree(project.path / ".modelviz", project.path / arguments[arguments.index("--dir") + 1])
        shutil.rmtree(project.path / ".modelviz")
    else:
        assert program == "git", line
        subprocess.run([program, *arguments], cwd=project.path, check=True)


def names_of(page: Path) -> list[str]:
    files = {
        text.partition("\n")[0]: text for language, text in blocks(page) if language == "python"
    }  # the last version
    return [name for text in files.values() for name in re.findall(r"^def (test_\w+)", text, re.MULTILINE)]


def test_pages_link_to_what_exists():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)", page.read_text("utf-8")):
            if not target.startswith("https://"):
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_table_of_options_is_complete():
    from pytest_modelviz.run.options import OPTIONS

    text = (ROOT / "README.md").read_text("utf-8")
    rows = re.findall(r"^\| `(--[\w-]+)", text, re.MULTILINE)
    assert rows == [option.name for option in OPTIONS]


def test_the_guide_tells_the_tolerances_in_force():
    from pytest_modelviz.compare.explanation_tolerance import explanation_tolerance
    from pytest_modelviz.compare.tolerance import Tolerances

    text = (ROOT / "docs" / "guide.md").read_text("utf-8")
    rows = re.findall(r"^\| (b?float\d+) \| (\S+) \| (\S+) \|", text, re.MULTILINE)
    assert len(rows) == 5
    for dtype, maps, explanations in rows:
        assert Tolerances().relative(dtype) == pytest.approx(float(maps))
        assert explanation_tolerance(Tolerances(), dtype) == pytest.approx(float(explanations))
