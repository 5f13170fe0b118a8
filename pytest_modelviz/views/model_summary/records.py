"""What `model_summary` returns, and the facts that it makes: a row for each module. Knows no torch."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from pytest_modelviz.records.call_order import Runs
from pytest_modelviz.text.natural import natural
from pytest_modelviz.text.strict_json import JsonObject
from pytest_modelviz.views.model_summary.ranges import with_ranges


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
        """As facts hold it: what is empty is left out, and so are the attributes in `common`; see `ranges`."""
        row: JsonObject = {
            "class": self.class_name,
            "config": self.config,
            "in": with_ranges(self.inputs),
            "other_in": [with_ranges(text) for text in self.other_inputs],
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


class DeferredText:
    """A field whose value is a text or a function, which is called when the text is first asked for."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = f"_{name}"

    def __get__(self, instance: object | None, owner: type | None = None) -> str:
        if instance is None:
            raise AttributeError(f"only an instance has {self._name[1:]}")
        value = vars(instance)[self._name]
        if not isinstance(value, str):
            value = vars(instance)[self._name] = value()
        return str(value)

    def __set__(self, instance: object, value: str | Callable[[], str]) -> None:
        vars(instance)[self._name] = value


@dataclass(frozen=True)
class ModelSummary:
    """What `model_summary` returns. Counts are of elements; shared parameters count once. `str()` is `table`.

    `table` is torchinfo's, which runs the model once more: it is made when it is first asked for, of the model as it
    stands then, and kept. All else is of the moment of the capture.
    """

    layers: Mapping[str, LayerSummary]
    total_params: int
    trainable_params: int
    buffer_elements: int
    parameter_bytes: int
    mult_adds: int
    ties: tuple[tuple[str, ...], ...]
    table: DeferredText = field(default=DeferredText(), repr=False)

    def __str__(self) -> str:
        return self.table

    def __getstate__(self) -> dict[str, object]:
        """What is copied or pickled holds the table, not the model."""
        return {**vars(self), "_table": self.table}

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
