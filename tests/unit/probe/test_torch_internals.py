"""Torch's private names stand in one file, which says what happens without them."""

import ast
from pathlib import Path

import pytest
import torch

import pytest_modelviz
from pytest_modelviz.probe import torch_internals

HOME = Path(pytest_modelviz.__file__).parent
# `switch_names` is a list of names to be looked up, each left out where a torch does not have it.
ALLOWED = {HOME / "probe/torch_internals.py", HOME / "probe/switch_names.py"}
OF_MODULES = {"_parameters", "_buffers", "_modules", "_forward_pre_hooks", "_non_persistent_buffers_set", "_orig_mod"}
OF_TENSORS = {"_cdata", "_schema", "_indices", "_values", "_make_subclass"}


def private_names(source: str) -> list[str]:
    """`torch._C` and the like, imports of private names from torch, and private tables of modules and tensors."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "torch":
            steps = [*node.module.split("."), *(alias.name for alias in node.names)]
            found += [step for step in steps if step.startswith("_")]
        elif isinstance(node, ast.Import):
            found += [a.name for a in node.names if a.name.startswith("torch.") and "._" in a.name]
        elif isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            owner = ast.unparse(node.value)
            if owner.partition(".")[0] == "torch" or (owner != "self" and node.attr in OF_MODULES | OF_TENSORS):
                found.append(f"{owner}.{node.attr}")
        elif isinstance(node, ast.Constant) and node.value in OF_MODULES | OF_TENSORS | {"torch._dynamo"}:
            found.append(node.value)
    return found


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("torch._C._is_any_autocast_enabled()", ["torch._C._is_any_autocast_enabled", "torch._C"]),
        ("from torch.utils._pytree import keystr", ["_pytree"]),
        ("from torch.nn.modules.conv import _ConvNd", ["_ConvNd"]),
        ("import torch.utils._device", ["torch.utils._device"]),
        ("module._buffers.items()", ["module._buffers"]),
        ("getattr(module, '_orig_mod', None)", ["_orig_mod"]),
        ("self._modules = torch.nn.Module.__call__", []),
    ],
)
def test_private_names_are_detected(source, found):
    assert private_names(source) == found


def test_no_other_file_uses_them():
    files = [path for path in sorted(HOME.rglob("*.py")) if path not in ALLOWED]
    used = {str(path.relative_to(HOME)): private_names(path.read_text("utf-8")) for path in files}
    assert len(files) > 100
    assert {name: names for name, names in used.items() if names} == {}


def test_every_attribute_in_the_table_is_there_in_this_torch():
    linear = torch.nn.Linear(2, 2)
    assert torch_internals.parameter_table(linear).keys() == {"weight", "bias"}
    assert not torch_internals.buffer_table(linear)
    assert not torch_internals.child_table(linear)
    norm = torch.nn.BatchNorm1d(2)
    norm.register_buffer("scratch", torch.zeros(1), persistent=False)
    assert list(torch_internals.unsaved_buffer_names(norm)) == ["scratch"]
    compiled = torch.compile(linear)
    assert torch_internals.compiled_from(compiled) is linear
    assert torch_internals.compiled_from(linear) is linear
    assert torch_internals.schema_of(torch.ops.aten.add.Tensor).name == "aten::add"
    assert torch_internals.schema_of(len) is None
    assert torch_internals.is_made_of_others(torch.ops.aten.linear.default)
    assert not torch_internals.is_made_of_others(torch.ops.aten.mm.default)
    assert not torch_internals.is_made_of_others(torch.ops.prim.device.default)
    base = torch.zeros(4)
    whole, part = (torch_internals.key_of(tensor.untyped_storage()) for tensor in (base, base[1:]))
    assert whole == part != torch_internals.key_of(torch.zeros(4).untyped_storage())
    assert all(hasattr(base, name) for name in torch_internals.TENSOR_HOOKS)


def test_a_dispatch_mode_is_called_without_the_compiler_s_wrapper():
    def plain(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))

    kind = type("Mode", (torch_internals.TorchDispatchMode,), {"__torch_dispatch__": plain})
    assert vars(kind)["__torch_dispatch__"] is plain


def test_which_operators_write():
    assert torch_internals.is_mutable(torch.ops.aten.add_.Tensor)
    assert torch_internals.is_mutable(torch.ops.aten.add.out)
    assert not torch_internals.is_mutable(torch.ops.aten.add.Tensor)
    storages = torch.zeros(2).untyped_storage(), torch.zeros(2).untyped_storage()
    assert torch_internals.key_of(storages[0]) != torch_internals.key_of(storages[1])
