"""Passes without `torch.compile`: what a model has compiled, or compiles in its own forward, runs eagerly.

Importing the compiler takes over a second, so nothing here imports it: where it is not imported yet, `eager` waits for
the import.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

import torch

from pytest_modelviz.probe.torch_internals import COMPILER, is_compiler_imported, set_compiler_stance


@contextlib.contextmanager
def eager() -> Iterator[None]:
    """Run a block in which nothing runs compiled, and nothing is compiled, whoever imports the compiler in it."""
    if is_compiler_imported():
        with torch.compiler.set_stance("force_eager"):
            yield
        return
    block = object()
    _IMPORT.blocks.add(block)
    if _IMPORT not in sys.meta_path:  # it stays: to remove it could make another thread's import miss a finder
        sys.meta_path.insert(0, _IMPORT)
    try:
        yield
    finally:
        _IMPORT.blocks.discard(block)
        if is_compiler_imported():
            set_compiler_stance(None)


class _CompilerImport(MetaPathFinder):
    """Finds the compiler as Python does, and makes it eager as soon as it is imported inside a block."""

    def __init__(self) -> None:
        self.blocks: set[object] = set()

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != COMPILER or not self.blocks:
            return None
        spec = PathFinder.find_spec(name, path, target)
        loader = None if spec is None else spec.loader
        if loader is not None:
            execute = loader.exec_module

            def execute_and_disable(module: ModuleType) -> None:
                execute(module)
                torch.compiler.set_stance("force_eager")

            loader.exec_module = execute_and_disable  # type: ignore[method-assign]  # of this loader alone
        return spec


_IMPORT = _CompilerImport()
