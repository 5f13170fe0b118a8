"""What `saliency_map` returns, and the names under which a capture holds its raw material. Knows no torch."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

SIDE = 96  # the longest of a picture of a gradient


@dataclass(frozen=True)
class SaliencyMap:
    """What `saliency_map` returns.

    `gradient` is float32 (maps, *shape of one sample): a map for each sample, or for each class requested of a single
    sample. `saliency` is its largest magnitude over the channels, float32 (maps, height, width) for images; where the
    input is not an image, the magnitude itself. `targets` and `predicted` are classes, one a map.
    """

    gradient: npt.NDArray[np.float32]
    saliency: npt.NDArray[np.float32]
    targets: tuple[int, ...]
    predicted: tuple[int, ...]
    score: float
