"""What a run says on GitHub Actions: the summary of its step, and annotations of the lines that make failed checks.

GitHub's summaries show no pictures that come with the text (it removes `data:` addresses, and artifacts have none that
an image could name): so the summary says where the pictures are.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_modelviz.records.check_result import CheckResult
from pytest_modelviz.records.group import DriftGroup
from pytest_modelviz.records.run_result import RunFacts
from pytest_modelviz.reports.github import annotation_lines
from pytest_modelviz.reports.groups import accept_group_command
from pytest_modelviz.reports.markdown import STEP_SUMMARY_BYTES, MarkdownSummary
from pytest_modelviz.reports.terminal import accept_command
from pytest_modelviz.text.markdown import code, code_block
from pytest_modelviz.text.printable import command_line, quoted

_DOWNLOADED = "../from-ci"  # where the commands expect the artifacts: outside of the project
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
        download: the command that downloads the run's artifacts; empty where that is not known.

    """

    summary_file: Path | None
    page: str = ""
    download: str = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> GitHubJob | None:
        """The job, or None outside of GitHub Actions."""
        if environment.get("GITHUB_ACTIONS") != "true":
            return None
        file = environment.get("GITHUB_STEP_SUMMARY")
        server, repository, run = (
            environment.get(f"GITHUB_{key}", "") for key in ("SERVER_URL", "REPOSITORY", "RUN_ID")
        )
        if not (_SERVER.fullmatch(server) and _REPOSITORY.fullmatch(repository) and _RUN.fullmatch(run)):
            return cls(Path(file) if file else None)
        download = command_line(["gh", "run", "download", run, "--repo", repository, "--dir", _DOWNLOADED])
        return cls(Path(file) if file else None, f"{server}/{repository}/actions/runs/{run}", download)


@dataclass(frozen=True)
class GitHubReport:
    """What there is to say about the checks of a run that did not match.

    `review` are the options that the command `modelviz` needs on this machine, `results_dir` is the results folder as
    seen from where pytest was started.
    """

    job: GitHubJob
    run: RunFacts
    failed: Sequence[CheckResult]
    review: str
    results_dir: str

    def annotations(self) -> list[str]:
        """Lines for the output of the job."""
        return annotation_lines(self.failed, self.run.project, self._accept_test)

    def write_summary(self) -> str:
        """Append to the summary of the step; returns what went wrong, if anything did."""
        file = self.job.summary_file
        if file is None:
            return ""
        try:
            written = file.stat().st_size if file.exists() else 0
            room = STEP_SUMMARY_BYTES - written - 2
            if room < _LEAST_BYTES:
                return "GitHub's summary of this step is full: nothing of this run was added to it"
            with file.open("a", encoding="utf-8") as summary:
                summary.write(f"{chr(10) if written else ''}{self._summary().text(most_bytes=room)}")
        except OSError as error:
            return f"cannot write GitHub's summary of this step ({error.strerror or error})"
        return ""

    def _summary(self) -> MarkdownSummary:
        return MarkdownSummary(
            runs=[self.run],
            checks=self.failed,
            accept=self._accept_group,
            report=self._report,
            show_command=f"modelviz show {self._options}",
            notes=[self._note()],
        )

    def _note(self) -> str:
        """What the commands need, and where the pictures are."""
        artifacts = f"[artifacts of this run]({self.job.page}#artifacts)" if self.job.page else "artifacts of this run"
        folder = code(self.results_dir)
        text = (
            f"The commands accept, on your machine, what was captured here, once the {artifacts} are in "
            f"{code(_DOWNLOADED)}. The workflow has to upload {folder} as one. Pictures are not shown on this page: "
            f"they are in {code(f'{self.results_dir}/report.html')}."
        )
        download = self.job.download or command_line(["gh", "run", "download", "--dir", _DOWNLOADED])
        return f"{text}\n\n{code_block(download)}"

    @property
    def _options(self) -> str:
        """The options that the command needs where the artifacts were downloaded."""
        words = shlex.split(self.review)
        if "--from" in words:
            at = words.index("--from")
            del words[at : at + 2]
        return command_line(["--run", self.run.id, *words, "--from", _DOWNLOADED])

    def _accept_group(self, group: DriftGroup) -> str:
        is_kept = any(check.candidate for check in group.checks)
        return accept_group_command(group, self._options) if is_kept else ""

    def _accept_test(self, check: CheckResult) -> str:
        if check.accept_command is None:
            return ""
        end_of_options = " --" if check.nodeid.startswith("-") else ""
        return accept_command(f"{self._options}{end_of_options} {quoted(check.nodeid)}")

    def _report(self, check: CheckResult) -> str:
        own = check.accept_command
        return check.message if own is None else check.message.replace(own, self._accept_test(check))
