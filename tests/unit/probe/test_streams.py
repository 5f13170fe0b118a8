"""Models and layers that return generators: their code runs only when items are taken out."""

import itertools
import warnings

import pytest
import torch
from torch import nn

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.probe.streams import MOST_ITEMS, consume
from pytest_modelviz.views.cam_map.capture import CamMapView
from pytest_modelviz.views.combined.capture import CombinedCapture
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView
from pytest_modelviz.views.model_graph.capture import ModelGraphView
from pytest_modelviz.views.model_summary.capture import ModelSummaryView
from pytest_modelviz.views.saliency_map.capture import SaliencyMapView


def values():
    return torch.rand(2, 4, generator=torch.Generator().manual_seed(0))


def hidden(function):
    """What is called is no configuration where it is called by a function of one name."""

    def run(x):
        return function(x)

    return run


class Stream(nn.Module):
    def __init__(self, function=torch.relu, steps=3):
        super().__init__()
        torch.manual_seed(0)
        self.linear, self.last = nn.Linear(4, 4), nn.Linear(4, 4)
        self.run, self.steps = [hidden(function)], steps

    def forward(self, x):
        for _ in range(self.steps):
            x = self.run[0](self.linear(x))
            yield x
        self.last(x)  # runs when the generator is exhausted


def as_map(self, x):
    return map(self.run[0], map(self.linear, x.split(1)))


def as_zip(self, x):
    return zip((self.run[0](self.linear(part)) for part in x.split(1)), itertools.count(), strict=False)


def as_chain(self, x):
    return itertools.chain([x], (self.run[0](self.linear(part)) for part in x.split(1)))


def in_a_dict(self, x):
    return {"logits": self.linear(x), "states": (self.run[0](self.last(part)) for part in x.split(1))}


def in_a_tuple(self, x):
    return x, Stream.forward(self, x)


class OwnIterator:
    def __init__(self, model, x):
        self.model, self.x, self.left = model, x, 3

    def __iter__(self):
        return self

    def __next__(self):
        if not self.left:
            raise StopIteration
        self.left -= 1
        self.x = self.model.run[0](self.model.linear(self.x))
        return self.x


class OnlyIterable:
    def __init__(self, model):
        self._model = [model]

    def __iter__(self):
        yield self._model[0].run[0](self._model[0].linear(values()))


def as_own_iterator(self, x):
    return OwnIterator(self, x)


KINDS = {
    "generator": Stream.forward,
    "map": as_map,
    "zip": as_zip,
    "chain": as_chain,
    "dict": in_a_dict,
    "tuple": in_a_tuple,
    "iterator": as_own_iterator,
    "iterable": lambda self, x: OnlyIterable(self),
}


def streaming(kind, function=torch.relu):
    made = Stream(function)
    made.__class__ = type("Streaming", (Stream,), {"forward": KINDS[kind]})
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_model_returns_runs_inside_of_it(kind):
    view, same = FeatureMapsView(streaming(kind), values()), FeatureMapsView(streaming(kind), values())
    capture = view.capture()
    assert capture.notes == ()
    assert "linear" in [call.layer for call in capture.result.trace.calls]
    assert all(call.depth for call in capture.result.trace.calls[1:])
    assert view.compare(capture, same.capture(), Tolerances()).matched
    other = FeatureMapsView(streaming(kind, torch.exp), values())
    verdict = view.compare(capture, other.capture(), Tolerances())
    assert (verdict.matched, verdict.cause, verdict.first.layer) == (False, "computation", "")


def test_a_changed_layer_of_a_stream_is_named():
    view, other = FeatureMapsView(Stream(), values()), FeatureMapsView(changed := Stream(), values())
    with torch.no_grad():
        changed.last.weight.mul_(1.1)  # called after the last item
    verdict = view.compare(view.capture(), other.capture(), Tolerances())
    assert (verdict.cause, verdict.first.layer) == ("weights", "last")


def test_items_are_the_result():
    output = FeatureMapsView(Stream(), values()).capture().result.output
    assert isinstance(output, list)
    expected = list(Stream()(values()))
    assert all(torch.equal(one, other) for one, other in zip(output, expected, strict=True))
    output = FeatureMapsView(streaming("dict"), values()).capture().result.output
    assert isinstance(output["states"], list)


def test_every_view_consumes_them():
    summary = ModelSummaryView(Stream(), values()).capture().result
    assert summary.layers["linear"].calls == 3
    assert summary.layers["last"].outputs == "float32[2, 4]"
    graph = ModelGraphView(Stream(), values()).capture().result
    assert [one.kind for one in graph.operators].count("relu") == 3
    seen = SaliencyMapView(Stream(), values(), target=1).capture()
    assert seen.facts["explained"] == "[0]"
    last = SaliencyMapView(Stream(), values(), target=lambda items: items[2][0, 1]).capture().result
    assert last.gradient.any()
    assert not last.gradient[1].any()
    everything = CombinedCapture(Stream(), values())
    assert everything.summary.capture().result.layers["last"].calls == 1


def test_a_map_of_a_stream():
    class Images(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)

        def forward(self, x):
            for step in range(2):
                yield self.head(self.conv(x + step).mean((2, 3)))

    for method in ("gradcam", "scorecam"):
        seen = CamMapView(Images(), torch.rand(1, 3, 8, 8), target=lambda items: items[1][0, 1], method=method)
        assert seen.capture().facts["explained"] == "a function of the whole output"
        assert seen.capture().result.raw.shape == (1, 6, 6)


def test_a_stream_without_an_end_is_cut_and_says_so():
    model = Stream(steps=10**9)
    for view in (FeatureMapsView(model, values()), ModelSummaryView(model, values())):
        capture = view.capture()
        (note,) = capture.notes
        assert note == "the model returns a generator of more than 256 items: only the first 256 are compared"
        assert view.compare(capture, view.capture(), Tolerances()).matched
    short = Stream(steps=MOST_ITEMS)
    assert ModelSummaryView(short, values()).capture().notes == ()


def test_what_cannot_be_run_here_says_so():
    class Async(Stream):
        async def forward(self, x):
            return self.linear(x)

    class AsyncStream(Stream):
        async def forward(self, x):
            yield self.linear(x)

    for model, kind in ((Async(), "coroutine"), (AsyncStream(), "async_generator")):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            (note,) = FeatureMapsView(model, values()).capture().notes
        assert note == f"the model returns an object of type {kind}, which is not run: its result is not compared"


def test_an_error_inside_of_a_stream_is_the_model_s():
    class Fails(Stream):
        def forward(self, x):
            yield self.linear(x)
            raise LookupError("of the model")

    with pytest.raises(LookupError, match="of the model"):
        FeatureMapsView(Fails(), values()).capture()


class Part(nn.Module):
    """A layer that hands its results to its parent one by one."""

    def __init__(self, function, kind):
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.run, self.kind = [hidden(function)], kind

    def forward(self, x):
        if self.kind == "map":
            return map(self.run[0], map(self.linear, [x] * 3))
        return self.steps(x)

    def steps(self, x):
        for _ in range(3):
            x = self.run[0](self.linear(x))
            sent = yield x
            if sent is not None:
                x = x + sent


class Parent(nn.Module):
    def __init__(self, part=torch.relu, own=torch.relu, kind="generator", sends=False):
        super().__init__()
        torch.manual_seed(0)
        self.part, self.head = Part(part, kind), nn.Linear(4, 2)
        self.own, self.sends, self.order = [hidden(own)], sends, []

    def forward(self, x):
        items = self.part(x)
        if self.sends:
            got = [next(items), items.send(torch.ones(4)), next(items)]
        else:
            got = []
            for item in items:
                self.order.append(len(got))
                got.append(self.head(self.own[0](item)))
        return torch.stack(got)


@pytest.mark.parametrize("kind", ["generator", "map"])
def test_a_layer_s_generator_is_consumed_by_its_parent_step_by_step(kind):
    view = FeatureMapsView(Parent(kind=kind), values())
    capture = view.capture()
    calls = [call.layer for call in capture.result.trace.calls]
    step = ["part", "part.linear", "head"]
    assert calls == ["", "part", *step, *step, *step, "part"]  # and not all of part before all of head
    assert torch.equal(capture.result.output, Parent(kind=kind)(values()).detach())
    assert view.compare(capture, FeatureMapsView(Parent(kind=kind), values()).capture(), Tolerances()).matched
    for fault, layer in (({"part": torch.exp}, "part"), ({"own": torch.exp}, "")):
        other = FeatureMapsView(Parent(kind=kind, **fault), values())
        verdict = view.compare(capture, other.capture(), Tolerances())
        assert (verdict.matched, verdict.cause, verdict.first.layer) == (False, "computation", layer)


def test_what_is_sent_and_thrown_into_a_layer_s_generator_arrives():
    assert torch.equal(
        FeatureMapsView(Parent(sends=True), values()).capture().result.output, Parent(sends=True)(values()).detach()
    )

    class Catches(Part):
        def steps(self, x):
            try:
                yield self.linear(x)
            except ValueError:
                yield x * 0
            return x + 1

    class Throws(Parent):
        def forward(self, x):
            items = self.part(x)
            next(items)
            zeros = items.throw(ValueError())
            try:
                next(items)
            except StopIteration as end:
                return zeros + end.value

    model = Throws()
    model.part.__class__ = Catches
    assert torch.equal(FeatureMapsView(model, values()).capture().result.output, values() + 1)
    assert ModelSummaryView(model, values()).capture().result.layers["part"].calls == 4

    class Leaves(Parent):
        def forward(self, x):
            for item in self.part(x):
                return item
            return None

    closed = []

    class Closes(Part):
        def steps(self, x):
            try:
                yield self.linear(x)
            finally:
                closed.append(True)

    model = Leaves()
    model.part.__class__ = Closes
    FeatureMapsView(model, values()).capture()
    assert closed == [True]


def test_a_layer_s_generator_that_the_model_returns_is_consumed_at_the_end():
    class Passes(Parent):
        def forward(self, x):
            return self.part(x)

    view = FeatureMapsView(Passes(), values())
    other = FeatureMapsView(Passes(torch.exp), values())
    verdict = view.compare(view.capture(), other.capture(), Tolerances())
    assert (verdict.matched, verdict.first.layer) == (False, "part")


class Cache:
    """Empty, and yet no stream: it has a length."""

    def __iter__(self):
        yield from ()

    def __len__(self):
        return 0


class Holds:
    def __init__(self):
        self.x = values()

    def __iter__(self):
        yield self.x


def test_outputs_without_streams_are_returned_as_they_are():
    for output in (Cache(), Holds(), {"cache": Cache()}):
        assert consume(output)[0] is output
    for output in (values(), {"a": [values()]}, (None, "text", 3), range(3), nn.ModuleList(), {1: {2}}):
        assert consume(output)[0] is output
