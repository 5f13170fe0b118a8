"""Texts without the names of devices: on which device a model runs is no part of what it is or is given."""

from __future__ import annotations

import re

_DEVICE = re.compile(
    r"device\(type='\w+'(?:, index=\d+)?\)|\b(?:cpu|cuda|mps|xpu|hpu|npu|meta|privateuseone)(?::\d+)?\b",
    re.ASCII,
)


def without_devices(text: str) -> str:
    """The text of an argument, an output or an option, with every device called by one name."""
    return _DEVICE.sub("device", text)
