"""What differs between a module's row in two summaries, and how that is worded."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

from pytest_modelviz.records.findings import ChangeFinding
from pytest_modelviz.reports import sentences
from pytest_modelviz.text.counts import counted

Field = Literal["class", "config", "parameters", "buffers", "frozen", "in", "out", "calls", "mult_adds"]


@dataclass(frozen=True)
class FieldFinding(ChangeFinding):
    """A field of a module's row, or an entry of it, called `name`."""

    field: Field

    @property
    def follows(self) -> bool:
        """Whether it follows from how the model, or a module before this, is built, and not from its own building."""
        return self.field in ("in", "out", "calls", "mult_adds") and self.layer != ""

    @property
    def is_frozen_or_thawed(self) -> bool:
        """Whether all of its parameters were trained before, or are now."""
        return self.field == "frozen" and not (self.before and self.after)


@sentences.likeness.register
def _(finding: FieldFinding) -> Hashable:
    if finding.is_frozen_or_thawed:
        return finding.field, bool(finding.after)
    if finding.field in ("in", "out", "calls", "mult_adds"):
        return "follows" if finding.follows else None
    return finding.field, finding.name, sentences.shortened(finding.before, finding.after)


@sentences.sentence_for_many.register
def _(first: FieldFinding, group: Sequence[FieldFinding]) -> str:
    layers = sentences.layers_of(group)
    if first.is_frozen_or_thawed:
        are, change = "is" if len(layers) == 1 else "are", "now" if first.after else "no longer"
        return f"{counted(len(layers), 'layer')} {are} {change} frozen: {sentences.listed(layers)}"
    if first.follows:
        example = f"{first.layer} {first.field}: {sentences.shortened(first.before, first.after)}"
        count = counted(len(layers), "layer")
        return f"shapes, calls or mult-adds of {count} follow: {sentences.listed(layers)} ({example})"
    return sentences.sentence_for_same_change(first, group)
