"""Changes of a capture that an attacker makes by hand: of its facts, its arrays or its trace, the text made to fit."""

import dataclasses
import json

from forging import retold

from pytest_modelviz.compare.stored import stored_trace
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.trace_arrays import pack_trace
from pytest_modelviz.storage.formats import decode_json, encode_json


def matches(view, baseline, actual):
    try:
        return view.compare(baseline, actual, Tolerances()).matched
    except UnreadableBaselineError:
        return False


def mended(view, capture, facts=None, **arrays):
    """A capture as somebody would forge it: with other arrays or facts, and a text that fits them."""
    arrays = {**capture.arrays, **{key.replace("__", "."): values for key, values in arrays.items()}}
    text = retold(view.view, {**capture.facts, **(facts or {})}, arrays)
    return dataclasses.replace(capture, arrays=arrays, facts=text)


def retraced(view, capture, change):
    trace = stored_trace(dict(capture.arrays))
    change(trace)
    arrays = {**capture.arrays, **pack_trace(trace)}
    return dataclasses.replace(capture, arrays=arrays, facts=retold(view.view, dict(capture.facts), arrays))


def reread(view, capture, change):
    """A capture whose facts were changed, read back as a file is."""
    facts = json.loads(json.dumps(capture.facts))
    change(facts)
    document = decode_json(encode_json(dataclasses.replace(capture, facts=facts), nodeid="t.py::t", name="n"))
    return dataclasses.replace(capture, facts=document["facts"])


def less(name):
    """A change of a trace: no module holds a weight of this name, which "" leaves to none of them."""

    def forget(trace):
        for module in trace.modules.values():
            for local in [local for local in module.weights if name in ("", local)]:
                del trace.weights[module.weights.pop(local)]

    return forget


def marked(name):
    """The same, and that a pass writes it."""

    def forget(trace):
        less(name)(trace)
        trace.modules[""].config.update(rewritten=name, unsaved=name)

    return forget
