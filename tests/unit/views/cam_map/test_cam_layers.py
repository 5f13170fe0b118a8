"""Which layer `cam_map` explains by, and which targets and layers it refuses."""

import pytest
from torch import nn
from zoo import SmallNet, images

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.views.cam_map.capture import CamMapView


class TestCamLayers:
    @pytest.mark.parametrize("method", ["gradcam", "scorecam"])
    def test_a_head_that_the_score_does_not_depend_on_is_passed_over(self, method):
        class Auxiliary(nn.Module):
            def __init__(self):
                super().__init__()
                self.net, self.aux = SmallNet(), nn.Conv2d(3, 2, 1)

            def forward(self, x):
                return {"logits": self.net(x), "aux": self.aux(x)}

        view = CamMapView(Auxiliary(), images(), target=0, method=method)
        assert view.capture().facts["layer"] == "net.bn2"

    def test_tokens_by_heads_are_no_image(self):
        class Heads(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv, self.norm = nn.Conv2d(3, 4, 4, stride=4), nn.LayerNorm(8)

            def forward(self, x):
                y = self.conv(x)
                return self.norm(y.reshape(2, 2, 4, 8)).mean((1, 2)) + y.mean()

        assert CamMapView(Heads(), images(), target=0).capture().facts["layer"] == "conv"

    def test_a_layer_given_as_a_module_is_answered_with_its_name(self):
        model = SmallNet()
        with pytest.raises(ModelvizError, match="takes a layer's name, here 'conv2', not the layer itself"):
            CamMapView(model, images(), target_layer=model.conv2)

    @pytest.mark.parametrize("target", ["cat", 1.5, True, [1, None], [0.5]])
    def test_a_target_that_is_no_class_is_named(self, target):
        with pytest.raises(ModelvizError, match="target takes a class"):
            CamMapView(SmallNet(), images(), target=target)
