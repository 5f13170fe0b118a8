"""Another `__call__` for classes of modules, for the length of a block: what it passes on, and what is put back."""

import pytest
import torch
from torch import nn

from pytest_modelviz.probe.replaced_calls import replaced_calls


class Plain(nn.Module):
    def __call__(self, x, *, scale=1):
        return ("plain", x, scale)


class AlsoPlain(nn.Module):
    __call__ = nn.Module.__call__


class WithoutDefaults(nn.Module):
    def __call__(self, *args, **kwargs):
        return ("own", args, kwargs)


def _decorated(function):
    def decorated(self, *args, **kwargs):
        return function(self, *args, **kwargs)

    return decorated


class Decorated(nn.Module):
    @_decorated
    def __call__(self, x):
        return ("decorated", x)


class Identity(nn.Module):
    def forward(self, *args, **kwargs):
        return args, kwargs


def recorder(calls):
    def wrap(base, original):
        def replacement(module, /, *args, **kwargs):
            calls.append((base, type(module), args, kwargs))
            return original(module, *args, **kwargs)

        return replacement

    return wrap


def test_all_arguments_reach_the_original_and_its_result_the_caller():
    calls = []
    with replaced_calls([nn.Module], recorder(calls)):
        assert Identity()(1, module=2, function=3) == ((1,), {"module": 2, "function": 3})
    assert calls == [(nn.Module, Identity, (1,), {"module": 2, "function": 3})]
    assert Identity()(4) == ((4,), {})
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("kind", "result"),
    [(Plain, ("plain", 5, 1)), (WithoutDefaults, ("own", (5,), {})), (Decorated, ("decorated", 5))],
)
def test_a_call_of_any_kind_is_replaced_and_put_back(kind, result):
    before = vars(kind)["__call__"]
    code = before.__code__
    calls = []
    with replaced_calls([kind], recorder(calls)):
        assert kind()(5) == result
    assert calls == [(kind, kind, (5,), {})]
    assert vars(kind)["__call__"] is before
    assert before.__code__ is code
    kind()(5)
    assert len(calls) == 1


def test_classes_that_share_a_function_are_replaced_once():
    calls = []
    code = nn.Module.__call__.__code__
    with replaced_calls([nn.Module, AlsoPlain], recorder(calls)):
        nn.Identity()(torch.zeros(1))
        assert len(calls) == 1
    assert nn.Module.__call__.__code__ is code
    assert vars(AlsoPlain)["__call__"] is nn.Module.__call__


def test_a_block_within_a_block_wraps_the_replacement():
    outer, inner = [], []
    code = nn.Module.__call__.__code__
    with replaced_calls([nn.Module], recorder(outer)):
        with replaced_calls([nn.Module], recorder(inner)):
            Identity()(1)
        Identity()(2)
    assert [args for *_, args, _ in inner] == [(1,)]
    assert [args for *_, args, _ in outer] == [(1,), (2,)]
    assert nn.Module.__call__.__code__ is code


def test_all_is_put_back_where_a_class_cannot_be_wrapped():
    code, before = nn.Module.__call__.__code__, vars(Plain)["__call__"]

    def wrap(base, original):
        if base is WithoutDefaults:
            raise ValueError("not this one")
        return original

    with pytest.raises(ValueError, match="not this one"), replaced_calls([nn.Module, Plain, WithoutDefaults], wrap):
        pass
    assert nn.Module.__call__.__code__ is code
    assert vars(Plain)["__call__"] is before
    assert WithoutDefaults()(1) == ("own", (1,), {})


def test_the_methods_of_subclasses_are_found_as_before():
    """The function itself stays, so that Python need not forget what it knows of the subclasses of `Module`."""
    function = vars(nn.Module)["__call__"]
    with replaced_calls([nn.Module], recorder([])):
        assert vars(nn.Module)["__call__"] is function
