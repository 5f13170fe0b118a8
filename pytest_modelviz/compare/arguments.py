"""Which argument of a call in one pass is which argument of the same call in the other.

Arguments correspond by name. Where `forward` was rewritten, they also correspond by position, and an argument that is
left out in one of the passes has its default there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from pytest_modelviz.records.structure import LENT, ModuleRecord
from pytest_modelviz.records.trace import Leaf, Leaves

_END_OF_NAME = re.compile(r"[.\[]")  # of an argument: what follows leads into it


def matched_arguments(
    baseline: Leaves, actual: Leaves, baseline_module: ModuleRecord, actual_module: ModuleRecord
) -> tuple[Leaves, Leaves]:
    """The arguments of both calls under the same names, as far as they correspond."""
    if baseline.keys() == actual.keys():
        return baseline, actual
    is_rewritten = baseline_module.config.get("forward") != actual_module.config.get("forward")
    if is_rewritten:
        baseline = _by_position(baseline, baseline_module, actual_module)
        actual = _by_position(actual, actual_module, baseline_module)
    baseline = _with_defaults(baseline, actual, baseline_module)
    actual = _with_defaults(actual, baseline, actual_module)
    if is_rewritten:
        actual = _by_baseline_names(actual, baseline_module, actual_module)
    return baseline, actual


def lent_weights(leaves: Leaves) -> set[str]:
    """The paths of weights that a module was given for one call by its caller."""
    return {path for path in leaves if path.endswith(LENT)}


def _with_defaults(leaves: Leaves, others: Leaves, module: ModuleRecord) -> Leaves:
    """The arguments of a call, with defaults for those that only the other call names."""
    defaults = dict(line.split("=", 1) for line in module.config.get("defaults", "").splitlines() if "=" in line)
    missing = {path: Leaf(literal=defaults[path]) for path in others if path not in leaves and path in defaults}
    return {**leaves, **missing}


def _by_position(leaves: Leaves, module: ModuleRecord, other: ModuleRecord) -> Leaves:
    """What one `forward` takes as `*args`, under the names of the other `forward`'s parameters at those positions."""
    names, others = (m.config.get("forward", "").partition("*")[0].strip(", ").split(", ") for m in (module, other))
    named = [name for name in names if name]
    rest = module.config.get("forward", "").partition("*")[2].partition(",")[0]
    renamed = {f"{rest}[{index}]": name for index, name in enumerate(others[len(named) :])}
    return _renamed(leaves, renamed)


def _by_baseline_names(leaves: Leaves, baseline: ModuleRecord, actual: ModuleRecord) -> Leaves:
    """Actual arguments under the baseline's names for them, where `forward`'s own parameters were renamed.

    Where there are more or fewer parameters now, another name is another argument.
    """
    names, actual_names = _parameters(baseline), _parameters(actual)
    if len(names) != len(actual_names):
        return leaves
    pairs = zip(names, actual_names, strict=True)
    return _renamed(leaves, {new: old for old, new in pairs if old not in actual_names and new not in names})


def _renamed(leaves: Leaves, names: Mapping[str, str]) -> Leaves:
    """Arguments under other names, unless two of them would get the same name."""
    renamed = {_renamed_path(path, names): leaf for path, leaf in leaves.items()}
    return renamed if len(renamed) == len(leaves) else leaves


def _renamed_path(path: str, names: Mapping[str, str]) -> str:
    """A path with its longest beginning that has another name replaced by that name."""
    for end in (len(path), *(match.start() for match in reversed(list(_END_OF_NAME.finditer(path))))):
        if path[:end] in names:
            return names[path[:end]] + path[end:]
    return path


def _parameters(module: ModuleRecord) -> list[str]:
    """The names of `forward`'s parameters, those after `*` too."""
    return [name.strip("* ") for name in module.config.get("forward", "").split(",") if name.strip("* ")]
