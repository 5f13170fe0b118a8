"""Which calls of a recorded pass have results that rounding takes far, and why: by the pass alone.

A noise arises where it is far larger than that of what the result was computed from; from there it is handed on. A
result is computed by the call that returns it or, if it is observed first as the input of a call, by the caller.
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from pytest_modelviz.compare.precision import is_exact
from pytest_modelviz.compare.shadow import given_dtype
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.records.noisy_calls import NoiseReason, NoiseSummary, NoisyCall
from pytest_modelviz.records.norms import norm
from pytest_modelviz.records.tensors import TensorRecord
from pytest_modelviz.records.trace import Call, ForwardTrace, Leaves

_LARGE = 3.0  # times the median of a pass
_ARISES = 3.0  # times the noise of what a result was computed from
_CANCELS = 0.1  # of the size of that
_FEW = 16  # numbers
_SOFTMAX = re.compile(r"softmax|attention|attn", re.IGNORECASE)
_RECURRENT = re.compile(r"RNN|LSTM|GRU")


def noise_summary(trace: ForwardTrace, tolerances: Tolerances, *, most: int = 10) -> NoiseSummary | None:
    """The calls of a pass whose results have a noise of more than three times the median.

    Args:
        trace: the pass; if the noise of its shadow was measured, that is meant.
        tolerances: what is allowed, of which each noise is a share.
        most: how many calls are listed.

    Returns:
        The noisiest calls; None where no noise was measured.

    """
    shadow = trace.shadow
    if shadow is not None and any(record.noise is not None for record in shadow.tensors.values()):
        tolerances = replace(tolerances, precision="ieee", shadow_of=given_dtype(trace))
        return _summary(shadow, tolerances, most, is_shadow=True)
    return _summary(trace, tolerances, most, is_shadow=False)


def _summary(trace: ForwardTrace, tolerances: Tolerances, most: int, *, is_shadow: bool) -> NoiseSummary | None:
    noises = [_noise(record) for record in trace.tensors.values() if _is_measured(record)]
    if not noises:
        return None
    usual = float(np.median(noises))
    analysis = _Analysis(trace, tolerances, _LARGE * usual)
    keys = analysis.noisiest_results()
    calls = [analysis.noisy_call(key) for key in keys[:most]]
    return NoiseSummary(usual, is_shadow, len(keys), tuple(calls))


@dataclass
class _Result:
    """A tensor as it was computed: by which call, None for inputs of the model, and from which tensors."""

    call: Call | None
    sources: Sequence[str] = ()
    noisiest: str | None = None  # of these and of the call's inputs


@dataclass
class _OpenCall:
    """A call that has not been left yet, and results of calls inside it that nothing has read."""

    call: Call
    inputs: Sequence[str]
    noisiest_input: str | None
    unread: dict[str, None] = field(default_factory=dict)
    is_innermost: bool = True


class _Analysis:
    """Finds where the noise of each result comes from. Its time is linear in the size of the pass, for each result."""

    def __init__(self, trace: ForwardTrace, tolerances: Tolerances, large: float) -> None:
        self._trace, self._tolerances, self._large = trace, tolerances, large
        self._results: dict[str, _Result] = {}
        self._innermost: set[int] = set()  # ids of calls
        self._open: list[_OpenCall] = []
        for event in trace.events():
            if event.kind == "enter":
                self._enter(event.call)
            else:
                self._leave(event.call)

    def _enter(self, call: Call) -> None:
        inputs = _keys(call.inputs)
        caller = self._open[-1] if self._open else None
        if caller is None:
            self._results.update((key, _Result(None)) for key in inputs if key not in self._results)
        else:
            caller.is_innermost = False
            if self._add(inputs, caller):
                caller.unread.clear()
            for key in inputs:
                caller.unread.pop(key, None)
        self._open.append(_OpenCall(call, inputs, self._noisiest(inputs)))

    def _leave(self, call: Call) -> None:
        own = self._open.pop()
        if own.is_innermost:
            self._innermost.add(id(call))
        outputs = _keys(call.outputs or {})
        self._add(outputs, own)
        if self._open:
            self._open[-1].unread.update(dict.fromkeys(outputs))

    def _add(self, keys: Sequence[str], computing: _OpenCall) -> bool:
        """Note which of these are computed by the code of an open call; returns whether any is."""
        new = [key for key in keys if key not in self._results]
        if new:
            unread = list(computing.unread)
            candidates = [*unread, *([] if computing.noisiest_input is None else [computing.noisiest_input])]
            result = _Result(computing.call, unread or computing.inputs, self._noisiest(candidates))
            self._results.update(dict.fromkeys(new, result))
        return bool(new)

    def _noisiest(self, keys: Iterable[str]) -> str | None:
        return max(keys, key=lambda key: _noise(self._trace.tensors[key]), default=None)

    def noisiest_results(self) -> list[str]:
        """For each call with a large noise, the noisiest result that it computes; the largest noise first."""
        largest: dict[int, str] = {}
        for key, result in self._results.items():
            noise = _noise(self._trace.tensors[key])
            if result.call is not None and noise > self._large:
                known = largest.get(id(result.call))
                if known is None or noise > _noise(self._trace.tensors[known]):
                    largest[id(result.call)] = key
        return sorted(largest.values(), key=lambda key: -_noise(self._trace.tensors[key]))

    def noisy_call(self, key: str) -> NoisyCall:
        """The call that computes a result, and why its noise is large."""
        call, record = self._results[key].call, self._trace.tensors[key]
        if call is None:
            raise ValueError(f"no call computes {key!r}")
        reason, origin = self._origin(key)
        elsewhere = origin is not None and origin is not call
        return NoisyCall(
            call.layer,
            self._trace.modules[call.layer].class_name,
            call.index,
            _noise(record),
            _share(record, self._tolerances),
            reason,
            origin.layer if origin is not None and elsewhere else None,
            origin.index if origin is not None and elsewhere else None,
        )

    def _origin(self, key: str) -> tuple[NoiseReason, Call | None]:
        """Why the noise of a result is large, and the call at which it arose; None if at no single one."""
        while True:
            result, noise = self._results[key], _noise(self._trace.tensors[key])
            if result.call is None:
                return NoiseReason.INPUT, None
            before = 0.0 if result.noisiest is None else _noise(self._trace.tensors[result.noisiest])
            if result.noisiest is None or (noise > _ARISES * before):
                return self._reason(key, result.call, result.sources), result.call
            if before <= self._large:
                return NoiseReason.ACCUMULATED, None
            key = result.noisiest

    def _reason(self, key: str, call: Call, sources: Sequence[str]) -> NoiseReason:
        """Why the noise of a result is larger than that of its sources."""
        record, class_name = self._trace.tensors[key], self._trace.modules[call.layer].class_name
        sizes = [_size(self._trace.tensors[source]) for source in sources if _has_size(self._trace.tensors[source])]
        if record.noise == math.inf:
            return NoiseReason.UNSTEADY
        if sizes and _has_size(record) and _size(record) < _CANCELS * min(sizes) * self._gain(call):
            return NoiseReason.CANCELLATION
        if _SOFTMAX.search(class_name):
            return NoiseReason.NEAR_TIES
        if _RECURRENT.search(class_name):
            return NoiseReason.RECURRENT
        return NoiseReason.FEW_NUMBERS if record.numbers < _FEW else NoiseReason.AMPLIFIED

    def _gain(self, call: Call) -> float:
        """By how much a layer's weights enlarge an input that has nothing to do with them; 1 where it has none."""
        if id(call) not in self._innermost:
            return 1.0
        weights = (self._trace.weights[key] for key in self._trace.modules[call.layer].weights.values())
        products = [weight for weight in weights if len(weight.shape) > 1 and _has_size(weight)]
        return max((norm(weight.bulk_sketch) / math.sqrt(max(1, weight.shape[0])) for weight in products), default=1.0)


def _keys(leaves: Leaves) -> list[str]:
    return list(dict.fromkeys(leaf.tensor for leaf in leaves.values() if leaf.tensor is not None))


def _is_measured(record: TensorRecord) -> bool:
    return record.noise is not None and not is_exact(record.dtype)


def _noise(record: TensorRecord) -> float:
    """The noise of a tensor, none where it was not measured."""
    return 0.0 if record.noise is None or not _is_measured(record) else record.noise


def _has_size(record: TensorRecord) -> bool:
    return not is_exact(record.dtype) and record.bulk_sketch.size > 0 and record.numbers > 0


def _size(record: TensorRecord) -> float:
    """The root mean square of a tensor's values, giants and exceptional values left out."""
    return norm(record.bulk_sketch) / math.sqrt(record.numbers)


def _share(record: TensorRecord, tolerances: Tolerances) -> float:
    return _noise(record) / tolerances.relative(record.dtype)
