"""What differs between a module's row in two summaries, and how that is worded."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

from pytest_modelviz.records.findings import ChangeFinding, LayerFinding
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


@dataclass(frozen=True)
class WrapFinding(LayerFinding):
    """A module of `class_name` was put around `layer`, which is called `inner` now, or is there no more (`change`).

    `modules` counts what is inside it, `layer` included, all of it built as before.
    """

    change: Literal["added", "removed"]
    inner: str
    class_name: str
    modules: int


@sentences.sentence.register
def _(finding: WrapFinding) -> str:
    layer = finding.layer or "the model"
    built = "it is built as before" if finding.modules == 1 else f"its {finding.modules} modules are built as before"
    if finding.change == "added":
        return f"{finding.class_name} was put around {layer}, which is now at {finding.inner}: {built}"
    return f"{finding.class_name} was taken from around {layer}, which was at {finding.inner}: {built}"


@sentences.likeness.register
def _(finding: WrapFinding) -> Hashable:
    return finding.change, finding.class_name, finding.inner.rpartition(".")[2]


@sentences.sentence_for_many.register
def _(first: WrapFinding, group: Sequence[WrapFinding]) -> str:
    put = "put" if first.change == "added" else "taken from"
    layers, called = sentences.listed([finding.layer for finding in group]), first.inner.rpartition(".")[2]
    return f"{first.class_name} was {put} around {counted(len(group), 'module')}, called {called} inside it: {layers}"


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
