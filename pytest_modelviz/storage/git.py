"""What git must know of baselines, and what it would do with them: rules for line ends, files that it ignores."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_ATTRIBUTES = """\
# Written by pytest-modelviz with the first baseline. Edit it as you like: it is not written again.
*.safetensors binary
*.json text eol=lf
*.png binary
"""
_SECONDS = 5.0  # that git may take to answer
_PROJECT_ENDINGS = (".py", ".toml", ".ini", ".cfg")
_ENDINGS = (".json", ".safetensors", ".png")


def write_attributes(baselines: Path) -> None:
    """Tell git not to change the line ends of baselines, unless there are rules already.

    The rules would hold for all files in the folder: in one that is the project's, or has code in it, there are none.
    A baseline is as good without: where the file cannot be written, nothing is said.
    """
    path = baselines / ".gitattributes"
    if os.path.lexists(path):
        return
    with contextlib.suppress(OSError):
        if not any(_is_of_project(other) for other in baselines.iterdir()):
            _write_once(path)


def _write_once(path: Path) -> None:
    for unfinished in path.parent.glob(f"{path.name}.*.tmp"):  # of a process that was killed just here
        unfinished.unlink(missing_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with beside.open("x", encoding="utf-8", newline="\n") as file:
            file.write(_ATTRIBUTES)
        beside.replace(path)  # of processes that come here at once, all write the same
    finally:
        beside.unlink(missing_ok=True)


def _is_of_project(path: Path) -> bool:
    return path.name == ".git" or (path.suffix in _PROJECT_ENDINGS and path.is_file())


@dataclass(frozen=True)
class IgnoredFiles:
    """Files that git would leave out of a commit: how many, one of them, and the rule that says so.

    They can be let in by another rule unless the folder itself is ignored, or a rule in it says so.
    """

    baselines: Path
    count: int
    example: Path
    rule: str
    source: str
    can_be_let_in: bool


def ignored_warning(place: Path | str, written: Iterable[Path], here: Path) -> str:
    """What to say where git ignores some of the baselines written, with paths as seen from `here`; empty otherwise."""
    found = ignored_files(place, written) if isinstance(place, Path) else None
    if found is None:
        return ""
    example, ignore = (
        path.relative_to(here) if path.is_relative_to(here) else path
        for path in (found.example, found.baselines.parent / ".gitignore")
    )
    more = "" if found.count == 1 else f" and {found.count - 1} more"
    if found.can_be_let_in:
        remedy = f"write the line !{found.baselines.name}/** at the end of {ignore.as_posix()}"
    else:
        remedy = "take that rule out, or choose another folder with --modelviz-baseline-dir"
    return (
        f"git ignores {example.as_posix()}{more} (by {found.rule!r} in {found.source}), so that a clone lacks what was "
        f"recorded: {remedy}"
    )


def ignored_files(baselines: Path, written: Iterable[Path]) -> IgnoredFiles | None:
    """Those of the baselines written, by their JSON files, that git ignores.

    None where there are none, and where git cannot tell: it is not installed, too slow, or this is no repository.
    """
    root = baselines.resolve()
    files = {file for path in written for ending in _ENDINGS if (file := path.with_suffix(ending)).exists()}
    # git refuses what lies beyond a link; the folder itself is asked for too, since its files cannot be let in alone
    names = sorted(Path(os.path.relpath(file.resolve(), root)).as_posix() for file in files if not file.is_symlink())
    git = shutil.which("git")
    if not names or git is None:
        return None
    command = [git, "-C", str(root), "check-ignore", "--verbose", "-z", "--stdin"]
    asked = "".join(f"{name}\0" for name in (".", *names)).encode("utf-8", "surrogateescape")
    try:
        done = subprocess.run(command, input=asked, capture_output=True, check=False, timeout=_SECONDS)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    fields = done.stdout.decode("utf-8", "surrogateescape").split("\0")
    rows = [fields[at : at + 4] for at in range(0, len(fields) - 3, 4)]
    ignored = {name: (rule, source, line) for source, line, rule, name in rows if not rule.startswith("!")}
    whole = ignored.pop(".", None)
    if done.returncode != 0 or not ignored:
        return None
    example = next((name for name in sorted(ignored) if name.endswith(".safetensors")), min(ignored))
    rule, source, line = whole or ignored[example]
    inside = f"{root.name}/" in source
    return IgnoredFiles(
        baselines, len(ignored), baselines / example, rule, f"{source}, line {line}", whole is None and not inside
    )


def path_in_repository(root: Path) -> str | None:
    """A project's folder within its git repository, `.` for the repository itself; None where there is none."""
    top = next((folder for folder in (root, *root.parents) if (folder / ".git").exists()), None)
    return None if top is None else root.relative_to(top).as_posix()
