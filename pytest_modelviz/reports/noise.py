"""The noise of a baseline's layers as lines of text: which layers have far more than is usual, and why."""

import math
from collections.abc import Sequence

from pytest_modelviz.records.noisy_calls import NoiseReason, NoiseSummary, NoisyCall
from pytest_modelviz.text.counts import counted
from pytest_modelviz.text.dotted import MODEL_LABEL
from pytest_modelviz.text.printable import as_one_word, printable
from pytest_modelviz.text.side_by_side import cut_short

_LONGEST = 100  # letters of a layer's name, of an error three times as many
_HUNDRED, _MOST_WHOLE = 99.5, 1e6  # numbers between these are written without an exponent
_HEADINGS = ("layer", "noise", "times the usual", "share of what is allowed", "why")
_REASONS = {
    NoiseReason.AMPLIFIED: "amplified here",
    NoiseReason.ACCUMULATED: "a little from each of the layers before",
    NoiseReason.INPUT: "handed on from the input",
    NoiseReason.UNSTEADY: "another rounding leads to other calls or shapes",
}


def noise_lines(summary: NoiseSummary) -> list[str]:
    """The noise of a pass, a line a call; names become printable."""
    of = "of the float32 shadow " if summary.is_shadow else "of the gradient " if summary.is_of_gradient else ""
    usual = f"{of}usually {_number(summary.usual)}"
    if not summary.calls:
        return [_line(f"{usual}, nowhere far more")]
    layers = counted(summary.large, "layer")
    listed = len(summary.calls)
    most = f", the {listed} noisiest" if listed < summary.large else ""
    rows = [_HEADINGS, *(_row(call, summary.usual) for call in summary.calls)]
    return [_line(f"{usual}, far more in {layers}{most}:"), *(f"            {row}" for row in _aligned(rows))]


def no_noise_line(reason: str) -> str:
    """Says that the noise of a baseline is not known, and why."""
    return _line(f"not known: {cut_short(printable(reason), 3 * _LONGEST)}")


def _line(text: str) -> str:
    return f"  noise     {text}"


def _row(call: NoisyCall, usual: float) -> tuple[str, ...]:
    class_name = f" ({_word(call.class_name)})" if call.class_name else ""
    layer = f"{_call(call.layer, call.call)}{class_name}"
    times = _number(call.noise / usual) if usual else "-"
    return layer, _number(call.noise), times, _number(call.share), _reason(call)


def _reason(call: NoisyCall) -> str:
    if call.origin is None:
        return _REASONS.get(call.reason, str(call.reason))
    reason = "" if call.reason is NoiseReason.AMPLIFIED else f": {_REASONS.get(call.reason, call.reason)}"
    return f"handed on from {_call(call.origin, call.origin_call or 0)}{reason}"


def _call(layer: str, call: int) -> str:
    return f"{_word(layer) if layer else MODEL_LABEL}{f', call {call}' if call else ''}"


def _word(name: str) -> str:
    return as_one_word(cut_short(printable(name), _LONGEST))


def _number(value: float) -> str:
    if not math.isfinite(value):
        return "unlimited"
    return f"{value:,.0f}" if _HUNDRED <= value < _MOST_WHOLE else f"{value:.2g}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
