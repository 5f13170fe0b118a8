"""Texts compared without the names of devices: where a model runs is no part of what it is or what it is given."""

import re

TYPES = ("cpu", "cuda", "mps", "xpu", "hpu", "npu", "xla", "meta", "privateuseone")

_NAMED = "|".join(TYPES)
_CERTAIN = re.compile(
    rf"\bdevice\(type='\w+'(?:, index=\d+)?\)|\b(?:{_NAMED}):\d+\b|(?<=\bdevice=)(?:{_NAMED})\b", re.ASCII
)
_LIKELY = re.compile(rf"\b(?:{_NAMED})\b", re.ASCII)
_ABOUT_DEVICES = re.compile(r"device|autocast", re.IGNORECASE)


def same_but_for_devices(before: str, after: str, path: str) -> bool:
    """Whether two texts of the argument, output or option at `path` differ in nothing but devices.

    A mere word such as "cpu" or "meta" counts as a device where the path says so, or where the actual text (`after`)
    certainly names one; otherwise it may be any setting.
    """
    baseline, actual = (_CERTAIN.sub("device", text) for text in (before, after))
    if _ABOUT_DEVICES.search(path) or actual != after:
        baseline, actual = (_LIKELY.sub("device", text) for text in (baseline, actual))
    return baseline == actual
