"""Everything that a view of your own needs, in one place.

Unlike the package itself, this module imports torch.
"""

from pytest_modelviz.compare.arrays import compare_arrays
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.errors import ModelvizError, UnreadableBaselineError
from pytest_modelviz.pictures.channels import channels_composite, channels_picture
from pytest_modelviz.pictures.composite import Picture
from pytest_modelviz.pictures.exhibits import Curve, Exhibit, Graph, Histogram, Node
from pytest_modelviz.probe.environment import environment
from pytest_modelviz.probe.forward import call, prepared
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.findings import Finding, Role
from pytest_modelviz.records.verdict import Divergence, LayerError, Verdict
from pytest_modelviz.views.base import View
from pytest_modelviz.views.fixture import ViewFixture

__all__ = [
    "Capture",
    "Curve",
    "Divergence",
    "Exhibit",
    "Finding",
    "Graph",
    "Histogram",
    "LayerError",
    "ModelvizError",
    "Node",
    "Picture",
    "Role",
    "Tolerances",
    "UnreadableBaselineError",
    "Verdict",
    "View",
    "ViewFixture",
    "call",
    "channels_composite",
    "channels_picture",
    "compare_arrays",
    "environment",
    "prepared",
]
