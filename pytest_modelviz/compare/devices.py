"""Texts without the names of devices: on which device a model runs is no part of what it is or is given."""

from __future__ import annotations

import re

TYPES = ("cpu", "cuda", "mps", "xpu", "hpu", "npu", "xla", "meta", "privateuseone")

_NAMED = "|".join(TYPES)
_CERTAIN = re.compile(
    rf"\bdevice\(type='\w+'(?:, index=\d+)?\)|\b(?:{_NAMED}):\d+\b|(?<=\bdevice=)(?:{_NAMED})\b", re.ASCII
)
_LIKELY = re.compile(rf"\b(?:{_NAMED})\b", re.ASCII)
_ABOUT_DEVICES = re.compile(r"device|autocast", re.IGNORECASE)


def same_but_for_devices(before: str, after: str, path: str) -> bool:
    """Whether two texts of the argument, output or option at a path differ in nothing but devices.

    A mere word such as "cpu" or "meta" is a device where the path says so, or where the actual text, which is the
    second, has certainly one; else it may be any setting.
    """
    one, two = (_CERTAIN.sub("device", text) for text in (before, after))
    if _ABOUT_DEVICES.search(path) or two != after:
        one, two = (_LIKELY.sub("device", text) for text in (one, two))
    return one == two
