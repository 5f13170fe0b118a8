"""Breaks the package in small ways, spread over its rooms, and says which breaks the tests do not notice.

    python tests/mutants.py --count 60 --seed 1

Works in clones of the last commit. First it runs all tests once under coverage, to know which of them run which line;
a break is tried on those that run its own, or on all of its room where none is known, as for what runs at import. What
survives is printed as a diff: either a test is missing, or the break changes nothing that anybody could notice. The
measurement of an earlier run of the same commit is given with `--measured`.
"""

import argparse
import ast
import copy
import difflib
import os
import queue
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from coverage import CoverageData

ROOT = Path(__file__).parents[1]
PACKAGE = "pytest_modelviz"
HANGS = 1200  # seconds after which a break counts as noticed
MEASURES = """[run]
source_pkgs = pytest_modelviz
parallel = true
patch = subprocess
dynamic_context = test_function
"""
SWAPPED: dict[type, type] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
}  # fmt: skip


@dataclass(frozen=True)
class Break:
    """One small change of one file."""

    path: Path
    changed: str
    difference: str
    lines: range


def breaks(path: Path) -> Iterator[Break]:
    """All small changes of a file that are known how to be made."""
    tree = ast.parse((ROOT / path).read_text())
    original = ast.unparse(tree).splitlines()
    for node in list(_statements(tree)):
        for replacement in _replacements(node):
            before = copy.copy(node.__dict__)
            node.__dict__.update(replacement)
            changed = ast.unparse(tree)
            node.__dict__.clear()
            node.__dict__.update(before)
            lines = difflib.unified_diff(original, changed.splitlines(), str(path), str(path), lineterm="", n=2)
            yield Break(path, changed, "\n".join(list(lines)[1:]), _lines(node))


def _lines(node: ast.AST) -> range:
    """The lines of a node; of a statement with a body those of its condition."""
    spanned = node.test if isinstance(node, ast.If) else node
    assert isinstance(spanned, (ast.expr, ast.stmt))
    return range(spanned.lineno, (spanned.end_lineno or spanned.lineno) + 1)


def _statements(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes that run: no annotations, no imports, no decorators, no messages of errors."""
    for name, value in ast.iter_fields(tree):
        if name in ("annotation", "returns", "decorator_list", "type_params") or isinstance(tree, ast.Raise):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield child
                yield from _statements(child)


def _replacements(node: ast.AST) -> Iterator[dict[str, object]]:
    """The fields of a node that may be exchanged, each a break of its own."""
    if isinstance(node, ast.Compare):
        for index, operator in enumerate(node.ops):
            yield {"ops": [*node.ops[:index], SWAPPED[type(operator)](), *node.ops[index + 1 :]]}
    elif isinstance(node, ast.BoolOp):
        yield {"op": SWAPPED[type(node.op)]()}
        if len(node.values) > 2:
            for index in range(len(node.values)):
                yield {"values": node.values[:index] + node.values[index + 1 :]}
    elif isinstance(node, ast.BinOp) and type(node.op) in SWAPPED:
        yield {"op": SWAPPED[type(node.op)]()}
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield {"value": not node.value}
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield {"value": node.value + 1}
    elif isinstance(node, ast.If | ast.IfExp) and not isinstance(node.test, ast.Name):
        yield {"test": ast.Constant(value=False)}
        yield {"test": ast.Constant(value=True)}
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield {"value": ast.Constant(value=None)}


def sample(count: int, seed: int) -> list[Break]:
    """Breaks of as many rooms as there are, in turn; the same for the same seed and code."""
    rng = random.Random(seed)
    rooms: dict[str, list[Path]] = {}
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = path.relative_to(ROOT / PACKAGE).parts
        rooms.setdefault("/".join(parts[: 2 if parts[0] == "views" else 1][: len(parts) - 1]), []).append(path)
    chosen: list[Break] = []
    while len(chosen) < count:
        for paths in rooms.values():
            path = rng.choices(paths, [path.stat().st_size for path in paths])[0]
            choices = list(breaks(path.relative_to(ROOT)))
            if choices:
                chosen.append(rng.choice(choices))
    return chosen[:count]


def measure(folder: Path, data: Path) -> None:
    """Run all tests in a clone, and write coverage's `data` on which test ran which line."""
    config = folder / "coveragerc"
    config.write_text(MEASURES)
    clone = folder / "measured"
    subprocess.run(["git", "clone", "-q", ROOT, clone], check=True)
    environment = {**_environment(clone), "COVERAGE_FILE": str(data.absolute()), "MODELVIZ_WATCH_ALL": "1"}
    coverage = [sys.executable, "-m", "coverage"]
    tests = ["-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", "-p", "no:randomly", "tests"]
    subprocess.run([*coverage, "run", f"--rcfile={config}", *tests], check=True, cwd=clone, env=environment)
    subprocess.run([*coverage, "combine", "-q", f"--rcfile={config}"], check=True, cwd=clone, env=environment)


class Tests:
    """Which tests run which line, by coverage's data."""

    def __init__(self, measured: Path) -> None:
        self._data = CoverageData(str(measured))
        self._data.read()
        self._files = {name.split(f"/{PACKAGE}/")[-1]: name for name in self._data.measured_files()}
        self._modules = {path.stem: path.relative_to(ROOT) for path in (ROOT / "tests").rglob("test_*.py")}

    def of(self, change: Break) -> list[str]:
        """Those that run the lines of a break; all of its room where none is known."""
        measured = self._files.get(str(change.path.relative_to(PACKAGE)))
        contexts = {} if measured is None else self._data.contexts_by_lineno(measured)
        names = {name for line in change.lines for name in contexts.get(line, ())}
        return sorted(filter(None, map(self._nodeid, names))) or [str(_room(change.path))]

    def _nodeid(self, name: str) -> str | None:
        """`test_module.TestClass.test_name` as pytest names it."""
        module, *names = name.split(".")
        return "::".join([str(self._modules[module]), *names]) if module in self._modules else None


def _room(path: Path) -> Path:
    room = Path("tests/unit", *path.parts[1:-1])
    while not (ROOT / room).is_dir():
        room = room.parent
    return room


def _environment(clone: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(clone), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def survives(change: Break, clone: Path, tests: list[str]) -> bool:
    """Whether no test fails with a break in place."""
    (clone / change.path).write_text(change.changed)
    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:randomly"]
    try:
        run = subprocess.run(
            [sys.executable, "-m", "pytest", *options, *tests],
            check=False,
            cwd=clone,
            env=_environment(clone),
            capture_output=True,
            timeout=HANGS,
        )
    except subprocess.TimeoutExpired:
        return False
    finally:
        subprocess.run(["git", "checkout", "-q", "."], cwd=clone, check=True)
    return not run.returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--measured", type=Path, help="coverage's data of an earlier run, which is made where it lacks")
    options = parser.parse_args()
    chosen = sample(options.count, options.seed)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(options.jobs) as workers:
        measured = options.measured or Path(folder, "coverage.data")
        if not measured.exists():
            measure(Path(folder), measured)
        tests = Tests(measured)
        clones: queue.SimpleQueue[Path] = queue.SimpleQueue()
        for number in range(options.jobs):
            clone = Path(folder, str(number))
            subprocess.run(["git", "clone", "-q", ROOT, clone], check=True)
            clones.put(clone)
        survived = 0

        def attempt(change: Break) -> tuple[Break, bool]:
            clone = clones.get()
            try:
                return change, survives(change, clone, tests.of(change))
            finally:
                clones.put(clone)

        for change, alive in workers.map(attempt, chosen):
            survived += alive
            print("SURVIVED" if alive else "noticed", change.path, flush=True)
            if alive:
                print(change.difference, flush=True)
    print(f"{len(chosen) - survived} of {len(chosen)} noticed")
    return survived > 0


if __name__ == "__main__":
    sys.exit(main())
