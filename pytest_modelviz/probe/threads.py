"""Sharing the processor between processes that run models at the same time, as the workers of one test run do.

By default torch uses every core in each of them. Threads of one process then wait for those of another, and several
processes are slower than one.
"""

import contextlib
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


@contextlib.contextmanager
def sharing_cores(processes: int) -> Iterator[None]:
    """Let torch use this process's share of the cores in a block, and put back its number of threads afterwards.

    A smaller number that the user has set (`OMP_NUM_THREADS`, `torch.set_num_threads`) stays; so does any number in the
    only process.

    Args:
        processes: how many processes run models at the same time, this one included.

    Example:
        >>> with sharing_cores(processes=4):  # on 16 cores
        ...     torch.get_num_threads()
        4

    """
    torch = sys.modules.get("torch") if processes > 1 else None  # what has not imported it has no use for its threads
    before = 0 if torch is None else torch.get_num_threads()
    share = max(1, available_cores() // processes)
    if torch is None or before <= share:
        yield
        return
    torch.set_num_threads(share)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def available_cores() -> int:
    """How many cores this process may use: of its affinity mask, and of the quota of its container.

    `joblib.cpu_count` counts likewise, but takes longer to import than a check of a small model takes.
    """
    try:
        cores = len(os.sched_getaffinity(0))
    except (AttributeError, OSError):  # not every system has affinity masks
        cores = os.cpu_count() or 1
    return max(1, math.ceil(min(cores, _quota())))


def _quota() -> float:
    """The cores' worth of time that Linux gives this process's control group, infinite where it is not limited.

    Its files are described in the kernel's documentation: cgroup-v2 ("CPU Interface Files"); of version 1, sched-bwc.
    """
    for names in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        with contextlib.suppress(OSError, ValueError):  # the other version, none, or not Linux; "max"
            quota, period = map(int, " ".join((_CGROUP / name).read_text() for name in names).split())
            if quota > 0 and period > 0:  # -1: not limited
                return quota / period
    return math.inf
