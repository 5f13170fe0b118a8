"""Whether two passes hold the same, number by number: then nothing need be compared, whatever is allowed."""

from collections.abc import Mapping

from pytest_modelviz.records.tensors import TensorRecord
from pytest_modelviz.records.trace import ForwardTrace


def holds_same(first: ForwardTrace, second: ForwardTrace) -> bool:
    """Whether two passes, and their shadows, are the same in all that is compared.

    Example:
        >>> holds_same(trace, dataclasses.replace(trace, notes=("of the second",)))
        True

    """
    if (first.shadow is None) != (second.shadow is None) or not _is_same_structure(first, second):
        return False
    same = first.calls is second.calls or first.calls == second.calls
    same = same and _are_same(first.tensors, second.tensors) and _are_same(first.gradients, second.gradients)
    return same and (first.shadow is None or second.shadow is None or holds_same(first.shadow, second.shadow))


def _is_same_structure(first: ForwardTrace, second: ForwardTrace) -> bool:
    if first.structure is second.structure:
        return True
    same = (first.modules, first.structure.ties) == (second.modules, second.structure.ties)
    return same and _are_same(first.weights, second.weights)


def _are_same(first: Mapping[str, TensorRecord], second: Mapping[str, TensorRecord]) -> bool:
    return first is second or (list(first) == list(second) and all(map(_is_same, first.values(), second.values())))


def _is_same(first: TensorRecord, second: TensorRecord) -> bool:
    if first is second:
        return True
    others = [(record.value_count, record.step, record.is_of_earlier_version) for record in (first, second)]
    if others[0] != others[1] or not first.is_bitwise(second):
        return False
    if first.former is None or second.former is None:
        return first.former is second.former
    return _is_same(first.former, second.former)
