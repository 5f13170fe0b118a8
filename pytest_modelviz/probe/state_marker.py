"""State that a pass has changed in a model's modules, as their records must say: it is no configuration."""

import operator
from collections.abc import Sequence
from dataclasses import replace

import torch

from pytest_modelviz.probe.modules import own_attributes, unsaved_buffers
from pytest_modelviz.probe.purity import state_of
from pytest_modelviz.probe.torch_internals import buffer_table
from pytest_modelviz.records.structure import ATTRIBUTE_SUFFIX, PACKED, REWRITTEN, UNSAVED, ModuleRecord


class ModuleStateMarker:
    """Notes what modules hold before a pass, and marks what it has changed."""

    def __init__(self, named: Sequence[tuple[str, torch.nn.Module]]) -> None:
        self._named = named
        self._buffers: list[tuple[str, torch.nn.Module, str, torch.Tensor, object]] = []  # module, buffer, its state
        self._attributes = [
            (name, module, own_attributes(module))
            for name, module in named
            if not isinstance(module, torch.jit.ScriptModule)
        ]

    def begin(self) -> None:
        """The pass begins."""
        self._buffers = [
            (name, module, local, buffer, state_of(buffer))
            for name, module in self._named
            for local, buffer in unsaved_buffers(module)
        ]

    def mark(self, modules: dict[str, ModuleRecord]) -> None:
        """The pass has ended: change the records of these modules."""
        self._forget_state(modules)
        self._mark_rewritten(modules)
        self._buffers = []

    def _forget_state(self, modules: dict[str, ModuleRecord]) -> None:
        """Remove attributes that the pass has changed: they are state, not configuration."""
        for name, module, before in self._attributes:
            current = vars(module)
            if not all(map(operator.is_, map(current.get, before), before.values())):
                changed = {key for key, value in before.items() if current.get(key) is not value}
                record = modules[name]
                config = {key: text for key, text in record.config.items() if key not in changed}
                names = {local: key for local, key in record.weights.items() if not _is_of(local, changed)}
                modules[name] = replace(record, config=config, weights=names)

    def _mark_rewritten(self, modules: dict[str, ModuleRecord]) -> None:
        """Mark buffers that no state dict holds and those of them that the pass has written, which are state too.

        They are not left out, because earlier baselines have them among the weights. Those that the pass has made are
        marked as well: another pass of the model finds them.
        """
        unsaved: dict[str, list[str]] = {}
        written: dict[str, list[str]] = {}
        for name, module, local, buffer, state in self._buffers:
            unsaved.setdefault(name, []).append(local)
            if buffer_table(module).get(local) is not buffer or state_of(buffer) != state:
                written.setdefault(name, []).append(local)
        for name, module in self._named:
            known = unsaved.get(name, ())
            made = [local for local, _ in unsaved_buffers(module) if local not in known]
            if made:
                written.setdefault(name, []).extend(made)
        for mark, names_by_layer in ((UNSAVED, unsaved), (REWRITTEN, written)):
            for name, names in names_by_layer.items():
                modules[name] = marked(modules[name], **{mark: "\n".join(names)})


def marked(record: ModuleRecord, **marks: str) -> ModuleRecord:
    """A module's record with further marks in its configuration."""
    return replace(record, config={**record.config, **marks})


def _is_of(local: str, attributes: set[str]) -> bool:
    """Whether a loose or packed tensor is, or is inside, any of these attributes."""
    is_loose = local.endswith(ATTRIBUTE_SUFFIX) or PACKED in local
    return is_loose and local.partition("[")[0].partition(" ")[0] in attributes
