"""How deep values are walked. Stored traces hold the paths: another depth would be a drift of every baseline."""

import torch

from pytest_modelviz.probe.nested_values import leaves, uncompared_items


def nested(value, depth):
    for _ in range(depth):
        value = [value]
    return value


def test_values_are_walked_to_the_eighth_level():
    assert list(leaves(nested(1.0, 8))) == [("[0]" * 8, 1.0)]
    assert list(leaves(nested(1.0, 9))) == [("[0]" * 8, "<list>")]
    tensor = torch.ones(1)
    assert list(leaves({"a": nested(tensor, 7)})) == [(".a" + "[0]" * 7, tensor)]
    assert list(leaves({"a": nested(tensor, 8)})) == [(".a" + "[0]" * 7, "<list>")]


def test_a_cycle_ends_there():
    cycle: list[object] = []
    cycle.append(cycle)
    assert list(leaves(cycle)) == [("[0]" * 8, "<list>")]


def test_what_lies_deeper_is_named_as_not_compared():
    assert uncompared_items(nested(1.0, 8)) == []
    assert uncompared_items(nested(1.0, 9)) == ["[0]" * 8 + " <list>"]
