"""Baseline | actual | difference of layers: of those around the call that is named, and of others that drifted.

A picture shows the channels that are stored of a layer, if any are, and its profile where the layer is named or its
channels show no difference. Knows no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pytest_modelviz.compare.naming import baseline_namer, renames_of
from pytest_modelviz.pictures.channels import channels_composite
from pytest_modelviz.pictures.composite import PANEL, Panel, Picture, Row, composite
from pytest_modelviz.pictures.difference import HALF_PRECISION
from pytest_modelviz.pictures.layout import text_box
from pytest_modelviz.pictures.photos import photo_row
from pytest_modelviz.pictures.profiles import profile_row, profiles_differ
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.profiles import Profile, unpack_profiles
from pytest_modelviz.records.trace import Call, Leaves
from pytest_modelviz.records.trace_arrays import unpack_trace
from pytest_modelviz.records.verdict import Cause, LayerError, Verdict, worst_calls
from pytest_modelviz.text.dotted import INPUT_LABEL, MODEL_LABEL
from pytest_modelviz.views.captions import error_caption
from pytest_modelviz.views.feature_maps.pages import Page, of_shared_channels, stored_pages
from pytest_modelviz.views.feature_maps.surroundings import Neighbour, surroundings
from pytest_modelviz.views.stored_pictures import stored_input

_UNSEEN = "The error is too small for that, or lies in single values, which averages of many do not show."
_NOT_RECORDED = "Not recorded in this baseline."
_NO_NUMBERS = "No picture: it returns no floating-point numbers, or an earlier version recorded it."

ProfilePair = tuple[Profile | None, Profile]


def drift_pictures(baseline: Capture, actual: Capture, verdict: Verdict | None) -> list[Picture]:
    """The pictures of a drift; without a verdict, of all layers of which channels are stored.

    Raises UnreadableBaselineError.
    """
    drift = _Drift(baseline, actual, verdict)
    around = drift.neighbours()
    pictures = _photos(baseline, actual) or drift.inputs()
    pictures += [drift.of_neighbour(neighbour) for neighbour in around]
    drifted = drift.drifted()
    if not drifted and drift.is_without_errors:
        drifted = list(drift.pages[1])
    known = {neighbour.call.layer for neighbour in around}
    return pictures + [drift.of_layer(layer) for layer in drifted if layer not in known]


def _photos(baseline: Capture, actual: Capture) -> list[Picture]:
    before, after = stored_input(baseline), stored_input(actual)
    if before is None or after is None or before.looks_like(after):
        return []
    shown = f"the first sample, {after.pixels.shape[0]} x {after.pixels.shape[1]}"
    return [composite(INPUT_LABEL, [], [photo_row(before, after, shown=shown)])]


class _Drift:
    """Two captures and the verdict on them, as pictures are made of them."""

    def __init__(self, baseline: Capture, actual: Capture, verdict: Verdict | None) -> None:
        sides = baseline, actual
        self.pages = stored_pages(baseline), stored_pages(actual)
        self._verdict = verdict
        self._traces = unpack_trace(baseline.arrays), unpack_trace(actual.arrays)
        self._profiles = [unpack_profiles(s.arrays, trace) for s, trace in zip(sides, self._traces, strict=True)]
        self._baseline_name = baseline_namer(renames_of(verdict))
        self._calls = {(call.layer, call.index): call for call in self._traces[0].calls}
        self._last = {call.layer: call for call in self._traces[1].calls}
        errors = () if verdict is None else verdict.layers
        self._errors, self._worst = {(e.layer, e.call): e for e in errors}, worst_calls(errors)

    def neighbours(self) -> list[Neighbour]:
        """The call that is named, and those around it."""
        if self._verdict is None:
            return []
        return surroundings(self._verdict, self._traces, self._baseline_name)

    def inputs(self) -> list[Picture]:
        """The profiles of what the model is given, where that has changed: of those that show it, else of the first."""
        if self._verdict is None or self._verdict.cause != Cause.INPUT or not all(t.calls for t in self._traces):
            return []
        given = [trace.calls[0].inputs for trace in self._traces]
        pairs = [(path, pair) for path, pair in self._pairs(*given) if pair[0] is not None]
        shown = [(path, pair) for path, pair in pairs if _differ(pair)] or pairs[:1]
        return [composite(f"{INPUT_LABEL} {path}", [], [_row(pair, "", is_drift=True)]) for path, pair in shown]

    @property
    def is_without_errors(self) -> bool:
        """Whether no layer returns anything else, as where one has another name."""
        return not any(error.drifted for error in self._errors.values())

    def drifted(self) -> list[str]:
        """The layers with stored channels, without those that both sides have and that are within what is allowed."""
        agreed = {layer for layer, worst in self._worst.items() if not worst.error.drifted} & self.pages[0].keys()
        return [layer for layer in self.pages[1] if self._baseline_name(layer) not in agreed]

    def of_layer(self, layer: str) -> Picture:
        """The picture of a layer of which channels are stored, with the error of its worst call."""
        worst, call = self._worst.get(self._baseline_name(layer)), self._last.get(layer)
        texts = [] if worst is None else [_caption(worst.error) + worst.which]
        picture = self._picture(layer, call, None if worst is None else worst.error, texts)
        return replace(picture, label=layer or MODEL_LABEL)

    def of_neighbour(self, neighbour: Neighbour) -> Picture:
        """The picture of a call, with its own error."""
        call = neighbour.call
        error = self._errors.get((self._baseline_name(call.layer), call.index))
        texts = ["" if error is None else _caption(error), ", ".join(neighbour.roles)]
        return self._picture(call.layer, call, error, texts, is_named=neighbour.is_named)

    def _picture(
        self, layer: str, call: Call | None, error: LayerError | None, texts: Sequence[str], *, is_named: bool = False
    ) -> Picture:
        old, label = self._baseline_name(layer), (layer if call is None else call.key) or MODEL_LABEL
        is_last = call is self._last.get(layer)  # whose channels are stored
        headline = "   ".join(filter(None, ["" if old == layer else f"(was {old})", *texts]))
        before, after = self.pages[0].get(old), self.pages[1].get(layer)
        is_drift = error is None or error.drifted
        if after is None or not is_last:
            return composite(label, [headline], [self._profile_row(call, is_drift=is_drift)])
        before, after = of_shared_channels(before, after)
        shows_it = before is not None and (before.maps.shape != after.maps.shape or after.differs(before))
        more = [self._profile_row(call, is_drift=is_drift)] if is_named or (is_drift and not shows_it) else []
        return _channels(label, before, after, headline, more)

    def _profile_row(self, call: Call | None, *, is_drift: bool) -> Row:
        """The profiles of what a call returned: of several tensors the first that shows a difference."""
        counterpart = None if call is None else self._calls.get((self._baseline_name(call.layer), call.index))
        outputs = [(each.outputs if each is not None else None) or {} for each in (counterpart, call)]
        pairs = self._pairs(*outputs)
        if not pairs:
            return Row(Panel(text_box(_NO_NUMBERS, PANEL, PANEL)))
        path, pair = next((named for named in pairs if _differ(named[1])), pairs[0])
        return _row(pair, f"output {path}" if path else "", is_drift=is_drift)

    def _pairs(self, baseline: Leaves, actual: Leaves) -> list[tuple[str, ProfilePair]]:
        """The profiles of those tensors of the actual pass that have one, by their paths."""
        before, after = self._profiles
        pairs = []
        for path, leaf in actual.items():
            own, other = after.get(leaf.tensor or ""), baseline.get(path)
            if own is not None:
                pairs.append((path, (None if other is None else before.get(other.tensor or ""), own)))
        return pairs


def _channels(label: str, before: Page | None, after: Page, headline: str, more: Sequence[Row]) -> Picture:
    """The channels that both sides have; those of the actual side alone where they share none."""
    height, width = after.maps.shape[1:]
    return channels_composite(
        label,
        None if before is None else before.maps,
        after.maps,
        headline,
        numbers=after.labels if before is None or before.numbers == after.numbers else (),
        precision=HALF_PRECISION,
        shown=", ".join(filter(None, [after.caption, f"{height} x {width}", "in half precision"])),
        more=more,
    )


def _row(profiles: ProfilePair, title: str, *, is_drift: bool) -> Row:
    before, after = profiles
    row = replace(profile_row(before, after, _UNSEEN if is_drift else ""), title=title)
    if before is None:
        row = replace(row, baseline=Panel(text_box(_NOT_RECORDED, *row.actual.image.shape[:2])))
    return row


def _differ(profiles: ProfilePair) -> bool:
    return profiles[0] is None or profiles_differ(profiles[0], profiles[1])


def _caption(error: LayerError) -> str:
    return error_caption(error.error, error.tolerance).strip()
