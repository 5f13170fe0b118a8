"""Checks of what a third party's view returns: one error names the view, the method and what it must return."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.pictures.colour import NOT_FINITE
from pytest_modelviz.pictures.composite import Picture
from pytest_modelviz.pictures.exhibits import Curve, Exhibit, Graph, Histogram, Node
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.captured_arrays import CapturedArrays
from pytest_modelviz.records.findings import AnyFinding, Finding
from pytest_modelviz.records.shadow import Shadow
from pytest_modelviz.records.verdict import Cause, Divergence, LayerError, Verdict
from pytest_modelviz.views.base import View, explained, measured

T = TypeVar("T")

_LONGEST = 80  # letters of a wrong value


Rule = tuple[str, Callable[[object], bool]]  # what a value must be, in words and as a test


def _instance(words: str, *types: type) -> Rule:
    return words, lambda value: isinstance(value, types)


def _sequence(words: str, *types: type) -> Rule:
    return words, lambda value: isinstance(value, (tuple, list)) and all(isinstance(item, types) for item in value)


def _mapping(words: str, *types: type) -> Rule:
    return (
        words,
        lambda value: (
            isinstance(value, Mapping)
            and all(isinstance(name, str) and isinstance(item, types) for name, item in value.items())
        ),
    )


def _or_of_type(kind: type, rule: Rule) -> Rule:
    """A rule that needs not look at what is of our own type: its items would be computed for that."""
    words, is_right = rule
    return words, lambda value: isinstance(value, kind) or is_right(value)


def _is_image(value: object) -> bool:
    return isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.shape[2:] == (3,)


_TEXT = _instance("a str", str)
_COUNT = _instance("an int", int)
_NUMBER = _instance("a float", float, int)
_FLAG = _instance("a bool", bool, np.bool_)
_TEXTS = _sequence("a tuple of str", str)
_RETURNS = {
    "capture": _instance("a Capture", Capture),
    "capture_again": _instance("a Capture", Capture),
    "with_noise": _instance("a Capture", Capture),
    "compare": _instance("a Verdict", Verdict),
    "explain_values": _instance("a Verdict", Verdict),
    "picture": _sequence("a list of Picture, Curve, Histogram and Graph", Picture, Curve, Histogram, Graph),
    "describe": _TEXT,
    "cause_texts": _mapping("a dict of str by cause", str),
}
_FIELDS: dict[type, dict[str, Rule]] = {
    Capture: {
        "view": _TEXT,
        "facts": _instance("a dict", Mapping),
        "arrays": _or_of_type(CapturedArrays, _mapping("a dict of NumPy arrays by name", np.ndarray, np.generic)),
        "environment": _mapping("a dict of str by name", str),
        "notes": _TEXTS,
        "layers": _TEXTS,
    },
    Verdict: {
        "matched": _FLAG,
        "compared": _COUNT,
        "drifted": _COUNT,
        "error": _NUMBER,
        "tolerance": _NUMBER,
        "first": _instance("a Divergence or None", Divergence, type(None)),
        "cause": (f"None or one of {', '.join(Cause)}", lambda value: value is None or value in list(Cause)),
        "findings": _sequence("a tuple of findings", AnyFinding),
        "layers": _sequence("a tuple of LayerError", LayerError),
    },
    Divergence: {"layer": _TEXT, "class_name": _TEXT, "call": _COUNT, "error": _NUMBER, "tolerance": _NUMBER},
    LayerError: {"layer": _TEXT, "call": _COUNT, "error": _NUMBER, "tolerance": _NUMBER},
    Finding: {"layer": _TEXT, "what": _TEXT, "before": _TEXT, "after": _TEXT},
    Picture: {
        "label": _TEXT,
        "image": ("a NumPy array (height, width, 3) of uint8", _is_image),
        **dict.fromkeys(
            ("baseline", "actual", "difference"),
            ("None or a NumPy array (height, width, 3) of uint8", lambda value: value is None or _is_image(value)),
        ),
        "captions": _sequence("a tuple of str", str),
        "not_finite": (
            f"a frozenset of {', '.join(NOT_FINITE)}",
            lambda value: isinstance(value, frozenset) and value <= NOT_FINITE.keys(),
        ),
    },
    Curve: {"label": _TEXT, "series": _mapping("a dict of sequences of numbers", Sequence, np.ndarray)},
    Histogram: {"label": _TEXT, "series": _mapping("a dict of pairs, edges and counts", tuple, list)},
    Graph: {"label": _TEXT, "nodes": _sequence("a tuple of Node", Node)},
}


_PLAIN_ERROR = {(str, int, float, float)}  # the types of the fields that `LayerError` declares


def _are_plain_errors(items: Sequence[object]) -> bool:
    """Whether these are all errors of layers as they should be: of large models thousands, looked at in one go."""
    errors = [item for item in items if type(item) is LayerError]
    if len(errors) < len(items):
        return False
    return {(type(e.layer), type(e.call), type(e.error), type(e.tolerance)) for e in errors} <= _PLAIN_ERROR


@dataclass(frozen=True)
class CheckedView:
    """A view that raises ModelvizError where a method of `inner` returns what the run cannot use."""

    inner: View

    @property
    def view(self) -> str:
        return self.inner.view

    @property
    def cause_texts(self) -> Mapping[str, str]:
        """What causes mean in this view, where that is something else than in others."""
        return self._checked("cause_texts", getattr(self.inner, "cause_texts", {}))

    def capture(self) -> Capture:
        return self._checked("capture", self.inner.capture())

    def capture_again(self, first: Capture) -> Capture:
        again = getattr(self.inner, "capture_again", None)
        return self.capture() if again is None else self._checked("capture_again", again(first))

    def set_shadow(self, shadow: Shadow) -> None:
        """Say to a view that can when it repeats a pass in float32."""
        if hasattr(self.inner, "set_shadow"):
            self.inner.set_shadow(shadow)

    def with_noise(self, capture: Capture) -> Capture:
        return self._checked("with_noise", measured(self.inner, capture))

    def compare(self, baseline: Capture, actual: Capture, tolerances: Tolerances) -> Verdict:
        return self._checked("compare", self.inner.compare(baseline, actual, tolerances))

    def explain_values(self, verdict: Verdict, baseline: Capture) -> Verdict:
        return self._checked("explain_values", explained(self.inner, verdict, baseline))

    def picture(
        self, actual: Capture, baseline: Capture | None = None, verdict: Verdict | None = None
    ) -> Sequence[Exhibit]:
        return self._checked("picture", self.inner.picture(actual, baseline, verdict))

    def describe(self, actual: Capture) -> str:
        return self._checked("describe", self.inner.describe(actual))

    def _checked(self, method: str, value: T) -> T:
        self._require(method, _RETURNS[method], value)
        self._check_fields(method, value)
        return value

    def _check_fields(self, method: str, value: object, path: str = "") -> None:
        if isinstance(value, (tuple, list)):
            if _are_plain_errors(value):
                return
            for at, item in enumerate(value):
                self._check_fields(method, item, f"{path}[{at}]")
        for field, rule in _FIELDS.get(type(value), {}).items():
            inner = getattr(value, field)
            self._require(method, rule, inner, f"{path}.{field}".lstrip("."))
            self._check_fields(method, inner, f"{path}.{field}".lstrip("."))

    def _require(self, method: str, rule: Rule, value: object, path: str = "") -> None:
        words, is_right = rule
        if not is_right(value):
            text = " ".join(repr(value).split())
            text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
            where = f"in what its {method} returned, {path} must be" if path else f"its {method} must return"
            raise ModelvizError(f"the view {self.view!r} is faulty: {where} {words}, not {text}")
