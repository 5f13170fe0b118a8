"""How operators, modules, tensors and inputs are called in an operator graph, whichever way it was made."""

import collections
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import torch

from pytest_modelviz.probe.configuration import configuration, parameters_of
from pytest_modelviz.probe.modules import class_name, observed_modules, own_tensors, unwrap
from pytest_modelviz.probe.nested_values import NO_ITEMS, Placeholder, leaves, literal, placeholder, uncompared_items
from pytest_modelviz.probe.side_effects import WatchedArguments, is_item_of
from pytest_modelviz.probe.sketch import record_tensor
from pytest_modelviz.probe.torch_internals import keystr, tree_flatten_with_path
from pytest_modelviz.records.sketch_version import EARLIER_VERSION, sketched_as
from pytest_modelviz.records.structure import UNCOMPARED, WRITTEN
from pytest_modelviz.views.model_graph.constants import SKETCH_WIDTHS, sketch_text
from pytest_modelviz.views.model_graph.records import IN_PART, INPUT, ModuleRow, escaped

_REPRESENTATIONS = ("extra_repr", "repr")
# Arguments that say where and how a result lies in memory: they change no number.
PLACEMENT = frozenset({"device", "layout", "pin_memory", "memory_format", "non_blocking", "generator"})
_WRITTEN_OUT = 8  # constants of at most so many elements are given by their values


def module_rows(model: torch.nn.Module) -> dict[str, ModuleRow]:
    """Every module with its configuration and its own parameters and buffers."""
    rows = {}
    for name, module in observed_modules(model):
        config = configuration(module)
        if type(module).extra_repr.__module__.startswith("torch.nn."):  # later versions of torch write out more
            config = {key: text for key, text in config.items() if key not in _REPRESENTATIONS}
        if type(module).__module__.startswith("torch.nn."):
            config = {key: text for key, text in config.items() if not key.startswith("_")}
        config = {key: text for key, text in config.items() if text and key != "_is_torch_compile"}
        tensors = {local: tensor_text(tensor) for local, tensor in own_tensors(module)}
        rows[name] = ModuleRow(class_name(module), config, tensors)
    return rows


def named_inputs(
    model: torch.nn.Module, args: Sequence[object], kwargs: Mapping[str, object]
) -> Iterator[tuple[str, object]]:
    """(name, tensor or literal) of everything that the model is given, named as forward's parameters, in order."""
    for name, value in parameters_of(unwrap(model)).named(args, kwargs).items():
        for path, leaf in tree_flatten_with_path(value)[0]:
            yield f"{INPUT}{name}{keystr(path)}", leaf


def in_order(model: torch.nn.Module, kwargs: Mapping[str, object]) -> dict[str, object]:
    """Keyword arguments in the order of forward's signature, whatever order the caller gave them in."""
    return parameters_of(unwrap(model)).in_order(kwargs)


class Counts:
    """Names for operators: by module and kind, counted from the second on."""

    def __init__(self) -> None:
        self._counts: collections.Counter[tuple[str, str]] = collections.Counter()

    def name(self, module: str, kind: str) -> str:
        count = self._counts[module, kind]
        self._counts[module, kind] += 1
        return f"{escaped(module)}/{kind}" + (f"#{count}" if count else "")


class Names:
    """Names for modules, parameters and buffers of a model; paths to them start at `root`."""

    def __init__(self, model: torch.nn.Module, root: torch.nn.Module) -> None:
        self._root = root
        self._modules: dict[int, str] = {}
        self.tensors: dict[int, str] = {}
        self._own: list[tuple[str, torch.Tensor]] = []
        for name, module in observed_modules(model):
            self._modules[id(module)] = name
            for local, tensor in own_tensors(module):
                self._own.append((escaped(f"{name}.{local}" if name else local), tensor))
                self.tensors.setdefault(id(tensor), self._own[-1][0])

    def module(self, path: str) -> str:
        """The name of the module at a path in which wrappers, or a second name of a shared module, may stand."""
        path = re.sub(r"@\d+", "", path).removeprefix("_export_root.")  # which a branch's paths begin with
        return self._modules.get(id(self._at(path)), path)

    def tensor(self, path: str) -> str:
        return self.tensors.get(id(self._at(path)), path)

    def faked(self, fake: torch.Tensor) -> str | None:
        """The name of the tensor that export has replaced by this fake one."""
        fake_of = getattr(getattr(fake, "fake_mode", None), "from_tensor", None)  # returns the same one each time
        return fake_of and next((name for name, tensor in self._own if fake_of(tensor) is fake), None)

    def _at(self, path: str) -> object:
        value: object = self._root
        for name in path.split(".") if path else ():
            value = getattr(value, name, None)
        return value


def tensor_text(value: object) -> str:
    """`float32[1, 3]` for a tensor, a list of such for several, a type's name for what is none.

    Where the components of a nested tensor differ in size stands a star: `nested float32[2, *, 4]`.
    """
    if isinstance(value, torch.Tensor) and value.is_nested:
        sides = ", ".join(_side(value, at) for at in range(value.dim()))
        return f"nested {str(value.dtype).removeprefix('torch.')}[{sides}]"
    if isinstance(value, torch.Tensor):
        return f"{str(value.dtype).removeprefix('torch.')}{[int(side) for side in value.shape]}"
    if isinstance(value, (list, tuple)):
        return f"({', '.join(tensor_text(item) for item in value)})"
    kinds = {torch.SymInt: "int", torch.SymFloat: "float", torch.SymBool: "bool", type(None): "none"}
    return kinds.get(type(value), type(value).__name__)


def _side(nested: torch.Tensor, at: int) -> str:
    try:
        return str(int(nested.size(at)))
    except (RuntimeError, AttributeError):  # by layout
        return "*"


def input_text(value: object) -> str:
    return tensor_text(value) if isinstance(value, torch.Tensor) else literal(value)


class Results:
    """What a call of a model returns and writes into its arguments, item by item.

    An argument that the caller gives by position is called by that: its name is the code's.

    Args:
        model: the model, which has not been called yet.
        args: its positional arguments.
        kwargs: its keyword arguments.

    """

    def __init__(self, model: torch.nn.Module, args: Sequence[object], kwargs: Mapping[str, object]) -> None:
        given = parameters_of(unwrap(model)).named(args, kwargs)
        names = [f"argument {at if at < len(args) else name}" for at, name in enumerate(given)]
        self._arguments = list(zip(names, given.values(), strict=True))
        self._before, self._watched = self._leaves(), WatchedArguments(self._arguments)

    def _leaves(self) -> dict[str, object]:
        return {path: item for name, value in self._arguments for path, item in leaves(value, name, with_empty=True)}

    def items(self, output: object) -> list[tuple[str, object]]:
        """(path, tensor or what is none) of all that the call, which is over, has returned and written.

        Of a tensor that was an argument itself, only an operator says that it was written into.
        """
        before, after = self._before, self._leaves()
        written = [(f"{path}{WRITTEN}", item) for path, item in after.items() if not _is_same(before.get(path), item)]
        lost = sorted(path for path in before.keys() - after.keys() if not any(is_item_of(i, path) for i in after))
        written += [(f"{path}{WRITTEN}", Placeholder("removed")) for path in lost]
        listed = {path.removesuffix(WRITTEN) for path, _ in written}
        unread = [change for change in self._watched.changes() if change.is_repeated and change.path not in listed]
        changed = dict.fromkeys(change.argument for change in unread)
        written += [(f"{argument}{WRITTEN}", Placeholder(UNCOMPARED)) for argument in changed]
        returned = [(f"output{path}", item) for path, item in leaves(output, with_empty=True)]
        in_part = [item for item in uncompared_items(output) if item.endswith(")")]  # the others are leaves
        return [*returned, *((f"output {item}", Placeholder(IN_PART)) for item in in_part), *written]


def _is_same(before: object, after: object) -> bool:
    if before is after:
        return True
    if isinstance(before, torch.Tensor) or isinstance(after, torch.Tensor):
        return False
    return type(before) is type(after) and literal(before) == literal(after)


def returned_items(items: Iterable[tuple[str, object]], text: Callable[[object], str]) -> tuple[str, ...]:
    """What a model returns and writes, one text for each item: its path, and `tensor` or the `text` of what is none."""
    return tuple(f"{path}: {'tensor' if isinstance(item, torch.Tensor) else text(item)}" for path, item in items)


def returned_text(item: object) -> str:
    """What a model returns beside tensors."""
    if item is NO_ITEMS:
        return "empty"
    if isinstance(item, Placeholder):
        return item
    return placeholder(item) if isinstance(item, torch.device) else literal(repr(item))


def constant(value: object) -> str:
    """A tensor that stands in the code itself: a small one is given by its values, a larger one by a sketch of them."""
    if not isinstance(value, torch.Tensor):
        return "constant"
    text = tensor_text(value)
    if value.is_meta or type(value) is not torch.Tensor:
        return f"constant {text}"
    if value.numel() > _WRITTEN_OUT:
        summary = _summary(value)
        return f"constant {text} ({summary})" if summary else f"constant {text}"
    numbers = value.detach().reshape(-1).tolist()
    return f"constant {text} ({', '.join(f'{n:.6g}' if isinstance(n, float) else str(n) for n in numbers)})"


def _summary(value: torch.Tensor) -> str:
    """The values of a large constant in a short text, empty if they cannot be read as numbers."""
    if value.is_floating_point() or value.is_complex() or value.is_quantized:
        with sketched_as(EARLIER_VERSION):  # a text has no version, and few constants are large
            records = [record_tensor(value, width) for width in SKETCH_WIDTHS]
        marks = sorted(records[0].value_fingerprints.items())  # by position and value: the same for each width
        fingerprints = [f"{kind}:{count}:{mark}" for kind, (count, mark) in marks]
        sketches = [record.sketches for record in records]
        return sketch_text(sketches, fingerprints) if records[0].sketch.size else ""
    try:
        integers = value.detach().cpu().to_dense() if value.layout != torch.strided else value.detach().cpu()
        return f"digest {hashlib.sha256(integers.contiguous().numpy().tobytes()).hexdigest()[:16]}"
    except (RuntimeError, TypeError, NotImplementedError):
        return ""


def plain(value: object) -> str:
    """A text for what is no tensor."""
    if isinstance(value, (list, tuple)):
        return f"({', '.join(plain(item) for item in value)})"
    if isinstance(value, torch.dtype):
        return str(value).removeprefix("torch.")
    if value is None:
        return "none"
    if isinstance(value, torch.fx.Node):
        return str(value.name)
    return value if isinstance(value, str) else literal(value)
