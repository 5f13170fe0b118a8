"""Traces as they are compared: without what two processes do not share, and without what the user ignores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pytest_modelviz.compare.ignored import is_ignored, lasting_modules
from pytest_modelviz.records.capture import Array
from pytest_modelviz.records.trace import DAMAGE, LOOSE, ModuleRecord, Trace, damaged_trace


def stored_trace(arrays: Mapping[str, Array], ignored: Sequence[str] = ()) -> Trace:
    """The trace that a capture holds, as it is compared.

    An earlier version, or a run without the globs in `ignored`, may have recorded what is left out. Raises
    UnreadableBaselineError for what is no trace.
    """
    trace = Trace.from_arrays(arrays)
    try:
        return lasting_trace(trace, ignored)
    except DAMAGE as error:
        raise damaged_trace(error) from error


def lasting_trace(trace: Trace, ignored: Sequence[str] = ()) -> Trace:
    """A trace without configuration that says nothing, and without tensors that are listed twice or ignored."""
    configs = lasting_modules({name: module.config for name, module in trace.modules.items()}, ignored)
    modules = {}
    for name, module in trace.modules.items():
        weights = {local: key for local, key in module.weights.items() if not _is_left_out(name, local, key, ignored)}
        modules[name] = ModuleRecord(module.class_name, configs[name], weights)
    return Trace(modules, trace.calls, trace.tensors, trace.weights, trace.ties)


def _is_left_out(layer: str, local: str, key: str, ignored: Sequence[str]) -> bool:
    """Whether a tensor in an attribute is ignored, or is a parameter or buffer of this module or of one inside."""
    if not local.endswith(LOOSE):
        return False
    if is_ignored(ignored, layer, local.removesuffix(LOOSE).partition("[")[0]):
        return True
    return not key.endswith(LOOSE) and key.startswith(f"{layer}." if layer else "")
