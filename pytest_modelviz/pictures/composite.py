"""The pictures a reviewer sees: baseline | actual | difference on one scale, and the plain picture of one capture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pytest_modelviz.pictures.colour import Image, Scale
from pytest_modelviz.pictures.layout import MOST_WIDTH, below, beside, blank, commented, grid, headed, labelled
from pytest_modelviz.pictures.legend import colour_bar, not_finite_legend

PANEL = 192  # pixels: twice the longest side of a stored map, whose pixels stay squares of equal size
_GAP = 12
_PARTS = ("baseline", "actual", "difference")


@dataclass(frozen=True)
class Picture:
    """An image of one layer: shape (h, w, 3), uint8. `label` is the layer's name or another short word.

    A composite has its parts as images of their own, each with its colour bar: of the same size, and on the same scale
    where the two sides can be compared. None where there is no such part. What stands around them in `image` alone:
    `captions`, and of which kinds of NaN and infinities there is a legend (`not_finite`).
    """

    label: str
    image: Image
    baseline: Image | None = None
    actual: Image | None = None
    difference: Image | None = None
    captions: tuple[str, ...] = ()
    not_finite: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Panel:
    """One of the images of a row.

    `scale` gets a colour bar, `over_photo` as it looks laid over a photograph, and `note` stands below that.
    `kinds` are those of NaN, +inf and -inf that the image shows.
    """

    image: Image
    scale: Scale | None = None
    over_photo: bool = False
    note: str = ""
    kinds: frozenset[str] = frozenset()

    def shares_scale(self, other: Panel) -> bool:
        return self.scale is not None and (self.scale, self.over_photo) == (other.scale, other.over_photo)

    def with_bar(self, image: Image | None = None) -> Image:
        """The panel, or an image of panels that share its scale, above the colour bar."""
        image = self.image if image is None else image
        if self.scale is not None:
            image = below([image, colour_bar(self.scale, image.shape[1], over_photo=self.over_photo)], gap=2)
        return commented(image, self.note, width=0)


@dataclass(frozen=True)
class Row:
    """What is compared in one row of a composite. `comment` says what its images cannot show."""

    actual: Panel
    baseline: Panel | None = None
    difference: Panel | None = None
    title: str = ""
    comment: str = ""

    @property
    def panels(self) -> dict[str, Panel]:
        named = dict(zip(_PARTS, (self.baseline, self.actual, self.difference), strict=True))
        return {name: panel for name, panel in named.items() if panel is not None}


def composite(label: str, captions: Sequence[str], rows: Sequence[Row]) -> Picture:
    """Rows of baseline | actual | difference, whose panels stand below each other where they would be too wide."""
    kinds = frozenset(kind for row in rows for panel in row.panels.values() for kind in panel.kinds)
    image = _framed(label, captions, [_drawn(row) for row in rows], kinds)
    comments = [f"{row.title}: {row.comment}" if row.title else row.comment for row in rows if row.comment]
    around = tuple(filter(None, [*captions, *comments]))
    return Picture(label, image, captions=around, not_finite=kinds, **_parts(rows))


def plain_picture(
    label: str, captions: Sequence[str], panels: Sequence[tuple[str, Panel]], columns: int = 3
) -> Picture:
    """One capture's panels, each with its name, at most so many in a row."""
    images = [labelled(panel.with_bar(), *filter(None, [name])) for name, panel in panels]
    fitting = (MOST_WIDTH + _GAP) // (max(image.shape[1] for image in images) + _GAP)
    columns = max(1, min(columns, fitting))
    kinds = frozenset(kind for _, panel in panels for kind in panel.kinds)
    return Picture(label, _framed(label, captions, [grid(images, columns, _GAP)], kinds))


def sheet(pictures: Sequence[Picture]) -> Image | None:
    """All pictures of a capture on one sheet, for people and for the diffs of hosting sites."""
    return below([picture.image for picture in pictures], gap=_GAP) if pictures else None


def _framed(label: str, captions: Sequence[str], images: Sequence[Image], kinds: frozenset[str]) -> Image:
    legend = not_finite_legend(kinds)
    body = below([*images, *([] if legend is None else [legend])], gap=_GAP)
    return headed(labelled(body, *filter(None, captions)), label)


def _drawn(row: Row) -> Image:
    groups: list[list[tuple[Image, Panel]]] = []  # of panels that share a scale
    for name, panel in row.panels.items():
        if not groups or not panel.shares_scale(groups[-1][-1][1]):
            groups.append([])
        groups[-1].append((headed(panel.image, name), panel))
    widths = [image.shape[1] for group in groups for image, _ in group]
    stacked = below if sum(widths) + _GAP * (len(widths) - 1) > MOST_WIDTH else beside
    drawn = [group[0][1].with_bar(stacked([image for image, _ in group], _GAP)) for group in groups]
    image = commented(stacked(drawn, _GAP), row.comment)
    return labelled(image, row.title) if row.title else image


def _parts(rows: Sequence[Row]) -> dict[str, Image]:
    """Each part of all rows, each row with its title and as high as its highest; empty where a row has no such part."""
    drawn = [{name: panel.with_bar() for name, panel in row.panels.items()} for row in rows]
    return {name: _part(rows, drawn, name) for name in _PARTS if any(name in images for images in drawn)}


def _part(rows: Sequence[Row], drawn: Sequence[Mapping[str, Image]], name: str) -> Image:
    parts = []
    for row, images in zip(rows, drawn, strict=True):
        image = images.get(name, blank(0, row.actual.image.shape[1]))
        lacking = max(other.shape[0] for other in images.values()) - image.shape[0]
        parts.append(labelled(below([image, blank(lacking, image.shape[1])], gap=0), *filter(None, [row.title])))
    return below(parts, _GAP)
