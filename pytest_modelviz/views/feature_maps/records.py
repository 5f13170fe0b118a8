"""What `feature_maps` returns, and the text of a pass in its facts, a row for each call. Knows no torch."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pytest_modelviz.records.tensors import TensorRecord
from pytest_modelviz.records.trace import Call, ForwardTrace, Leaves
from pytest_modelviz.text.strict_json import JsonObject

CHANNELS, SIDE = 8, 32  # the most of a thumbnail
PICTURE = "picture."  # begins the name of a layer's picture among a capture's arrays

Maps = npt.NDArray[np.float32]


class Thumbnail(NamedTuple):
    """A layer's output as a person can look at it: `maps` (channels, h, w), which `channels` they are, of how many."""

    maps: Maps
    channels: Sequence[int]
    of: int


@dataclass(frozen=True)
class FeatureMaps:
    """What `feature_maps` returns: the trace of the pass, the model's output, and the pictures as arrays.

    `pictures` maps a layer's name to float32 of shape (channels, h, w), `output` is what the observed pass returned.
    """

    trace: ForwardTrace
    output: Any  # whatever the model returns, of which a test knows the type
    pictures: Mapping[str, Maps]


def layer_rows(trace: ForwardTrace) -> dict[str, JsonObject]:
    """One line a call, in the order of execution; a tensor is described where it came into being, else named."""
    rows: dict[str, JsonObject] = {}
    for call in trace.calls:
        key = call.key
        rows[key] = {
            "class": trace.modules[call.layer].class_name,
            "in": _texts(call.inputs, trace, f"{key}<"),
            "out": _texts(call.outputs or {}, trace, key),
        }
    called = {call.layer for call in trace.calls}
    for name in trace.modules:
        if name not in called:
            rows[Call(name, 0, 0, {}).key] = {"class": trace.modules[name].class_name, "never_called": True}
    return rows


def _texts(leaves: Leaves, trace: ForwardTrace, origin: str) -> str:
    texts = []
    for (text, *_), record in described(leaves, trace, origin):
        mean, rms = (None, None) if record is None or record.statistics is None else record.statistics
        moments = [f"{name} {value:.3g}" for name, value in (("mean", mean), ("rms", rms)) if value is not None]
        texts.append(" ".join([text, *moments]))
    return "; ".join(texts)


def described(leaves: Leaves, trace: ForwardTrace, origin: str) -> Iterator[tuple[list[str], TensorRecord | None]]:
    """The texts for each leaf, this version's first; the record of a tensor that came into being at `origin`."""
    for path, leaf in leaves.items():
        texts, record = [str(leaf.literal)], None
        if leaf.tensor is not None:
            tensor = trace.tensors[leaf.tensor]
            kind = f"{tensor.dtype}{list(tensor.shape)}"
            is_new = leaf.tensor == origin + path
            record = tensor if is_new else None
            texts = [kind] if is_new else [f"= {leaf.tensor}", f"{kind} = {leaf.tensor}"]
        yield [f"{path}: {text}" if path else text for text in texts], record
