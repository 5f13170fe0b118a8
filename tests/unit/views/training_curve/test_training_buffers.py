"""Buffers at the start of a training: integers and booleans, counters, and caches that the training itself fills."""

import pytest
import torch
from torch import nn
from trainings import Net, compared, trained

from pytest_modelviz.records.findings import WeightFinding


class Rotary(nn.Module):
    """A cache in no state dict, filled by the first call and again where it is too short."""

    def __init__(self, *, registers_late=False):
        super().__init__()
        if not registers_late:
            self.register_buffer("cos", torch.zeros(0), persistent=False)

    def forward(self, x):
        if not hasattr(self, "cos") or self.cos.numel() < x.shape[1]:
            self.register_buffer("cos", torch.arange(float(x.shape[1])).cos(), persistent=False)
        return x * self.cos[: x.shape[1]]


def with_buffer(values, *, persistent=True, writes=False):
    class Holder(Net):
        def forward(self, x):
            if writes:
                self.extra.add_(1)
            return super().forward(x)

    torch.manual_seed(1)
    model = Holder()
    model.register_buffer("extra", values, persistent=persistent)
    return trained(model=model)


@pytest.mark.parametrize("persistent", [True, False])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (torch.arange(5), -7 * torch.arange(5)),
        (torch.ones(4, dtype=torch.bool), torch.zeros(4, dtype=torch.bool)),
        (torch.tensor(3, dtype=torch.uint8), torch.tensor(4, dtype=torch.uint8)),
    ],
)
def test_integers_and_booleans_that_nothing_reads_are_compared(before, after, persistent):
    verdict = compared(with_buffer(before, persistent=persistent), with_buffer(after, persistent=persistent), rtol=9.0)
    assert (verdict.matched, verdict.cause, verdict.first.layer) == (False, "weights", "")
    assert [finding.name for finding in verdict.findings if isinstance(finding, WeightFinding)] == ["extra"]
    assert compared(*(with_buffer(before.clone(), persistent=persistent) for _ in range(2))).matched


def test_how_often_a_norm_has_been_called_is_no_start_of_its_own():
    def called(times):
        return trained(change=lambda model: model.norm.num_batches_tracked.fill_(times))

    assert compared(called(0), called(7)).matched


@pytest.mark.parametrize(("persistent", "matched"), [(False, True), (True, False)])
def test_what_a_training_writes_and_nobody_saves_is_no_weight(persistent, matched):
    fresh, used = (with_buffer(torch.tensor(start), persistent=persistent, writes=True) for start in (0, 9))
    assert compared(fresh, used).matched is matched


@pytest.mark.parametrize("registers_late", [False, True])
def test_a_cache_that_an_earlier_call_has_filled_is_no_other_start(registers_late):
    def view(*, called):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(4, 4), Rotary(registers_late=registers_late), nn.Linear(4, 1))
        if called:
            model(torch.rand(2, 4))
        return trained(model=model)

    for baseline in (False, True):
        for actual in (False, True):
            assert compared(view(called=baseline), view(called=actual)).matched
    torch.manual_seed(1)
    bent = nn.Sequential(nn.Linear(4, 4), Rotary(), nn.Linear(4, 1))
    bent[1].register_buffer("cos", torch.arange(4.0).sin(), persistent=False)
    assert not compared(view(called=False), trained(model=bent)).matched
