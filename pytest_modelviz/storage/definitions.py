"""Whether a test's function or class is defined in a Python file: the file is parsed, and none of it is executed.

What only running the code could show (a base class of an installed package, an assignment) is left open.
"""

import ast
import contextlib
import functools
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

from pytest_modelviz.storage.names import has_clean_path

_LARGEST = 2**20  # the syntax tree of a file that is forged takes a thousand times as much


class _Import(NamedTuple):
    """`from <level dots><module> import <name>`; without a name, `import <module>`."""

    module: str
    level: int
    name: str


_Bound: TypeAlias = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef | _Import | None  # None: assigned
_Bindings: TypeAlias = Mapping[str, Sequence[_Bound]]


class _Source(NamedTuple):
    """A Python file, and each name that it gives with its definitions."""

    path: Path
    bindings: _Bindings


def function_of(nodeid: str) -> str:
    """A test id without its parameters."""
    file, separator, test = nodeid.partition("::")
    return f"{file}{separator}{test.partition('[')[0]}"


def is_defined(rootdir: Path, nodeid: str) -> bool | None:
    """Whether a test's function, or the class that an id names, is defined in its file; None where that is open.

    What the file imports, or inherits, from other files of the project is looked up there. Parameters play no part.
    """
    file, _, test = function_of(nodeid).partition("::")
    if not has_clean_path(nodeid) or not is_file(rootdir / file):
        return False
    source = _parsed_file(rootdir / file)
    try:
        return None if source is None else _Search(rootdir).defines(source, test.split("::"))
    except RecursionError:  # classes that inherit from each other, or blocks within blocks, by the hundred
        return None


def is_file(path: Path) -> bool:
    """Whether there is such a file; there is none of a name that no file can have."""
    with contextlib.suppress(OSError, ValueError):
        return path.is_file()
    return False


def is_same_file(rootdir: Path, path: str, other: str) -> bool:
    """Whether two relative paths lead to one file, as where a file system does not tell their spellings apart."""
    with contextlib.suppress(OSError, ValueError):
        return path == other or (rootdir / path).samefile(rootdir / other)
    return False


def _parsed_file(path: Path) -> _Source | None:
    """What a file says; None where that is no Python."""
    status = path.stat()
    bindings = _parsed(path, status.st_mtime_ns, status.st_size) if status.st_size <= _LARGEST else None
    return None if bindings is None else _Source(path, bindings)


@functools.lru_cache(maxsize=128)
def _parsed(path: Path, _changed: int, _size: int) -> _Bindings | None:
    try:
        with warnings.catch_warnings():  # of the file's own escapes, which running it reports
            warnings.simplefilter("ignore")
            return _grouped(ast.parse(path.read_bytes()).body)
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None


class _Search:
    """Looks a name up in a file and in those that it imports from; it looks at no import and no base class twice."""

    def __init__(self, rootdir: Path) -> None:
        self._rootdir = rootdir
        self._imports: set[tuple[Path, str]] = set()
        self._bases: set[tuple[Path, str, tuple[str, ...]]] = set()

    def defines(self, source: _Source, names: Sequence[str]) -> bool | None:
        return self._in_block(source, source.bindings, names)

    def _in_block(self, source: _Source, bindings: _Bindings, names: Sequence[str]) -> bool | None:
        name, *inner = names
        if name in bindings:
            return _any([self._within(source, bound, inner) for bound in bindings[name]]) if inner else True
        return _any([self._imported(source, bound, names) for bound in bindings.get("*", ())])

    def _within(self, source: _Source, bound: _Bound, names: Sequence[str]) -> bool | None:
        if isinstance(bound, _Import):
            return self._imported(source, bound, [bound.name, *names] if bound.name else names)
        if bound is None:
            return None
        answers = [self._in_block(source, _grouped(bound.body), names)]
        for base in bound.bases if isinstance(bound, ast.ClassDef) else ():
            dotted = ast.unparse(base)
            first, *inner = _split(dotted, source.bindings)
            definitions = source.bindings.get(first, ())
            is_own = any(each and not (isinstance(each, _Import) and each.module == "unittest") for each in definitions)
            key = (source.path, dotted, tuple(names))
            is_of_unittest = dotted.rpartition(".")[2] == "TestCase" and not is_own  # which has no tests
            if dotted == "object" or key in self._bases or is_of_unittest:
                continue
            if definitions:  # else an installed class of the same name may be meant
                self._bases.add(key)
                answers += [self._within(source, each, [*inner, *names]) for each in definitions]
            else:
                starred = source.bindings.get("*", ())
                answers += [self._imported(source, each, [first, *inner, *names]) for each in starred] or [None]
        return _any(answers)

    def _imported(self, source: _Source, bound: _Bound, names: Sequence[str]) -> bool | None:
        if not isinstance(bound, _Import):
            return None
        path = _module_file(bound.module, bound.level, source.path, self._rootdir)
        if path is None and names[0] == bound.name and len(names) > 1:  # a module of a folder without __init__.py
            return self._imported(source, _submodule(bound), names[1:])
        if path is None or (path, names[0]) in self._imports:
            return None
        self._imports.add((path, names[0]))
        imported = _parsed_file(path)
        if imported is None:
            return None
        if names[0] == bound.name and len(names) > 1 and names[0] not in imported.bindings:
            return self._imported(source, _submodule(bound), names[1:])
        return self.defines(imported, names)


def _split(dotted: str, bindings: _Bindings) -> list[str]:
    """What of `a.b.Class` the file binds (`a.b` after `import a.b`, else `a`), then the names that follow."""
    names = dotted.split(".")
    for count in range(len(names) - 1, 0, -1):
        if ".".join(names[:count]) in bindings:
            return [".".join(names[:count]), *names[count:]]
    return names


def _submodule(bound: _Import) -> _Import:
    """The module that `from <module> import <name>` gives where the name is one."""
    return _Import(f"{bound.module}.{bound.name}".lstrip("."), bound.level, "")


def _module_file(module: str, level: int, importer: Path, rootdir: Path) -> Path | None:
    """The project's file of a module that one of its files imports; None of an installed one."""
    steps = module.split(".") if module else []
    if level:
        folders = [importer.parents[level - 1]] if level <= len(importer.parents) else []
    else:
        inside = [folder for folder in importer.parents if folder.is_relative_to(rootdir)]
        folders = [*(inside or [importer.parent]), rootdir, rootdir / "src"]
    for folder in folders:
        path = folder.joinpath(*steps)
        for file in (path.with_suffix(".py") if steps else path / "__init__.py", path / "__init__.py"):
            if is_file(file):
                return file
    return None


def _any(answers: Sequence[bool | None]) -> bool | None:
    """Whether one of them is true; open, if not, where one of them is."""
    return True if True in answers else None if None in answers else False


def _grouped(body: Sequence[ast.stmt]) -> _Bindings:
    """Each name that a block gives, with its definitions."""
    grouped: dict[str, list[_Bound]] = {}
    for name, bound in _bindings(body):
        grouped.setdefault(name, []).append(bound)
    return grouped


def _bindings(body: Sequence[ast.stmt]) -> Iterator[tuple[str, _Bound]]:
    """Each name that a block gives, in whichever branch, with its definition."""
    for statement in body:
        if isinstance(statement, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield statement.name, statement
        elif isinstance(statement, ast.ImportFrom):
            for alias in statement.names:
                yield alias.asname or alias.name, _Import(statement.module or "", statement.level, alias.name)
        elif isinstance(statement, ast.Import):
            yield from ((alias.asname or alias.name, _Import(alias.name, 0, "")) for alias in statement.names)
        elif isinstance(statement, (ast.Assign, ast.AnnAssign)):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            for node in (node for target in targets for node in ast.walk(target)):
                if isinstance(node, ast.Name):
                    yield node.id, None
        else:
            for _, value in ast.iter_fields(statement):
                for block in value if isinstance(value, list) else ():
                    if isinstance(block, ast.stmt):
                        yield from _bindings([block])
                    elif isinstance(block, (ast.ExceptHandler, ast.match_case)):
                        yield from _bindings(block.body)
