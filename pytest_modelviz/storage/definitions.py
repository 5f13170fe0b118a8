"""Whether a test's function or class stands in a Python file: the file is parsed, and nothing of it is executed.

What only running the code could show (a base class from another file, `from module import *`) is left open.
"""

from __future__ import annotations

import ast
import functools
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

_LARGEST = 16 * 2**20
_Bound: TypeAlias = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef | None  # None: imported or assigned


def function_of(nodeid: str) -> str:
    """A test id without its parameters."""
    file, separator, test = nodeid.partition("::")
    return f"{file}{separator}{test.partition('[')[0]}"


def is_defined(rootdir: Path, nodeid: str) -> bool | None:
    """Whether a test's function, or the class that an id names, is defined in its file; None where that is open.

    Parameters play no part.
    """
    file, _, test = function_of(nodeid).partition("::")
    try:
        path = rootdir / file
        if not path.is_file():
            return False
        status = path.stat()
        module = _parsed(path, status.st_mtime_ns, status.st_size) if status.st_size <= _LARGEST else None
    except (OSError, ValueError):  # a name that no file can have
        return False
    if module is None:
        return None
    return _defines(module, module.body, test.split("::"))


def is_same_file(rootdir: Path, one: str, other: str) -> bool:
    """Whether two relative paths lead to one file, as where a file system does not tell their spellings apart."""
    if one == other:
        return True
    try:
        return (rootdir / one).samefile(rootdir / other)
    except (OSError, ValueError):
        return False


@functools.lru_cache(maxsize=128)
def _parsed(path: Path, _changed: int, _size: int) -> ast.Module | None:
    try:
        with warnings.catch_warnings():  # of the file's own escapes, which whoever runs it has seen
            warnings.simplefilter("ignore")
            return ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _defines(module: ast.Module, body: Sequence[ast.stmt], names: Sequence[str]) -> bool | None:
    name, *inner = names
    found = [bound for known, bound in _bindings(body) if known == name]
    if not found:
        return None if any(known == "*" for known, _ in _bindings(body)) else False
    return _any(_defines_inside(module, bound, inner, frozenset()) for bound in found) if inner else True


def _defines_inside(module: ast.Module, bound: _Bound, names: Sequence[str], seen: frozenset[str]) -> bool | None:
    if bound is None:
        return None
    answers = [_defines(module, bound.body, names)]
    for base in bound.bases if isinstance(bound, ast.ClassDef) else ():
        name = base.id if isinstance(base, ast.Name) else base.attr if isinstance(base, ast.Attribute) else ""
        known = [one for bare, one in _bindings(module.body) if bare == name and isinstance(base, ast.Name)]
        if name == "object" or name in seen or (name == "TestCase" and not any(known)):  # unittest's has no tests
            continue
        answers += [_defines_inside(module, one, names, seen | {name}) for one in known or [None]]
    return _any(answers)


def _any(answers: Iterator[bool | None] | Sequence[bool | None]) -> bool | None:
    """Whether one of them is true; open, if not, where one of them is."""
    found = set(answers)
    return True if True in found else None if None in found else False


def _bindings(body: Sequence[ast.stmt]) -> Iterator[tuple[str, _Bound]]:
    """Each name that a block gives, in whichever branch, with its definition."""
    for statement in body:
        if isinstance(statement, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield statement.name, statement
        elif isinstance(statement, (ast.Import, ast.ImportFrom)):
            for alias in statement.names:
                yield (alias.asname or alias.name).partition(".")[0], None
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
