"""A model's structure as plain data: its modules, how each is configured, and its weights. It needs no forward pass."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pytest_modelviz.errors import UnreadableBaselineError
from pytest_modelviz.records.limits import is_recordable
from pytest_modelviz.records.tensors import TensorRecord

ATTRIBUTE_SUFFIX = " (attribute)"  # marks a tensor in a plain attribute, which is neither parameter nor buffer
WRITTEN = ", as the call leaves it"  # marks what a model has put into its arguments, beside what it returns
EMPTY = "<empty>"  # stands for a container without items in what a model returns
UNCOMPARED = "<not compared>"  # stands for what a model has written into an argument, and its value is not compared
LENT = ", given by its caller"  # marks a parameter that a module has for one call only (see `probe.lent`)
# Mark what a quantised tensor is stored as, recorded beside the numbers that it stands for, and a tensor that only an
# object of torch's engines holds (see `probe.quantised`). Earlier versions recorded none of these.
QUANTISED_INTEGERS, QUANTISED_SCALE, QUANTISED_ZERO_POINT = " (integers)", " (scale)", " (zero point)"
PACKED = " (packed)"
QUANTISED_SUFFIXES = (QUANTISED_INTEGERS, QUANTISED_SCALE, QUANTISED_ZERO_POINT)
# In a module's configuration: its buffers that no state dict holds, and those that the pass itself writes.
UNSAVED, REWRITTEN = "unsaved", "rewritten"
NAMESAKE = "(namesake)"  # the same of a module that is called like a class of torch's and is another
# Dynamically quantised layers: their classes, the dtype of their weights as their configuration shows it, and a setting
# of torch's reference layers, which have the same names and round no inputs.
_DYNAMIC_CLASSES = frozenset({"Linear", "LinearReLU", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell"})
_DYNAMIC, _OF_REFERENCE = "torch.qint8", "is_decomposed"
# The same of any model: that what it writes into its arguments, and what it returns empty, has been recorded.
SIDE_EFFECTS = "(side effects)"
MARKS = (UNSAVED, REWRITTEN, NAMESAKE, SIDE_EFFECTS)
NOT_SAVED = " (not saved)"  # marks such a buffer in a summary


@dataclass(frozen=True)
class ModuleRecord:
    """A module as it stood before the pass.

    Attributes:
        class_name: the name of its class.
        config: its attributes and what its `extra_repr` says, as text.
        weights: its own parameters, buffers and other tensors: local name -> key in `ModelStructure.weights`.

    """

    class_name: str
    config: Mapping[str, str]
    weights: Mapping[str, str]

    @property
    def has_integers(self) -> bool:
        """Whether any of its tensors is part of a quantised or packed one: earlier versions recorded none of those."""
        return any(local.endswith((*QUANTISED_SUFFIXES, PACKED)) for local in self.weights)

    @property
    def rounds_inputs(self) -> bool:
        """Whether it is one of torch's dynamically quantised layers, which compute in 8 bits and return floats."""
        if self.class_name not in _DYNAMIC_CLASSES or _OF_REFERENCE in self.config:
            return False
        names_dtype = f"dtype={_DYNAMIC}" in self.config.get("extra_repr", "")
        return names_dtype or _DYNAMIC in (self.config.get("dtype"), self.config.get("weight_dtype"))

    @property
    def rewritten(self) -> set[str]:
        """Buffers that the pass itself writes, or makes if they are not there: only unsaved ones are marked."""
        return set(self.config.get(REWRITTEN, "").splitlines())

    @property
    def unsaved(self) -> set[str]:
        """Buffers that no state dict holds."""
        return set(self.config.get(UNSAVED, "").splitlines())

    def state(self, baseline: ModuleRecord) -> set[str]:
        """Buffers that hold state rather than weights: a pass writes them, in this model or the baseline's.

        The baseline is believed only about buffers that are not saved now: a file must not be able to hide a weight. Of
        a buffer that the pass makes it says whether it was saved before.
        """
        made = self.rewritten - self.weights.keys()
        return (self.rewritten - made) | (made & baseline.unsaved) | (baseline.rewritten & self.unsaved)


@dataclass
class ModelStructure:
    """The modules of a model.

    Attributes:
        modules: name -> record, parents before their children; the model itself is "".
        weights: the tensors that the modules hold, by the name under which each was found first.
        ties: groups of names that stand for the same module or tensor.

    """

    modules: dict[str, ModuleRecord]
    weights: dict[str, TensorRecord] = field(default_factory=dict)
    ties: tuple[tuple[str, ...], ...] = ()


def class_name_of(layer: str, *structures: ModelStructure) -> str:
    """The class of a module, by the first of these structures that has it; empty where none has."""
    return next((structure.modules[layer].class_name for structure in structures if layer in structure.modules), "")


def require_recordable(layers: Iterable[str]) -> None:
    """Raises UnreadableBaselineError for a module's name that is deeper or longer than any that is recorded."""
    absurd = next((layer for layer in layers if not is_recordable(layer)), None)
    if absurd is not None:
        raise UnreadableBaselineError(f"it names a module that is nested absurdly deeply: {absurd[:80]!r}")
