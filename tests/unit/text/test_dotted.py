"""Dotted names of modules."""

import pytest

from pytest_modelviz.text.dotted import enclosing


@pytest.mark.parametrize(
    ("name", "expected"),
    [("", []), ("conv", [""]), ("layer1.0.conv", ["", "layer1", "layer1.0"])],
)
def test_the_modules_around_a_module_begin_with_the_model(name, expected):
    assert enclosing(name) == expected
