"""Arguments by place or name, defaults and literals: what is the caller's doing, and what the callee's."""

import copy

import pytest
import torch
from awkward_models import Around, compared
from torch import nn


def test_the_order_of_keyword_arguments_is_the_caller_s_own_affair():
    class Scaled(nn.Module):
        def forward(self, x, *, scale, shift):
            return x * scale + shift

    class Net(nn.Module):
        def __init__(self, turned):
            super().__init__()
            self.inner, self.turned = Scaled(), [turned, lambda: None]

        def forward(self, x):
            if self.turned[0]:
                return self.inner(x, shift=1.0, scale=2.0)
            return self.inner(x, scale=2.0, shift=1.0)

    assert compared(Net(False), Net(True)).matched


class Attend(nn.Module):
    def forward(self, query, key, mask=None, *rest, scale=1.0, causal=False):
        return query * key.mean() * scale + (0 if mask is None else mask)


@pytest.mark.parametrize(
    "call",
    [
        lambda f, x: f(x, x + 1, None, scale=1.0),
        lambda f, x: f(query=x, key=x + 1),
        lambda f, x: f(key=x + 1, query=x, causal=False, mask=None),
        lambda f, x: f(x, scale=1.0, key=x + 1),
    ],
)
def test_arguments_may_be_given_by_position_or_name_and_defaults_spelled_out(call):
    model = nn.Module.__new__(Around)
    Around.__init__(model, lambda self, x: self.attend(x, x + 1))
    model.attend = Attend()
    other = copy.copy(model)
    other.run = lambda x: call(other.attend, x)
    assert compared(model, other).matched


def test_a_forward_that_takes_anything_is_compared_with_one_that_names_its_parameters():
    class Anything(Attend):
        def forward(self, *args, **kwargs):
            return super().forward(*args, **kwargs) * 1.5

    Anything.__name__ = "Attend"
    model = Around(lambda self, x: self.attend(x, mask=None, key=x + 1))
    model.attend = Attend()
    other = copy.copy(model)
    other._modules = {**model._modules, "attend": Anything()}
    other.run = lambda x: other.attend(x, mask=None, key=x + 1)
    verdict = compared(model, other)
    assert (verdict.first.layer, verdict.cause) == ("attend", "computation")
    model.run, other.run = lambda x: model.attend(x, x + 1, None), lambda x: other.attend(x, x + 1, None)
    for one, two in ((model, other), (other, model)):
        verdict = compared(one, two)
        assert (verdict.first.layer, verdict.cause) == ("attend", "computation")


def test_another_default_value_is_the_callee_s_code_and_another_value_the_caller_s():
    def model(default, *given):
        class Scales(nn.Module):
            def forward(self, x, factor=default):
                return x * factor

        torch.manual_seed(0)
        net = Around(lambda self, x: self.scales(x, *given))
        net.scales = Scales()
        return net

    verdict = compared(model(1.0), model(2.0))
    assert (verdict.first.layer, verdict.cause) == ("scales", "computation")
    verdict = compared(model(1.0), model(1.0, 2.0))
    assert (verdict.first.layer, verdict.cause) == ("", "computation")
    assert compared(model(3.0, 1), model(3.0, 1.0)).matched
    assert compared(model(1.0), model(1.0, 1)).matched
    verdict = compared(model(1.0), model(5.0, 1.0))  # no text says what the default was: whoever wrote the file does
    assert (verdict.matched, verdict.first.layer, verdict.cause) == (False, "", "computation")
    assert compared(model(5.0, 0.5), model(0.5)).matched
    assert not compared(model(3.0, 1), model(3.0, 1.5)).matched


def test_a_renamed_parameter_of_forward_is_no_evidence_against_its_code():
    class Old(nn.Module):
        def forward(self, x):
            return x * 2

    class New(nn.Module):
        def forward(self, image):
            return image * 3

    New.__name__ = "Old"
    verdict = compared(nn.Sequential(Old()), nn.Sequential(New()))
    assert (verdict.first.layer, verdict.cause) == ("0", "computation")


def test_float_literals_are_compared_within_a_tolerance():
    def returning(value):
        torch.manual_seed(0)
        return Around(lambda self, x: (x, value, 3))

    assert compared(returning(0.1), returning(0.1 + 1e-7)).matched
    assert not compared(returning(0.1), returning(0.11)).matched
    assert compared(returning(float("nan")), returning(float("nan"))).matched
    assert compared(returning(1j), returning(1j)).matched
