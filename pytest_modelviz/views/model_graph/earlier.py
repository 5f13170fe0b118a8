"""What earlier versions did not record of a graph: with a baseline of theirs, it is not compared. Knows no torch."""

from dataclasses import replace

from pytest_modelviz.records.structure import WRITTEN
from pytest_modelviz.views.model_graph.constants import without_large_values
from pytest_modelviz.views.model_graph.records import DATA_WRITE, TENSOR, Operator, OperatorGraph

_LONE_TENSOR = ("output: tensor",)


def as_earlier_versions(graph: OperatorGraph) -> OperatorGraph:
    """A graph without the values of large constants, arguments of tensors and other things, and what is written."""
    outputs = graph.outputs[: len(graph.outputs) - sum(_is_written_tensor(text) for text in graph.returned or ())]
    return replace(
        graph,
        operators=tuple(map(_operator, (op for op in graph.operators if op.kind != DATA_WRITE))),
        outputs=tuple(map(without_large_values, outputs)),
        returned=None if graph.returned != _LONE_TENSOR else graph.returned,
    )


def _is_written_tensor(returned: str) -> bool:
    path, _, text = returned.rpartition(": ")
    return path.endswith(WRITTEN) and text == "tensor"


def _operator(operator: Operator) -> Operator:
    arguments = {name: text for name, text in operator.arguments.items() if TENSOR not in text}
    return replace(operator, inputs=tuple(map(without_large_values, operator.inputs)), arguments=arguments)
