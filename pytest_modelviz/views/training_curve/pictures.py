"""A training in line charts and histograms, and in words."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from pytest_modelviz.pictures.exhibits import Curve, Exhibit, Histogram
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.facts import rows
from pytest_modelviz.records.verdict import Verdict
from pytest_modelviz.views.training_curve.chart import chart
from pytest_modelviz.views.training_curve.records import Training, Values

_MOST_PARAMETERS = 12  # that get exhibits of their own, those that differ most


def picture(actual: Capture, baseline: Capture | None = None, verdict: Verdict | None = None) -> Sequence[Exhibit]:
    """A chart of a capture's curves; with a baseline, of both, and curves and histograms of the parameters."""
    after = Training.from_arrays(actual.arrays)
    if baseline is None:
        return [chart("chart", {name: {"actual": values} for name, values in after.curves.items()})]
    before = Training.from_arrays(baseline.arrays).within(after)
    pairs = _pairs(before.curves, after.curves)
    most_changed = _most_changed(before, after)
    norms = _pairs(before.by_parameter(before.gradients), after.by_parameter(after.gradients))
    # TensorBoard keeps one kind of thing a tag: scalars have folders that neither histograms nor pictures are in
    curves = {f"curves/{name}": pair for name, pair in pairs.items()}
    curves |= {f"gradient norms/{name}": norms[name] for name in most_changed}
    exhibits: list[Exhibit] = [chart("chart", pairs)]
    exhibits += [
        Curve(label, {series: values.tolist() for series, values in pair.items()}) for label, pair in curves.items()
    ]
    for which, label in enumerate(("parameters", "gradients")):
        for name in most_changed:
            trainings = {"baseline": before, "actual": after}
            distributions = {key: _distribution(training, which, name) for key, training in trainings.items()}
            series = {key: distribution for key, distribution in distributions.items() if distribution is not None}
            if series:
                exhibits.append(Histogram(f"{label}/{name}", series, after.steps - 1))
    return exhibits


def describe(actual: Capture) -> str:
    """The curves in numbers, a line for each step."""
    return "\n".join(
        f"step {step}: " + ", ".join(f"{name} {value}" for name, value in row.items())
        for step, row in rows(actual.facts, "steps").items()
    )


def _pairs(before: Mapping[str, Values], after: Mapping[str, Values]) -> dict[str, dict[str, Values]]:
    return {
        name: {key: curves[name] for key, curves in (("baseline", before), ("actual", after)) if name in curves}
        for name in {**before, **after}
    }


def _most_changed(before: Training, after: Training) -> list[str]:
    """Names of the parameters whose gradients are furthest apart over all steps."""
    old, new = before.by_parameter(before.gradients), after.by_parameter(after.gradients)

    def distance(name: str) -> float:
        if name not in old or old[name].shape != new[name].shape:
            return math.inf
        with np.errstate(all="ignore"):
            size = float(np.linalg.norm(new[name] - old[name]) / max(float(np.linalg.norm(old[name])), 1e-30))
        return size if math.isfinite(size) else math.inf

    return sorted(new, key=lambda name: -distance(name))[:_MOST_PARAMETERS]


def _distribution(training: Training, which: int, name: str) -> tuple[list[float], list[int]] | None:
    """Edges and counts of a parameter (0) or its gradient (1), None where it has no finite values."""
    if name not in training.parameters:
        return None
    at = training.parameters.index(name)
    counts: list[int] = training.counts[which, at].tolist()
    low, high = training.ranges[which, at].tolist()
    if low == high:  # as numpy does with equal values
        low, high = low - 0.5, high + 0.5
    edges = 2 * np.linspace(low / 2, high / 2, len(counts) + 1)  # the width itself may be no number
    return (edges.tolist(), counts) if sum(counts) else None
