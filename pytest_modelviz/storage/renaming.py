"""Old and new names of tests: which ids a name stands for, what they are called afterwards, and the command for it.

A name is a test file, a folder of them, a class, a test with all its parameters, or one test id; or such a name with
`*` in it.
"""

import itertools
import posixpath
import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.storage.names import Location, has_clean_path
from pytest_modelviz.text.printable import command_line
from pytest_modelviz.text.side_by_side import without_middle

LONGEST_ID = 2000  # letters of a test's id that a command names
_OPTIONS_OF_MV = ("--rootdir", "--baseline-dir")
# a word as `quoted` writes it
_SHELL_WORD = re.compile(r"""(?:\$'(?:\\.|[^'\\])*'|'[^']*'|"[^"]*"|[^\s'"])+""")


@dataclass(frozen=True)
class Renaming:
    """From one name to another, both as cleaned by `renaming`."""

    old: str
    new: str

    def of(self, nodeid: str, known: Collection[str] = ()) -> str | None:
        """What this test id is called afterwards; None where the old name does not stand for it.

        `known` are all ids: a whole id with parameters means itself alone, and a `*` in these means a `*`. An id that
        spells its file in another way than pytest does is none of a test.
        """
        if not has_clean_path(nodeid):
            return None
        if self._is_whole_id(known):
            return self.new if nodeid == self.old else None
        if self.old.count("*") != self.new.count("*"):
            return None
        # a file or folder is looked for in the file alone: parameters may hold anything
        file, separator, test = nodeid.partition("::")
        if self.old == ".":
            return posixpath.normpath(f"{self.new}/{file}") + separator + test
        head, tail = (nodeid, "") if "::" in self.old else (file, separator + test)
        match = re.fullmatch(f"{_regex(self.old)}(?P<rest>{self._boundary})", head, re.DOTALL)
        if match is None:
            return None
        *stars, rest = match.groups()
        new = "".join(text + star for text, star in zip(self.new.split("*"), [*stars, ""], strict=True))
        return posixpath.normpath(new + rest) + tail if "::" not in self.old else new + rest

    def require_sense(self, known: Collection[str]) -> None:
        """Raises ModelvizError unless what each `*` stands for can be carried over.

        In the parameters of an id that is `known` a `*` is a `*`.
        """
        if not self._is_whole_id(known) and self.old.count("*") != self.new.count("*"):
            raise ModelvizError(
                f"{self.old!r} and {self.new!r} need the same number of *: what each stands for is carried over"
            )

    def _is_whole_id(self, known: Collection[str]) -> bool:
        """Whether it is the id of one test with parameters: before these no test has a `*` in its name."""
        function, bracket, _ = self.old.partition("[")
        return bool(bracket) and "*" not in function and self.old in known

    def hint(self, known: Collection[str]) -> str:
        """A suggestion for a name that is relative to a folder below the project's."""
        path, separator, test = self.old.partition("::")
        paths = sorted({match[0] for nodeid in known if (match := re.match(f".*/{re.escape(path)}(?=::|/)", nodeid))})
        meant = [replace(self, old=path + separator + test) for path in paths]
        name = next((each.old for each in meant if any(each.of(nodeid, known) for nodeid in known)), None)
        return "" if name is None else f"; did you mean {name!r}?"

    @property
    def _boundary(self) -> str:
        """A pattern for what may follow a name in the ids that it stands for."""
        if "::" not in self.old:
            return "(?:/.*)?"
        is_one_id = "[" in self.old or "[" in self.new  # what had no parameters may have got some
        return "" if is_one_id else "(?:(?:::|\\[).*)?"


def _regex(name: str) -> str:
    return "(.*?)".join(re.escape(text) for text in name.split("*"))


def renaming(old: str, new: str, rootdir: Path) -> Renaming:
    """The renaming that a user asks for; paths are relative to `rootdir`.

    Raises ModelvizError where it makes no sense.
    """
    before, after = _cleaned(old, rootdir), _cleaned(new, rootdir)
    if "::" in before and "::" not in after:
        name = before.partition("::")[2]
        raise ModelvizError(f"{old!r} is a test and {new!r} is not: give its full name, such as '{after}::{name}'")
    if "::" in after and "::" not in before:
        raise ModelvizError(f"{new!r} is a test and {old!r} is not: name both a file, or both a test")
    if (
        before.endswith(".py")
        and "*" not in before
        and (rootdir / before).is_file()
        and _are_separate_files(rootdir, before, after)
    ):
        raise ModelvizError(f"{before} is still there: rename it first, or name those of its tests that have moved")
    if before.endswith(".py") and not after.endswith(".py") and (rootdir / after).is_dir():
        after = posixpath.normpath(f"{after}/{posixpath.basename(before)}")  # as mv puts a file into a folder
    return Renaming(before, after)


def _are_separate_files(rootdir: Path, before: str, after: str) -> bool:
    """Whether these are two files, and not one under names that the file system does not tell apart."""
    other = rootdir / after
    return other.is_file() and not other.samefile(rootdir / before)


def _cleaned(name: str, rootdir: Path) -> str:
    """A name with its path as ids have it. `[[]` stands for `[`, as in the patterns of other commands."""
    path, separator, test = name.partition("::")
    if not path or name.endswith("::"):
        raise ModelvizError(f"{name!r} is not a test file, folder or test id")
    if Path(path).is_absolute():
        inside = Path(path).is_relative_to(rootdir)
        path = Path(path).relative_to(rootdir).as_posix() if inside else path
    try:
        (rootdir / path).exists()
    except (OSError, ValueError) as error:
        raise ModelvizError(f"{name!r} is not a test file, folder or test id: no file can have this name") from error
    return posixpath.normpath(Path(path).as_posix()) + separator + (test.replace("[[]", "[") if "*" in test else test)


def move_command(
    old: str, new: str, *, whole_file: bool = False, only_parameters: bool = False, options: str = ""
) -> str:
    """The command that moves the baselines of a renamed test, or of the `whole_file` if all its tests have gone there.

    With `only_parameters` the old test is still there with others: nothing but this id moves. Of `options`, those of
    the command line that says where a run's files are, it gets what it takes.
    """
    (old_file, *old_test), (new_file, *new_test) = (name.partition("::") for name in (old, new))
    if whole_file and old_file != new_file and old_test == new_test:
        old, new = old_file, new_file
    else:
        (old_path, *old_parameters), (new_path, *new_parameters) = (name.partition("[") for name in (old, new))
        if old_parameters == new_parameters and old_path != new_path and not only_parameters:
            old, new = old_path, new_path
    pairs = itertools.pairwise(_SHELL_WORD.findall(options))
    taken = [word for pair in pairs if pair[0] in _OPTIONS_OF_MV for word in pair]
    end_of_options = ["--"] if old.startswith("-") or new.startswith("-") else []
    return " ".join(["modelviz mv", *taken, *end_of_options, command_line([old, new])])


def foreign_reason(
    owner: str, nodeid: str, *, whole_file: bool = False, is_there: bool | None = False, options: str = ""
) -> str:
    """Why a baseline cannot be this test's, and what to do; for the rest see `move_command`.

    `is_there` says that the function of the test that it belongs to is still there, None that it may be.
    """
    reason = f"it belongs to another test, {without_middle(owner, LONGEST_ID)!r}"
    if len(owner) > LONGEST_ID:
        return reason
    if not has_clean_path(owner):
        return reason
    moved = f"if that one is called {nodeid!r} now: "
    moved += move_command(owner, nodeid, whole_file=whole_file, only_parameters=bool(is_there), options=options)
    if is_there is None and owner.casefold() != nodeid.casefold():
        return f"{reason}, which may still be there: its file does not say, since it is inherited or imported"
    if is_there and "[" not in owner and owner.casefold() != nodeid.casefold():
        return f"{reason}, which is still there"
    if owner.casefold() != nodeid.casefold():
        return f"{reason}; {moved}"
    has_own_folder = Location.of(owner, "").earlier is not None
    both = move_command(owner, owner, options=options) if has_own_folder else "rename one of them"
    twins = "the two ids differ only in case, which this file system does not tell apart"
    return f"{reason}: {twins}. If there are both: {both}; {moved}"
