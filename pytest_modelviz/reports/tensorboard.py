"""Event files for TensorBoard: pictures, texts and error scalars of one process of one run."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.pictures.colour import Image


class EventFiles:
    """One writer in a folder of its own. Every tag is written once: TensorBoard keeps few steps of an image."""

    def __init__(self, folder: Path) -> None:
        # torch's writer is the one most readers of event files are tested with
        from torch.utils.tensorboard import SummaryWriter

        try:
            self._writer: Any = SummaryWriter(str(folder))
        except OSError as error:
            raise ModelvizError(
                f"cannot write event files into {folder}: {error.strerror or error}; "
                f"make it writable or choose another folder with --modelviz-results-dir"
            ) from error

    def image(self, tag: str, image: Image) -> str:
        """Write a picture (h, w, 3), uint8; returns the tag it can be found under."""
        self._writer.add_image(tag, np.ascontiguousarray(image), 0, dataformats="HWC")
        return tag

    def text(self, tag: str, text: str) -> None:
        """Write a text as it is: in Markdown's code block, so that names with signs stay what they are."""
        fence = "~~~~"
        self._writer.add_text(tag, f"{fence}\n{text.replace(fence, '~~~')}\n{fence}", 0)

    def scalar(self, tag: str, value: float) -> None:
        """Write one number; what is infinite has no place on a chart."""
        if math.isfinite(value):
            self._writer.add_scalar(tag, value, 0)

    def close(self) -> None:
        self._writer.close()
