"""The configuration of modules without what users ignore (`modelviz_ignore`) and what processes do not share."""

import fnmatch
import functools
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping

from pytest_modelviz.compare.shared_objects import object_class, object_text, references_in, settings_by_attribute
from pytest_modelviz.compare.volatile import lasting

_MOST_HOLDERS = 32  # that a glob is held against, beside the whole attribute
_LONGEST_CACHED = 20_000  # letters of a configuration whose result is remembered

Configurations = Mapping[str, Mapping[str, str]]


def lasting_modules(configurations: Configurations, patterns: Iterable[str] = ()) -> dict[str, dict[str, str]]:
    """The configuration of every module without what two processes do not share, and without what is ignored.

    The text that stands for a shared object is made anew from the settings that are left of it.
    """
    patterns = tuple(patterns)
    result: dict[str, dict[str, str]] = {}
    objects: dict[str, str] = {}
    for layer, config in configurations.items():
        result[layer] = lasting_config(config, patterns, layer)
        references = references_in(config)
        remaining = settings_by_attribute(result[layer], references) if references else {}
        for attribute in settings_by_attribute(config, references) if references else ():  # if it is written out here
            text = references[attribute]
            objects.setdefault(text, object_text(object_class(text), remaining.get(attribute, {})))
    for config in result.values() if objects else ():
        config.update({key: objects[text] for key, text in config.items() if text in objects})
    return result


def lasting_text(text: str, patterns: Iterable[str], layer: str) -> str:
    """The same of what a module's `extra_repr`, or its own `repr`, says."""
    patterns = tuple(patterns)
    if patterns and (is_ignored(patterns, layer, "extra_repr") or is_ignored(patterns, layer, "repr")):
        return ""
    return lasting_config({"extra_repr": text}, patterns, layer).get("extra_repr", "")


def lasting_config(config: Mapping[str, str], patterns: tuple[str, ...] = (), layer: str = "") -> dict[str, str]:
    """The same of one module."""
    # only globs depend on the layer: without them, one result serves all modules of equal configuration
    items = tuple(config.items())
    is_cached = sum(len(text) for _, text in items) <= _LONGEST_CACHED
    return dict((_lasting if is_cached else _lasting.__wrapped__)(items, patterns, layer if patterns else ""))


@functools.lru_cache(maxsize=4096)
def _lasting(config: tuple[tuple[str, str], ...], patterns: tuple[str, ...], layer: str) -> dict[str, str]:
    return lasting(dict(config), functools.partial(is_ignored, patterns, layer) if patterns else None)


def is_ignored(patterns: Iterable[str], layer: str, attribute: str) -> bool:
    """Whether one of these globs matches an attribute of a layer, or something that holds it."""
    return any(matches(pattern, layer, attribute) for pattern in patterns)


def matches(pattern: str, layer: str, attribute: str) -> bool:
    """Whether a glob such as `*._trainer`, `layer4.*.scale` or `config.*_path` matches an attribute of a layer.

    It is matched with `<layer>.<attribute>`; for the model itself, which has no name, also with the attribute alone.
    """
    glob, inside = _glob(pattern), f"{layer}."
    return any(glob.match(inside + holder) or (not layer and glob.match(holder)) for holder in _holders(attribute))


def _holders(attribute: str) -> Iterator[str]:
    """What an attribute lies in, from the outside, and the attribute itself.

    Objects are looked into a few levels deep. What has more dots in its name than that has them from a key of a
    dictionary.
    """
    dots = itertools.islice(re.finditer(r"\.", attribute), _MOST_HOLDERS)
    yield from (attribute[: dot.start()] for dot in dots)
    yield attribute


@functools.lru_cache(maxsize=256)
def _glob(pattern: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(pattern))
