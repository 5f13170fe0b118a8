"""The thumbnails of layers as a capture holds them: some channels of each, and which these are. Knows no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pytest_modelviz.pictures.difference import HALF_PRECISION, difference_of
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.text.strict_json import JsonValue
from pytest_modelviz.views.feature_maps.records import CHANNELS, PICTURE, SIDE, Maps
from pytest_modelviz.views.stored_pictures import unpacked_values


@dataclass(frozen=True)
class Page:
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

    def only(self, numbers: Sequence[int]) -> Page:
        return replace(self, maps=self.maps[[self.numbers.index(number) for number in numbers]], numbers=tuple(numbers))

    def differs(self, baseline: Page) -> bool:
        """Whether a page of the same channels and size differs by more than the rounding of what is stored."""
        return bool(difference_of(baseline.maps, self.maps, precision=HALF_PRECISION).any())


def stored_pages(capture: Capture) -> dict[str, Page]:
    """The pages of a capture, by layer in the order of execution. Raises UnreadableBaselineError."""
    stored = {name.removeprefix(PICTURE): values for name, values in capture.arrays.items() if name.startswith(PICTURE)}
    listed = capture.facts.get("pictures")
    pages = listed if isinstance(listed, Mapping) else {}
    most = (CHANNELS, SIDE, SIDE)
    whole = {layer: unpacked_values(values, pages.get(layer), layer, most) for layer, values in stored.items()}
    return {layer: _page(whole[layer], page) for layer, page in pages.items() if layer in whole}


def of_shared_channels(baseline: Page | None, actual: Page) -> tuple[Page | None, Page]:
    """Two pages with the channels that both hold; as they are where they share none."""
    shared = [] if baseline is None else [number for number in actual.numbers if number in baseline.numbers]
    if baseline is None or not shared or baseline.numbers == actual.numbers:
        return baseline, actual
    return baseline.only(shared), actual.only(shared)


def _page(maps: Maps, page: JsonValue) -> Page:
    facts = page if isinstance(page, Mapping) else {}
    listed, of = facts.get("channels"), facts.get("of")
    numbers = tuple(number for number in listed if isinstance(number, int)) if isinstance(listed, Sequence) else ()
    return Page(maps, numbers if len(set(numbers)) == len(maps) else (), of if isinstance(of, int) else len(maps))
