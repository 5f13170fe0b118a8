"""What a drift does to the model's output, in words: the first thing that whoever reviews it wants to know."""

from __future__ import annotations

import math

from pytest_modelviz.records.effect import OutputEffect, Reappearance, ScoredClass, TopClassChange
from pytest_modelviz.text.counts import counted, cut
from pytest_modelviz.text.side_by_side import apart, cut_short, without_middle

_MOST_LINES = 4  # of samples whose classes are named, of layers that were merged
_LONGEST, _LONGEST_PATH = 1000, 200  # letters of a line, and of what it says of the output: a baseline may hold any


def effect_lines(effect: OutputEffect | None, whose: str = "") -> list[str]:
    """The lines of a report on what a drift does to the output; none where nothing is known of that.

    `whose` stands before the first sentence: which output it is about, where that is not clear.
    """
    if effect is None:
        return []
    texts = [f"{whose}{output_sentence(effect)}", *cut([_change(change) for change in effect.changes], _MOST_LINES)]
    if effect.reappearance is not None:
        texts += _reappearance(effect.reappearance)
    return [f"  {'' if at else 'output':9} {without_middle(text, _LONGEST)}" for at, text in enumerate(texts)]


def output_sentence(effect: OutputEffect) -> str:
    """How far the output is off, and what has become of the top classes, in one line.

    Example:
        >>> output_sentence(OutputEffect(0.025, 1e-4, samples=4, top1_changed=0))
        'off by 0.025, allowed 0.0001, top class kept in all 4 samples'

    """
    return ", ".join(filter(None, [_error(effect), top_classes(effect)]))


def _error(effect: OutputEffect) -> str:
    where = f" ({cut_short(effect.path, _LONGEST_PATH)})" if effect.path else ""
    if not math.isfinite(effect.error):
        return f"another kind or shape{where}"
    size, allowed = apart(effect.error, effect.tolerance, 2)
    if not effect.drifted:
        return f"agrees{where}: off by {size}, allowed {allowed}"
    return f"off by {size}{where}, allowed {allowed}"


def top_classes(effect: OutputEffect) -> str:
    """What has become of the top classes; empty where nothing is known of them."""
    if effect.samples is None:
        return ""
    if not effect.top1_changed:
        return f"top class kept in {'the sample' if effect.samples == 1 else f'all {effect.samples} samples'}"
    return f"top class changed in {effect.top1_changed} of {counted(effect.samples, 'sample')}"


def _change(change: TopClassChange) -> str:
    return f"sample {change.sample}: class {_scored(change.before)} -> class {_scored(change.after)}"


def _scored(scored: ScoredClass) -> str:
    return f"{scored.label}" if scored.share is None else f"{scored.label} ({100 * scored.share:.0f} %)"


def _reappearance(found: Reappearance) -> list[str]:
    layers = counted(found.total, "innermost layer")
    some = f"all {layers}" if found.found == found.total > 1 else f"{found.found} of {layers}"
    mergers = [f"{' + '.join(merger.layers)} became {merger.became}" for merger in found.mergers]
    return [f"{some} return the same as before, whatever they are called now", *cut(mergers, _MOST_LINES)]
