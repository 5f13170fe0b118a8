"""Which arrays of a baseline are maps."""

import numpy as np
import pytest

from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.views.cam_map import records
from pytest_modelviz.views.cam_map.records import stored_map


@pytest.mark.parametrize("shape", [(1, 7), (2, 3, 4), (1, 2, 3, 4)])
def test_maps_of_sequences_images_and_volumes_are(shape):
    raw = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    assert np.array_equal(stored_map(Capture("cam_map", {}, {"map": raw})), raw)


@pytest.mark.parametrize(
    "raw",
    [
        None,
        np.float32(1.0),
        np.ones(3, np.float32),
        np.ones((1, 1, 1, 1, 1), np.float32),
        np.ones((2, 2), np.float64),
        np.ones((2, 2), np.int32),
        np.ones((2, 0), np.float32),
    ],
    ids=["nothing", "number", "row", "five_sides", "float64", "integers", "empty"],
)
def test_others_are_not(raw):
    arrays = {} if raw is None else {"map": np.asarray(raw)}
    with pytest.raises(UnreadableBaselineError, match="it holds no map"):
        stored_map(Capture("cam_map", {}, arrays))


def test_one_that_is_larger_than_any_the_view_makes_is_not(monkeypatch):
    monkeypatch.setattr(records, "_MOST_NUMBERS", 6)
    assert stored_map(Capture("cam_map", {}, {"map": np.ones((2, 3), np.float32)})).size == 6
    with pytest.raises(UnreadableBaselineError, match="it holds no map"):
        stored_map(Capture("cam_map", {}, {"map": np.ones((1, 7), np.float32)}))
