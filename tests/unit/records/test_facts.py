"""Numbers in the text of a baseline, whatever stands there."""

import math

import pytest

from pytest_modelviz.records.facts import number


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, 3.0),
        (-0.5, -0.5),
        (math.inf, math.inf),
        *[(value, math.nan) for value in (None, True, "1", [1], {}, 10**400, -(10**400))],
    ],
)
def test_a_number_or_none(value, expected):
    assert number(value) == pytest.approx(expected, nan_ok=True)
