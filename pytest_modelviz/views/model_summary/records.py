"""What `model_summary` returns, and the facts that it makes: a row for each module. Knows no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_modelviz.records.call_order import Runs
from pytest_modelviz.text.natural import natural


@dataclass(frozen=True)
class LayerSummary:
    """One module. `inputs` and `outputs` are texts such as `float32[1, 64, 56, 56]`, empty where it never ran.

    `parameters` and `buffers` map own names to the same kind of text; `mult_adds` counts the module's own code.
    `attributes` are plain values that the module keeps beside `config`, `state` names buffers that are not saved and
    that the pass itself makes, writes or gives another shape, `runs` is what it calls, in that order, None where that
    is each of its children once (see `call_order`). `forward` names the parameters of its forward, where not all of
    them are given to it.
    """

    name: str
    class_name: str
    config: str
    parameters: Mapping[str, str]
    buffers: Mapping[str, str]
    frozen: tuple[str, ...]
    inputs: str = ""
    outputs: str = ""
    calls: int = 0
    mult_adds: int = 0
    attributes: Mapping[str, str] = field(default_factory=dict)
    state: tuple[str, ...] = ()
    runs: Runs | None = None
    forward: str = ""

    def to_row(self) -> dict[str, Any]:
        """As facts hold it: what is empty is left out."""
        row = {
            "class": self.class_name,
            "config": self.config,
            "in": self.inputs,
            "forward": self.forward,
            "out": self.outputs,
            "parameters": dict(self.parameters),
            "buffers": dict(self.buffers),
            "frozen": list(self.frozen),
            "calls": self.calls,
            "mult_adds": self.mult_adds,
            "attributes": dict(self.attributes),
            "state": list(self.state),
            "runs": self.runs,
        }
        # a module that runs nothing, though it has children, says so
        return {key: value for key, value in row.items() if value or key == "class" or (key == "runs" and value == [])}


@dataclass(frozen=True)
class ModelSummary:
    """What `model_summary` returns. Counts are of elements; shared parameters count once. `str()` is a table."""

    layers: Mapping[str, LayerSummary]
    total_params: int
    trainable_params: int
    buffer_elements: int
    parameter_bytes: int
    mult_adds: int
    ties: tuple[tuple[str, ...], ...]
    table: str = field(repr=False)

    def __str__(self) -> str:
        return self.table

    def to_facts(self) -> dict[str, Any]:
        """As JSON can hold it: one module a line."""
        rows = {name: self.layers[name].to_row() for name in sorted(self.layers, key=natural)}
        common = _common_attributes(rows)
        return {
            "totals": {
                "parameters": self.total_params,
                "trainable": self.trainable_params,
                "buffers": self.buffer_elements,
                "parameter_bytes": self.parameter_bytes,
                "mult_adds": self.mult_adds,
            },
            "ties": [list(group) for group in self.ties],
            "layers": rows,
            **({"attributes": common} if common else {}),
        }


def _common_attributes(rows: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, str]]:
    """Take out of the rows those attributes that all modules of a class share, and return them by class."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows.values():
        groups.setdefault(row["class"], []).append(row)
    common = {}
    for name, alike in groups.items():
        first = alike[0].get("attributes", {})
        shared = {k: v for k, v in first.items() if all(row.get("attributes", {}).get(k) == v for row in alike)}
        for row in alike if shared else ():
            row["attributes"] = {key: text for key, text in row["attributes"].items() if key not in shared}
            if not row["attributes"]:
                del row["attributes"]
        if shared:
            common[name] = shared
    return common
