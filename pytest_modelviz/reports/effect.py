"""What a drift does to the model's output, in words: the first thing that whoever reviews it wants to know."""

from __future__ import annotations

import math

from pytest_modelviz.records.effect import OutputEffect, Reappearance, ScoredClass, TopClassChange
from pytest_modelviz.text.counts import counted
from pytest_modelviz.text.side_by_side import apart, cut_short, without_middle

_MOST_CHANGES = 3  # samples whose classes are named
_MOST_MERGERS = 3
_LONGEST, _LONGEST_PATH = 1000, 200  # letters of a line, and of what it says of the output: a baseline may hold any


def effect_lines(effect: OutputEffect | None) -> list[str]:
    """The lines of a report on what a drift does to the output; none where nothing is known of that."""
    if effect is None:
        return []
    changes = [_change(change) for change in effect.changes[:_MOST_CHANGES]]
    more = len(effect.changes) - _MOST_CHANGES
    texts = [output_sentence(effect), *changes, *([f"and {more} more"] if more > 0 else [])]
    texts += [] if effect.reappearance is None else _reappearance(effect.reappearance)
    return [f"  {'' if at else 'output':9} {without_middle(text, _LONGEST)}" for at, text in enumerate(texts)]


def output_sentence(effect: OutputEffect) -> str:
    """How far the output is off, and what has become of the top classes, in one line.

    Example:
        >>> output_sentence(OutputEffect(0.025, 1e-4, samples=4, top1_changed=0))
        'off by 0.025, allowed 0.0001, top class kept in all 4 samples'

    """
    return ", ".join([_error(effect), *_top_classes(effect)])


def _error(effect: OutputEffect) -> str:
    where = f" ({cut_short(effect.path, _LONGEST_PATH)})" if effect.path else ""
    if not math.isfinite(effect.error):
        return f"another kind or shape{where}"
    size, allowed = apart(effect.error, effect.tolerance, 2)
    if not effect.drifted:
        return f"agrees{where}: off by {size}, allowed {allowed}"
    return f"off by {size}{where}, allowed {allowed}"


def _top_classes(effect: OutputEffect) -> list[str]:
    if effect.samples is None:
        return []
    if not effect.top1_changed:
        return [f"top class kept in {'the sample' if effect.samples == 1 else f'all {effect.samples} samples'}"]
    return [f"top class changed in {effect.top1_changed} of {counted(effect.samples, 'sample')}"]


def _change(change: TopClassChange) -> str:
    before, after = change.before, change.after
    shares = f" ({_share(before)} -> {_share(after)})" if before.share is not None and after.share is not None else ""
    return f"sample {change.sample}: {before.label} -> {after.label}{shares}"


def _share(scored: ScoredClass) -> str:
    return f"{100 * (scored.share or 0.0):.0f} %"


def _reappearance(found: Reappearance) -> list[str]:
    lines = [f"{found.found} of {counted(found.total, 'layer')} return what they did, under whatever name"]
    mergers = [f"{' + '.join(merger.layers)} became {merger.became}" for merger in found.mergers[:_MOST_MERGERS]]
    more = len(found.mergers) - _MOST_MERGERS
    return [*lines, *mergers, *([f"and {more} more"] if more > 0 else [])]
