"""Which signs sketches are made with: those of this version or, beside a baseline of an earlier one, of that.

Both sketches are equally exact; the later one is computed three times as fast. Up to `LARGEST_ALIKE` numbers they are
the same.
"""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

LARGEST_ALIKE = 2**16
EARLIER_VERSION, SKETCH_VERSION = 2, 3  # of the signs and sums in `probe.count_sketch`: no others can be read
_version = ContextVar("sketch_version", default=SKETCH_VERSION)


def sketch_version() -> int:
    """The version of the sketches that are made now."""
    return _version.get()


@contextlib.contextmanager
def sketched_as(version: int) -> Iterator[None]:
    """Make the sketches of a version inside the block."""
    token = _version.set(version)
    try:
        yield
    finally:
        _version.reset(token)
