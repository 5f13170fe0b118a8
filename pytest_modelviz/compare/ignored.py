"""Attributes that a user has named as no configuration (`modelviz_ignore`), and the modules of a model without them."""

from __future__ import annotations

import fnmatch
import functools
import re
from collections.abc import Iterable, Mapping

from pytest_modelviz.compare.volatile import lasting, object_class, object_text, settings_by_attribute

_LONGEST_KEPT = 20_000  # letters of a configuration whose outcome is remembered

Configurations = Mapping[str, Mapping[str, str]]


def lasting_modules(configurations: Configurations, patterns: Iterable[str] = ()) -> dict[str, dict[str, str]]:
    """The configuration of every module without what two processes do not share, and without what is ignored.

    What stands for an object that modules share is made anew from what is left of what that says.
    """
    patterns = tuple(patterns)
    kept: dict[str, dict[str, str]] = {}
    objects: dict[str, str] = {}
    for layer, config in configurations.items():
        kept[layer] = lasting_config(config, patterns, layer)
        held = {attribute: text for attribute, text in config.items() if text[:1] == "<" and object_class(text)}
        left = settings_by_attribute(kept[layer], held) if held else {}
        for attribute in settings_by_attribute(config, held) if held else ():  # those that are written out here
            text = held[attribute]
            objects[text] = object_text(object_class(text), left.get(attribute, {}))
    for config in kept.values() if objects else ():
        config.update({key: objects[text] for key, text in config.items() if text in objects})
    return kept


def lasting_text(text: str, patterns: Iterable[str], layer: str) -> str:
    """What a module shows of its configuration, `extra_repr` or its own `repr`, after the same rules."""
    patterns = tuple(patterns)
    if patterns and (is_ignored(patterns, layer, "extra_repr") or is_ignored(patterns, layer, "repr")):
        return ""
    return lasting_config({"extra_repr": text}, patterns, layer).get("extra_repr", "")


def lasting_config(config: Mapping[str, str], patterns: tuple[str, ...] = (), layer: str = "") -> dict[str, str]:
    """The configuration of one module after the same rules."""
    # only globs look at the layer: without them, modules of equal configuration are looked at once
    items = tuple(config.items())
    remembered = sum(len(text) for _, text in items) <= _LONGEST_KEPT
    return dict((_lasting if remembered else _lasting.__wrapped__)(items, patterns, layer if patterns else ""))


@functools.lru_cache(maxsize=4096)
def _lasting(config: tuple[tuple[str, str], ...], patterns: tuple[str, ...], layer: str) -> dict[str, str]:
    return lasting(dict(config), functools.partial(is_ignored, patterns, layer) if patterns else None)


def is_ignored(patterns: Iterable[str], layer: str, attribute: str) -> bool:
    """Whether one of these globs is of an attribute of a layer, or of something that holds it."""
    return any(matches(pattern, layer, attribute) for pattern in patterns)


def matches(pattern: str, layer: str, attribute: str) -> bool:
    """Whether a glob such as `*._trainer`, `layer4.*.scale` or `config.*_path` is of an attribute of a layer.

    It is held against `<layer>.<attribute>`; of the model itself, which has no name, also against the attribute alone.
    """
    steps = attribute.split(".")
    holders = [".".join(steps[:count]) for count in range(1, len(steps) + 1)]
    names = [f"{layer}.{holder}" for holder in holders] + ([] if layer else holders)
    return any(_glob(pattern).match(name) for name in names)


@functools.lru_cache(maxsize=256)
def _glob(pattern: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(pattern))
