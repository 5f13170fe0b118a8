import pytest
import torch

pytest_plugins = ["pytester"]

torch.set_num_threads(1)  # several workers share the machine's cores


@pytest.fixture(autouse=True)
def _same_random_weights():
    torch.manual_seed(0)
