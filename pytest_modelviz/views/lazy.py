"""Names of a package that are imported when they are asked for: the class of a view brings torch, the rest does not."""

import importlib
from collections.abc import Callable


def names_on_demand(package: str, homes: dict[str, str]) -> Callable[[str], object]:
    """A package's `__getattr__`.

    Args:
        package: its name.
        homes: the module of the package that each name is imported from.

    Example:
        >>> __getattr__ = names_on_demand(__name__, {"FeatureMapsView": "capture"})

    """

    def attribute(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{homes[name]}"), name)

    return attribute
