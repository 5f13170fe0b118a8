"""Which argument of a call in the baseline is which argument of the same call in the actual pass.

The parameters of both `forward`s alone decide it, one to one, whatever a call is given: a baseline then stands for one
call of the actual `forward` and for no other. A name that both know stands for itself. Where `forward` was rewritten,
names that only one of the two knows correspond by position, as do `*args`, and parameters by name only by their order.
An argument that is left out has its default. A `forward` with `**kwargs` takes every name, so that another name stands
for a parameter only if that is required. Where it cannot be told, nothing corresponds.
"""

import functools
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from pytest_modelviz.records.structure import LENT, WRITTEN, ModuleRecord
from pytest_modelviz.records.trace import Leaf, Leaves
from pytest_modelviz.text.side_by_side import split_path

OPTIONAL = "=..."  # behind the name of a parameter that has a default
_MOST_PARAMETERS = 1000  # nobody writes more, and a file may name them for every call
_MOST_REST = 100  # of `*args` that correspond to others


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
    def known(self) -> frozenset[str]:
        return frozenset((*self.names, *([self.rest] if self.rest else ()), *self.only_by_name))


@functools.lru_cache(maxsize=64)  # a text may be long, and its module be called a thousand times
def signature_of(text: str) -> Signature:
    """The signature that a text such as "x, *args, mask=..., **others" says; an empty one if it cannot be any."""
    items = [item.removesuffix(OPTIONAL) for item in text.split(", ")]
    optional = frozenset(item for item, written in zip(items, text.split(", "), strict=True) if item != written)
    named = [item for item in items if not item.startswith("**")]
    stars = [position for position, item in enumerate(named) if item.startswith("*")]
    end = stars[0] if stars else len(named)
    names, rest, only_by_name = named[:end], "".join(named[end : end + 1]).removeprefix("*"), named[end + 1 :]
    plain = [*names, *only_by_name]
    if len(items) > _MOST_PARAMETERS or len(set(plain)) < len(plain):
        return Signature()
    if not all(name.isidentifier() for name in [*plain, *([rest] if stars else [])]):
        return Signature()
    if rest in plain:  # a trace calls what no parameter takes "args", as a parameter may be called
        rest = ""
    return Signature(tuple(names), rest, tuple(only_by_name), len(named) < len(items), optional)


def matched_arguments(
    baseline: Leaves,
    actual: Leaves,
    baseline_module: ModuleRecord,
    actual_module: ModuleRecord,
    *,
    trusting: bool = False,
) -> tuple[Leaves, Leaves]:
    """The arguments of both calls under the names of the actual `forward`, as far as they correspond.

    `trusting` what a baseline says of its defaults, and that no other name is meant for `**kwargs`, more of them do:
    enough to say where a drift comes from, and not to say that there is none.
    """
    configs = [module.config for module in (baseline_module, actual_module)]
    texts = (config.get(key, "") for config in configs for key in ("forward", "defaults"))
    names, claimed, defaults = _correspondence(*texts, trusting=trusting)
    if names:
        baseline = _renamed(baseline, names, {split_path(path)[0] for path in actual} if trusting else ())
    agreed = [path for path in actual if trusting or claimed.get(path) == defaults.get(path)]
    return _with_defaults(baseline, agreed, claimed), _with_defaults(actual, baseline, defaults)


def with_actual_names(
    outputs: Leaves, actual: Leaves, baseline_module: ModuleRecord, actual_module: ModuleRecord
) -> Leaves:
    """What a call of the baseline returns, and writes into its arguments under the actual `forward`'s names."""
    if not any(path.endswith(WRITTEN) for path in outputs) or outputs.keys() == actual.keys():
        return outputs
    texts = (
        module.config.get(key, "") for module in (baseline_module, actual_module) for key in ("forward", "defaults")
    )
    names, _, _ = _correspondence(*texts, trusting=False)
    written = {path.removesuffix(WRITTEN): leaf for path, leaf in outputs.items() if path.endswith(WRITTEN)}
    returned = {path: leaf for path, leaf in outputs.items() if not path.endswith(WRITTEN)}
    return returned | {f"{path}{WRITTEN}": leaf for path, leaf in _renamed(written, names, ()).items()}


def lent_weights(leaves: Leaves) -> set[str]:
    """The paths of weights that a module was given for one call by its caller."""
    return {path for path in leaves if path.endswith(LENT)}


def _with_defaults(leaves: Leaves, others: Iterable[str], defaults: Mapping[str, str]) -> Leaves:
    """The arguments of a call, with defaults for those `others` that only the other call names."""
    missing = {path: Leaf(literal=defaults[path]) for path in others if path not in leaves and path in defaults}
    return {**leaves, **missing}


@functools.lru_cache(maxsize=64)  # as of a signature
def _correspondence(
    forward: str, defaults: str, actual_forward: str, actual_defaults: str, *, trusting: bool
) -> tuple[Mapping[str, str], Mapping[str, str], Mapping[str, str]]:
    """The actual names for those of a baseline that have others, and the defaults of both under actual names."""
    claimed, own = (
        dict(line.split("=", 1) for line in text.splitlines() if "=" in line) for text in (defaults, actual_defaults)
    )
    if forward == actual_forward:
        return {}, claimed, own
    old, new = signature_of(forward), signature_of(actual_forward)
    optional = new.optional | {line.partition("=")[0] for line in actual_defaults.splitlines()}
    is_open = new.takes_any_name and not trusting  # whatever the baseline's names, the actual forward takes them
    names = _actual_names(old, new, new.known - old.known - (optional if is_open else frozenset()), is_open=is_open)
    return names, claimed | {names[name]: text for name, text in claimed.items() if name in names}, own


def _actual_names(old: Signature, new: Signature, replaceable: frozenset[str], *, is_open: bool) -> dict[str, str]:
    """What corresponds by position or order where a `forward` was rewritten: no name to two, nor two to one."""
    pairs = [*zip(old.names, new.names, strict=False)]
    if len(old.only_by_name) == len(new.only_by_name):
        pairs += zip(old.only_by_name, new.only_by_name, strict=True)
    names = {former: name for former, name in pairs if former not in new.known and name in replaceable}
    added, dropped = new.names[len(old.names) :], old.names[len(new.names) :]
    if not replaceable.issuperset(added):
        added = ()
    if is_open or not new.known.isdisjoint(dropped):
        dropped = ()
    rests = ([f"{own.rest}[{at}]" for at in range(_MOST_REST)] if own.rest else [] for own in (old, new))
    return names | dict(zip((*dropped, *next(rests)), (*added, *next(rests)), strict=False))


def _renamed(leaves: Leaves, names: Mapping[str, str], unchanged: Collection[str]) -> Leaves:
    """Arguments under other names, unless two of them would get the same name."""
    renamed = {_renamed_path(path, names, unchanged): leaf for path, leaf in leaves.items()}
    return renamed if len(renamed) == len(leaves) else leaves


def _renamed_path(path: str, names: Mapping[str, str], unchanged: Collection[str]) -> str:
    root, inner = split_path(path)
    if root in names:
        return path if root in unchanged else names[root] + inner
    item, _, inner = path.partition("]")
    return names[f"{item}]"] + inner if f"{item}]" in names else path
