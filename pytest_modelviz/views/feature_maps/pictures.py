"""Channels of some layers side by side, and the text of a pass for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pytest_modelviz.compare.naming import baseline_namer, renames_of
from pytest_modelviz.pictures.channels import channels_composite, channels_picture
from pytest_modelviz.pictures.composite import Picture, composite
from pytest_modelviz.pictures.difference import HALF_PRECISION
from pytest_modelviz.pictures.exhibits import Exhibit
from pytest_modelviz.pictures.photos import photo_row
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.facts import rows
from pytest_modelviz.records.verdict import Verdict, worst_calls
from pytest_modelviz.text.dotted import MODEL_LABEL
from pytest_modelviz.text.strict_json import JsonValue
from pytest_modelviz.views.captions import INPUT_LABEL, error_caption
from pytest_modelviz.views.feature_maps.records import CHANNELS, PICTURE, SIDE, Maps
from pytest_modelviz.views.stored_pictures import stored_input, unpacked_values


def picture(actual: Capture, baseline: Capture | None = None, verdict: Verdict | None = None) -> Sequence[Exhibit]:
    """A picture for each layer that has one; with a verdict, of those layers that drifted."""
    after = _stored_pages(actual)
    if baseline is None:
        return [
            channels_picture(layer or MODEL_LABEL, page.maps, page.caption, numbers=page.labels)
            for layer, page in after.items()
        ]
    baseline_name = baseline_namer(renames_of(verdict))
    errors = {} if verdict is None else worst_calls(verdict.layers)
    before = _stored_pages(baseline)
    old = {layer: baseline_name(layer) for layer in after}
    pictures = _input_pictures(baseline, actual)
    agreed = {layer for layer, error in errors.items() if layer in before and not error.error.drifted}
    drifted = [layer for layer in after if old[layer] not in agreed]
    nearest = _nearest(actual, verdict, drifted)
    for layer in drifted or after:  # where none of those that have a picture drifted, all of them
        worst, label = errors.get(old[layer]), layer or MODEL_LABEL
        caption = "" if worst is None else error_caption(worst.error.error, worst.error.tolerance).strip() + worst.which
        renamed = "" if old[layer] == layer else f"(was {old[layer]})"
        headline = "   ".join(filter(None, [renamed, caption, nearest.get(layer, "")]))
        pictures.append(_composite(label, before.get(old[layer]), after[layer], headline))
    return pictures


def describe(actual: Capture) -> str:
    """A line for each call: what it returned."""
    layers = rows(actual.facts, "layers").items()
    return "\n".join(f"{name or MODEL_LABEL}: {row.get('out', '')}" for name, row in layers)


@dataclass(frozen=True)
class _Page:
    """What is stored of a layer's picture: maps (channels, h, w), float32, which channels these are, and of how many.

    `numbers` is empty where a file does not say.
    """

    maps: Maps
    numbers: tuple[int, ...]
    of: int

    @property
    def caption(self) -> str:
        return f"{len(self.maps)} of {self.of} channels" if self.of > 1 else ""

    @property
    def labels(self) -> tuple[int, ...]:
        """What is written above the channels: nothing where there is no other."""
        return self.numbers if self.of > 1 else ()

    def only(self, numbers: Sequence[int]) -> _Page:
        return replace(self, maps=self.maps[[self.numbers.index(number) for number in numbers]], numbers=tuple(numbers))


def _composite(label: str, before: _Page | None, after: _Page, headline: str) -> Picture:
    """The channels that both sides have; those of the actual side alone where they share none."""
    shared = [] if before is None else [number for number in after.numbers if number in before.numbers]
    if before is not None and shared and before.numbers != after.numbers:
        before, after = before.only(shared), after.only(shared)
    numbers = after.labels if before is None or before.numbers == after.numbers else ()
    height, width = after.maps.shape[1:]
    return channels_composite(
        label,
        None if before is None else before.maps,
        after.maps,
        headline,
        numbers=numbers,
        precision=HALF_PRECISION,
        shown=", ".join(filter(None, [after.caption, f"{height} x {width}", "in half precision"])),
    )


def _nearest(actual: Capture, verdict: Verdict | None, pictured: Sequence[str]) -> dict[str, str]:
    """Where the layer that is named has no picture: the first one after it that has, and what to say of that."""
    named = verdict.first.layer if verdict is not None and verdict.first is not None else ""
    order = list(dict.fromkeys((row.rpartition("#")[0] or row) for row in rows(actual.facts, "layers")))
    if named in pictured or named not in order:
        return {}
    following = order[order.index(named) :]
    nearest = next((layer for layer in pictured if layer in following), None)
    return (
        {} if not named or nearest is None else {nearest: f"the first picture after {named}, of which none is stored"}
    )


def _input_pictures(baseline: Capture, actual: Capture) -> list[Picture]:
    before, after = stored_input(baseline), stored_input(actual)
    if before is None or after is None or before.looks_like(after):
        return []
    shown = f"the first sample, {after.pixels.shape[0]} x {after.pixels.shape[1]}"
    return [composite(INPUT_LABEL, [], [photo_row(before, after, shown=shown)])]


def _stored_pages(capture: Capture) -> dict[str, _Page]:
    """The pictures' raw material, by layer in the order of execution. Raises UnreadableBaselineError."""
    stored = {name.removeprefix(PICTURE): values for name, values in capture.arrays.items() if name.startswith(PICTURE)}
    listed = capture.facts.get("pictures")
    pages = listed if isinstance(listed, Mapping) else {}
    most = (CHANNELS, SIDE, SIDE)
    whole = {layer: unpacked_values(values, pages.get(layer), layer, most) for layer, values in stored.items()}
    return {layer: _page(whole[layer], page) for layer, page in pages.items() if layer in whole}


def _page(maps: Maps, page: JsonValue) -> _Page:
    facts = page if isinstance(page, Mapping) else {}
    listed, of = facts.get("channels"), facts.get("of")
    numbers = tuple(number for number in listed if isinstance(number, int)) if isinstance(listed, Sequence) else ()
    return _Page(maps, numbers if len(set(numbers)) == len(maps) else (), of if isinstance(of, int) else len(maps))
