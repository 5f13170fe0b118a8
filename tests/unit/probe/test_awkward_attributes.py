"""Plain attributes, shared objects and texts of a model: which are configuration or weights, and which say nothing."""

import copy

import numpy as np
import pytest
import torch
from awkward_models import Around, compared
from torch import nn
from zoo import vectors

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.probe.configuration import configuration
from pytest_modelviz.probe.modules import has_attribute, own_attributes
from pytest_modelviz.records.findings import AttributeFinding, WeightFinding
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView
from pytest_modelviz.views.model_summary.capture import ModelSummaryView


class Options:
    def __init__(self, factor):
        self.factor, self.inner, self._hidden = factor, {"a": 1}, 0


class Reads(nn.Module):
    def __init__(self, options, read=lambda self, x: x * self.options.factor):
        super().__init__()
        self.options, self.read = options, read

    def forward(self, x):
        return self.read(self, x)


def test_a_shared_configuration_object_is_written_out_once_and_is_evidence_about_whoever_reads_it():
    def model(factor):
        options = Options(factor)
        net = nn.Sequential(nn.Linear(8, 8), Reads(options, lambda self, x: x + 1), Reads(options))
        torch.manual_seed(0)
        net[0].reset_parameters()
        return net

    verdict = compared(model(2.0), model(3.0))
    assert (verdict.first.layer, verdict.cause) == ("2", "architecture")  # whose code reads it
    found = [finding for finding in verdict.findings if isinstance(finding, AttributeFinding)]
    assert found == [AttributeFinding("1", "options.factor", "2.0", "3.0")]
    records = FeatureMapsView(model(2.0), vectors()).capture().result.trace.modules
    assert records["1"].config["options.factor"] == "2.0"
    assert "options.factor" not in records["2"].config
    assert records["1"].config["options"] == records["2"].config["options"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (np.float32(2), np.float32(3)),
        ([1.0] * 100, [1.0] * 99 + [2.0]),
        ({str(n): 1.0 for n in range(100)}, {**{str(n): 1.0 for n in range(99)}, "99": 3.0}),
    ],
)
def test_numpy_numbers_and_long_lists_are_configuration(before, after):
    def total(self, x):
        held = self.options
        return x * float(sum(held.values()) if isinstance(held, dict) else np.sum(held))

    verdict = compared(nn.Sequential(Reads(before, total)), nn.Sequential(Reads(after, total)))
    assert (verdict.first.layer, verdict.cause) == ("0", "architecture")


def test_a_tensor_in_a_plain_attribute_is_weights_and_mere_state_is_no_drift():
    def model(*factors, spare=0.0):
        net = Reads({"f": torch.tensor(factors)}, lambda self, x: x * self.options["f"].sum())
        net.spare = [torch.full((3,), spare)]
        return nn.Sequential(net)

    verdict = compared(model(1.0, 2.0), model(1.0, 3.0))
    assert (verdict.first.layer, verdict.cause) == ("0", "weights")
    assert [f.name for f in verdict.findings if isinstance(f, WeightFinding)] == ["options['f'] (attribute)"]
    assert compared(model(1.0), model(1.0, spare=5.0)).matched


def test_an_attribute_that_the_pass_itself_changes_is_no_evidence():
    class Counts(nn.Module):
        def __init__(self, factor):
            super().__init__()
            self.calls, self.last, self.factor = 0, None, [lambda x: x * factor]

        def forward(self, x):
            self.calls, self.last = self.calls + 1, x
            return self.factor[0](x)

    used = Counts(2.0)
    used(vectors())
    assert compared(Counts(2.0), used).matched
    changed = Counts(3.0)
    changed(vectors())
    verdict = compared(Counts(2.0), changed)
    assert (verdict.first.layer, verdict.cause) == ("", "computation")


def test_numpy_arrays_and_the_numbers_of_objects_are_input():
    class Takes(nn.Module):
        def forward(self, x, options):
            return torch.as_tensor(x) * options.factor

    array = vectors().numpy()
    verdict = compared(Takes(), Takes(), (array, Options(2)))
    assert verdict.matched
    view = FeatureMapsView(Takes(), (array, Options(2)))
    for data in ((array * 1.1, Options(2)), (array, Options(3))):
        verdict = view.compare(view.capture(), FeatureMapsView(Takes(), data).capture(), Tolerances())
        assert (verdict.first.layer, verdict.cause) == ("", "input")


def test_addresses_in_texts_are_no_configuration():
    class Addressed(nn.Linear):
        def extra_repr(self):
            return f"{object()}"

    first, second = (ModelSummaryView(Addressed(8, 8)).capture() for _ in range(2))
    assert " at 0x" not in str(first.facts)
    assert first.facts == second.facts


def test_the_numbers_of_a_tensor_in_a_text_are_no_configuration():
    class Shows(nn.Linear):
        def extra_repr(self):
            return f"weight={self.weight}, eps={1e-5}, {self.bias.data!r}"

    torch.manual_seed(0)
    model = Shows(8, 2)
    changed = copy.deepcopy(model)
    with torch.no_grad():
        changed.weight[0, 0] += 1
    verdict = compared(model, changed)
    assert (verdict.first.layer, verdict.cause) == ("", "weights")
    config = FeatureMapsView(model, vectors()).capture().result.trace.modules[""].config
    assert "tensor(...)" in config["extra_repr"]
    assert "eps=1e-05" in config["extra_repr"]


def test_text_that_cannot_be_encoded_is_escaped():
    class Texts(nn.Module):
        def forward(self, x, word):
            return x

    capture = FeatureMapsView(Texts(), (vectors(), "a\udc80")).capture()
    assert str(capture.facts).encode()


def test_a_plain_attribute_is_weaker_evidence_than_a_weight():
    model, other = Around(lambda self, x: self.linear(x)), Around(lambda self, x: self.linear(x))
    other.load_state_dict(model.state_dict())
    model.linear.path, other.linear.path = "a", "b"
    assert compared(model, other).matched
    with torch.no_grad():
        other.linear.weight.mul_(1.1)
    verdict = compared(model, other)
    assert (verdict.first.layer, verdict.cause) == ("linear", "weights")


@pytest.mark.parametrize("name", ["effects", "namesake"])
def test_an_attribute_is_evidence_whatever_it_is_called(name):
    def model(factor):
        reads = Reads(None, lambda self, x: x * getattr(self, name))
        setattr(reads, name, factor)
        return reads

    assert AttributeFinding("", name, "2.0", "3.0") in compared(model(2.0), model(3.0)).findings


@pytest.mark.parametrize("wrap", [lambda value: value, lambda value: (value, "a")])
def test_attributes_that_are_equal_but_of_other_types_are_other_configuration(wrap):
    class Holder(nn.Module):
        def __init__(self, value):
            super().__init__()
            self.p = wrap(value)

    values = (1, True, 1.0, "1", 0.0, -0.0, None, "None")
    texts = [configuration(Holder(value))["p"] for value in values]
    assert len(set(texts)) == len(values)
    assert [configuration(Holder(value))["p"] for value in values] == texts


def test_a_configuration_that_somebody_changes_is_nobody_else_s():
    configuration(nn.Dropout(0.25))["p"] = "changed"
    assert configuration(nn.Dropout(0.25))["p"] == "0.25"


class TestAttributesOfModules:
    def test_own_attributes_are_those_that_not_every_module_has_in_their_order(self):
        class Late(nn.Module):
            def __init__(self):
                self.__dict__["early"] = 1  # before torch's own
                super().__init__()
                self.late = 2

        assert own_attributes(nn.ReLU()) == {"inplace": False}
        assert own_attributes(nn.Sequential()) == {}
        assert list(own_attributes(Late()).items()) == [("early", 1), ("late", 2)]

    def test_a_module_has_what_hasattr_says(self):
        class Forwards(nn.Module):
            kind = "a"

            def __init__(self, inner=None):
                super().__init__()
                self.inner = inner

            @property
            def computed(self):
                return 1

        class Delegates(Forwards):
            def __getattr__(self, name):
                try:
                    return super().__getattr__(name)
                except AttributeError:
                    return getattr(super().__getattr__("inner"), name)

        names = ("kind", "inner", "computed", "weight", "running_mean", "kernel_size", "original_name", "absent")
        conv, scripted = nn.Conv2d(1, 1, 1), torch.jit.script(nn.ReLU())
        for module in (Forwards(), Forwards(conv), Delegates(conv), conv, nn.BatchNorm1d(2), scripted):
            assert [has_attribute(module, name) for name in names] == [hasattr(module, name) for name in names]
