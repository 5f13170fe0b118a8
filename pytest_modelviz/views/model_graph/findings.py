"""What differs between two operator graphs, and how that is worded.

Operators are called by their calls, `conv2d(stride=2)`, or by their names, `layer1.0/relu#2`.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from pytest_modelviz.records.findings import AnyFinding, ChangeFinding, LayerFinding
from pytest_modelviz.reports.sentences import layers_of, likeness, listed, sentence, sentence_for_many, shortened
from pytest_modelviz.text.dotted import MODEL_LABEL


@dataclass(frozen=True)
class OperatorFinding(LayerFinding):
    """Operators of a module: replaced, or with only one side, removed or added. They come after `predecessor`."""

    before: str
    after: str
    predecessor: str


@dataclass(frozen=True)
class ArgumentFinding(LayerFinding):
    """Another argument of an operator; an empty text is the operator's default."""

    operator: str
    argument: str
    before: str
    after: str


class ReceivesFinding(ChangeFinding):
    """An operator, called `name`, that is given something else, by reference."""


class ResultFinding(ChangeFinding):
    """An operator, called `name`, that returns another dtype or shape."""


class InputFinding(ChangeFinding):
    """An input of the model, which is the layer "", of another dtype or shape."""


@dataclass(frozen=True)
class ReturnsFinding(LayerFinding):
    """The model, which is the layer "", returns something else, by reference."""

    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True)
class FollowingFinding(LayerFinding):
    """The count of operators, from `layer` on, that differ only because of those before them."""

    count: int


@dataclass(frozen=True)
class SourceFinding(AnyFinding):
    """Graphs that were made in different ways, and why, if that is known: they cannot be compared."""

    before: str
    after: str
    reason: str


@sentence.register
def _(finding: OperatorFinding) -> str:
    verb, preposition, change = _operator_change(finding)
    after = f" (after {finding.predecessor})" if finding.predecessor else ""
    return f"{verb} {preposition} {finding.layer or MODEL_LABEL}: {change}{after}"


@likeness.register
def _(finding: OperatorFinding) -> Hashable:
    return finding.before, finding.after


@sentence_for_many.register
def _(first: OperatorFinding, group: Sequence[OperatorFinding]) -> str:
    verb, _, change = _operator_change(first)
    return f"{verb} {len(group)} times: {change}: {listed(layers_of(group))}"


@sentence.register
def _(finding: ArgumentFinding) -> str:
    # what is not spelled out is the operator's default, whose value may differ between versions of torch
    before, after = (text or "its default" for text in (finding.before, finding.after))
    return f"changed: {finding.operator} {finding.argument}: {before} -> {after}"


@likeness.register
def _(finding: ArgumentFinding) -> Hashable:
    return _kind(finding), finding.argument, finding.before, finding.after


@sentence_for_many.register
def _(first: ArgumentFinding, group: Sequence[ArgumentFinding]) -> str:
    argument, change = f"{_kind(first)} {first.argument}", shortened(first.before, first.after)
    return f"changed {len(group)} times: {argument}: {change}: {listed(layers_of(group))}"


@sentence.register
def _(finding: ReceivesFinding) -> str:
    return f"{finding.name} now receives {finding.after or 'nothing'} instead of {finding.before or 'nothing'}"


@sentence.register
def _(finding: ResultFinding) -> str:
    return f"{finding.name} returns another shape or dtype: {shortened(finding.before, finding.after)}"


@sentence.register
def _(finding: InputFinding) -> str:
    change = shortened(finding.before, finding.after)
    return f"the model receives a different input ({finding.name.removeprefix('input.')}: {change})"


@sentence.register
def _(finding: ReturnsFinding) -> str:
    before, after = (", ".join(names) or "nothing" for names in (finding.before, finding.after))
    return f"the model returns {after} instead of {before}"


@sentence.register
def _(finding: FollowingFinding) -> str:
    operators = "later operator differs" if finding.count == 1 else "later operators differ"
    layer = finding.layer or MODEL_LABEL
    return f"{finding.count} {operators} as a result, from {layer} on: another shape, or an input with a new name"


@sentence.register
def _(finding: SourceFinding) -> str:
    why = f" ({finding.reason})" if finding.reason else ""
    return (
        f"the graph was {finding.after}, the baseline's {finding.before}{why}: the two cannot be compared. "
        f"Where only torch's version changed, review the new one and accept it"
    )


def _operator_change(finding: OperatorFinding) -> tuple[str, str, str]:
    if finding.before and finding.after:
        return "replaced", "in", shortened(finding.before, finding.after)
    return ("removed", "from", finding.before) if finding.before else ("added", "in", finding.after)


def _kind(finding: ArgumentFinding) -> str:
    """`relu` of `layer1.0/relu#2`."""
    return finding.operator.rpartition("/")[2].partition("#")[0]
