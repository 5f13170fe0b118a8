"""Another `__call__` for classes of modules, for the length of a block.

Where the `__call__` of a class is assigned, Python goes through all of its subclasses and forgets which methods it has
found for each. `torch.nn.Module` has hundreds: that takes half a millisecond at either end of the block, and within
it all methods are looked up anew. So a plain function, as `torch.nn.Module.__call__` is, stays where it is, and its
code is exchanged.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from types import CodeType, FunctionType
from typing import Any, TypeGuard

import torch

from pytest_modelviz.probe.torch_internals import Operator

Module = type[torch.nn.Module]
_REPLACEMENT = "<replacement>"


@contextlib.contextmanager
def replaced_calls(classes: Iterable[Module], wrap: Callable[[Module, Operator], Operator]) -> Iterator[None]:
    """Replace the `__call__` of some classes, each of which defines its own, for the length of a block.

    Args:
        classes: the classes; several may share a function.
        wrap: makes the replacement of a class's `__call__`, given the class and what does the same as `__call__` did.

    Example:
        >>> def wrap(base, original):
        ...     return lambda module, *args, **kwargs: original(module, *args, **kwargs)
        >>> with replaced_calls([torch.nn.Module], wrap):
        ...     model(image)

    """
    codes: dict[FunctionType, CodeType] = {}
    functions: list[tuple[Module, Operator]] = []
    try:
        for base in classes:
            function = vars(base)["__call__"]
            if not _is_plain(function):
                functions.append((base, function))
                _set_call(base, wrap(base, function))
            elif function not in codes:
                code = codes[function] = function.__code__
                original = FunctionType(code, function.__globals__, function.__name__)
                function.__code__ = _code_calling(wrap(base, original))
        yield
    finally:
        for base, call in functions:
            _set_call(base, call)
        for function, code in codes.items():
            function.__code__ = code


def _is_plain(function: object) -> TypeGuard[FunctionType]:
    """Whether all that makes a function what it does is its code."""
    if not isinstance(function, FunctionType):
        return False
    return not (function.__closure__ or function.__defaults__ or function.__kwdefaults__)


def _set_call(base: Any, function: Operator) -> None:  # a type checker forbids to assign a method
    base.__call__ = function


def _code_calling(function: Operator) -> CodeType:
    """The code of a method that calls a function with all its arguments."""
    code = _replacement.__code__
    return code.replace(co_consts=tuple(function if const == _REPLACEMENT else const for const in code.co_consts))


def _replacement(module: object, /, *args: object, **kwargs: object) -> object:
    function: Any = "<replacement>"  # the constant that `_code_calling` puts the function in place of
    return function(module, *args, **kwargs)
