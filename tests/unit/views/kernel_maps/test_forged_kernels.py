"""No object that a convolution holds, and nothing that a baseline says of it, hides how the convolution is built."""

import pytest
import torch
from forging_by_hand import matches, retraced
from torch import nn

from pytest_modelviz.compare.evidence import configuration_findings
from pytest_modelviz.compare.shared_objects import object_text
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.records.findings import AttributeFinding, ConfigFinding
from pytest_modelviz.records.structure import ModelStructure, ModuleRecord
from pytest_modelviz.views.kernel_maps.capture import KernelMapsView


class Settings:
    def __init__(self, gain=None):
        self.width = 3
        if gain is not None:
            self.gain = gain


class Gained(nn.Conv2d):
    def __init__(self, settings, gain):
        super().__init__(3, 3, 3)
        self.config, self._gain = settings, gain

    def forward(self, x):
        return super().forward(x) * self._gain

    def extra_repr(self):
        return f"{super().extra_repr()}, gain={self._gain}"


def shared(gain):
    torch.manual_seed(0)
    settings = Settings()
    return KernelMapsView(nn.Sequential(Gained(settings, 1.0), Gained(settings, gain)))


def alone(gain):
    torch.manual_seed(0)
    return KernelMapsView(nn.Sequential(Gained(Settings(), gain), nn.Conv2d(3, 3, 1)))


@pytest.mark.parametrize("written_at", ["0", "1"])
@pytest.mark.parametrize("build", [shared, alone])
def test_a_gain_is_compared_whatever_is_written_of_the_settings_beside_it(build, written_at):
    view, other = build(2.0), build(3.0)
    capture = view.capture()

    def write(trace):
        text = object_text("Settings", {"width": "3", "x": "1"})
        for module in trace.modules.values():
            if "config" in module.config:
                module.config["config"] = text
        trace.modules[written_at].config.update({"config": text, "config.width": "3", "config.x": "1"})

    assert not matches(other, retraced(view, capture, write), other.capture())


def test_a_gain_in_settings_that_a_convolution_holds_twice():
    class Twice(nn.Conv2d):
        def __init__(self, gain):
            super().__init__(3, 3, 3)
            self.config = self.settings = Settings(gain)

        def extra_repr(self):
            return f"{super().extra_repr()}, gain={self.config.gain}"

    torch.manual_seed(0)
    view, other = KernelMapsView(Twice(2.0)), KernelMapsView(Twice(3.0))
    capture = view.capture()
    assert view.compare(capture, capture, Tolerances()).matched
    verdict = other.compare(capture, other.capture(), Tolerances())
    assert not verdict.matched
    assert any(isinstance(finding, ConfigFinding) for finding in verdict.findings)


def test_an_attribute_that_only_one_side_has_explains_no_private_one():
    def structure(**config):
        return ModelStructure({"0": ModuleRecord("Conv2d", config, {})}, {}, ())

    findings = configuration_findings(["0"], structure(_gain="2", more="1"), structure(_gain="3"))
    assert findings == [AttributeFinding("0", "_gain", "2", "3")]
