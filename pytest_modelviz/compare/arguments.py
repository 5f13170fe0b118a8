"""Which argument of a call in one pass is which argument of the same call in the other.

Arguments correspond by name. Where `forward` was rewritten, those whose names only one of the two knows also correspond
by position, and an argument that is left out in the actual pass has its default there. A name that both know stands for
itself alone: what a baseline says of positions and defaults stands in no text that people read.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from pytest_modelviz.records.structure import LENT, ModuleRecord
from pytest_modelviz.records.trace import Leaf, Leaves
from pytest_modelviz.text.side_by_side import split_path

_END_OF_NAME = re.compile(r"[.\[]")  # of an argument: what follows leads into it
_INDEX = re.compile(r"\[(0|[1-9]\d{0,8})\]", re.ASCII)


class Signature(NamedTuple):
    """The parameters of a `forward`: by position, what takes the rest, by name only, whether it takes others too."""

    names: tuple[str, ...] = ()
    rest: str = ""
    only_by_name: tuple[str, ...] = ()
    takes_any_name: bool = False

    @property
    def listed(self) -> tuple[str, ...]:
        """All names in their order."""
        return (*self.names, *([self.rest] if self.rest else ()), *self.only_by_name)

    @property
    def known(self) -> set[str]:
        return set(self.listed)


@functools.lru_cache(maxsize=64)
def signature_of(text: str) -> Signature:
    """The signature that a text such as "x, *args, mask, **others" says; an empty one if it cannot be any."""
    items = text.split(", ")
    named = [item for item in items if not item.startswith("**")]
    stars = [position for position, item in enumerate(named) if item.startswith("*")]
    end = stars[0] if stars else len(named)
    names, rest, only_by_name = named[:end], "".join(named[end : end + 1]).removeprefix("*"), named[end + 1 :]
    plain = [*names, *only_by_name]  # a trace calls what no parameter takes "args", as a parameter may be called
    if len(set(plain)) < len(plain) or not all(name.isidentifier() for name in [*plain, *([rest] if stars else [])]):
        return Signature()
    return Signature(tuple(names), rest, tuple(only_by_name), len(named) < len(items))


def matched_arguments(
    baseline: Leaves,
    actual: Leaves,
    baseline_module: ModuleRecord,
    actual_module: ModuleRecord,
    *,
    trusting: bool = False,
) -> tuple[Leaves, Leaves]:
    """The arguments of both calls under the same names, as far as they correspond.

    `trusting` what a baseline says of its positions and defaults more of them do: enough to say where a drift comes
    from, and not to say that there is none.
    """
    if baseline.keys() == actual.keys():
        return baseline, actual
    is_rewritten = baseline_module.config.get("forward") != actual_module.config.get("forward")
    old, new = (signature_of(module.config.get("forward", "")) for module in (baseline_module, actual_module))
    given = _roots(baseline)
    is_certain = not new.takes_any_name and not given & _roots(actual) & {old.rest, new.rest}
    if is_rewritten and (trusting or is_certain):
        if trusting or given.issuperset(old.names):  # otherwise its positions are those of defaults that it claims
            baseline = _by_position(baseline, old, new)
        actual = _by_position(actual, new, old)
    claimed, defaults = (_defaults(module.config.get("defaults", "")) for module in (baseline_module, actual_module))
    agreed = [path for path in actual if trusting or claimed.get(path) == defaults.get(path)]
    baseline, actual = _with_defaults(baseline, agreed, claimed), _with_defaults(actual, baseline, defaults)
    if is_rewritten and (trusting or not new.takes_any_name):
        actual = _by_baseline_names(actual, old, new, _roots(baseline))
    return baseline, actual


def lent_weights(leaves: Leaves) -> set[str]:
    """The paths of weights that a module was given for one call by its caller."""
    return {path for path in leaves if path.endswith(LENT)}


def _roots(leaves: Leaves) -> set[str]:
    """The names of the arguments."""
    return {split_path(path)[0] for path in leaves}


@functools.lru_cache(maxsize=64)
def _defaults(text: str) -> Mapping[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def _with_defaults(leaves: Leaves, others: Iterable[str], defaults: Mapping[str, str]) -> Leaves:
    """The arguments of a call, with defaults for those `others` that only the other call names."""
    missing = {path: Leaf(literal=defaults[path]) for path in others if path not in leaves and path in defaults}
    return {**leaves, **missing}


def _by_position(leaves: Leaves, own: Signature, other: Signature) -> Leaves:
    """What one `forward` takes as `*args`, under the names of the other `forward`'s parameters at those positions."""
    new, known = other.names[len(own.names) :], own.known
    indices = [_INDEX.match(path, len(own.rest)) for path in leaves if path.startswith(f"{own.rest}[")]
    positions = {int(index[1]) for index in indices if index is not None}
    names = {at: new[at] for at in positions if at < len(new) and new[at] not in known}
    return _renamed(leaves, {f"{own.rest}[{at}]": name for at, name in names.items()})


def _by_baseline_names(leaves: Leaves, baseline: Signature, actual: Signature, given: Collection[str]) -> Leaves:
    """Actual arguments under the baseline's names for them, where `forward`'s own parameters were renamed.

    Where there are more or fewer parameters now, another name is another argument, and so is one that is `given` in
    the baseline.
    """
    names, actual_names = baseline.listed, actual.listed
    if len(names) != len(actual_names):
        return leaves
    known = {*names, *given}
    pairs = zip(names, actual_names, strict=True)
    return _renamed(leaves, {new: old for old, new in pairs if old not in actual_names and new not in known})


def _renamed(leaves: Leaves, names: Mapping[str, str]) -> Leaves:
    """Arguments under other names, unless two of them would get the same name."""
    lengths = {len(name) for name in names}
    renamed = {_renamed_path(path, names, lengths): leaf for path, leaf in leaves.items()}
    return renamed if len(renamed) == len(leaves) else leaves


def _renamed_path(path: str, names: Mapping[str, str], lengths: Collection[int]) -> str:
    """A path with its longest beginning that has another name replaced by that name."""
    ends = [*(match.start() for match in _END_OF_NAME.finditer(path)), len(path)]
    root = next((path[:end] for end in reversed(ends) if end in lengths and path[:end] in names), path)
    return names.get(root, root) + path[len(root) :]
