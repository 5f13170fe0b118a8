"""What each map of an explanation is of, by hand."""

import pytest

from pytest_modelviz.records.capture import Capture
from pytest_modelviz.views.captions import map_titles


def capture(targets, predicted) -> Capture:
    return Capture("cam_map", facts={"targets": targets, "predicted": predicted}, environment={})


@pytest.mark.parametrize(
    ("before", "now", "predicted", "titles"),
    [
        ([285, 450], [285, 560], [285, 560], ["sample 0, target 285", "sample 1, target 450 -> 560"]),
        ([285], [285], [285], ["target 285"]),
        ([1, 2], [1, 2], [7], ["target 1", "target 2"]),  # of one sample
        ([], [], [7, 8], ["sample 0, target function", "sample 1, target function"]),
        ([3], [3, 4], [3, 4], ["sample 0, target 3", "sample 1, target function -> 4"]),
    ],
)
def test_its_sample_and_the_class_before_and_now(before, now, predicted, titles):
    assert map_titles(len(titles), capture(now, predicted), capture(before, predicted)) == titles


def test_one_capture_alone():
    assert map_titles(2, capture([5, 6], [5, 6])) == ["sample 0, target 5", "sample 1, target 6"]
