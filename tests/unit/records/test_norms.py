import numpy as np
import pytest

from pytest_modelviz.records.norms import norm, on_common_scale, row_norms


@pytest.mark.parametrize("size", [1e-320, 1e-200, 1.0, 1e200, 2e307])
def test_norms_of_whatever_size(size):
    assert norm(np.array([3.0, -4.0]) * size) == pytest.approx(5 * size, rel=1e-3)
    assert row_norms(np.array([[3.0, 4.0], [0.0, 0.0]]) * size) == pytest.approx([5 * size, 0.0], rel=1e-3)
    (one, two), scale = on_common_scale(np.array([size]), np.array([-2 * size]))
    assert (one[0], two[0], scale) == (pytest.approx(0.5, rel=1e-3), -1.0, pytest.approx(2 * size, rel=1e-3))


def test_norms_of_nothing_and_of_no_numbers():
    assert norm(np.zeros(0)) == norm(np.zeros(3)) == 0.0
    assert norm(np.array([1.0, np.inf])) == np.inf
    assert np.isnan(norm(np.array([1.0, np.nan])))
    assert row_norms(np.array([[np.inf, 1.0], [3.0, 4.0]])).tolist() == [np.inf, 5.0]


def test_single_precision_is_no_limit():
    assert norm(np.full(4, 3e38, np.float32)) == pytest.approx(6e38)
