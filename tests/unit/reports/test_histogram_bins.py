import numpy as np
import pytest

from pytest_modelviz.reports.histogram_bins import on_common_bins


def test_counts_are_divided_where_a_common_edge_divides_a_bin():
    edges, counts = on_common_bins({"baseline": ([0.0, 2.0, 4.0], [4, 8]), "actual": ([2.0, 4.0, 6.0], [2, 4])})
    assert edges.tolist() == [0.0, 3.0, 6.0]
    assert counts["baseline"].tolist() == [8.0, 4.0]  # half of the upper bin lies below 3
    assert counts["actual"].tolist() == [1.0, 5.0]


def test_the_finest_decides_how_many():
    edges, counts = on_common_bins({"baseline": ([0.0, 4.0], [8]), "actual": ([0.0, 1.0, 2.0, 3.0, 4.0], [1, 2, 3, 4])})
    assert edges.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert counts["baseline"].tolist() == [2.0] * 4
    assert counts["actual"].tolist() == [1.0, 2.0, 3.0, 4.0]


def test_shared_edges_are_kept_equal_or_not():
    edges, counts = on_common_bins({"baseline": ([0.0, 1.0, 9.0], [1, 2]), "actual": ([0.0, 1.0, 9.0], [3, 4])})
    assert edges.tolist() == [0.0, 1.0, 9.0]
    assert counts["actual"].tolist() == [3.0, 4.0]


@pytest.mark.parametrize("low", [0.0, -1.7e308])
def test_the_largest_numbers_are_numbers(low):
    edges, counts = on_common_bins({"baseline": ([low, 1.7e308], [5]), "actual": ([0.0, 1.0], [7])})
    assert np.isfinite(edges).all()
    assert [values.sum() for values in counts.values()] == pytest.approx([5.0, 7.0])
