"""Which argument of a call in one pass is which argument of the same call in the other.

Arguments correspond by name. Where `forward` was rewritten, those whose names only one of the two knows also correspond
by position, and an argument that is left out in the actual pass has its default there. A name that both know stands for
itself alone: what a baseline says of positions and defaults stands in no text that people read. A `forward` with
`**kwargs` knows every name; but a call without an argument that it requires was one of another `forward`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from pytest_modelviz.records.structure import LENT, ModuleRecord
from pytest_modelviz.records.trace import Leaf, Leaves
from pytest_modelviz.text.side_by_side import split_path

OPTIONAL = "=..."  # behind the name of a parameter that has a default
_MOST_PARAMETERS = 1000  # nobody writes more, and a file may name them for every call
_END_OF_NAME = re.compile(r"[.\[]")  # of an argument: what follows leads into it


class Signature(NamedTuple):
    """The parameters of a `forward`: by position, what takes the rest, by name only, whether it takes others too.

    `optional` are those that are marked as such, which a trace's are not.
    """

    names: tuple[str, ...] = ()
    rest: str = ""
    only_by_name: tuple[str, ...] = ()
    takes_any_name: bool = False
    optional: frozenset[str] = frozenset()

    @property
    def listed(self) -> tuple[str, ...]:
        """All names in their order."""
        return (*self.names, *([self.rest] if self.rest else ()), *self.only_by_name)

    @property
    def known(self) -> set[str]:
        return set(self.listed)


@functools.lru_cache(maxsize=64)  # a text may be long, and its module be called a thousand times
def signature_of(text: str) -> Signature:
    """The signature that a text such as "x, *args, mask=..., **others" says; an empty one if it cannot be any."""
    items = [item.removesuffix(OPTIONAL) for item in text.split(", ")]
    optional = frozenset(item for item, written in zip(items, text.split(", "), strict=True) if item != written)
    named = [item for item in items if not item.startswith("**")]
    stars = [position for position, item in enumerate(named) if item.startswith("*")]
    end = stars[0] if stars else len(named)
    names, rest, only_by_name = named[:end], "".join(named[end : end + 1]).removeprefix("*"), named[end + 1 :]
    plain = [*names, *only_by_name]  # a trace calls what no parameter takes "args", as a parameter may be called
    if len(items) > _MOST_PARAMETERS or len(set(plain)) < len(plain):
        return Signature()
    if not all(name.isidentifier() for name in [*plain, *([rest] if stars else [])]):
        return Signature()
    return Signature(tuple(names), rest, tuple(only_by_name), len(named) < len(items), optional)


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
    claimed, defaults = (_defaults(module.config.get("defaults", "")) for module in (baseline_module, actual_module))
    given = _roots(baseline)
    is_open = new.takes_any_name and not trusting  # whatever the baseline's names, the actual forward takes them
    optional = {line.partition("=")[0] for line in actual_module.config.get("defaults", "").splitlines()}
    replaceable = new.known - (optional | new.optional | {new.rest} if is_open else set())
    if is_rewritten and (trusting or not given & _roots(actual) & {old.rest, new.rest}):
        if trusting or given.issuperset(old.names):  # otherwise its positions are those of defaults that it claims
            baseline = _by_position(baseline, old, new, replaceable - old.known)
        actual = _by_position(actual, new, old, set() if is_open else old.known - new.known)
    agreed = [path for path in actual if trusting or claimed.get(path) == defaults.get(path)]
    baseline, actual = _with_defaults(baseline, agreed, claimed), _with_defaults(actual, baseline, defaults)
    if is_rewritten:
        actual = _by_baseline_names(actual, old, new, replaceable - old.known - _roots(baseline))
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


def _by_position(leaves: Leaves, own: Signature, other: Signature, allowed: Collection[str]) -> Leaves:
    """What one `forward` takes as `*args`, under those names of the other that are allowed, at their positions."""
    names = enumerate(other.names[len(own.names) :])
    return _renamed(leaves, {f"{own.rest}[{at}]": name for at, name in names if name in allowed})


def _by_baseline_names(leaves: Leaves, old: Signature, new: Signature, replaceable: Collection[str]) -> Leaves:
    """Actual arguments under the baseline's names for them, where `forward`'s own parameters were renamed.

    Where there are more or fewer parameters now, the first of them correspond.
    """
    is_as_long = len(old.listed) == len(new.listed)
    pairs = zip(old.listed, new.listed, strict=True) if is_as_long else zip(old.names, new.names, strict=False)
    return _renamed(leaves, {name: former for former, name in pairs if former not in new.known and name in replaceable})


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
