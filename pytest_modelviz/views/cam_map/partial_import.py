"""Imports of pytorch-grad-cam that bring in what one method needs, and leave the package whole for everybody else.

`import pytorch_grad_cam` imports all methods, metrics and drawing functions, and for these scikit-learn, SciPy,
matplotlib and torchvision: 2,000 modules and several seconds. A Grad-CAM map needs NumPy and OpenCV. Two things are
therefore put off:

- The package's `__init__` runs when anything but its own modules and this file asks the package for a name.
- What its modules import from those four packages at their top is imported when it is first used. They are executed
  with an `__import__` of their own for that; nobody else's imports are affected.

The modules are the real ones, in `sys.modules` under their real names and imported under Python's import locks, so that
a later `import pytorch_grad_cam` gives the same classes. A package that somebody has imported before is used as it is.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import sys
import threading
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType, SimpleNamespace
from typing import Any

_PACKAGE = "pytorch_grad_cam"
_PUT_OFF = frozenset({"matplotlib", "scipy", "sklearn", "torchvision"})  # packages of which few functions are used
_QUERIED = frozenset({"__all__", "__version__"})  # special names that users ask for; others, tools ask of all modules


def exported(name: str) -> Any:
    """What the package exports under a name, as of its `__init__`; raises AttributeError where there is no such name.

    Example:
        >>> exported("GradCAM").__module__
        'pytorch_grad_cam.grad_cam'

    """
    package = _package()
    module = _FINDER.exports.get(name) if isinstance(package, _WaitingPackage) else None
    return getattr(package if module is None else importlib.import_module(module), name)


def submodule(name: str) -> ModuleType:
    """A module of the package, such as `utils.image`."""
    _package()
    return importlib.import_module(f"{_PACKAGE}.{name}")


def whole() -> ModuleType:
    """The package with all that it imports."""
    package = _package()
    if isinstance(package, _WaitingPackage):
        _complete(package)
    return package


def _package() -> ModuleType:
    if _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)  # it stays: to remove it could make another thread's import miss a finder
    _FINDER.asked.here = True
    try:
        return importlib.import_module(_PACKAGE)
    finally:
        _FINDER.asked.here = False


class _WaitingPackage(ModuleType):
    """The package before its `__init__` has run, which the first name that is asked for makes it do."""

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("__") or name in _QUERIED:
            _complete(self)
        return ModuleType.__getattribute__(self, name)

    def __dir__(self) -> list[str]:
        _complete(self)
        return list(ModuleType.__dir__(self))  # no longer of this class


_COMPLETION = threading.RLock()


def _complete(package: _WaitingPackage) -> None:
    """Run the package's `__init__`. Where it raises, the package is no longer imported, as after any failed import."""
    with _COMPLETION:
        if type(package) is not _WaitingPackage or _FINDER.is_completing:
            return  # another thread has been here first, or `__init__` itself asks for a name that is not there yet
        _FINDER.is_completing = True
        try:
            SourceFileLoader(_PACKAGE, str(package.__file__)).exec_module(package)
            for name, module in list(sys.modules.items()):
                if name.startswith(f"{_PACKAGE}."):
                    _resolve_names(module)
        except BaseException:
            for name in [name for name in sys.modules if name.partition(".")[0] == _PACKAGE]:
                del sys.modules[name]
            raise
        finally:
            _FINDER.is_completing = False
        package.__class__ = ModuleType  # type: ignore[assignment]  # its base


def _resolve_names(module: ModuleType) -> None:
    """Put the objects themselves in the place of the names that were put off."""
    for name, value in list(vars(module).items()):
        if isinstance(value, _PutOff):
            setattr(module, name, value.resolve())
    vars(module)["__builtins__"] = vars(builtins)


class _Finder(MetaPathFinder):
    """Finds the package where this file asks for it, and its modules while the package waits, for `_Loader`."""

    def __init__(self) -> None:
        self.asked = threading.local()
        self.exports: dict[str, str] = {}  # name -> the module that has it
        self.is_completing = False

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name == _PACKAGE:  # its modules are ours until it is whole: another thread may be importing some meanwhile
            is_ours = getattr(self.asked, "here", False)
        else:
            is_ours = name.startswith(f"{_PACKAGE}.") and isinstance(sys.modules.get(_PACKAGE), _WaitingPackage)
        if not is_ours:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or type(spec.loader) is not SourceFileLoader:
            return None  # of a zip file, say: imported as usual
        spec.loader = _Loader(name, spec.loader.path)
        return spec


_FINDER = _Finder()


class _Loader(SourceFileLoader):
    """Loads modules with an `__import__` of their own, and leaves the package itself waiting."""

    def exec_module(self, module: ModuleType) -> None:
        if module.__name__ != _PACKAGE:
            vars(module)["__builtins__"] = {**vars(builtins), "__import__": _import}
            super().exec_module(module)
            return
        module.__class__ = _WaitingPackage
        _FINDER.exports = _exports(self.get_data(self.path))


def _exports(source: bytes) -> dict[str, str]:
    """The names that an `__init__` takes from the package's modules, with those modules."""
    statements = [node for node in ast.parse(source).body if isinstance(node, ast.ImportFrom) and node.module]
    modules = [f"{_PACKAGE}.{node.module}" if node.level else str(node.module) for node in statements]
    return {
        alias.name: module
        for node, module in zip(statements, modules, strict=True)
        for alias in node.names
        if module.startswith(f"{_PACKAGE}.") and alias.asname in (None, alias.name)
    }


def _import(
    name: str,
    given_globals: Mapping[str, object] | None = None,
    given_locals: Mapping[str, object] | None = None,
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> Any:
    """What an import statement in one of the package's modules calls, in the place of Python's `__import__`."""
    if not level and "*" not in (fromlist or ()):
        if name == _PACKAGE and fromlist:
            return SimpleNamespace(**{wanted: _member(wanted) for wanted in fromlist})
        if name.partition(".")[0] in _PUT_OFF:
            return SimpleNamespace(**{w: _PutOff(name, w) for w in fromlist}) if fromlist else _PutOff(name)
    return builtins.__import__(name, given_globals, given_locals, fromlist or (), level)


def _member(name: str) -> Any:
    module = _FINDER.exports.get(name)
    if module is None:
        return importlib.import_module(f"{_PACKAGE}.{name}")
    return getattr(importlib.import_module(module), name)


class _PutOff:
    """A module, or what it has under a name, imported when it is used."""

    def __init__(self, module: str, name: str = "") -> None:
        self._module, self._name = module, name

    def resolve(self) -> Any:
        module = importlib.import_module(self._module)
        if not self._name:
            return sys.modules[self._module.partition(".")[0]]  # `import a.b` binds a
        try:
            return getattr(module, self._name)
        except AttributeError:
            return importlib.import_module(f"{self._module}.{self._name}")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.resolve(), name)

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return self.resolve()(*arguments, **keywords)

    def __instancecheck__(self, instance: object) -> bool:
        return isinstance(instance, self.resolve())

    def __mro_entries__(self, bases: tuple[object, ...]) -> tuple[Any, ...]:
        return (self.resolve(),)
