"""The arguments of two calls correspond one to one: no baseline stands for two calls of the actual forward.

MODELVIZ_FORGERIES sets how many signatures are tried, as in `test_forgery`.
"""

import itertools
import os
import random

import pytest
from forgery_subjects import image
from forging_by_hand import matches, reread, retraced
from torch import nn

from pytest_modelviz.compare.arguments import matched_arguments
from pytest_modelviz.records.structure import ModuleRecord
from pytest_modelviz.records.trace import Leaf
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView
from pytest_modelviz.views.model_summary.capture import ModelSummaryView

REPETITIONS = int(os.environ.get("MODELVIZ_FORGERIES", "100"))
CLAIMED_NAMES = ["x", "m", "b", "p", "q", "r", "t"]
CLAIMED_PATHS = [*CLAIMED_NAMES, "t[0]", "t[1]", "a[0]", "a[1]", "p[0]", "args[0]", "x[0]", "q[0]", "q[1]"]


class Parameters:
    """The parameters of a forward, chosen at random, and all calls of it that hand over two values."""

    def __init__(self, chance, names, *, is_open):
        names = chance.sample(names, chance.choice([1, 2, 2, 3]))
        count = chance.randrange(len(names) + 1)
        self.names, self.only_by_name = names[:count], names[count:]
        self.rest = chance.choice(["", "", "t"])
        self.is_open = is_open
        required = chance.randrange(count + 1)
        self.optional = {*self.names[required:], *(name for name in self.only_by_name if chance.random() < 0.6)}

    def record(self, view):
        """As a trace or a summary describes them."""
        keywords = ["**kw"] if self.is_open else []
        if view is FeatureMapsView:
            texts = [*self.names, f"*{self.rest or 'args'}", *self.only_by_name, *keywords]
            return record(texts, sorted(self.optional))
        marked = self.optional if self.is_open else ()
        rest = [f"*{self.rest}"] if self.rest else []
        texts = [f"{name}=..." if name in marked else name for name in (*self.names, *rest, *self.only_by_name)]
        return record([*texts, *keywords])

    def calls(self):
        paths = [*self.names, *self.only_by_name]
        paths += [f"{self.rest}[{at}]" for at in range(2)] if self.rest else []
        paths += [name for name in ("p", "q") if name not in paths] if self.is_open else []
        for values in itertools.product(("U", "V", None), repeat=len(paths)):
            given = {path: Leaf(literal=value) for path, value in zip(paths, values, strict=True) if value}
            if given and given.keys() >= {*self.names, *self.only_by_name} - self.optional:
                yield given


def record(texts, optional=()):
    return ModuleRecord("", {"forward": ", ".join(texts), "defaults": "\n".join(f"{name}=D" for name in optional)}, {})


def claimed_record(chance):
    names = chance.sample(CLAIMED_NAMES, chance.randrange(4))
    count = chance.randrange(len(names) + 1)
    rest = chance.choice([[], [], ["*t"], ["*a"], ["*p"], ["*x"], ["*q"], ["*args"]])
    keywords = ["**kw"] if chance.random() < 0.25 else []
    return record([*names[:count], *rest, *names[count:], *keywords], chance.sample(CLAIMED_NAMES, chance.randrange(3)))


def claimed_leaves(chance, call):
    """A call under other names, of which some may be its own."""
    own = chance.random()
    paths = (path if chance.random() < own else chance.choice(CLAIMED_PATHS) for path in call)
    return dict(zip(paths, call.values(), strict=True))


def agree(baseline, actual, *records):
    before, after = matched_arguments(baseline, actual, *records)
    return before == after


@pytest.mark.parametrize("view", [FeatureMapsView, ModelSummaryView])
@pytest.mark.parametrize("is_open", [False, True])
def test_no_baseline_stands_for_two_calls(view, is_open):
    chance, found = random.Random(0), 0
    for _ in range(REPETITIONS):
        parameters = Parameters(chance, ["x", "m", "b"], is_open=is_open)
        calls, actual = list(parameters.calls()), parameters.record(view)
        calls = chance.sample(calls, min(len(calls), 60))
        for _ in range(20):
            baseline, claimed = claimed_leaves(chance, chance.choice(calls)), claimed_record(chance)
            standing = [call for call in calls if agree(baseline, call, claimed, actual)]
            assert len(standing) <= 1, (actual.config, claimed.config, baseline, standing)
            found += len(standing)
    assert found > 50


@pytest.mark.parametrize("view", [FeatureMapsView, ModelSummaryView])
@pytest.mark.parametrize("is_open", [False, True])
def test_calls_of_two_signatures_correspond_one_to_one(view, is_open):
    chance, found = random.Random(1), 0
    for _ in range(80):
        old = Parameters(chance, ["x", "m", "b", "p"], is_open=False)
        new = Parameters(chance, ["x", "m", "q", "r"], is_open=is_open)
        records = old.record(view), new.record(view)
        baselines, calls = (list(parameters.calls()) for parameters in (old, new))
        baselines, calls = (chance.sample(given, min(len(given), 40)) for given in (baselines, calls))
        pairs = [
            (before, after)
            for before, baseline in enumerate(baselines)
            for after, call in enumerate(calls)
            if agree(baseline, call, *records)
        ]
        for side in zip(*pairs, strict=True):
            assert len({*side}) == len(side), [record.config for record in records]
        found += len(pairs)
    assert found > 50


class Masks(nn.Module):
    def forward(self, x, mask=None, bias=None):
        return x + 0


class Scales(nn.Module):
    def forward(self, *tensors, scale=None):
        return tensors[0] + 0


class Rests(nn.Module):
    def forward(self, x, mask=None, *rest):
        return x + 0


class HandsOver(nn.Module):
    def __init__(self, inner, call):
        super().__init__()
        self.inner, self.call = inner, [call]  # no configuration

    def forward(self, x):
        return self.call[0](self.inner, x)


FORGERIES = {
    "a name by position and a name by name": (
        Scales,
        lambda inner, x: inner(x, scale=x * 2),
        lambda inner, x: inner(x, x * 2),
        {"tensors[0]": "p", "scale": "q"},
        "p, q",
    ),
    "two names under one": (
        Masks,
        lambda inner, x: inner(x, mask=x * 2),
        lambda inner, x: inner(x, bias=x * 2),
        {"mask": "p"},
        "x, p, *p",
    ),
    "two names under one, and a third": (
        Masks,
        lambda inner, x: inner(x, mask=x * 2),
        lambda inner, x: inner(x, bias=x * 2),
        {"mask": "p"},
        "x, p, *p, z",
    ),
    "the rest a position earlier": (
        Rests,
        lambda inner, x: inner(x, x * 2),
        lambda inner, x: inner(x, None, x * 2),
        {"mask": "rest[0]"},
        "x, *rest",
    ),
}


@pytest.mark.parametrize("view", [FeatureMapsView, ModelSummaryView])
@pytest.mark.parametrize("forgery", FORGERIES)
def test_no_forged_signature_matches_two_calls(view, forgery):
    kind, call, other_call, names, signature = FORGERIES[forgery]

    def in_trace(trace):
        entered = next(call for call in trace.calls if call.layer == "inner")
        entered.inputs = {names.get(path, path): leaf for path, leaf in entered.inputs.items()}
        trace.modules["inner"].config.update(forward=signature, defaults="")

    def in_facts(facts):
        row = facts["layers"]["inner"]
        for name, former in names.items():
            row["in"] = row["in"].replace(f"{name}: ", f"{former}: ")
        row["forward"] = signature

    honest, drifted = (view(HandsOver(kind(), made), input_data=image()) for made in (call, other_call))
    forge, change = (retraced, in_trace) if view is FeatureMapsView else (reread, in_facts)
    baseline = forge(honest, honest.capture(), change)
    assert not matches(drifted, honest.capture(), drifted.capture())
    assert not (matches(honest, baseline, honest.capture()) and matches(drifted, baseline, drifted.capture()))
