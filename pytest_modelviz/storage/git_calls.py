"""How git is called: in a repository of the user's, so that nothing that came with baselines or results is run.

The configuration of a repository may name commands, and an object that is missing in a partial clone is fetched by
whatever the configuration says. So git is asked only at the top of a repository, never in a folder of data, and may
reach no remote.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from pytest_modelviz.storage.files import lies_in

_SECONDS = 5.0  # that git may take to answer
_SAFE = {
    "safe.bareRepository": "explicit",  # else a folder of files may pass for a repository
    "core.fsmonitor": "false",  # a command, to be asked what has changed
    "core.warnAmbiguousRefs": "true",
    "protocol.allow": "never",
}
# The list of protocols counts before what a repository's configuration says of each of them.
_ENVIRONMENT = {
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_PROTOCOL_FROM_USER": "0",
    "GIT_OPTIONAL_LOCKS": "0",
}


def repository_of(folder: Path, data: Sequence[Path] = ()) -> Path | None:
    """The top of the git repository that a folder lies in; None where there is none.

    None that lies in a folder of `data` (baselines, results) counts: it came with them.
    """
    tops = (above for above in (folder, *folder.parents) if (above / ".git").exists())
    return next((top for top in tops if not lies_in(top, data)), None)


def git_command(repository: Path) -> list[str] | None:
    """The beginning of a command that git is given at the top of a repository; None where git is not installed.

    It is run with `git_environment`.
    """
    git = shutil.which("git")
    options = [word for name, value in _SAFE.items() for word in ("-c", f"{name}={value}")]
    return None if git is None else [git, "-C", str(repository), *options]


def git_environment() -> dict[str, str]:
    """The environment in which git is run: its messages are in English, it asks nothing, and reaches no remote."""
    return {**os.environ, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", **_ENVIRONMENT}


def git_run(
    command: Sequence[str], request: bytes = b"", *, seconds: float = _SECONDS
) -> subprocess.CompletedProcess[bytes]:
    """A command of git that has succeeded; raises OSError, ValueError and SubprocessError."""
    return subprocess.run(  # noqa: S603  # git, with names as single words
        command, input=request, capture_output=True, check=True, timeout=seconds, env=git_environment()
    )


def git_answer(repository: Path, arguments: Sequence[str], request: bytes = b"") -> bytes | None:
    """What git says at the top of a repository; None where it cannot tell: not installed, too slow, or an error."""
    command = git_command(repository)
    if command is not None:
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            return git_run([*command, *arguments], request).stdout
    return None
