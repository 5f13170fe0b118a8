"""Objects that several modules share, such as a model's configuration.

At each module they are written as `<Class digest>`; their settings are written out at the first module that holds them.
"""

import functools
import hashlib
import itertools
import re
from collections.abc import Collection, Mapping

from pytest_modelviz.compare.bracketed import in_one_order
from pytest_modelviz.text.dotted import holders

_MOST_HOLDERS = 8  # objects that one setting lies in: they are looked into a few levels deep
_OBJECT = re.compile(r"<(\w+) [0-9a-f]{8}>")


def object_text(class_name: str, settings: Mapping[str, str]) -> str:
    """The text that stands for a shared object, made of its class and its settings."""
    texts = "\n".join(f".{name}={in_one_order(text)}" for name, text in settings.items())
    return f"<{class_name} {hashlib.sha256(texts.encode()).hexdigest()[:8]}>"


def object_class(text: str) -> str:
    """The class of the object that a text stands for, empty where it stands for none."""
    match = _OBJECT.fullmatch(text)
    return match[1] if match else ""


def references_in(config: Mapping[str, str]) -> dict[str, str]:
    """The attributes of a module that hold shared objects, with the texts that stand for these."""
    return {attribute: text for attribute, text in config.items() if text[:1] == "<" and object_class(text)}


class SharedObjects:
    """The objects that modules share, by the texts that stand for them."""

    def __init__(self, configs: Mapping[str, Mapping[str, str]]) -> None:
        self._configs = configs

    @functools.cached_property
    def written_out(self) -> dict[str, tuple[str, str, dict[str, str]]]:
        """For each object the first module and attribute at which it is written out, and its settings."""
        objects: dict[str, tuple[str, str, dict[str, str]]] = {}
        for name, config in self._configs.items():
            references = references_in(config)
            settings = settings_by_attribute(config, references) if references else {}
            for attribute in references:
                if attribute in settings:
                    objects.setdefault(references[attribute], (name, attribute, settings[attribute]))
        return objects


def settings_by_attribute(config: Mapping[str, str], attributes: Collection[str]) -> dict[str, dict[str, str]]:
    """The settings of the objects in these attributes, of those that are written out in this configuration."""
    lengths = {len(attribute) for attribute in attributes}
    settings: dict[str, dict[str, str]] = {}
    for key, text in config.items():
        for attribute in itertools.islice(holders(key, attributes, lengths), _MOST_HOLDERS):
            if attribute != key:
                settings.setdefault(attribute, {})[key[len(attribute) + 1 :]] = text
    return settings
