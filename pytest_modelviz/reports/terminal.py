"""Text for the terminal, made for an engineer who is tired: what drifted, first where, by how much, and what to do."""

from collections.abc import Sequence

from pytest_modelviz.records import findings as kinds
from pytest_modelviz.records.check_result import CheckResult, Status
from pytest_modelviz.records.verdict import Cause
from pytest_modelviz.reports.effect import effect_lines
from pytest_modelviz.reports.sentences import MOST_LISTED, sentence, sentences
from pytest_modelviz.text.counts import cut
from pytest_modelviz.text.printable import printable, printable_lines
from pytest_modelviz.text.side_by_side import apart, without_middle

MODEL_INPUT = "the model's input"  # where a drift begins that no module has made
_MOST_NOTES, _LONGEST = 20, 1000  # notes on what a comparison found, and letters of a sentence
_LONGEST_REASON = 10_000  # letters: it may quote the file, and end in commands that name tests
_MOST_SHORT = 999.5  # from here on a ratio has no three digits
_CAUSES = {  # those that do not speak for themselves
    Cause.ARCHITECTURE: "the model is built differently",
    Cause.COMPUTATION: "modules, weights and inputs are the same, the code computes something else",
    Cause.GRADIENT: "the forward pass is the same, the gradient is different",
}
_ERRORS = {"cam_map": " in the map", "saliency_map": " in the gradient", "activation_maximization": " in the climb"}
_REPEATABLE = "  nothing was recorded or compared: make it repeatable, or leave the random part out of the check"
_SILENT = {Status.MATCH, Status.RECORDED, Status.NOT_COMPARED}  # need no words but for notes
_LIMITS = (
    kinds.KinksFinding,
    kinds.UncomparedFinding,
    kinds.UnstatedFinding,
    kinds.UnrecordedPartsFinding,
    kinds.QuantisedAnewFinding,
)  # of what was compared: they stand under the notes
_NO_EVIDENCE = (*_LIMITS, kinds.OutputsFinding, kinds.NoiseFinding)


def explain(
    result: CheckResult,
    findings: Sequence[kinds.AnyFinding] = (),
    *,
    reason: str = "",
    commands: tuple[str, str] = ("", ""),
    notes: Sequence[str] = (),
    cause_text: str = "",
    whole: bool = False,
) -> str:
    """The message of one check; empty for what needs no words. Long lists are cut unless the `whole` is wanted.

    `commands` are what follows `pytest --modelviz-update` to select the test again, and `modelviz accept` to take what
    was captured; `notes` say what the check does not cover, `cause_text` what the cause means in this view, if that is
    something else than in others. Names and texts of models and files become printable.
    """
    if result.status in _SILENT and not (findings or notes):
        return ""
    result, findings, reason = printable(result), printable(findings), printable(reason)
    most, most_notes = (None, None) if whole else (MOST_LISTED, _MOST_NOTES)
    accept = accept_command(commands[1]) if result.candidate is not None else ""
    lines: list[str] = []
    match result.status:
        case Status.DRIFT:
            lines = _drift(result, findings, accept, printable(cause_text), most)
        case Status.MISSING:
            lines = [f"{result.name}: no baseline at {result.baseline}", ways_to_record(accept, commands[0])]
        case Status.UNREADABLE:
            why = without_middle(reason, _LONGEST_REASON)
            heading = f"{result.name}: the baseline {result.baseline} cannot be read: {why}"
            lines = [heading, *ways_to_replace(commands[0])]
        case Status.UNSTABLE:
            heading = f"{result.name}: two captures of the same model differ{_where(result)}"
            lines = [heading, *_differences(result, findings, most), f"  reason    {reason}", _REPEATABLE]
    limits = [each for each in findings if result.status is Status.MATCH or isinstance(each, _LIMITS)]
    if most_notes is not None and len(limits) > most_notes:
        limits = _of_all_kinds(limits)
    texts = [*map(printable, notes), *cut([_bounded(sentence(each), most) for each in limits], most_notes)]
    if texts and not lines:
        lines = [f"{result.name}: {result.status}"]
    return printable_lines("\n".join([*lines, *(f"  note      {text}" for text in texts)]))


def _of_all_kinds(findings: Sequence[kinds.AnyFinding]) -> list[kinds.AnyFinding]:
    """The same, the first of each kind before the others: whatever there is much of hides no other kind."""
    first = {type(finding): finding for finding in reversed(findings)}
    return sorted(findings, key=lambda finding: first[type(finding)] is not finding)


def _bounded(text: str, most: int | None = MOST_LISTED) -> str:
    """A sentence without its middle, if it is longer than any of ours: names in a baseline may be of any length."""
    return text if most is None else without_middle(text, _LONGEST)


def _drift(
    result: CheckResult, findings: Sequence[kinds.AnyFinding], accept: str, cause_text: str, most: int | None
) -> list[str]:
    steps = [finding.step for finding in findings if isinstance(finding, kinds.IncomparableStepsFinding)]
    happened = f"could be compared only up to step {steps[0] - 1}" if steps else "drifted"
    lines = [f"{result.name} {happened}{_where(result)}", *effect_lines(result.output)]
    if result.cause:
        meaning = cause_text or _CAUSES.get(result.cause)
        lines.append(f"  cause     {result.cause}{f': {meaning}' if meaning else ''}")
    lines += _differences(result, findings, most)
    if result.layers.compared > 1:
        drifted = result.layers.drifted or "none"
        outputs = [_bounded(sentence(finding)) for finding in findings if isinstance(finding, kinds.OutputsFinding)]
        shadows = [finding.state for finding in findings if isinstance(finding, kinds.ShadowFinding)]
        where = ", in float32" if "differs" in shadows else ""  # the output itself may agree in its lower precision
        lines.append(f"  spread    {drifted} of {result.layers.compared} layers{''.join(outputs[:1])}{where}")
    for key, (before, after) in result.environment_changes.items():
        lines.append(f"  changed   {key}: {before} -> {after}, since the baseline was recorded")
    return [*lines, f"  accept    {accept}"] if accept else lines


def _differences(result: CheckResult, findings: Sequence[kinds.AnyFinding], most: int | None) -> list[str]:
    """The error, where one was allowed; then a line a finding: the evidence, then what else differs, `most` of each."""
    lines = []
    if result.tolerance != 0.0:
        lines.append(f"  error     {amount(result.error, result.tolerance, error_of(result))}")
    for role in kinds.Role:
        own = [each for each in findings if each.role is role and not isinstance(each, _NO_EVIDENCE)]
        if role is kinds.Role.ALSO and most is not None and len(sentences(own)) > most:
            own = _of_all_kinds(own)
        texts = [_bounded(text, most) for text in cut(sentences(own), most)]
        lines += [f"  {'' if at else role.value:9} {text}" for at, text in enumerate(texts)]
    return lines


def accept_command(options: str) -> str:
    """The command that takes what was captured, given its options and the test."""
    return f"modelviz accept {options}"


def ways_to_record(accept: str, selection: str) -> str:
    """How to record a check without a baseline: by this command, if any, or by pytest."""
    return f"  record it: {f'{accept}, or ' if accept else ''}pytest --modelviz-update-missing {selection}"


def ways_to_replace(selection: str) -> list[str]:
    """How to replace a baseline that cannot be read."""
    return [
        f"  to replace it with the current capture: pytest --modelviz-update-all {selection}",
        "  this records all checks of the test, not only this one",
    ]


def _where(result: CheckResult) -> str:
    first = result.first_divergence
    if first is None:
        return ""
    call = f", call {first.call}" if first.call else ""
    return _bounded(f", first at {place_name(result, call)}")


def place_name(result: CheckResult, call: str = "") -> str:
    """Where a drift begins: `conv1 (Conv2d)`, and what is neither in a layer nor in the model's own code."""
    first = result.first_divergence
    if first is None or (not first.layer and result.cause is Cause.INPUT):
        return MODEL_INPUT
    return f"{first.layer or 'the model itself'} ({first.class_name}{call})"


def error_of(result: CheckResult) -> str:
    """What the error of a result is an error of, as words that follow the number."""
    first = result.first_divergence
    at_first = " at the first difference" if first is not None and first.error == result.error else ""
    return _ERRORS.get(result.view, at_first)


def amount(error: float | None, tolerance: float | None, of: str = "") -> str:
    """An error as a multiple of what is allowed, so that nobody mistakes a ratio for per cent."""
    if error is None:
        return "no single number: the evidence says what differs"
    if not tolerance:
        return f"{error:.2g}{of}, no difference is allowed"
    ratio, (size, allowed) = error / tolerance, apart(error, tolerance, 2)
    times = apart(ratio, 1.0)[0] if ratio < _MOST_SHORT else f"{ratio:,.0f}"
    return f"{size}{of}, {times} times what is allowed ({allowed})"
