"""Whose code it is: which module reads a module that is never called, which one calls another, which to name first."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_modelviz.compare.evidence import config_findings, module_findings
from pytest_modelviz.records.findings import LayerFinding, ModuleFinding
from pytest_modelviz.records.structure import ModelStructure
from pytest_modelviz.records.trace import ForwardTrace
from pytest_modelviz.text.dotted import holders

MODULE_CONTAINERS = ("ModuleList", "ModuleDict", "ParameterList", "ParameterDict")  # they call nothing


def own_modules(layer: str, trace: ForwardTrace) -> list[str]:
    """A layer and the modules below it that only its own code can read, because they are never called.

    What lies below another module that was called is for that one to read.
    """
    called = {call.layer for call in trace.calls} - {layer}
    own: list[str] = []
    readable = {layer}
    for name in trace.modules:  # parents come before their children
        if name == layer:
            own.append(name)
        elif name and name not in called and name.rpartition(".")[0] in readable:
            own.append(name)
            readable.add(name)
    return own


def construction_findings(layer: str, baseline: ForwardTrace, actual: ForwardTrace) -> list[LayerFinding]:
    """How a layer, and all modules that only its own code can read, are built differently."""
    own = dict.fromkeys([*own_modules(layer, baseline), *own_modules(layer, actual)])
    structures = baseline.structure, actual.structure
    findings: list[LayerFinding] = [f for f in module_findings(*structures) if f.layer in own]
    for name in own:
        findings += config_findings(name, *structures)
    return findings


def calling_layer(name: str, baseline: ModelStructure, actual: ModelStructure) -> str:
    """The layer whose code calls a module, or no longer does: the nearest around it that both models have."""
    while name:
        name = name.rpartition(".")[0]
        record = baseline.modules.get(name)
        if record is not None and name in actual.modules and record.class_name not in MODULE_CONTAINERS:
            break
    return name


def first_changed_layer(
    findings: Sequence[LayerFinding], baseline: ModelStructure, actual: ModelStructure, *, passes_agree: bool = False
) -> str:
    """The layer to name for models that are built differently, where no event of a pass says which comes first.

    It is the first in the order of the modules, each after all that it holds. For a module that was added or removed
    it is the layer that calls it, unless `passes_agree` shows that it changes nothing.
    """
    layers = [
        calling_layer(f.layer, baseline, actual) if isinstance(f, ModuleFinding) and not passes_agree else f.layer
        for f in findings
    ]
    ranks = dict.fromkeys(layers, 0)  # of the last module that each of them holds
    lengths = {len(layer) for layer in ranks}
    for rank, name in enumerate(dict.fromkeys((*baseline.modules, *actual.modules))):
        ranks.update(dict.fromkeys(holders(name, ranks, lengths), rank))
        if "" in ranks:
            ranks[""] = rank
    return min(ranks, key=lambda layer: (ranks[layer], -len(layer)))
