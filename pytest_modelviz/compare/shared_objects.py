"""Objects that several modules share, such as a model's configuration.

At each module they are written as `<Class digest>`; their settings are written out at the first module that holds them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping

from pytest_modelviz.compare.bracketed import in_one_order
from pytest_modelviz.text.dotted import holders

_OBJECT = re.compile(r"<(\w+) [0-9a-f]{8}>")


def object_text(class_name: str, settings: Mapping[str, str]) -> str:
    """The text that stands for a shared object, made of its class and its settings."""
    texts = "\n".join(f".{name}={in_one_order(text)}" for name, text in settings.items())
    return f"<{class_name} {hashlib.sha256(texts.encode()).hexdigest()[:8]}>"


def object_class(text: str) -> str:
    """The class of the object that a text stands for, empty where it stands for none."""
    match = _OBJECT.fullmatch(text)
    return match[1] if match else ""


def settings_by_attribute(config: Mapping[str, str], attributes: Collection[str]) -> dict[str, dict[str, str]]:
    """The settings of the objects in these attributes, of those that are written out in this configuration."""
    lengths = {len(attribute) for attribute in attributes}
    settings: dict[str, dict[str, str]] = {}
    for key, text in config.items():
        for attribute in holders(key, attributes, lengths):
            if attribute != key:
                settings.setdefault(attribute, {})[key[len(attribute) + 1 :]] = text
    return settings
