"""Baselines and git: rules for line ends, the damage that their conversion does, and files that git ignores.

On checkout git writes CRLF for LF (`core.autocrlf`, `eol=crlf`): taking that back gives the file. On commit it writes
LF for CRLF: what was taken out is lost.
"""

import contextlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pytest_modelviz.storage.baseline_files import ENDINGS
from pytest_modelviz.storage.formats import sha256
from pytest_modelviz.storage.git_calls import git_answer, repository_of
from pytest_modelviz.storage.names import display_path

_ATTRIBUTES = """\
# Written by pytest-modelviz with the first baseline. Edit it as you like: it is not written again.
*.safetensors binary
*.json text eol=lf
*.png binary
"""
_PROJECT_ENDINGS = (".py", ".toml", ".ini", ".cfg")
_LENGTH_BYTES = 8  # a safetensors file begins with the length of its header
_LONGEST_HEADER = 100 * 2**20
_RULE = "let .gitattributes in the folder of the baselines say '*.safetensors binary'"


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
        beside.replace(path)  # processes that get here at the same time write the same
    finally:
        beside.unlink(missing_ok=True)


def _is_of_project(path: Path) -> bool:
    return path.name == ".git" or (path.suffix in _PROJECT_ENDINGS and path.is_file())


def ignored_warning(folder: Path | str, written: Iterable[Path], here: Path) -> str:
    """What to say where git ignores some of the baselines written, with paths as seen from `here`; empty otherwise.

    `written` are their JSON files. They can be let in by another rule unless the folder itself is ignored, or a rule in
    it says so.
    """
    rules = _ignoring_rules(folder, written) if isinstance(folder, Path) else {}
    whole = rules.pop(".", None)
    if not rules or not isinstance(folder, Path):
        return ""
    name = next((name for name in sorted(rules) if name.endswith(".safetensors")), min(rules))
    rule, source, line = whole or rules[name]
    example, ignore = (display_path(path, here) for path in (folder / name, folder.parent / ".gitignore"))
    if whole is None and f"{folder.resolve().name}/" not in source:
        remedy = f"write the line !{folder.name}/** at the end of {ignore}"
    else:
        remedy = "take that rule out, or choose another folder with --modelviz-baseline-dir"
    more = "" if len(rules) == 1 else f" and {len(rules) - 1} more"
    return (
        f"git ignores {example}{more} (by {rule!r} in {source}, line {line}), so that a clone lacks what was recorded: "
        f"{remedy}"
    )


def _ignoring_rules(folder: Path, written: Iterable[Path]) -> dict[str, tuple[str, str, str]]:
    """Those of the baselines written that git ignores, and `.` for the folder: name -> (rule, its file, its line).

    Empty where git cannot tell: it is not installed, too slow, or this is no repository.
    """
    root = folder.resolve()
    repository = repository_of(root.parent, [root])  # a repository in the folder came with the baselines
    files = {file for path in written for ending in ENDINGS if (file := path.with_suffix(ending)).exists()}
    # git refuses what lies beyond a link; the folder itself is asked for too, since its files cannot be let in alone
    names = sorted(Path(os.path.relpath(file.resolve(), root)).as_posix() for file in files if not file.is_symlink())
    if not names or repository is None:
        return {}
    paths = {Path(os.path.relpath(root / name, repository)).as_posix(): name for name in (".", *names)}
    request = "".join(f"{path}\0" for path in paths).encode("utf-8", "surrogateescape")
    answer = git_answer(repository, ["check-ignore", "--verbose", "-z", "--stdin"], request)
    if answer is None:
        return {}
    fields = answer.decode("utf-8", "surrogateescape").split("\0")
    rows = [fields[at : at + 4] for at in range(0, len(fields) - 3, 4)]
    return {paths[path]: (rule, source, line) for source, line, rule, path in rows if not rule.startswith("!")}


def path_in_repository(root: Path) -> str | None:
    """A project's folder within its git repository, `.` for the repository itself; None where there is none."""
    repository = repository_of(root)
    return None if repository is None else root.relative_to(repository).as_posix()


def line_end_damage(data: bytes, digest: str) -> str | None:
    """What has happened to a safetensors file that should have this digest; None if it is something else."""
    undone = data.replace(b"\r\n", b"\n")
    if undone != data and sha256(undone) == digest:
        return (
            "git has changed its line endings on checkout (LF became CRLF), as if it were text; what is committed is "
            f"whole: {_RULE}, then remove the file and check it out again"
        )
    missing = _missing_bytes(undone)
    line_feeds = undone.count(b"\n")
    converted = data in (undone, undone.replace(b"\n", b"\r\n"))
    if missing is not None and 0 < missing <= line_feeds and converted:
        return (
            f"its content is {missing} bytes shorter than its header says, as when git takes it for text and turns "
            f"each CRLF into LF on commit: what is committed lacks them too. {_RULE[0].upper()}{_RULE[1:]}, and record "
            f"it anew (or restore it, if it was only cut off)"
        )
    return None


def _missing_bytes(data: bytes) -> int | None:
    """How much shorter the file is than its header says; None where the header makes no sense."""
    length = int.from_bytes(data[:_LENGTH_BYTES], "little")
    if not 0 < length <= min(_LONGEST_HEADER, len(data)):
        return None
    try:
        header: dict[str, Any] = json.loads(data[_LENGTH_BYTES : _LENGTH_BYTES + length])
        ends = [int(entry["data_offsets"][1]) for name, entry in header.items() if name != "__metadata__"]
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return None
    return _LENGTH_BYTES + length + max(ends, default=0) - len(data)
