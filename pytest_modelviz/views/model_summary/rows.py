"""A module's row in one summary beside its row in another, field by field.

Rows are read out of facts, of which a baseline's may say anything.
"""

import json
from collections.abc import Mapping, Sequence

from pytest_modelviz.compare.arguments import matched_arguments
from pytest_modelviz.compare.bracketed import in_one_order
from pytest_modelviz.compare.devices import same_but_for_devices
from pytest_modelviz.compare.ignored import lasting_text
from pytest_modelviz.compare.precision import is_quantised
from pytest_modelviz.compare.texts import same, same_setting
from pytest_modelviz.records.facts import rows
from pytest_modelviz.records.structure import NOT_SAVED, ModuleRecord, require_recordable
from pytest_modelviz.records.trace import Leaf, Leaves
from pytest_modelviz.text.side_by_side import split_items, split_path
from pytest_modelviz.text.strict_json import JsonObject, JsonValue
from pytest_modelviz.views.model_summary.findings import Field, FieldFinding
from pytest_modelviz.views.model_summary.ranges import with_ranges

Rows = Mapping[str, JsonObject]

# What a module is made of comes before what follows from it: a changed stride explains a changed output shape.
STRUCTURE: tuple[Field, ...] = ("class", "config", "parameters", "buffers", "frozen")
BEHAVIOUR: tuple[Field, ...] = ("in", "out", "calls", "mult_adds")
COMPARED = (*STRUCTURE, *BEHAVIOUR)

_NORMS = ("BatchNorm", "GroupNorm", "InstanceNorm", "LayerNorm", "SyncBatchNorm")  # how torch's begin
_FUSED = ("RNN", "GRU", "LSTM")  # classes that accelerators run in kernels of their own


def listed(facts: JsonObject) -> dict[str, JsonObject]:
    """The rows of a summary as they stand. Raises UnreadableBaselineError for what is none."""
    layers = rows(facts, "layers")
    require_recordable(layers)
    return layers


def layers_of(facts: JsonObject, ignored: Sequence[str] = ()) -> Rows:
    """The rows of a summary, without configuration that two processes do not share or that is ignored."""
    layers = listed(facts)
    for name, row in layers.items():
        text, given = row.get("config"), row.get("in")
        if isinstance(text, str):
            layers[name] = {**row, "config": lasting_text(text, ignored, name)}
        if isinstance(given, str):  # earlier versions wrote every index
            layers[name] = {**layers[name], "in": with_ranges(given)}
    return {name: _with_packed_bias(row) for name, row in layers.items()}


def built(layers: Rows) -> dict[str, JsonObject]:
    """What modules are made of: by that one is known again under another name."""
    made: dict[str, JsonObject] = {}
    for name, row in layers.items():
        config = row.get("config")
        ordered = {"config": in_one_order(config)} if isinstance(config, str) else {}
        made[name] = {**{key: row[key] for key in STRUCTURE if key in row}, **ordered}
    return made


def _with_packed_bias(row: JsonObject) -> JsonObject:
    """A row whose bias is a buffer if its weight is quantised: it depends on the engine whether torch gives it back so.

    Torch packs both; what it packed as a parameter, frozen or not, may come back as one.
    """
    parameters, buffers = _mapping(row.get("parameters")), _mapping(row.get("buffers"))
    if "bias" not in parameters or not is_quantised(str(buffers.get("weight"))):
        return row
    remaining = {name: text for name, text in parameters.items() if name != "bias"}
    frozen = row.get("frozen")
    others = [name for name in frozen if name != "bias"] if isinstance(frozen, (list, tuple)) else frozen
    return {
        **row,
        "parameters": remaining or None,
        "buffers": {**buffers, "bias": parameters["bias"]},
        "frozen": others or None,
    }


def field_findings(name: str, before: JsonObject, after: JsonObject) -> list[FieldFinding]:
    findings: list[FieldFinding] = []
    for key in COMPARED:
        old, new = before.get(key), after.get(key)
        if key == "config" and _is_same_config(before, after):
            continue
        if old != new and (isinstance(old, Mapping) or isinstance(new, Mapping)):
            findings += _entries(name, key, _mapping(old), _mapping(new))
        elif not (
            _same_inputs(before, after) if key == "in" else same(old, new) or _depends_on_device(key, before, after)
        ):
            findings.append(FieldFinding(name, key, _text(old), _text(new), key))
    return findings


def _is_same_config(before: JsonObject, after: JsonObject) -> bool:
    """Whether two rows state the same configuration, in whatever version of torch."""
    old, new = before.get("config"), after.get("config")
    if not isinstance(old, str) or not isinstance(new, str):
        return False
    return same_setting(old, new) or same_setting(_without_bias(old, before), _without_bias(new, after))


def _without_bias(config: str, row: JsonObject) -> str:
    """Configuration of a norm without whether it has a bias, where its parameters say the same.

    Torch 2.14 states it, and 2.6 did not.
    """
    if not str(row.get("class")).startswith(_NORMS):
        return config
    return config.replace(f", bias={'bias' in _mapping(row.get('parameters'))}", "")


def without_state(before: JsonObject, after: JsonObject, *, is_run: bool) -> tuple[JsonObject, JsonObject, list[str]]:
    """Both rows without buffers that a pass fills itself: what these hold depends on what ran before.

    Only buffers that are not saved can be such; without a pass it is not known which. The last value names those that
    only the baseline marks, and that differ: they are not compared, and the report mentions them.
    """
    old, new = (_mapping(row.get("buffers")) for row in (before, after))
    if old == new:
        return before, after, []
    states = (row.get("state") for row in (before, after))
    earlier, marked = ({str(name) for name in state} if isinstance(state, (list, tuple)) else set() for state in states)
    state = {
        name
        for name in {*old, *new}
        if (name in marked or (name in earlier if is_run else name in old and name in new))
        and all(str(table[name]).endswith(NOT_SAVED) for table in (old, new) if name in table)
    }
    remaining = ({name: text for name, text in table.items() if name not in state} for table in (old, new))
    buffers = [table or None for table in remaining]
    uncompared = sorted(name for name in state - marked if old.get(name) != new.get(name))
    return {**before, "buffers": buffers[0]}, {**after, "buffers": buffers[1]}, uncompared


def _same_inputs(before: JsonObject, after: JsonObject) -> bool:
    """Whether a module is given the same arguments, but for devices: a parameter of another name is no other input."""
    others = after.get("other_in")
    if isinstance(others, (list, tuple)) and before.get("in") in others:  # a baseline of an earlier version
        after = {**after, "in": before["in"]}
    if before.get("in") == after.get("in") and before.get("forward") == after.get("forward"):
        return True
    (given, old), (received, new) = map(_arguments, (before, after))
    given, received = matched_arguments(given, received, old, new)
    return given.keys() == received.keys() and all(
        same(leaf.literal, received[path].literal)
        or same_but_for_devices(_text(leaf.literal), _text(received[path].literal), path)
        for path, leaf in given.items()
    )


def _arguments(row: JsonObject) -> tuple[Leaves, ModuleRecord]:
    """What a module is given, by paths, and its parameters: those given, where the row does not name others.

    An argument that the row does not name, or whose name it has used before, is called "0" if it is the first, and
    another thing if an argument is called so: none takes the place of another.
    """
    leaves: dict[str, Leaf] = {}
    for number, item in enumerate(split_items(str(row.get("in") or ""))):
        path, colon, text = item.partition(": ")
        is_named = colon and path not in leaves
        key = path if is_named else str(number)
        while key in leaves:
            key += "'"
        leaves[key] = Leaf(literal=text if is_named else item)
    signature = row.get("forward") or ", ".join(dict.fromkeys(split_path(path)[0] for path in leaves))
    return leaves, ModuleRecord("", {"forward": str(signature)}, {})


def _depends_on_device(key: str, before: JsonObject, after: JsonObject) -> bool:
    """Whether nothing differs but the device: its name, or that nothing was counted in its fused kernels."""
    old, new = before.get(key), after.get(key)
    if key == "out":
        items = [split_items(_text(value)) for value in (old, new)]
        return len(items[0]) == len(items[1]) and all(map(_same_item, *items))
    uncounted = key == "mult_adds" and new is None
    return uncounted and before.get("class") == after.get("class") and before.get("class") in _FUSED


def _same_item(old: str, new: str) -> bool:
    (path, mark, before), (own, own_mark, after) = (item.partition(": ") for item in (old, new))
    if not (mark and own_mark):
        return same_but_for_devices(old, new, "")
    return path == own and same_but_for_devices(before, after, own)


def _mapping(value: JsonValue) -> JsonObject:
    return value if isinstance(value, Mapping) else {}


def _entries(name: str, field: Field, before: JsonObject, after: JsonObject) -> list[FieldFinding]:
    """Parameters or buffers, one by one; where only their order changed, that."""
    keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    if not keys:
        return [FieldFinding(name, field, ", ".join(before), ", ".join(after), field)]
    noun = field.removesuffix("s")
    return [FieldFinding(name, f"{noun} {key}", _text(before.get(key)), _text(after.get(key)), field) for key in keys]


def _text(value: JsonValue) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)
