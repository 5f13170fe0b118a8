"""What `feature_maps` returns, and the text of a pass in its facts, a row for each call. Knows no torch."""

import re
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
_NEVER_CALLED = "never_called"  # the key of a row that no call has, beside its class
_SEPARATOR, _MEAN, _RMS = "; ", " mean ", " rms "
_WITH_MEAN = re.compile(r" mean -?(?:\d[\d.e+-]*|nan|inf)(?= rms )")

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
            rows[Call(name, 0, 0, {}).key] = {"class": trace.modules[name].class_name, _NEVER_CALLED: True}
    return rows


def say_the_same(stored: Mapping[str, JsonObject], own: Mapping[str, JsonObject], trace: ForwardTrace) -> bool:
    """Whether rows are, letter by letter, a pass's `own`, whether or not with means of large tensors.

    No pass whose numbers agree within a thousandth says anything else, but for a last digit that was rounded the other
    way: what is not the same letter by letter has to be looked at more closely.
    """
    leaves = [items for call in trace.calls for items in (call.inputs, call.outputs or {})]
    paths = {path for items in leaves for path in items}
    literals = {leaf.literal for items in leaves for leaf in items.values() if leaf.literal is not None}
    if any(_RMS in text for text in (*paths, *literals)):
        return False  # what looks like a mean there is none
    if stored.keys() != own.keys():
        return False
    return all(_is_letter_by_letter(stored[name], row) or _is_same_row(stored[name], row) for name, row in own.items())


def _is_letter_by_letter(stored: JsonObject, own: JsonObject) -> bool:
    """Whether rows of texts are equal; 1 equals True, so that a row that states something else is looked at closely."""
    return stored == own and _NEVER_CALLED not in own


def _is_same_row(stored: JsonObject, own: JsonObject) -> bool:
    if stored.keys() != own.keys():
        return False
    for key, text in own.items():
        said = stored[key]
        if type(said) is not type(text):
            return False
        if said != text and not (isinstance(said, str) and isinstance(text, str) and _is_same_text(said, text)):
            return False
    return True


def _is_same_text(stored: str, own: str) -> bool:
    if _SEPARATOR not in own:
        return _MEAN not in own and _WITH_MEAN.sub("", stored) == own
    pieces = stored.split(_SEPARATOR), own.split(_SEPARATOR)
    return len(pieces[0]) == len(pieces[1]) and all(
        said == text or (_MEAN not in text and _WITH_MEAN.sub("", said) == text)
        for said, text in zip(*pieces, strict=True)
    )


def _texts(leaves: Leaves, trace: ForwardTrace, origin: str) -> str:
    texts = []
    for path, leaf in leaves.items():
        if leaf.tensor is None:
            text = str(leaf.literal)
        elif leaf.tensor != origin + path:
            text = f"= {leaf.tensor}"
        else:
            text = _described_tensor(trace.tensors[leaf.tensor])
        texts.append(f"{path}: {text}" if path else text)
    return _SEPARATOR.join(texts)


def _described_tensor(record: TensorRecord) -> str:
    mean, rms = record.statistics or (None, None)
    moments = [f"{name} {value:.3g}" for name, value in (("mean", mean), ("rms", rms)) if value is not None]
    return " ".join([f"{record.dtype}{list(record.shape)}", *moments])


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
