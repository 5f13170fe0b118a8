"""A training in line charts and histograms, and in words."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from pytest_modelviz.pictures.exhibits import Curve, Exhibit, Histogram
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.norms import row_norms
from pytest_modelviz.records.verdict import Verdict
from pytest_modelviz.views.captions import rows_in_words
from pytest_modelviz.views.training_curve.records import Training, Values

UPDATE_NORM = "update norm"
_MOST_PARAMETERS = 12  # that get exhibits of their own, those that differ most


def picture(actual: Capture, baseline: Capture | None = None, verdict: Verdict | None = None) -> Sequence[Exhibit]:
    """A chart of a capture's curves; with a baseline, of both, and curves and histograms of the parameters."""
    from pytest_modelviz.views.training_curve.chart import chart  # draws with matplotlib, which most runs do not need

    after = Training.from_arrays(actual.arrays)
    if baseline is None:
        return [chart("chart", {name: {"actual": values} for name, values in after.curves.items()})]
    before = Training.from_arrays(baseline.arrays).within(after)
    pairs = _pairs(before.curves, after.curves)
    norms = _pairs(before.by_parameter(before.gradients), after.by_parameter(after.gradients))
    most_changed = _most_changed(norms)
    updates = _drifted_updates(before, after, 0.0 if verdict is None else verdict.tolerance)
    if updates:
        pairs[UPDATE_NORM if UPDATE_NORM not in pairs else f"{UPDATE_NORM} (model)"] = {
            "baseline": row_norms(before.updates),
            "actual": row_norms(after.updates),
        }
    # TensorBoard keeps one kind of thing a tag: scalars have folders that neither histograms nor pictures are in
    curves = {f"curves/{name}": pair for name, pair in pairs.items()}
    curves |= {f"gradient norms/{name}": norms[name] for name in most_changed}
    curves |= {f"updates/{name}": updates[name] for name in _most_changed(updates)}
    exhibits: list[Exhibit] = [chart("chart", pairs)]
    exhibits += [
        Curve(label, {series: values.tolist() for series, values in pair.items()}) for label, pair in curves.items()
    ]
    trainings = {"baseline": before, "actual": after}
    for which, label in enumerate(("parameters", "gradients")):
        for name in most_changed:
            found = {key: _distribution(training, which, name) for key, training in trainings.items()}
            if series := {key: distribution for key, distribution in found.items() if distribution is not None}:
                exhibits.append(Histogram(f"{label}/{name}", series, after.steps - 1))
    return exhibits


def describe(actual: Capture) -> str:
    """The curves in numbers, a line for each step."""
    return rows_in_words(actual, "steps", "step ")


def _pairs(before: Mapping[str, Values], after: Mapping[str, Values]) -> dict[str, dict[str, Values]]:
    return {
        name: {key: curves[name] for key, curves in (("baseline", before), ("actual", after)) if name in curves}
        for name in {**before, **after}
    }


def _most_changed(curves: Mapping[str, Mapping[str, Values]]) -> list[str]:
    """Names of the parameters whose curves in the actual training are furthest from the baseline's, over all steps."""
    names = [name for name, pair in curves.items() if "actual" in pair]
    return sorted(names, key=lambda name: -_distance(curves[name]))[:_MOST_PARAMETERS]


def _distance(pair: Mapping[str, Values]) -> float:
    """Relative to the baseline; infinite where two curves cannot be subtracted."""
    before, after = pair.get("baseline"), pair.get("actual")
    if before is None or after is None or before.shape != after.shape:
        return math.inf
    with np.errstate(all="ignore"):
        size = float(np.linalg.norm(after - before) / max(float(np.linalg.norm(before)), 1e-30))
    return size if math.isfinite(size) else math.inf


def _drifted_updates(before: Training, after: Training, tolerance: float) -> dict[str, dict[str, Values]]:
    """How far each parameter was moved, step by step, where any is further from the baseline's than is allowed."""
    pairs = _pairs(before.by_parameter(before.updates), after.by_parameter(after.updates))
    return pairs if any(not _distance(pair) <= tolerance for pair in pairs.values()) else {}


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
