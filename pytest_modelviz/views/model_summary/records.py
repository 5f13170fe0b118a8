"""What `model_summary` returns, and the facts that it makes: a row for each module. Knows no torch."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from pytest_modelviz.records.call_order import Runs
from pytest_modelviz.text.natural import natural
from pytest_modelviz.text.strict_json import JsonObject


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
    other_inputs: tuple[str, ...] = ()

    def to_row(self, common: Collection[str] = ()) -> JsonObject:
        """As facts hold it: what is empty is left out, and so are the attributes in `common`."""
        row: JsonObject = {
            "class": self.class_name,
            "config": self.config,
            "in": self.inputs,
            "other_in": list(self.other_inputs),
            "forward": self.forward,
            "out": self.outputs,
            "parameters": dict(self.parameters),
            "buffers": dict(self.buffers),
            "frozen": list(self.frozen),
            "calls": self.calls,
            "mult_adds": self.mult_adds,
            "attributes": {key: text for key, text in self.attributes.items() if key not in common},
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

    def to_facts(self) -> JsonObject:
        """As JSON can hold it: one module a line."""
        layers = [self.layers[name] for name in sorted(self.layers, key=natural)]
        common = _common_attributes(layers)
        return {
            "totals": {
                "parameters": self.total_params,
                "trainable": self.trainable_params,
                "buffers": self.buffer_elements,
                "parameter_bytes": self.parameter_bytes,
                "mult_adds": self.mult_adds,
            },
            "ties": [list(group) for group in self.ties],
            "layers": {layer.name: layer.to_row(common.get(layer.class_name, {})) for layer in layers},
            **({"attributes": common} if common else {}),
        }


def _common_attributes(layers: Iterable[LayerSummary]) -> dict[str, dict[str, str]]:
    """By class, those attributes that all of its modules share."""
    common: dict[str, dict[str, str]] = {}
    for layer in layers:
        shared = common.get(layer.class_name, layer.attributes).items()
        common[layer.class_name] = {key: text for key, text in shared if layer.attributes.get(key) == text}
    return {name: shared for name, shared in common.items() if shared}
