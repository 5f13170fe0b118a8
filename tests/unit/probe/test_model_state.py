"""What a forward pass changes of its model, beside the values of tensors, is put back: gradients, objects, hooks."""

import pytest
import torch
from observable_state import state_of_model
from torch import nn
from torch.nn.utils import parametrizations

from pytest_modelviz.errors import ModelvizWarning
from pytest_modelviz.probe.process import process_untouched
from pytest_modelviz.probe.purity import untouched
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView


class Net(nn.Module):
    """Changes itself at the end of its forward pass; a dense and a sparse gradient, a buffer, a cached tensor."""

    def __init__(self, change, error=None):
        super().__init__()
        self.words, self.norm, self.head = nn.Embedding(5, 4, sparse=True), nn.BatchNorm1d(4), nn.Linear(4, 2)
        self.cache, self.change, self.error = torch.zeros(4), None, None
        self(torch.tensor([1, 2])).sum().backward()
        self.change, self.error = change, error

    def forward(self, x):
        x = self.head(self.norm(self.words(x) + self.cache))
        if self.change is not None:
            self.change(self)
        if self.error is not None:
            raise self.error
        return x


def dense(gradient):
    return None if gradient is None else (id(gradient), gradient.dtype, gradient.layout, gradient.to_dense().tolist())


def state(model):
    """All of `observable_state`, and what tensors have beside values; sparse gradients and plain tensors too."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers()), "cache": model.cache}
    gradients = {name: tensor.grad for name, tensor in tensors.items() if tensor.is_leaf}
    model.words.weight.grad = None  # whose bits `state_of_model` cannot read
    found = state_of_model(model)
    model.words.weight.grad = gradients["words.weight"]
    return found | {
        "gradients": {name: dense(gradient) for name, gradient in gradients.items()},
        "of gradients": [(g.requires_grad, g.is_leaf) for g in gradients.values() if g is not None],
        "cache": (id(model.cache), model.cache.data_ptr(), model.cache.tolist(), model.cache.requires_grad),
        "hooks": [(name, bool(t._backward_hooks), bool(t._post_accumulate_grad_hooks)) for name, t in tensors.items()],
        "attributes of tensors": {name: vars(tensor).copy() for name, tensor in tensors.items()},
        "classes": {name: type(tensor) for name, tensor in tensors.items()},
    }


def swapped(convert):
    def change(model):
        torch.__future__.set_swap_module_params_on_conversion(True)
        convert(model)

    return change


def overwritten(model):
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    model.head.half()


def backward(model):
    with torch.enable_grad():
        (model.words(torch.tensor([1, 3])).sum() + model.head(torch.ones(1, 4)).sum()).backward()


def write_gradients(model):
    model.head.weight.grad.mul_(3)
    model.words.weight.grad.mul_(3)


def hook_tensors(model):
    model.head.weight.register_hook(lambda gradient: gradient * 2)
    model.head.weight.register_post_accumulate_grad_hook(lambda parameter: None)


def ones(*shape):
    return torch.ones(*shape)


CHANGES = {
    "double of a layer": lambda model: model.head.double(),
    "double of all": lambda model: model.double(),
    "half and back": lambda model: model.head.half().float(),
    "bfloat16 of a layer": lambda model: model.words.bfloat16(),
    "to_empty": lambda model: model.head.to_empty(device="cpu"),
    "to_empty on another device": lambda model: model.to_empty(device="meta"),
    "half with swapped parameters": swapped(lambda model: model.half()),
    "another device with swapped parameters": swapped(lambda model: model.to("meta")),
    "half with overwritten parameters": overwritten,
    "another gradient": lambda model: setattr(model.head.weight, "grad", ones(2, 4)),
    "no gradients": lambda model: model.zero_grad(),
    "zeroed gradients": lambda model: model.zero_grad(set_to_none=False),
    "written gradients": write_gradients,
    "accumulated gradients": backward,
    "a gradient's data": lambda model: setattr(model.head.weight.grad, "data", ones(7)),
    "a gradient's trainability": lambda model: model.head.weight.grad.requires_grad_(),
    "a parameter's data": lambda model: setattr(model.head.weight, "data", ones(7)),
    "a buffer's data": lambda model: setattr(model.norm.running_mean, "data", ones(7)),
    "trainability": lambda model: model.requires_grad_(False),
    "hooks on a parameter": hook_tensors,
    "an attribute of a parameter": lambda model: setattr(model.head.weight, "loader", "left"),
    "a new parameter": lambda model: setattr(model.head, "weight", nn.Parameter(ones(2, 4))),
    "one parameter more": lambda model: model.register_parameter("more", nn.Parameter(ones(1))),
    "one parameter less": lambda model: delattr(model.head, "bias"),
    "a new buffer": lambda model: setattr(model.norm, "running_mean", ones(4)),
    "one buffer more": lambda model: model.register_buffer("more", ones(1), persistent=False),
    "one buffer less": lambda model: delattr(model.norm, "running_mean"),
    "a buffer that is not saved": lambda model: model.norm.register_buffer("running_var", ones(4), persistent=False),
    "a new module": lambda model: setattr(model, "head", nn.Identity()),
    "one module more": lambda model: model.add_module("more", nn.ReLU()),
    "one module less": lambda model: delattr(model, "norm"),
    "another class": lambda model: setattr(model.head, "__class__", nn.Identity),
    "a parametrization": lambda model: parametrizations.weight_norm(model.head),
    "hooks of a module": lambda model: model.head.register_forward_pre_hook(lambda module, args: None),
    "a cache's trainability": lambda model: model.cache.requires_grad_(),
    "a cache's data": lambda model: setattr(model.cache, "data", ones(9)),
    "a cache's memory": lambda model: model.cache.set_(ones(4)),
    "a cache's shape": lambda model: model.cache.unsqueeze_(0),
    "a cache's size": lambda model: model.cache.resize_(2),
}


def readable(model):
    try:
        return repr(state(model))
    except Exception:  # of what has lost a module, or all of its values
        return "unreadable"


@pytest.mark.parametrize("name", CHANGES)
def test_without_a_check_it_would_be_another_model(name):
    model = Net(None)
    before = readable(model)
    with process_untouched():
        CHANGES[name](model)
    assert readable(model) != before


@pytest.mark.parametrize("name", CHANGES)
def test_a_pass_leaves_it_as_it_was(name):
    model = Net(CHANGES[name])
    before = state(model)
    FeatureMapsView(model, torch.tensor([1, 2])).capture()
    assert state(model) == before


@pytest.mark.parametrize("name", CHANGES)
def test_a_pass_that_raises_leaves_it_as_it_was(name):
    model = Net(CHANGES[name], IndexError("from the model"))
    before = state(model)
    with pytest.raises(IndexError, match="from the model"):
        FeatureMapsView(model, torch.tensor([1, 2])).capture()
    assert state(model) == before


def test_an_input_s_gradient_hooks_and_data_come_back():
    class Changes(nn.Module):
        def forward(self, x, y):
            x.register_hook(lambda gradient: gradient)
            x.grad.data = torch.ones(3)
            x.data = torch.ones(3)
            y._values().mul_(2)
            return y.to_dense()

    x, y = torch.zeros(2, requires_grad=True), torch.eye(2).to_sparse()
    x.grad = gradient = torch.full((2,), 5.0)
    with untouched(model := Changes(), (x, y)):
        model(x, y)
    assert x.grad is gradient
    assert (x.tolist(), gradient.tolist(), x._backward_hooks) == ([0.0, 0.0], [5.0, 5.0], None)
    assert torch.equal(y.to_dense(), torch.eye(2))


def test_a_restored_model_can_be_trained():
    model = Net(CHANGES["half with swapped parameters"])
    FeatureMapsView(model, torch.tensor([1, 2])).capture()
    model.change = None
    model.zero_grad()
    model(torch.tensor([1, 2])).sum().backward()
    torch.optim.SGD(model.parameters(), 0.1).step()
    assert model.head.weight.grad.dtype is torch.float32


def test_state_that_cannot_be_restored_is_named():
    layer = nn.Linear(2, 2)

    class Sealed(dict):
        def clear(self):
            raise TypeError("sealed")

    layer.table, weight = Sealed(a=1), layer.weight.data_ptr()

    def change():
        with untouched(layer):
            layer.table["b"] = 2
            layer.weight.data = torch.ones(2, 2)

    with pytest.warns(ModelvizWarning, match="attributes of Linear .TypeError: sealed"):
        change()
    assert layer.weight.data_ptr() == weight  # the rest is put back all the same
