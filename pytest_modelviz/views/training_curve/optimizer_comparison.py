"""How two trainings differ in what moves their parameters: optimisers, their options, their schedules."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from pytest_modelviz.compare.bracketed import in_one_order
from pytest_modelviz.compare.ignored import is_ignored
from pytest_modelviz.compare.volatile import lasting, normalised
from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.findings import UnstatedFinding
from pytest_modelviz.views.training_curve.findings import OptimizerFinding
from pytest_modelviz.views.training_curve.optimizer_records import OptimizerRecord, Option, Options

# Options are numbers that were written down, and rates computed from them, whose last digits are the processor's.
_SAME_OPTION = 1e-6
_ABSENT = "absent"
_SINCE_TORCH_2_7 = frozenset({"decoupled_weight_decay"})  # options that a run with an earlier version cannot have
_MOST_LISTED = 4
_LONGEST_PREFIX = 1000  # letters of the path to nested options
_ATTACHED = "initial_lr"  # what a scheduler leaves in the groups of its optimiser, wherever it is kept


def optimizer_findings(
    before: Sequence[OptimizerRecord] | None, after: Sequence[OptimizerRecord] | None, ignored: Sequence[str] = ()
) -> list[OptimizerFinding]:
    """Find what differs in the optimisers' classes, options and parameters' names.

    Options that two processes do not share, or that match one of the globs in `ignored`, are left out. Where only one
    side was given its optimisers, that is another question.
    """
    if before is None or after is None:
        given = ["not given" if records is None else "given" for records in (before, after)]
        return [] if before is after else [OptimizerFinding("optimizer=", *given)]
    if len(before) != len(after):
        return [OptimizerFinding("optimisers", *(", ".join(map(_label, records)) for records in (before, after)))]
    return [finding for pair in zip(before, after, strict=True) for finding in _compare(*pair, ignored)]


def unstated_options(
    before: Sequence[OptimizerRecord] | None, after: Sequence[OptimizerRecord] | None, ignored: Sequence[str] = ()
) -> list[UnstatedFinding]:
    """Find the options of the actual optimisers and schedulers that the baseline lacks.

    Where `optimizer_findings` finds nothing, all of these are off.
    """
    labels: dict[str, dict[str, None]] = {}
    for pair in zip(before or (), after or (), strict=False):
        old, new = (_without(record, ignored) for record in pair)
        groups = zip(old.groups, new.groups, strict=False)
        schedulers = zip(old.schedulers, new.schedulers, strict=False)
        holders = [
            (_label(new), old.options, new.options),
            *((_label(new), earlier.options, later.options) for earlier, later in groups),
            *((later.class_name, earlier.options, later.options) for earlier, later in schedulers),
        ]
        for label, stated, options in holders:
            known = _lasting(stated)
            labels.setdefault(label, {}).update(dict.fromkeys(key for key in _lasting(options) if key not in known))
    return [
        UnstatedFinding(f"how {_listed(list(names))} of {label} {'is' if len(names) == 1 else 'are'} set")
        for label, names in labels.items()
        if names
    ]


def option_names(records: Sequence[OptimizerRecord]) -> Iterator[tuple[str, str]]:
    """(class, option) of all that a user may want to ignore, each also without its class."""
    for record in records:
        names = [name for name, _ in _flat(record.options)] + [key for group in record.groups for key in group.options]
        yield from ((holder, name) for name in names for holder in ("", record.class_name))
        for scheduler in record.schedulers:
            yield from ((holder, name) for name, _ in _flat(scheduler.options) for holder in ("", scheduler.class_name))


def _label(record: OptimizerRecord) -> str:
    return f"{record.class_name} {record.name!r}" if record.name else record.class_name


def _compare(before: OptimizerRecord, after: OptimizerRecord, ignored: Sequence[str]) -> list[OptimizerFinding]:
    before, after = (_without(record, ignored) for record in (before, after))
    label = _label(before)
    findings: list[OptimizerFinding] = []
    if before.class_name != after.class_name:
        label = f"{label} -> {after.class_name}"
        findings.append(OptimizerFinding("class", before.class_name, after.class_name))
    defaults = after.defaults if before.class_name == after.class_name else None
    differing = _differences(before.options, after.options, defaults)
    findings += [_option(key, label, old, new) for key, old, new in differing]
    options = _group_options(before, after, label, defaults)
    findings += [*options, *_parameters(before, after, label), *_schedulers(before, after, label)]
    return findings if options else [*findings, *_schedules(before, after, label)]


def _without(record: OptimizerRecord, ignored: Sequence[str]) -> OptimizerRecord:
    """The record without options that are ignored: a glob is held against `<class>.<option>` and the option alone."""
    if not ignored:
        return record
    own = record.class_name

    def without(options: Options, holder: str) -> dict[str, Option]:
        layers = ("", holder)
        return {key: value for key, value in options.items() if not any(is_ignored(ignored, at, key) for at in layers)}

    return replace(
        record,
        options=without(dict(_flat(record.options)), own),
        groups=tuple(replace(group, options=without(group.options, own)) for group in record.groups),
        schedulers=tuple(
            replace(each, options=without(dict(_flat(each.options)), each.class_name)) for each in record.schedulers
        ),
        schedules={
            key: steps for key, steps in record.schedules.items() if without({key.partition(".")[2]: None}, own)
        },
    )


def _option(key: str, label: str, before: Option, after: Option) -> OptimizerFinding:
    return OptimizerFinding(f"{key} ({label})", _text(before), _text(after))


def _group_options(
    before: OptimizerRecord, after: OptimizerRecord, label: str, defaults: Options | None
) -> list[OptimizerFinding]:
    if len(before.groups) != len(after.groups):
        return [_option("parameter groups", label, len(before.groups), len(after.groups))]
    also = () if _stated(before) == _stated(after) else (_ATTACHED,)  # a finding of its own says so
    rows: dict[tuple[str, str, str], list[int]] = {}
    for at, pair in enumerate(zip(before.groups, after.groups, strict=True)):
        earlier, later = ({key: value for key, value in g.options.items() if key not in also} for g in pair)
        for key, old, new in _differences(earlier, later, defaults):
            rows.setdefault((key, _text(old), _text(new)), []).append(at)
    findings = []
    for (key, before_text, after_text), groups in rows.items():
        everywhere = len(groups) == len(before.groups)
        where = label if everywhere else f"{label}, {'group' if len(groups) == 1 else 'groups'} {_listed(groups)}"
        findings.append(OptimizerFinding(f"{key} ({where})", before_text, after_text))
    return findings


def _parameters(before: OptimizerRecord, after: OptimizerRecord, label: str) -> list[OptimizerFinding]:
    """Parameters that only one of them moves, and those that are in another group."""
    lost, gained = (Counter(name for group in record.groups for name in group.parameters) for record in (before, after))
    findings = [
        _option(_listed(sorted(names.elements())), label, *states)
        for names, states in ((lost - gained, ("optimised", "left out")), (gained - lost, ("left out", "optimised")))
        if names
    ]
    if findings or len(before.groups) != len(after.groups):
        return findings
    left: dict[str, list[int]] = {}  # the groups that no longer have a parameter of this name
    entered: dict[str, list[int]] = {}
    for at, pair in enumerate(zip(before.groups, after.groups, strict=True)):
        old, new = (Counter(group.parameters) for group in pair)
        for groups, names in ((left, old - new), (entered, new - old)):
            for name in names.elements():
                groups.setdefault(name, []).append(at)
    moved: dict[tuple[int, int], list[str]] = {}
    for name in sorted(left):
        for move in zip(left[name], entered[name], strict=True):
            moved.setdefault(move, []).append(name)
    return [_option(_listed(names), label, f"group {at}", f"group {to}") for (at, to), names in moved.items()]


def _schedulers(before: OptimizerRecord, after: OptimizerRecord, label: str) -> list[OptimizerFinding]:
    if _stated(before) != _stated(after):
        return [_option("scheduler", label, *(_scheduler_text(record) for record in (before, after)))]
    return [
        _option(f"{earlier.class_name} {key}", label, old, new)
        for earlier, later in zip(before.schedulers, after.schedulers, strict=True)
        for key, old, new in _differences(earlier.options, later.options, later.defaults)
    ]


def _stated(record: OptimizerRecord) -> tuple[str, ...] | bool:
    """The classes of an optimiser's schedulers, or whether it has any that were not found."""
    classes = tuple(scheduler.class_name for scheduler in record.schedulers)
    return classes or any(_ATTACHED in group.options for group in record.groups)


def _scheduler_text(record: OptimizerRecord) -> str:
    stated = _stated(record)
    if isinstance(stated, tuple):
        return ", ".join(stated)
    return "one that the step function does not name" if stated else "none"


def _schedules(before: OptimizerRecord, after: OptimizerRecord, label: str) -> list[OptimizerFinding]:
    """Of each option that moved while training the first step at which it was another one."""
    changes: dict[tuple[str, int, str, str], None] = {}
    starts = {f"{at}.{name}": value for at, group in enumerate(before.groups) for name, value in group.options.items()}
    for key in {**before.schedules, **after.schedules}:
        earlier, later = (record.schedules.get(key, {0: starts.get(key)}) for record in (before, after))
        old = new = None
        for step in sorted({*earlier, *later}):
            old, new = earlier.get(step, old), later.get(step, new)
            if not _same(old, new):
                changes[key.partition(".")[2], step, _text(old), _text(new)] = None
                break
    return [_option(f"{name} of step {step}", label, old, new) for name, step, old, new in changes]


def _differences(before: Options, after: Options, defaults: Options | None) -> Iterator[tuple[str, Option, Option]]:
    """(option, before, after) of what differs.

    An option of torch that is off by `defaults` may be missing on either side. Of two classes, for which `defaults` are
    None, only what is on now is reported.
    """
    old, new = _lasting(before), _lasting(after)
    if _doubled(before) - _doubled(after):
        raise UnreadableBaselineError("its optimiser facts name an option twice")
    for key in {**old, **new}:
        if key in old and key in new:
            if not (_same(old[key], new[key]) or _lasting_text(old[key]) == _lasting_text(new[key])):
                yield key, old[key], new[key]
        elif new.get(key) or (defaults is not None and not _is_off(key, old, new, defaults)):
            yield key, old.get(key, _ABSENT), new.get(key, _ABSENT)


def _is_off(key: str, old: Options, new: Options, defaults: Options) -> bool:
    """Whether an option that only one side has is off: which options a class of torch has depends on its version."""
    if key in new:
        return key in defaults and repr(new[key]) == repr(defaults[key])
    return key in _SINCE_TORCH_2_7 and old[key] is False and bool(defaults)


def _flat(options: Options, prefix: str = "") -> Iterator[tuple[str, Option]]:
    """Nested options (schedulers made of schedulers) one by one, by their path.

    Raises UnreadableBaselineError where the paths would take far more room than the file.
    """
    if len(prefix) > _LONGEST_PREFIX:
        raise UnreadableBaselineError(f"it claims an impossible option of an optimiser, {prefix[:80]!r}")
    for key, value in options.items():
        name = f"{prefix}{key.lstrip('_')}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}.")
        elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
            for at, item in enumerate(value):
                yield from _flat(item if isinstance(item, Mapping) else {"": item}, f"{name}[{at}].")
        else:
            yield name, value


def _doubled(options: Options) -> set[str]:
    """Paths that stand there more than once, with and without underscores before them."""
    return {key for key, count in Counter(key for key, _ in _flat(options)).items() if count > 1}


def _lasting(options: Options) -> dict[str, Option]:
    """Options that two processes share, by their path."""
    flat = dict(_flat(options))
    names = lasting({key: repr(value) for key, value in flat.items()})
    return {key: value for key, value in flat.items() if key in names}


def _lasting_text(option: Option) -> str:
    return in_one_order(normalised(repr(option)))


def _same(before: Option, after: Option) -> bool:
    if isinstance(before, (int, float)) and isinstance(after, (int, float)):
        return math.isclose(before, after, rel_tol=_SAME_OPTION)
    if isinstance(before, list) and isinstance(after, list):
        return len(before) == len(after) and all(map(_same, before, after))
    return bool(before == after)


def _text(value: Option) -> str:
    return f"({', '.join(_text(item) for item in value)})" if isinstance(value, list) else str(value)


def _listed(values: Sequence[object]) -> str:
    texts = [str(value) for value in values]
    rest = len(texts) - _MOST_LISTED
    return ", ".join(texts) if rest <= 1 else f"{', '.join(texts[:_MOST_LISTED])} and {rest} more"
