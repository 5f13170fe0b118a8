"""Whether a pass in lower precision is repeated in single precision."""

import enum


class Shadow(enum.Enum):
    """When a float32 shadow is made: see `probe.shadow`."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"
