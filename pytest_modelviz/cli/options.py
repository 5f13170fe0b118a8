"""The options that several commands share, and which project, results and baselines they mean."""

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from pytest_modelviz.cli.output import from_here, warn
from pytest_modelviz.review.review import Review, ReviewedRun
from pytest_modelviz.review.selection import Choice
from pytest_modelviz.run.project import (
    MOST_BELOW,
    FoundFolders,
    Project,
    baselines_location,
    find_project,
    names_baselines,
    results_folders,
    results_location,
)
from pytest_modelviz.storage.files import lies_in
from pytest_modelviz.storage.results import ResultsFolder
from pytest_modelviz.storage.run_marks import unfinished_line
from pytest_modelviz.text.printable import as_one_word, command_line

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


@dataclass(frozen=True)
class ReviewOptions:
    """Which results are meant, and beside which baselines: as the options say, or as the project is set up."""

    sources: tuple[str, ...]
    runs: tuple[str, ...]
    rootdir: str | None
    baseline_dir: str | None

    @functools.cached_property
    def project(self) -> Project:
        return chosen_project(self.rootdir)

    def home(self) -> ResultsFolder:
        """The project's own results folder."""
        project = self.project
        configured = project.setting("--modelviz-results-dir") is not None
        return ResultsFolder(results_location(project), configured=configured)

    def folders(self) -> list[ResultsFolder]:
        """The results folders that are meant, at least one."""
        if not self.sources:
            return [self.home()]
        return [
            ResultsFolder(folder) for folder in dict.fromkeys(path for found in self._found for path in found.results)
        ]

    @functools.cached_property
    def _found(self) -> list[FoundFolders]:
        return [results_folders(source, self.project.root) for source in self.sources]

    def _sources(self) -> list[Path]:
        """What came with the results that were named, but for folders in which the project itself lies."""
        if not self.sources:
            return []
        root = self.project.root
        named = [path for source in self.sources for path in (Path(source).absolute(), root / source)]
        unpacked = [folder.root.parent for folder in self.folders() if folder.root.name == ".modelviz"]
        return [folder for folder in (*named, *unpacked) if not lies_in(root, [folder])]

    def review(self) -> Review:
        """The chosen results and baselines; warns if the last run has left no results."""
        project = self.project
        review = Review(
            self.folders(),
            self.home(),
            project.root,
            baselines_location(project, self.baseline_dir),
            named=self.baseline_dir is not None,
            configured=names_baselines(project, self.baseline_dir),
            wanted=self.runs,
            sources=self._sources(),
        )
        skipped = [path for found in self._found for path in found.skipped]
        if skipped:
            more = f" and {len(skipped) - 1} more folders" if len(skipped) > 1 else ""
            warn(
                f"{from_here(skipped[0])}{more} not looked into for results, as links and what lies deeper than "
                f"{MOST_BELOW} levels are not: name what is meant with --from"
            )
        warn(unfinished_line(review.unfinished))
        if review.has_lost_workers:
            warn("a worker of the last run died: checks that it did not finish are not among these results")
        return review

    def field(self, text: str) -> str:
        """An id or a name from the results, to be printed: quoted if it has several words and comes from elsewhere."""
        return as_one_word(text) if self.sources else text

    def for_runs(self, *runs: ReviewedRun) -> str:
        """What a command needs, started here, to find these runs again, and no others."""
        sources = [from_here(run.folder.root) for run in runs] if self.sources else []
        return self._joined(dict.fromkeys(run.id for run in runs), dict.fromkeys(sources))

    def given(self) -> str:
        """The options that were given, for a command that is to look at the same results."""
        return self._joined(self.runs, self.sources)

    def _joined(self, runs: Iterable[str], sources: Iterable[str]) -> str:
        pairs = [
            *(("--run", run) for run in runs),
            ("--rootdir", self.rootdir),
            *(("--from", source) for source in sources),
            ("--baseline-dir", self.baseline_dir),
        ]
        return command_line(word for option, value in pairs if value is not None for word in (option, value))


def chosen_project(rootdir: str | None) -> Project:
    """The project in this folder, or the one found from here."""
    project = find_project(Path(rootdir or ".").absolute())
    return Project(Path(rootdir).absolute(), project.ini) if rootdir else project


def project_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say which project and which baselines are meant."""
    rootdir = click.option(
        "--rootdir",
        type=click.Path(exists=True, file_okay=False),
        help="The project (default: found as pytest finds it).",
    )
    baselines = click.option(
        "--baseline-dir", metavar="DIR", help="Folder or URL of the baselines (default: as configured)."
    )
    return baselines(rootdir(command))


def review_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say which results are meant; the command gets them as one argument, `options`."""

    @click.option(
        "--from",
        "sources",
        metavar="DIR",
        multiple=True,
        help="A results folder, for example one downloaded from CI, or a folder of results folders; may be repeated.",
    )
    @click.option("--run", "runs", metavar="ID", multiple=True, help="Take the results of this run only.")
    @project_options
    @functools.wraps(command)
    def with_options(
        sources: tuple[str, ...], runs: tuple[str, ...], baseline_dir: str | None, rootdir: str | None, **others: Any
    ) -> None:
        command(options=ReviewOptions(sources, runs, rootdir, baseline_dir), **others)

    return with_options


def choice_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of `pattern_options`, and those that narrow the choice to some checks of the tests."""
    return json_option(text_choice_options(command))


def text_choice_options(command: Callable[..., None]) -> Callable[..., None]:
    """The same without JSON. The command gets the choice as one argument, `choice`."""

    @click.option("--check", "names", metavar="NAME", multiple=True, help="Only the checks of this name.")
    @click.option(
        "--group",
        "groups",
        metavar="NAME",
        multiple=True,
        help="Only drifts of one cause at one layer, as named by runs.",
    )
    @_patterns
    @review_options
    @functools.wraps(command)
    def with_choice(patterns: Sequence[str], names: Sequence[str], groups: Sequence[str], **others: Any) -> None:
        command(choice=Choice(patterns, names, groups), **others)

    return with_choice


def pattern_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say which tests of these results are meant, and whether to print JSON."""
    return _patterns(json_option(review_options(command)))


def _patterns(command: Callable[..., None]) -> Callable[..., None]:
    return click.argument("patterns", nargs=-1, metavar="[PATTERN]...")(command)
