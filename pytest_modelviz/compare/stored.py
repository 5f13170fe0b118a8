"""Traces as they are compared: without what two processes do not share, and without what the user ignores."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pytest_modelviz.compare.ignored import is_ignored, lasting_modules
from pytest_modelviz.compare.layouts import matching_layout
from pytest_modelviz.records.capture import Array
from pytest_modelviz.records.captured_arrays import CapturedArrays
from pytest_modelviz.records.structure import ATTRIBUTE_SUFFIX, ModuleRecord
from pytest_modelviz.records.trace import ForwardTrace
from pytest_modelviz.records.trace_arrays import DAMAGE, damaged_trace, unpack_trace


def stored_trace(arrays: Mapping[str, Array], ignored: Sequence[str] = ()) -> ForwardTrace:
    """The trace that a capture holds, as it is compared.

    Recordings of earlier versions, or of runs without the globs in `ignored`, may hold more than that.

    Args:
        arrays: the arrays of a capture.
        ignored: globs of attributes that are no configuration.

    Raises:
        UnreadableBaselineError: the arrays hold no trace.

    """
    trace = unpack_trace(arrays)
    try:
        lasting = lasting_trace(trace, ignored)
        shadow = None if trace.shadow is None else replace(trace.shadow, structure=lasting.structure)
        return replace(lasting, shadow=shadow)
    except DAMAGE as error:
        raise damaged_trace(error) from error


def trace_pair(
    baseline: Mapping[str, Array], actual: Mapping[str, Array], ignored: Sequence[str] = ()
) -> tuple[ForwardTrace, ForwardTrace]:
    """The traces of a baseline and of what is compared with it, as `stored_trace` reads them, for reading alone.

    A baseline that holds the same as a capture just made, number by number, is not read.

    Raises:
        UnreadableBaselineError: the arrays of one of them hold no trace.

    """
    after = stored_trace(actual, ignored)
    return (after if _is_same(baseline, actual) else stored_trace(baseline, ignored)), after


def _is_same(baseline: Mapping[str, Array], actual: Mapping[str, Array]) -> bool:
    if not isinstance(actual, CapturedArrays) or "trace.noise" in baseline:
        return False
    layout = matching_layout(baseline, actual)
    if layout is None:
        return False
    pairs = (layout.sketches, baseline["trace.sketches"]), (layout.wide, baseline["trace.wide"])
    return all(own.tobytes() == other.tobytes() for own, other in pairs)


def lasting_trace(trace: ForwardTrace, ignored: Sequence[str] = ()) -> ForwardTrace:
    """A trace without volatile or ignored configuration, and without tensors that are ignored or listed twice."""
    configs = lasting_modules({name: module.config for name, module in trace.modules.items()}, ignored)
    modules = {}
    for name, module in trace.modules.items():
        weights = {local: key for local, key in module.weights.items() if not _is_left_out(name, local, key, ignored)}
        modules[name] = ModuleRecord(module.class_name, configs[name], weights)
    return replace(trace, structure=replace(trace.structure, modules=modules))


def _is_left_out(layer: str, local: str, key: str, ignored: Sequence[str]) -> bool:
    """Whether a tensor in an attribute is ignored, or is a parameter or buffer of this module or of one inside it."""
    if not local.endswith(ATTRIBUTE_SUFFIX):
        return False
    if is_ignored(ignored, layer, local.removesuffix(ATTRIBUTE_SUFFIX).partition("[")[0]):
        return True
    return not key.endswith(ATTRIBUTE_SUFFIX) and key.startswith(f"{layer}." if layer else "")
