"""Checks leave `torch.compile` alone: they do not import it, and compile nothing if a model does in its forward."""

import subprocess
import sys

# A process of its own: here, some test has imported the compiler long ago.
SCRIPT = """
import sys
import torch
from torch import nn
from pytest_modelviz.views.cam_map.capture import CamMapView
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView
from pytest_modelviz.views.kernel_maps.capture import KernelMapsView
from pytest_modelviz.views.saliency_map.capture import SaliencyMapView

torch.manual_seed(0)
plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(64, 2))
image = torch.randn(1, 3, 6, 6)
for view in (
    FeatureMapsView(plain, image),
    CamMapView(plain, image, target_layer="0", target=1),
    KernelMapsView(plain),
    SaliencyMapView(plain, image, target=1, method="guided"),
):
    view.capture()
heavy = ("torch._dynamo", "sympy", "torchvision", "sklearn", "scipy", "matplotlib")
assert not [name for name in heavy if name in sys.modules], [name for name in heavy if name in sys.modules]

class Compiling(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = plain

    def forward(self, x):
        return torch.compile(lambda y: torch.relu(y) * 2, backend=backend)(self.inner(x))

graphs = []

def backend(graph, examples):
    graphs.append(graph)
    return graph.forward

model = Compiling()
first = FeatureMapsView(model, image).capture()
assert "torch._dynamo" in sys.modules
frames = torch._dynamo.utils.counters["frames"]  # that the compiler has looked into
assert not frames, frames
assert "inner.0" in first.facts["layers"], first.facts["layers"].keys()
second = FeatureMapsView(model, image).capture()
assert not frames and not graphs, frames
assert first.facts == second.facts
with torch.no_grad():
    model.eval()(image)
assert len(graphs) == 1  # as the model does without a check
print("passed")
"""


def test_a_check_does_not_import_the_compiler_and_never_compiles():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("passed\n", 0), done.stderr
