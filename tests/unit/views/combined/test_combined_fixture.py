"""What the fixture `modelviz` asks for: which checks, by which names, with which tolerances, and what it returns."""

import pytest
from torch import nn
from zoo import SmallNet, images, vectors

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.views.combined.capture import CombinedCapture
from pytest_modelviz.views.combined.fixture import ModelvizFixture

PARTS = ("model_summary", "feature_maps", "cam_map")


class Checks:
    """Makes every check that it is asked for, and compares nothing."""

    def __init__(self):
        self.made = []

    def __call__(self, view, name, default, *, rtol, atol):
        made = view()
        self.made.append((name, default, made.view, rtol, atol))
        return made.capture().result


@pytest.fixture
def checks():
    return Checks()


@pytest.mark.parametrize("name", [None, "mirrored"])
def test_each_part_is_a_check_of_its_own_name(checks, name):
    views = ModelvizFixture(checks)(SmallNet(), images(), cam="bn2", target=1, name=name, rtol=1e-3, atol={"bn2": 1.0})
    prefix = "" if name is None else f"{name}_"
    assert checks.made == [(f"{prefix}{part}", part, part, 1e-3, {"bn2": 1.0}) for part in PARTS]
    assert views.summary.total_params == sum(parameter.numel() for parameter in SmallNet().parameters())
    assert views.feature_maps.output.shape == (2, 5)
    assert views.cam.layer == "bn2"


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({}, PARTS[:2]),
        ({"summary": False}, PARTS[1:2]),
        ({"feature_maps": False}, PARTS[:1]),
        ({"cam": "bn2", "summary": False, "feature_maps": False}, PARTS[2:]),
    ],
)
def test_only_what_is_requested_is_checked(checks, options, parts):
    views = ModelvizFixture(checks)(SmallNet(), images(), **options)
    assert tuple(view for _, _, view, _, _ in checks.made) == parts
    found = (views.summary, views.feature_maps, views.cam)
    assert tuple(part for part, result in zip(PARTS, found, strict=True) if result is not None) == parts


def test_nothing_requested_is_an_error(checks):
    with pytest.raises(ModelvizError):
        ModelvizFixture(checks)(SmallNet(), images(), summary=False, feature_maps=False)
    assert not checks.made


@pytest.mark.parametrize("name", ["", "a\nb", 3, b"v"])
def test_a_name_that_cannot_begin_others_is_refused(checks, name):
    with pytest.raises(ModelvizError, match="name= takes a non-empty printable string, not ") as caught:
        ModelvizFixture(checks)(SmallNet(), images(), name=name)
    assert [entry.path.name for entry in caught.traceback if not entry.ishidden(caught)] == ["test_combined_fixture.py"]
    assert not checks.made


def test_each_module_is_described_once():
    class Described(nn.Linear):
        times = 0

        def extra_repr(self):
            type(self).times += 1
            return super().extra_repr()

    combined = CombinedCapture(Described(8, 4), vectors())
    summary = combined.summary.capture()
    assert Described.times == 1
    assert summary.result.layers[""].config == "in_features=8, out_features=4, bias=True"
