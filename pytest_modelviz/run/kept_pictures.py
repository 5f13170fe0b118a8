"""The pictures of a drift as files: each composite, and the images that it is made of where it has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pytest_modelviz.pictures.colour import Image
from pytest_modelviz.pictures.composite import Picture
from pytest_modelviz.pictures.files import quick_pngs
from pytest_modelviz.pictures.text_diff import TextPicture
from pytest_modelviz.storage.picture_files import PARTS, composite_name, part_name
from pytest_modelviz.text.strict_json import JsonValue

_MOST_LINES, _LONGEST_LINE = 1000, 500  # of a text, of which a picture has fewer


@dataclass(frozen=True)
class KeptPicture:
    """A picture as PNG files: their names, and their contents, by role, which is `composite` or one of its parts."""

    picture: Picture
    names: dict[str, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)

    @classmethod
    def of(cls, number: int, picture: Picture) -> KeptPicture:
        """Encode a picture, the check's `number`-th."""
        name = composite_name(number, picture.label)
        images: dict[str, Image | None] = {part: getattr(picture, part, None) for part in PARTS}
        parts = {part: image for part, image in images.items() if image is not None}
        names = {"composite": name} | {part: part_name(name, part) for part in parts}
        files = quick_pngs(picture.image, *parts.values())
        return cls(picture, names, dict(zip(names, files, strict=True)))

    def to_json(self, folder: str) -> dict[str, JsonValue]:
        """Its label, files by role, and what stands around its parts; of a text the lines too, each with its sign."""
        picture = self.picture
        document: dict[str, JsonValue] = {"label": picture.label, "captions": list(picture.captions)}
        document["not_finite"] = sorted(picture.not_finite)
        document |= {role: f"{folder}/{name}" for role, name in self.names.items()}
        if isinstance(picture, TextPicture):
            lines = picture.lines[:_MOST_LINES]
            document["lines"] = [[sign, text[:_LONGEST_LINE]] for sign, text in lines]
        return document


def named_files(pictures: Sequence[KeptPicture]) -> dict[str, bytes]:
    """All files of a check's pictures by name."""
    return {picture.names[role]: data for picture in pictures for role, data in picture.files.items()}
