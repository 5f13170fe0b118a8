"""A job of GitHub Actions: the summary of its step, and how what it has captured is reached from another machine.

GitHub's summaries show no pictures that come with the text (it removes `data:` addresses, and artifacts have none that
an image could name): so a summary says where the pictures are. Whatever a job prints or writes is read elsewhere: its
commands are for a machine where its artifacts were downloaded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pytest_modelviz.reports.markdown import STEP_SUMMARY_BYTES, MarkdownSummary
from pytest_modelviz.text.markdown import code, code_block
from pytest_modelviz.text.printable import command_line

DOWNLOADED = "../from-ci"  # where the commands expect the artifacts: outside of the project
_LEAST_BYTES = 4_000  # room without which a summary says nothing

_SERVER = re.compile(r"https://[\w.-]+(:\d+)?", re.ASCII)
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
_RUN = re.compile(r"\d+", re.ASCII)


@dataclass(frozen=True)
class GitHubJob:
    """The job of GitHub Actions in which this process runs.

    Attributes:
        summary_file: what is written there, GitHub shows on the run's page; None where it names none.
        page: the address of the run's page; empty where that is not known.
        download: the command that downloads the run's artifacts to where the commands expect them.

    """

    summary_file: Path | None
    page: str = ""
    download: str = command_line(["gh", "run", "download", "--dir", DOWNLOADED])

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], setting: str | None = None) -> GitHubJob | None:
        """The job, or None outside of GitHub Actions, and where the `setting` modelviz_github turns it off."""
        if environment.get("GITHUB_ACTIONS") != "true" or setting == "off":
            return None
        file = environment.get("GITHUB_STEP_SUMMARY")
        server, repository, run = (
            environment.get(f"GITHUB_{key}", "") for key in ("SERVER_URL", "REPOSITORY", "RUN_ID")
        )
        if not (_SERVER.fullmatch(server) and _REPOSITORY.fullmatch(repository) and _RUN.fullmatch(run)):
            return cls(Path(file) if file else None)
        download = command_line(["gh", "run", "download", run, "--repo", repository, "--dir", DOWNLOADED])
        return cls(Path(file) if file else None, f"{server}/{repository}/actions/runs/{run}", download)

    def note(self, folder: str, command: str = "") -> str:
        """In Markdown: what the commands need, and where the pictures are.

        `folder` is what has to be uploaded, `command` one more command to begin with.
        """
        commands = "\n".join(filter(None, (self.download, command)))
        artifacts = f"[artifacts of this run]({self.page}#artifacts)" if self.page else "artifacts of this run"
        return (
            f"The commands are for your machine, once the {artifacts} are in {code(DOWNLOADED)}. The workflow has to "
            f"upload {code(folder)} as one. Pictures are not shown on this page: they are in "
            f"{code(f'{folder}/report.html')}.\n\n{code_block(commands)}"
        )

    def write_summary(self, summary: MarkdownSummary) -> str:
        """Append to the summary of the step; returns what went wrong, if anything did."""
        file = self.summary_file
        if file is None:
            return ""
        try:
            written = file.stat().st_size if file.exists() else 0
            room = STEP_SUMMARY_BYTES - written - 2
            if room < _LEAST_BYTES:
                return "GitHub's summary of this step is full: nothing of this run was added to it"
            with file.open("a", encoding="utf-8") as page:
                page.write(f"{chr(10) if written else ''}{summary.text(most_bytes=room)}")
        except OSError as error:
            return f"cannot write GitHub's summary of this step ({error.strerror or error})"
        return ""
