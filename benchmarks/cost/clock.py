"""Times of several actions that are run in turn, so that what else the machine does meets all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Clock = Callable[[], float]


@dataclass(frozen=True)
class Action:
    """Something to be timed; what `prepare` returns, if there is one, is made before and passed to `run`."""

    run: Callable[..., Any]
    prepare: Callable[[], Any] | None = None

    def seconds(self, clock: Clock) -> float:
        arguments = () if self.prepare is None else (self.prepare(),)
        start = clock()
        self.run(*arguments)
        return clock() - start


def clock_for(threads: int) -> Clock:
    """Processor time for one thread, on which other processes have little influence; else the time of day."""
    return time.process_time if threads == 1 else time.perf_counter


def interleaved(
    actions: Mapping[str, Action], *, seconds: float, least: int = 3, most: int = 21, clock: Clock = time.perf_counter
) -> dict[str, float]:
    """The median time of each action, all of them run once in each round.

    The first round is not counted: it warms up. The next action that starts a round is another one each time, since
    each finds the processor's caches as the one before it left them.

    Args:
        actions: what to time, by name.
        seconds: begin no further round after so many seconds, measured from the second round on.
        least: the fewest rounds, however long they take.
        most: the most rounds.
        clock: what tells the time of an action.

    Returns:
        Seconds by name.

    """
    for action in actions.values():
        action.seconds(clock)
    times: dict[str, list[float]] = {name: [] for name in actions}
    started = time.perf_counter()
    for number in range(most):
        if number >= least and time.perf_counter() - started > seconds:
            break
        for name in _rotated(list(actions), number):
            times[name].append(actions[name].seconds(clock))
    return {name: statistics.median(values) for name, values in times.items()}


def _rotated(names: Sequence[str], by: int) -> Sequence[str]:
    at = by % len(names)
    return [*names[at:], *names[:at]]
