"""What checks may cost: the figures that are measured, and the goal of each. Data alone.

The tables in docs/performance.md show each figure beside its goal. `COUNTED` and `TIMED` are what the tests measure
(`benchmarks.cost.guard`): of small models, and with room, since they are to notice a check that has become twice as
dear, not a busy machine.
"""

from __future__ import annotations

from dataclasses import dataclass

LONG_PASS = 0.05  # seconds: beyond, a ratio to the pass is asked for; below, microseconds per module call
LAYERS = 200  # module calls, per which comparisons are told
A_KERNEL = 60e-6  # seconds for a kernel beside reading it
GROSS = 2.0  # times a goal: what the guard allows


@dataclass(frozen=True)
class Goal:
    """A figure that is measured of each model; without a `limit` it is only shown.

    `is_least` says that the figure must be no smaller than the limit. A goal may hold of models whose pass is long (or,
    if False, short), or of a single model, only. The guard allows `room` times the limit.
    """

    key: str
    title: str
    limit: float | None = None
    unit: str = "x"
    digits: int = 2
    is_least: bool = False
    of_long_passes: bool | None = None
    of_model: str | None = None
    room: float = GROSS

    def applies(self, model: str, bare_seconds: float) -> bool:
        """Whether the limit holds of a model whose forward pass takes so many seconds."""
        is_long = bare_seconds > LONG_PASS
        return (
            self.limit is not None
            and self.of_model in (None, model)
            and (self.of_long_passes is None or self.of_long_passes == is_long)
        )

    def is_met(self, value: float) -> bool:
        if self.limit is None:
            return True
        return value >= self.limit if self.is_least else value <= self.limit

    def text(self) -> str:
        """The goal as a table shows it, empty where there is none."""
        if self.limit is None:
            return ""
        words = f"{'≥' if self.is_least else '≤'} {self.limit:g} {self.unit}".strip()
        where = {None: "", True: f" over {1e3 * LONG_PASS:.0f} ms", False: f" below {1e3 * LONG_PASS:.0f} ms"}
        return words + where[self.of_long_passes] + (f" ({self.of_model})" if self.of_model else "")


def _seconds(key: str, title: str, limit: float | None = None, unit: str = "ms", **more: bool) -> Goal:
    return Goal(key, title, limit, unit, 0 if unit == "µs" else 1, **more)


def _count(key: str, title: str, limit: float | None = None, room: float = GROSS) -> Goal:
    return Goal(key, title, limit, "", 0, room=room)


def _times(key: str, title: str, least: float, digits: int = 2) -> Goal:
    """How many times as dear something else is."""
    return Goal(key, title, least, digits=digits, is_least=True)


CAPTURES = (
    _seconds("bare", "forward pass"),
    _seconds("both passes", "forward and backward pass"),
    _count("module calls", "module calls"),
    Goal("feature_maps", "`feature_maps` ÷ forward", 1.25, of_long_passes=True),
    _seconds("feature_maps call", "`feature_maps`, beside it per module call", 60, "µs", of_long_passes=False),
    Goal("feature_maps new", "`feature_maps` of a model not seen before ÷ forward"),
    Goal("model_summary", "`model_summary` ÷ forward", 1.3, of_long_passes=True),
    _seconds("model_summary call", "`model_summary`, beside it per module call", 80, "µs", of_long_passes=False),
    Goal("cam_map", "`cam_map` ÷ forward and backward"),
    Goal("kernel_maps", "`kernel_maps` ÷ reading all kernels twice", 1.0),
    Goal("kernel_maps rest", f"the same, less {1e6 * A_KERNEL:.0f} µs a kernel"),
    Goal("model_graph", "`model_graph` ÷ `torch.export`", 1.2),
    Goal("three", "`model_summary`, `feature_maps`, `cam_map` one by one ÷ forward and backward", 1.6),
    Goal("modelviz", "`modelviz` (the same three) ÷ forward and backward", 1.15),
)
COMPARISONS = (
    _seconds("compare feature_maps", f"a match of `feature_maps`, per {LAYERS} module calls", 5),
    _seconds("compare model_summary", f"a match of `model_summary`, per {LAYERS} module calls", 5),
    _seconds("compare cam_map", f"a match of `cam_map`, per {LAYERS} module calls", 5),
    _count("pictures", "calls of picture-making code in these three checks", 0),
    _seconds("picture", "the picture of `feature_maps`, made when recording"),
)
SIZES = (
    Goal("allocated", "weights and torch's activations at their peak, `feature_maps` ÷ forward", 1.1),
    Goal("allocated summary", "the same, `model_summary` ÷ forward", 1.1),
    Goal("allocated modelviz", "the same, `modelviz` ÷ forward and backward", 1.1),
    Goal("resident", "the whole process at its peak, `feature_maps` ÷ forward", 1.1),
    Goal("resident modelviz", "the same, `modelviz` ÷ forward and backward", 1.1),
    Goal("baseline", "baseline of `feature_maps`, picture included", 400, "KB", 0, of_model="resnet50"),
)
OTHER_TOOLS = (
    _times("arrays time", "hooks and pytest-regressions ÷ a check of `feature_maps`, time", 20, 1),
    _times("arrays size", "hooks and pytest-regressions ÷ a baseline of `feature_maps`, size", 200, 0),
    _times("hand three", "torchinfo, hooks and grad-cam ÷ the three views one by one, time", 1),
    _times("hand modelviz", "torchinfo, hooks and grad-cam ÷ `modelviz`, time", 1),
    _times("localize", "pytest-torch's `localize_divergence` ÷ a check of `feature_maps`, time", 5, 1),
)

GROUPS = {
    "Capture": CAPTURES,
    "Comparison and picture": COMPARISONS,
    "Memory and disk": SIZES,
    "Beside other tools": OTHER_TOOLS,
}
GOALS = {goal.key: goal for group in GROUPS.values() for goal in group}

# Counts are the same on every machine, and however busy it is. Their goals follow from those in microseconds: a call of
# a Python function takes some half of one with what is done between two of them, an operator four.
COUNTED = (
    _count("passes feature_maps", "passes of the model in a check of `feature_maps`", 1, room=1),
    _count("passes model_summary", "passes of the model in a check of `model_summary`", 1, room=1),
    _count("passes cam_map", "passes of the model in a check of `cam_map`", 1, room=1),
    _count("passes modelviz", "passes of the model in a capture of `modelviz`", 1, room=1),
    _count("operators feature_maps", "operators of `feature_maps` per module call", 6),
    _count("operators model_summary", "operators of `model_summary` per module call", 1),
    _count("functions feature_maps", "Python functions called by `feature_maps` per module call", 80),
    _count("functions model_summary", "Python functions called by `model_summary` per module call", 150),
    _count("functions compare", "Python functions called by a match of `feature_maps` per module call", 40),
    _count("pictures", "calls of picture-making code in a check of `feature_maps`", 0),
)
TIMED = (
    _seconds("feature_maps call", "`feature_maps`, beside the pass per module call", 60, "µs"),
    _seconds("model_summary call", "`model_summary`, beside the pass per module call", 80, "µs"),
    _seconds("compare", f"a match of `feature_maps`, per {LAYERS} module calls", 5),
    Goal("feature_maps", "`feature_maps` ÷ forward pass of a ResNet-18", 1.25),
    Goal("three", "three views one by one ÷ forward and backward pass of a ResNet-18", 1.6),
    Goal("modelviz", "`modelviz` ÷ forward and backward pass of a ResNet-18", 1.15),
)
GUARDED = {goal.key: goal for goal in (*COUNTED, *TIMED)}

# Of goals that are not reached, the figure that is: the guard then keeps that one from growing. An entry goes when its
# goal is reached.
REACHED = {
    "operators feature_maps": 19,
    "operators model_summary": 2.3,
    "functions feature_maps": 145,
    "functions model_summary": 160,
    "feature_maps call": 230,
    "model_summary call": 170,
    "compare": 8,
    "feature_maps": 1.8,
    "three": 1.8,
}


def allowed(key: str) -> float:
    """The greatest value of a guarded figure that the tests let pass."""
    goal = GUARDED[key]
    if goal.limit is None or goal.is_least:
        raise ValueError(f"{key!r} has no greatest value")
    return goal.room * max(goal.limit, REACHED.get(key, 0.0))
