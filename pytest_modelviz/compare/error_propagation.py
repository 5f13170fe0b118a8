"""How far each tensor of the actual pass may be off, given what it was computed from.

A tensor is as coarse as the coarsest dtype that led to it, or as the steps of the integers that did, and inherits what
a layer on the way was explicitly allowed. A result that is no larger than what its inputs differ by, as a rectifier
makes of negative inputs, says nothing: that much is forgiven to it, and to what is computed from it. Everything here
follows from the actual pass: a baseline, which anybody may have written, has no say in what it is forgiven, except
that its scales show whether weights were quantised anew.
"""

import functools
import math
import re
from collections.abc import Iterable

from pytest_modelviz.compare.evidence import quantised_anew
from pytest_modelviz.compare.naming import is_within
from pytest_modelviz.compare.precision import is_exact, is_float
from pytest_modelviz.compare.tensors import NOTHING_LEFT, allowed_for, is_no_more_than, own_source, rms, rms_difference
from pytest_modelviz.compare.tolerance import Source, Tolerances
from pytest_modelviz.records.structure import LENT, NAMESAKE, ModuleRecord
from pytest_modelviz.records.tensors import TensorRecord
from pytest_modelviz.records.trace import Call, Event, ForwardTrace, Leaf

EXACT = Source()
# Activations that let nothing through of what is negative and all of what is not, by the names that libraries have for
# them. A bounded one also makes large inputs small: ReLU6 counts only for inputs that are no larger than its bound.
_RECTIFIER = re.compile(
    r"ReLU6?|(?:Py[Tt]orch|New|Fast|Quick|Accurate)?GELU(?:Activation|Tanh)?|(?:SiLU|Mish)(?:Activation)?|Swish|Hard[Ss]wish"
)
_BOUNDS = {"ReLU6": 6.0}
# Modules that only add up their inputs, weighted by what they hold, which is compared.
_WEIGHTED_SUM = re.compile(r"(Lazy)?(Linear|Conv(Transpose)?[123]d)")
_EIGHT_BIT = "qint8"
_ROUNDING_SHARE = 0.1  # of the tolerance: processors differ by ten times less than what is allowed
_LARGEST_SCALE = 1e8  # masks hold -1e9 and -3.4e38, which say nothing about the size of what is computed


# Dynamically quantised layers round their inputs to 8 bits, in steps of the 127th part of a range of some eight times
# their root mean square. Of a number halfway between two integers the last digit decides which one it becomes: that
# happens to one or two where inputs agree but for rounding, to more once they differ by more, half a step each at most.
_STEP, _TURNED = 8 / 127, 2.0
_RECURRENT = ("RNN", "LSTM", "GRU")  # they round what they have computed a step of time before
# Weights that another processor has quantised anew, in steps of the 254th part of such a range: two integers of each
# are others, or 0.03 % (see `evidence`).
_WEIGHT_STEP, _TURNED_SHARE = 8 / 254, 3e-4


def _source_of_rounded_inputs(
    module: ModuleRecord, record: TensorRecord, received: Source, of_weights: float
) -> Source:
    """What the result of a dynamically quantised layer may be off by `of_weights`, and since it rounds its inputs."""
    rounded = math.hypot(_STEP * math.sqrt(_TURNED / max(1, record.numel)), of_weights)
    for before in (received.rounded, *([rounded] if module.class_name in _RECURRENT else ())):
        rounded = min(math.hypot(rounded, math.sqrt(_STEP * before)), _STEP / 2)
    return Source(_EIGHT_BIT, rounded=rounded)


class ErrorPropagation:
    """Follows tolerances through the actual pass, event by event.

    Attributes:
        sources: what led to each tensor of the actual pass, by its key.
        excuses: whether any result has been excused as no larger than what its inputs differ by.

    """

    def __init__(self, baseline: ForwardTrace, actual: ForwardTrace, tolerances: Tolerances) -> None:
        self._baseline, self._actual, self._tolerances = baseline, actual, tolerances
        self.sources: dict[str, Source] = {}
        self.excuses = False
        self._granted: dict[str, Source] = {}
        self._vanished: set[str] = set()  # tensors that were excused
        self._derived: set[str] = set()  # what is made of those and given to the next module, for this event alone
        self._just_vanished: float | None = None  # the size of such results, if the previous event was one
        following = zip(actual.calls, actual.calls[1:], strict=False)
        self._callers = {id(call) for call, after in following if after.depth > call.depth}

    @property
    def negligible(self) -> set[str]:
        """Tensors of this event that are no larger than what their inputs differ by."""
        return self._vanished | self._derived if self._derived else self._vanished

    @property
    def forgives(self) -> bool:
        """Whether an absolute tolerance may hide that two tensors differ."""
        layers = self._tolerances.layers
        return self.excuses or bool(self._tolerances.atol) or any(layer.atol for layer in layers)

    def add(self, event: Event, layer: str, received: Source, caller: Call) -> Source:
        """Note what led to each tensor of an event of the actual pass, and return what led to all of them.

        What a module's code makes between two calls may come from anything that it has `received` from calls before; a
        Python number, which has every digit, also from the arguments of the `caller`. What the executing `layer` is
        explicitly allowed is passed on with the tensors that it makes.
        """
        combined, granted = EXACT, self._grant(layer)
        module = self._actual.modules.get(event.call.layer) if event.kind == "leave" else None
        for key in _tensor_keys(event.leaves.values()):
            record, source = self._actual.tensors[key], self.sources.get(key)
            if source is None:
                is_number = record.dtype == EXACT.dtype and not record.shape
                source = received.and_from(self._given(caller)) if is_number else received
                source = source.followed_by(own_source(record))
                if module is not None and module.rounds_inputs and is_float(record.dtype):
                    of_weights = self._off_by_turned_weights(event.call.layer)
                    source = source.followed_by(_source_of_rounded_inputs(module, record, received, of_weights))
            self.sources[key] = source = source.and_from(granted)
            combined = combined.and_from(source)
        return combined

    def _off_by_turned_weights(self, layer: str) -> float:
        """How far a layer's results may be off because integers of its weights, quantised anew, are others."""
        sizes = [size for name, size in self._sizes_of_anew if is_within(name, layer)]
        return math.hypot(*(_WEIGHT_STEP * math.sqrt(max(_TURNED / size, _TURNED_SHARE)) for size in sizes))

    @functools.cached_property
    def _sizes_of_anew(self) -> list[tuple[str, int]]:
        """Of each weight that was quantised anew, the module that holds it and how many numbers it has."""
        modules, weights = self._actual.modules, self._actual.weights
        anew = quantised_anew(self._baseline.structure, self._actual.structure)
        return [(name, max(1, weights[modules[name].weights[local]].numel)) for name, local in anew]

    def begin_event(self, event: Event) -> None:
        """Find what the caller makes of an excused result and gives to the next module, if it is as small."""
        self._derived = set()
        if self._just_vanished is not None and event.kind == "enter":
            for key in _tensor_keys(event.leaves.values()):
                most = min(self.sources[key].excused, NOTHING_LEFT * self._just_vanished)
                if self.sources[key].excused and is_no_more_than(self._actual.tensors[key], most):
                    self._derived.add(key)
        self._just_vanished = None

    def excuse(self, event: Event, gap: float) -> bool:
        """Forgive results that are no larger than the `gap` between their inputs; returns whether there are any."""
        excused = False
        for key in _tensor_keys(event.leaves.values()):
            if is_no_more_than(self._actual.tensors[key], NOTHING_LEFT * gap):
                self.sources[key] = self.sources[key].and_from(Source(excused=NOTHING_LEFT * gap))
                self._vanished.add(key)
                self._just_vanished = max(self._just_vanished or 0.0, rms(self._actual.tensors[key]))
                self.excuses = excused = True
        return excused

    def source_of(self, event: Event) -> Source:
        """What led to all tensors of an event, with what was excused since."""
        sources = (self.sources[key] for key in _tensor_keys(event.leaves.values()))
        return functools.reduce(Source.and_from, sources, EXACT)

    def input_gap(self, baseline: Event, actual: Event, layer: str) -> float:
        """How far the inputs of a rectifier that is being left differ, as root mean square; zero for anything else.

        At most what rounding may do: a baseline that is a little off everywhere must not excuse whatever it likes.
        """
        if not self._leaves_operation(actual):
            return 0.0
        module = self._actual.modules[actual.call.layer]
        is_rectifier = _RECTIFIER.fullmatch(module.class_name) and NAMESAKE not in module.config
        if not is_rectifier or module.weights:
            return 0.0  # its results may well be small because it made them so
        before, after = baseline.call.inputs, actual.call.inputs
        gaps, bound = [0.0], _BOUNDS.get(module.class_name, _LARGEST_SCALE)
        for path in before.keys() & after.keys():
            old, new = before[path].tensor, after[path].tensor
            if old is not None and new is not None:
                record, source = self._actual.tensors[new], self.sources.get(new, EXACT)
                allowed, _ = allowed_for(record, source, self._tolerances.of(layer))
                gap, size = rms_difference(self._baseline.tensors[old], record), rms(record)
                gaps.append(min(gap, _ROUNDING_SHARE * allowed * size) if size < bound else 0.0)
        return max(gaps)

    def input_scale(self, event: Event) -> float:
        """The size of the inputs of a module that calls no other and is being left; zero for anything else.

        A single operation may cancel its inputs down to their rounding. Over several modules a signal may just as well
        fade, with every digit meant.
        """
        if not self._leaves_operation(event):
            return 0.0
        inputs = (leaf for path, leaf in event.call.inputs.items() if not path.endswith(LENT))
        records = [self._actual.tensors[key] for key in _tensor_keys(inputs)]
        sizes = [rms(record) for record in records if not is_exact(record.dtype) and record.shape]
        return max((size for size in sizes if size < _LARGEST_SCALE), default=0.0)

    def may_cancel(self, event: Event) -> bool:
        """Whether all that a module returns may be rounding of its inputs, if it is small enough.

        A model whose code runs no other module, as TorchScript, may be anything that makes small results of its inputs,
        such as exp(-x / temperature), with every digit meant. A single weighted sum is none.
        """
        if event.parent is not None:
            return True
        module = self._actual.modules.get(event.call.layer)
        if module is None or not module.weights or NAMESAKE in module.config:
            return False
        return bool(_WEIGHTED_SUM.fullmatch(module.class_name))

    def _leaves_operation(self, event: Event) -> bool:
        """Whether a module is left that has called no other."""
        return event.kind == "leave" and id(event.call) not in self._callers

    def _grant(self, layer: str) -> Source:
        if not self._tolerances.layers:
            return EXACT
        if layer not in self._granted:
            self._granted[layer] = self._tolerances.granted(layer)
        return self._granted[layer]

    def _given(self, call: Call) -> Source:
        records = (self._actual.tensors[key] for key in _tensor_keys(call.inputs.values()))
        return functools.reduce(Source.and_from, map(own_source, records), EXACT)


def _tensor_keys(leaves: Iterable[Leaf]) -> Iterable[str]:
    return (leaf.tensor for leaf in leaves if leaf.tensor is not None)
