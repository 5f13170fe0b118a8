"""All private names of torch that this package uses.

Each exists in torch 2.14. Those that are imported below are in every torch from 2.6 on: without one of them the package
fails to import, and the error names it. The others are looked up when they are needed; the table says what happens
without them. The private switches of a process are listed in `switch_names`; one that a torch does not have is skipped.

| name | purpose | without it |
|---|---|---|
| `Module._parameters`, `_buffers`, `_modules` | own tensors and children, None and shared ones too | AttributeError |
| `Module._non_persistent_buffers_set` | which buffers no state dict holds | all count as saved |
| `Module._forward_pre_hooks` | to recompute normalised weights | AttributeError |
| `Module._forward_hooks` | whether a layer of torch's computes something else | AttributeError |
| `OptimizedModule._orig_mod` | what `torch.compile` has wrapped | the wrapper stands for the module |
| `OpOverload._schema` | names of arguments, and which are mutated | no operator counts as mutating |
| `Tensor._indices`, `_values` | to compare sparse tensors that are not coalesced | AttributeError |
| `ScriptObject._type`, `__getstate__` | weights packed for quantised layers | those are not compared |
| `_C.DispatchKey` | which operators are made of others | AttributeError |
| `UntypedStorage._cdata` | which tensors share memory | AttributeError |
| `Tensor._backward_hooks`, `_post_accumulate_grad_hooks` | hooks that a pass leaves behind | they stay |
"""

from __future__ import annotations

import contextlib
import operator
import sys
from collections.abc import Callable, Iterable, MutableMapping
from typing import Any, cast

import torch
import torch.utils._device
from torch._C import _autograd as autograd
from torch._C import _functorch as functorch
from torch._ops import OpOverload
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.nn.modules.batchnorm import _BatchNorm as BatchNorm
from torch.nn.modules.batchnorm import _NormBase as StatisticsNorm
from torch.nn.modules.conv import _ConvNd as ConvNd
from torch.utils import _python_dispatch as python_dispatch
from torch.utils._pytree import keystr, tree_flatten_with_path, tree_leaves, tree_map, tree_map_only

# Of torch's own names; without these lists a type checker takes them for private imports.
__all__ = ["BatchNorm", "ConvNd", "FakeTensor", "FakeTensorMode", "OpOverload", "StatisticsNorm", "TorchDispatchMode"]
__all__ += ["autograd", "functorch", "keystr", "python_dispatch", "tree_flatten_with_path", "tree_leaves"]
__all__ += ["tree_map", "tree_map_only"]

TENSOR_HOOKS = ("_backward_hooks", "_post_accumulate_grad_hooks")
_SIZES = {"size", "sym_size", "stride", "sym_stride", "storage_offset", "sym_storage_offset", "numel", "sym_numel"}
_SIZES |= {"dim", "layout", "is_contiguous", "sym_is_contiguous", "is_strides_like_format"}
_SIZES |= {"is_non_overlapping_and_dense"}
ORIGINAL_OF_COMPILED = "_orig_mod"
COMPILER = "torch._dynamo"
_PACKED_CLASSES = ("__torch__.torch.classes.quantized.", "__torch__.torch.classes.rnn.")
native = torch._C
Args = tuple[object, ...]
Kwargs = dict[str, object]
Operator = Callable[..., object]


# A module's own tables, also with what it shares with others and what is None. They are read so many times for each
# module that the frame of a function would take longer than all else.
parameter_table: Callable[[torch.nn.Module], MutableMapping[str, torch.nn.Parameter | None]]
buffer_table: Callable[[torch.nn.Module], MutableMapping[str, torch.Tensor | None]]
child_table: Callable[[torch.nn.Module], MutableMapping[str, torch.nn.Module | None]]
parameter_table, buffer_table, child_table = map(operator.attrgetter, ("_parameters", "_buffers", "_modules"))


def unsaved_buffer_names(module: torch.nn.Module) -> Iterable[str]:
    """The names of a module's own buffers that are in no state dict."""
    names: Iterable[str] = getattr(module, "_non_persistent_buffers_set", ())
    return names


def forward_pre_hooks(module: torch.nn.Module) -> list[Callable[..., object]]:
    """The functions that run before each call of a module, in that order."""
    return list(module._forward_pre_hooks.values())


def hooks_around(module: torch.nn.Module) -> list[Callable[..., object]]:
    """The functions that run before and after each call of a module."""
    return [*forward_pre_hooks(module), *module._forward_hooks.values()]


def compiled_from(module: torch.nn.Module) -> torch.nn.Module:
    """The module that `torch.compile` has wrapped, or the module itself."""
    return cast("torch.nn.Module", getattr(module, ORIGINAL_OF_COMPILED, module))


def is_packed(value: object) -> bool:
    """Whether an object is one that torch packs for quantised layers."""
    kind = getattr(value, "_type", None) if isinstance(value, torch.ScriptObject) else None
    return kind is not None and str(kind().qualified_name()).startswith(_PACKED_CLASSES)


def packed_state(value: object) -> object:
    """The tensors and settings in an object that torch packs for quantised layers."""
    state = getattr(value, "__getstate__", None)
    return None if state is None else cast("object", state())


# A key of a storage that is equal for two objects that stand for the same memory.
key_of: Callable[[torch.UntypedStorage], int] = operator.attrgetter("_cdata")


def coordinates(tensor: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The indices and values of a sparse tensor in coordinate format, coalesced or not."""
    return tensor._indices(), tensor._values()


def as_subclass(kind: type[torch.Tensor], values: torch.Tensor, requires_grad: bool) -> torch.Tensor:
    """A tensor of a subclass on the memory of another tensor."""
    return torch.Tensor._make_subclass(kind, values, requires_grad)


def compiler_stance() -> object:
    """The stance of `torch.compile` (`torch.compiler.set_stance`), None where it was never imported."""
    return getattr(sys.modules.get("torch._dynamo.eval_frame"), "_stance", None)


def set_compiler_stance(stance: object) -> None:
    """Restore a stance; None is that of a compiler that was not imported, the default."""
    compiler = vars(sys.modules["torch._dynamo.eval_frame"])
    compiler["_stance"] = type(compiler["_stance"])() if stance is None else stance


def is_compiler_imported() -> bool:
    """Whether anything may have been compiled; importing the compiler to ask would take a second."""
    return COMPILER in sys.modules


class TorchDispatchMode(python_dispatch.TorchDispatchMode):
    """torch's dispatch mode without the wrapper that keeps torch's compiler from tracing `__torch_dispatch__`.

    The wrapper takes longer than what it wraps, and imports the compiler, which takes over a second. So a mode is to be
    entered only where nothing compiles (see `probe.eager`).
    """

    def __init_subclass__(cls, **keywords: object) -> None:
        plain = cls.__dict__.get("__torch_dispatch__")
        super().__init_subclass__(**keywords)  # type: ignore[no-untyped-call]  # torch leaves its modes untyped
        if plain is not None:
            cls.__torch_dispatch__ = plain  # type: ignore[method-assign]


# Whether an operator writes into any of its arguments.
is_mutable: Callable[[Operator], bool] = operator.attrgetter("_schema.is_mutable")


def schema_of(overload: object) -> torch.FunctionSchema | None:
    """An operator's schema, None for what has none, such as higher-order operators."""
    return cast("torch.FunctionSchema | None", getattr(overload, "_schema", None))


def is_size(overload: OpOverload) -> bool:
    """Whether an operator asks for a size or the like, which subclasses of tensors, such as jagged ones, work out."""
    return overload.namespace in ("aten", "prim") and overload.overloadpacket.__name__ in _SIZES


def is_made_of_others(overload: OpOverload) -> bool:
    """Whether an operator is nothing but calls of others, for any kind of tensor."""
    is_registered = overload.namespace != "prim"  # those are attributes
    return is_registered and overload.has_kernel_for_dispatch_key(native.DispatchKey.CompositeImplicitAutograd)


def higher_order_operators() -> Iterable[torch._ops.HigherOrderOperator]:
    """Operators that take functions, such as `torch.cond`, as far as torch has imported them."""
    return torch._ops._higher_order_ops.values()


def without_dispatch_modes() -> contextlib.AbstractContextManager[None]:
    """Run a block whose operators no dispatch mode sees that was entered before."""
    return cast("contextlib.AbstractContextManager[None]", torch._C._DisableTorchDispatch())


def without_function_modes() -> contextlib.AbstractContextManager[None]:
    """Run a block whose functions no mode sees, nor a subclass of tensors."""
    return torch._C.DisableTorchFunction()


# Whether a tensor is a wrapper of `vmap` or `grad`, whose values cannot be read.
is_inside_transform: Callable[[torch.Tensor], bool] = functorch.is_functorch_wrapped_tensor


# Whether autocast is on for any device.
is_any_autocast_enabled: Callable[[], bool] = torch._C._is_any_autocast_enabled


def mode_stack(kind: str) -> list[Callable[..., Any]]:
    """Torch's functions for the stack of modes of a kind, "function" or "dispatch": length, item at, pop, push."""
    names = ("_len_torch_{}_stack", "_get_{}_stack_at", "_pop_torch_{}_stack", "_push_on_torch_{}_stack")
    return [getattr(torch._C, name.format(kind)) for name in names]
