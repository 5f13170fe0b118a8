"""One check of one test, as the run is asked to make it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_modelviz.run.settings import Settings
from pytest_modelviz.views.base import View


@dataclass(frozen=True)
class Check:
    """One check of one test: which test, under what name, with which view and settings.

    `title` stands for the test in TensorBoard. `arguments` are what a pytest command that records this test alone
    has beside the option to record, `review` the options with which the command `modelviz` finds the files of this
    run. `former_nodeid` is the id under which earlier versions recorded it, where that was another one, `is_former`
    that no other test can be meant by it, `is_former_taken` that a test of this run has it now, or may have.
    `location` is the file and line of the call that makes the check. Above `folders` lie the roots of projects that
    may have a baseline of it as well.
    """

    nodeid: str
    title: str
    arguments: str
    name: str
    view: View
    settings: Settings
    review: str = ""
    former_nodeid: str | None = None
    is_former: bool = False
    is_former_taken: bool = False
    location: tuple[str, int] | None = None
    folders: Callable[[], Sequence[Path]] = tuple
