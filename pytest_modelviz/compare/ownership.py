"""Which module's code reads or calls another module, and which module to name where several changed."""

from collections.abc import Sequence

from pytest_modelviz.compare.evidence import configuration_findings, module_findings, objects_of
from pytest_modelviz.records.findings import LayerFinding, ModuleFinding
from pytest_modelviz.records.structure import ModelStructure
from pytest_modelviz.records.trace import ForwardTrace
from pytest_modelviz.text.dotted import holders

MODULE_CONTAINERS = ("ModuleList", "ModuleDict", "ParameterList", "ParameterDict")  # they call nothing


class Ownership:
    """Which modules only the code of a layer can read."""

    def __init__(self, trace: ForwardTrace) -> None:
        self._modules = trace.modules
        self._uncalled: dict[str, list[str]] = {}  # children, by their parents
        called = {call.layer for call in trace.calls}
        for name in trace.modules:
            if name and name not in called:
                self._uncalled.setdefault(name.rpartition(".")[0], []).append(name)

    def own_modules(self, layer: str) -> list[str]:
        """A layer and the modules below it that only its own code can read, because they are never called.

        What lies below another module that was called is for that one to read.
        """
        own: list[str] = []
        waiting = [layer] if layer in self._modules else []
        while waiting:
            own.append(waiting.pop())
            waiting += reversed(self._uncalled.get(own[-1], []))
        return own


class ConstructionComparison:
    """How the layers of two models are built differently. What is said of a layer is remembered."""

    def __init__(self, baseline: ForwardTrace, actual: ForwardTrace) -> None:
        self._structures = baseline.structure, actual.structure
        self._owners = Ownership(baseline), Ownership(actual)
        self._objects = objects_of(*self._structures)
        self._findings: dict[str, list[LayerFinding]] = {}

    def own_modules(self, layer: str) -> list[str]:
        """A layer of the baseline and the modules below it that only its own code can read."""
        return self._owners[0].own_modules(layer)

    def findings(self, layer: str) -> list[LayerFinding]:
        """How a layer, and all modules that only its own code can read, are built differently."""
        if layer not in self._findings:
            own = dict.fromkeys(name for owner in self._owners for name in owner.own_modules(layer))
            configured = configuration_findings(own, *self._structures, self._objects)
            self._findings[layer] = [*module_findings(*self._structures, among=own), *configured]
        return [*self._findings[layer]]


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
