"""The float32 shadow of an explanation, as the capture of the explanation in lower precision holds it."""

from collections.abc import Collection
from dataclasses import replace

from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.capture import Capture, Result_co
from pytest_modelviz.records.captured_arrays import compared_names
from pytest_modelviz.records.facts import items
from pytest_modelviz.records.noise import EXPLANATION_NOISE
from pytest_modelviz.text.strict_json import JsonObject

_FACT = "float32"  # the facts of the shadow, among those of the capture
PREFIX = "float32."  # begins the names of its arrays
_TRACE = "trace."
_FOR_PEOPLE = {"model", "pictures"}  # facts that nothing is compared by


def with_explanation_shadow(
    capture: Capture[Result_co], shadow: Capture, compared: Collection[str]
) -> Capture[Result_co]:
    """A capture that holds its shadow, too.

    Args:
        capture: of an explanation in lower precision.
        shadow: of the same explanation in single precision.
        compared: the names of its arrays that are compared, beside those of its trace.

    """
    facts: JsonObject = {key: value for key, value in shadow.facts.items() if key not in _FOR_PEOPLE}
    arrays = {
        PREFIX + name: array for name, array in shadow.arrays.items() if name in compared or name.startswith(_TRACE)
    }
    return replace(capture, facts={**capture.facts, _FACT: facts}, arrays={**capture.arrays, **arrays})


def explanation_shadow(capture: Capture) -> Capture | None:
    """The shadow that a capture holds, with the noise of the explanation, which was measured in it.

    Of its arrays, those of its pass and those that are called by one word. No version has recorded others, such as a
    shadow of its own.

    Raises UnreadableBaselineError for what is none.
    """
    facts = capture.facts.get(_FACT)
    names = [name.removeprefix(PREFIX) for name in compared_names(capture.arrays) if name.startswith(PREFIX)]
    arrays = {n: capture.arrays[PREFIX + n] for n in names if n.startswith(_TRACE) or "." not in n}
    if facts is None and not arrays:
        return None
    if not isinstance(facts, dict):
        raise UnreadableBaselineError("the facts of its explanation in float32 are damaged")
    if EXPLANATION_NOISE in capture.arrays:
        arrays[EXPLANATION_NOISE] = capture.arrays[EXPLANATION_NOISE]
    return Capture(capture.view, facts, arrays, capture.environment)


def without_shadow(capture: Capture[Result_co]) -> Capture[Result_co]:
    """The explanation itself, in whatever precision it was made."""
    if _FACT not in capture.facts:
        return capture
    facts = {key: value for key, value in capture.facts.items() if key != _FACT}
    arrays = {
        name: array
        for name, array in capture.arrays.items()
        if not name.startswith(PREFIX) and name != EXPLANATION_NOISE
    }
    return replace(capture, facts=facts, arrays=arrays)


def stored_targets(capture: Capture) -> tuple[int, ...]:
    """The classes that were explained, none where a function of the user's was."""
    return tuple(int(target) for target in items(capture.facts, "targets") if isinstance(target, int))
