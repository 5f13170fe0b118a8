"""Two captures of one model whose sketches are of different versions, made comparable in all but their large tensors.

Of a tensor of more than `LARGEST_ALIKE` numbers each version has another sketch. Everything else in the captures
(modules, calls, shapes, literals, fingerprints, smaller tensors, maps) can be compared.
"""

from collections.abc import Mapping
from dataclasses import replace

from pytest_modelviz.records.capture import Array, Capture, Result_co
from pytest_modelviz.records.explanation_shadow import PREFIX
from pytest_modelviz.records.sketch_version import LARGEST_ALIKE, SKETCH_VERSION, sketched_as
from pytest_modelviz.records.tensors import TensorRecord
from pytest_modelviz.records.trace import ForwardTrace
from pytest_modelviz.records.trace_arrays import is_of_pass, pack_trace, unpack_trace


def with_large_tensors_of(capture: Capture[Result_co], source: Capture) -> Capture[Result_co]:
    """A capture in which the large tensors are those of another one, as far as they are of the same kind.

    Args:
        capture: of any version.
        source: a capture of the same model, whose sketches are of this version.

    Returns:
        A capture that can be compared with `source`.

    """
    arrays = _with_large_tensors_of(dict(capture.arrays), dict(source.arrays))
    shadows = (_shadow_arrays(each) for each in (capture.arrays, source.arrays))
    shadow = {PREFIX + name: array for name, array in _with_large_tensors_of(*shadows).items()}
    return replace(capture, arrays={**arrays, **shadow})


def _shadow_arrays(arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {name.removeprefix(PREFIX): array for name, array in arrays.items() if name.startswith(PREFIX)}


def _with_large_tensors_of(arrays: dict[str, Array], source: dict[str, Array]) -> dict[str, Array]:
    if not (is_of_pass(arrays) and is_of_pass(source)):
        return arrays
    trace, other = unpack_trace(arrays), unpack_trace(source)
    shadow = trace.shadow
    if shadow is not None and other.shadow is not None:
        shadow = replace(shadow, tensors=_records(shadow.tensors, other.shadow.tensors))
    changed = ForwardTrace(
        replace(trace.structure, weights=_records(trace.weights, other.weights)),
        trace.calls,
        _records(trace.tensors, other.tensors),
        _records(trace.gradients, other.gradients),
        shadow=shadow,
    )
    with sketched_as(SKETCH_VERSION):
        return {**arrays, **pack_trace(changed)}


def _records(records: Mapping[str, TensorRecord], source: Mapping[str, TensorRecord]) -> dict[str, TensorRecord]:
    large = {key for key, record in records.items() if record.numbers > LARGEST_ALIKE}
    alike = {key for key in large & source.keys() if _kind(records[key]) == _kind(source[key])}
    return {key: source[key] if key in alike else record for key, record in records.items()}


def _kind(record: TensorRecord) -> tuple[object, ...]:
    """All of a record but the numbers in its sketches."""
    sizes = [sketch.size for sketch in record.sketches]
    return record.dtype, record.shape, record.value_count, record.step, dict(record.value_fingerprints), sizes
