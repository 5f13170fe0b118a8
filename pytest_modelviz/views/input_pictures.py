"""Small pictures of a model's input, which views keep beside what they compare."""

import numpy as np
import torch

from pytest_modelviz.probe.forward import ModelInput
from pytest_modelviz.probe.nested_values import tensors
from pytest_modelviz.probe.thumbnails import has_picture
from pytest_modelviz.records.capture import Array
from pytest_modelviz.views.stored_pictures import INPUT_SIDE, MOST_INPUTS, input_key, range_key


def input_pictures(input_data: ModelInput, count: int = 1) -> dict[str, Array]:
    """The pictures of the first `count` samples, and their ranges, as arrays; none where the input is no image."""
    arrays: dict[str, Array] = {}
    for sample in range(min(count, MOST_INPUTS)):
        picture = _picture(input_data, sample)
        if picture is None:
            continue
        pixels, limits = picture
        looks_like_first = sample and np.array_equal(pixels, arrays[input_key()])
        if not looks_like_first or not np.array_equal(limits, arrays[range_key()]):
            arrays |= {input_key(sample): pixels, range_key(sample): limits}
    return arrays


def _picture(input_data: ModelInput, sample: int) -> tuple[Array, Array] | None:
    """A sample of the first image-like tensor, (h, w, 3), uint8, stretched to its full contrast, and its range."""
    for tensor in tensors(input_data):
        if has_picture(tensor) and tensor.dim() in (3, 4) and tensor.shape[-3] in (1, 3) and min(tensor.shape[-2:]) > 7:
            with torch.no_grad():
                image = tensor.detach()[min(sample, len(tensor) - 1)] if tensor.dim() == 4 else tensor.detach()
                image = torch.nan_to_num(image.float(), posinf=0.0, neginf=0.0)
                factor = INPUT_SIDE / max(image.shape[-2:])
                if factor < 1:
                    height, width = (max(1, round(side * factor)) for side in image.shape[-2:])
                    image = torch.nn.functional.adaptive_avg_pool2d(image, (height, width))
                low, high = image.min(), image.max()
                high = high if high > low else low + max(1.0, abs(float(low)))
                unit = (image - low) / (high - low)
                pixels = (unit * 255).round().to(torch.uint8).permute(1, 2, 0).expand(-1, -1, 3)
                limits = np.array([float(low), float(high)], np.float32)
                return np.array(pixels.cpu().numpy(), dtype=np.uint8), limits
    return None
