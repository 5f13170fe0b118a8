"""The error of a layer that is called several times is that of its worst call, which is named."""

import math

from pytest_modelviz.records.verdict import LayerError, worst_calls


def test_the_worst_call_for_what_is_allowed_counts_in_whatever_order():
    first, second = LayerError("act", 0, 0.2, 0.1), LayerError("act", 1, 0.3, 0.2)  # 2 and 1.5 times
    for layers in ([first, second], [second, first]):
        worst = worst_calls([*layers, LayerError("conv", 0, 0.0, 0.1)])
        assert worst["act"].error == first
        assert worst["act"].which == " in call 0"
        assert worst["conv"].which == ""


def test_what_is_allowed_nothing_is_worst_if_it_differs():
    layers = [LayerError("a", 0, 0.0, 0.0), LayerError("a", 1, 0.5, 0.1), LayerError("a", 2, math.inf, 0.0)]
    assert worst_calls(layers)["a"].error.call == 2
    assert worst_calls(layers[:2])["a"].error.call == 1
