"""Which convolutions are compared and drawn: those asked for, and where they were added, removed or renamed."""

import itertools
import math

import pytest
import torch
from kernel_models import changed, compared
from torch import nn
from zoo import SmallNet

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.records.findings import (
    ModuleFinding,
    RenameFinding,
    RequestFinding,
    Role,
    TiesFinding,
    WeightFinding,
)
from pytest_modelviz.views.kernel_maps.capture import KernelMapsView
from pytest_modelviz.views.kernel_maps.convolutions import convolutions, first_of_stages


class TestArchitecture:
    """How a convolution is built comes before what its weights are."""

    @pytest.mark.parametrize(
        ("build", "what"),
        [
            (lambda: nn.Conv2d(8, 12, 3, padding=1, stride=2), "stride"),
            (lambda: nn.Conv2d(8, 12, 3, padding=1, dilation=2), "dilation"),
            (lambda: nn.Conv2d(8, 12, 3, padding=1, padding_mode="reflect"), "padding_mode"),
            (lambda: nn.Conv2d(8, 12, 3, padding=1, groups=4), "groups"),
            (lambda: nn.Conv2d(8, 12, 5, padding=1), "kernel_size"),
            (lambda: nn.Conv2d(8, 12, 3, padding=1, bias=False), "bias"),
            (lambda: nn.Conv2d(8, 12, 3, padding=1).double(), "weight"),
        ],
    )
    def test_another_configuration(self, build, what):
        model = SmallNet()
        other = changed(model, lambda net: setattr(net, "conv2", build()))
        with torch.no_grad():
            other.conv1.weight.mul_(2)
        verdict = compared(model, other)
        assert (verdict.cause, verdict.first.layer, verdict.error, verdict.tolerance) == (
            "architecture",
            "conv2",
            math.inf,
            0.0,
        )
        assert what in {finding.name for finding in verdict.findings if finding.layer == "conv2"}
        others = [finding for finding in verdict.findings if finding.role is Role.ALSO]
        assert any(isinstance(finding, WeightFinding) for finding in others)  # conv1, and who blames it is wrong
        assert verdict.drifted == 2

    def test_one_is_gone_or_new(self):
        model = SmallNet()
        other = changed(model, lambda net: net.add_module("extra", nn.Conv1d(1, 1, 1)))
        for pair, kind in (((model, other), "added"), ((other, model), "removed")):
            verdict = compared(*pair)
            assert (verdict.cause, verdict.first.layer, verdict.first.class_name) == ("architecture", "", "SmallNet")
            assert verdict.findings == (ModuleFinding("extra", kind, "Conv1d"),)
            assert (verdict.compared, verdict.drifted) == (3, 1)

    def test_one_has_another_name(self):
        def build(name):
            torch.manual_seed(0)
            return nn.Sequential(nn.ModuleDict({"a": nn.Conv2d(1, 2, 3), name: nn.Conv2d(2, 3, 3)}))

        verdict = compared(build("b"), build("c"))
        assert (verdict.cause, verdict.first.layer, verdict.error) == ("architecture", "0.c", 0.0)
        assert verdict.findings == (RenameFinding("0.c", before="0.b"),)
        one, two = KernelMapsView(build("b")), KernelMapsView(build("c"))
        labels = [picture.label for picture in two.picture(two.capture(), one.capture(), verdict)]
        assert labels == ["0.c"]

    def test_a_lost_tie_of_equal_values(self):
        def build():
            model = nn.Sequential(nn.Conv1d(2, 2, 1), nn.Conv1d(2, 2, 1))
            model[1].weight = model[0].weight
            return model

        model = build()
        other = changed(model, lambda net: setattr(net[1], "weight", nn.Parameter(net[0].weight.clone())))
        verdict = compared(model, other)
        assert (verdict.matched, verdict.cause) == (False, "architecture")
        assert isinstance(verdict.findings[0], TiesFinding)

    def test_a_plain_attribute_alone_is_no_drift(self):
        model = SmallNet()
        assert compared(model, changed(model, lambda net: setattr(net.conv1, "calls", 3))).matched


class TestWhichAreShown:
    def names(self, model):
        return [one.name for one in first_of_stages(convolutions(model))]

    def test_the_first_and_each_stage_s(self):
        torchvision = pytest.importorskip("torchvision")
        expected = {
            "resnet18": ["conv1", *(f"layer{n}.0.conv1" for n in (1, 2, 3, 4))],
            "resnet50": ["conv1", *(f"layer{n}.0.conv2" for n in (1, 2, 3, 4))],  # of 3x3, not the 1x1 before it
            "resnet152": ["conv1", *(f"layer{n}.0.conv2" for n in (1, 2, 3, 4))],  # though layer3 holds most of all
            "vgg16": ["features.0", "features.5", "features.10", "features.17"],
            "vit_b_16": ["conv_proj"],
        }
        for name, names in expected.items():
            with torch.device("meta"):
                model = getattr(torchvision.models, name)(weights=None)
            assert self.names(model) == names, name

    def test_many_small_children_are_those_that_grow_and_at_most_eight(self):
        widths = [3, 8, 8, 16, 16, 16, 24, 24, 32, 24]
        pairs = itertools.pairwise(widths)
        model = nn.Sequential(nn.Sequential(*(nn.Conv2d(a, b, 3) for a, b in pairs)), nn.Flatten())
        assert self.names(model) == ["0.0", "0.2", "0.5", "0.7"]
        grows = nn.Sequential(*(nn.Conv1d(n, n + 1, 3) for n in range(1, 21)))
        assert len(self.names(grows)) == 8
        assert self.names(grows)[0] == "0"

    def test_a_stage_with_most_of_the_convolutions_is_still_one(self):
        def stage(count):
            return nn.Sequential(*(nn.Conv1d(2, 2, 3) for _ in range(count)))

        assert self.names(nn.Sequential(stage(1), stage(3), stage(1))) == ["0.0", "1.0", "2.0"]
        assert self.names(nn.Sequential(stage(1), stage(3))) == ["0.0", "1.0"]
        assert self.names(nn.Sequential(stage(1), stage(4))) == ["0.0", "1.0", "1.1", "1.2", "1.3"]

    def test_nested_containers_and_a_single_convolution_end(self):
        model = nn.Sequential(nn.Sequential(nn.Sequential(nn.Conv2d(1, 1, 1))))
        assert self.names(model) == ["0.0.0"]
        assert self.names(nn.Conv2d(1, 1, 1)) == [""]


class TestLayers:
    def test_only_those_named_are_compared_and_shown(self):
        model = SmallNet()
        other = changed(model, lambda net: net.conv1.weight.mul_(2))
        for layers in ("conv2", ["conv2"], ("conv2",)):
            verdict = compared(model, other, layers=layers)
            assert (verdict.matched, verdict.compared) == (True, 1)
        assert list(KernelMapsView(model, layers="conv*").capture().result.pictures) == ["conv1", "conv2"]

    def test_a_glob_takes_the_convolutions_among_what_it_matches(self):
        assert list(KernelMapsView(SmallNet(), layers="*1").capture().result.layers) == ["conv1"]  # and not bn1

    def test_another_choice_is_another_question(self):
        model = SmallNet()
        verdict = compared(model, model, layers="conv1", other_layers="conv2")
        assert (verdict.matched, verdict.cause, verdict.first) == (False, None, None)
        assert verdict.findings == (RequestFinding("", "layers", "conv1", "conv2"),)

    @pytest.mark.parametrize(
        ("layers", "message"),
        [
            ("conv9", r"no layer 'conv9'; did you mean 'conv[12]', 'conv[12]'\?"),
            ("x*y", r"no layer 'x\*y'"),
            ("head", r"layer 'head' is Linear, not a convolution, and has no kernels; name one that is"),
            ("", r"layer '' is SmallNet, not a convolution, and has no kernels; those inside it are '\*'"),
            ("bn*", r"layers='bn\*' matches 2 layers, but no convolution among them"),
            (3, "layers takes names of layers or globs such as 'layer4.*', not 3"),
            ([3], "layers takes names of layers"),
        ],
    )
    def test_what_stands_for_no_convolution_is_an_error(self, layers, message):
        with pytest.raises(ModelvizError, match=message):
            KernelMapsView(SmallNet(), layers=layers).capture()

    def test_a_container_says_what_is_inside(self):
        model = nn.Sequential(nn.Sequential(nn.Conv2d(1, 1, 1)))
        with pytest.raises(ModelvizError, match=r"layer '0' is Sequential, not .* those inside it are '0\.\*'"):
            KernelMapsView(model, layers="0").capture()
        assert list(KernelMapsView(model, layers="0.*").capture().result.layers) == ["0.0"]

    def test_no_model_and_no_convolution(self):
        with pytest.raises(ModelvizError, match=r"must be a torch\.nn\.Module, not int"):
            KernelMapsView(3)
        with pytest.raises(ModelvizError, match="Linear has no convolution, so it has no kernels to show"):
            KernelMapsView(nn.Linear(2, 2)).capture()


def test_an_empty_list_of_layers_is_no_check():
    with pytest.raises(ModelvizError, match="layers is empty, so there is nothing to compare"):
        KernelMapsView(nn.Conv2d(3, 3, 3), layers=[])
