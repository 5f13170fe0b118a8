"""No argument of a call stands for another, whatever signature, name or device a baseline claims."""

import functools

import pytest
from forgery_subjects import image
from forging_by_hand import matches, reread, retraced
from torch import nn

from pytest_modelviz.records.trace import Leaf
from pytest_modelviz.records.trace_arrays import unpack_trace
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView
from pytest_modelviz.views.model_graph.naming import named_inputs
from pytest_modelviz.views.model_summary.capture import ModelSummaryView


def test_no_argument_stands_for_another():
    class Takes(nn.Module):
        def forward(self, x, mask=None, bias=None):
            return x + 0

    class Gives(nn.Module):
        def __init__(self, name):
            super().__init__()
            self.name, self.inner = name, Takes()

        def forward(self, x):
            return self.inner(x, **{self.name: x * 2})

    def unnamed(trace):
        call = next(call for call in trace.calls if call.layer == "inner")
        call.inputs = {"x": call.inputs["x"], "q": Leaf(tensor="inner<q")}
        trace.tensors["inner<q"] = trace.tensors.pop("inner<mask")
        trace.modules["inner"].config.update(forward="x, q", defaults="")

    view, other = FeatureMapsView(Gives("mask"), image()), FeatureMapsView(Gives("bias"), image())
    assert not matches(other, retraced(view, view.capture(), unnamed), other.capture())


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan"), 1.0])
def test_the_number_0_is_none_that_is_not_finite(value):
    class Scaled(nn.Module):
        def forward(self, x, factor):
            return x

    class Gives(nn.Module):
        def __init__(self, factor):
            super().__init__()
            self.factor, self.inner = factor, Scaled()

        def forward(self, x):
            return self.inner(x, self.factor)

    view, other = FeatureMapsView(Gives(0), image()), FeatureMapsView(Gives(value), image())
    assert not matches(other, view.capture(), other.capture())
    assert matches(view, view.capture(), FeatureMapsView(Gives(0.0), image()).capture())


class Modes(nn.Module):
    def forward(self, x, mode):
        return x


class Gives(nn.Module):
    def __init__(self, mode):
        super().__init__()
        self.mode, self.inner = mode, Modes()

    def forward(self, x):
        return self.inner(x, self.mode)


def test_a_word_is_no_device_because_the_baseline_has_one():
    def on_a_device(trace):
        call = next(call for call in trace.calls if call.layer == "inner")
        call.inputs = {**call.inputs, "mode": Leaf(literal="cuda:0")}

    view = FeatureMapsView(Gives("meta"), image())
    baseline = retraced(view, view.capture(), on_a_device)
    for mode in ("meta", "cpu", "xla"):
        other = FeatureMapsView(Gives(mode), image())
        assert not matches(other, baseline, other.capture())


def test_no_word_is_a_device_because_the_baseline_calls_its_parameter_so():
    def called_device(trace):
        call = next(call for call in trace.calls if call.layer == "inner")
        call.inputs = {"x": call.inputs["x"], "device": call.inputs["mode"]}
        trace.modules["inner"].config["forward"] = "x, device"

    view = FeatureMapsView(Gives("meta"), image())
    baseline = retraced(view, view.capture(), called_device)
    for mode in ("cpu", "xla"):
        other = FeatureMapsView(Gives(mode), image())
        assert not matches(other, baseline, other.capture())


def test_a_summary_s_word_is_no_device_because_the_baseline_calls_its_parameter_so():
    class Modes(nn.Module):
        def forward(self, x, meta):
            return x

    class Gives(nn.Module):
        def __init__(self, mode):
            super().__init__()
            self.mode, self.inner = mode, Modes()

        def forward(self, x):
            return self.inner(x, self.mode)

    def called_device(facts):
        row = facts["layers"]["inner"]
        row["in"] = row["in"].replace("meta: ", "device: ")

    view = ModelSummaryView(Gives("meta"), input_data=image())
    baseline = reread(view, view.capture(), called_device)
    for mode in ("cpu", "xla"):
        other = ModelSummaryView(Gives(mode), input_data=image())
        assert not matches(other, baseline, other.capture())


class Attends(nn.Module):
    def forward(self, x, mask=None, bias=None):
        return x + 0


class Variadic(nn.Module):
    def forward(self, x, *args, bias=None, **others):
        return x + 0


class HandsOver(nn.Module):
    """Calls its only child with what a function makes of its input."""

    def __init__(self, inner, call):
        super().__init__()
        self.inner, self.call = inner, [call]  # no configuration

    def forward(self, x):
        return self.call[0](self.inner, x)


HANDED = {
    "mask": (Attends, lambda inner, x: inner(x, x * 2)),
    "bias": (Attends, lambda inner, x: inner(x, bias=x * 2)),
    "first of the rest": (Variadic, lambda inner, x: inner(x, x * 2, None)),
    "second of the rest": (Variadic, lambda inner, x: inner(x, None, x * 2)),
    "bias, by name alone": (Variadic, lambda inner, x: inner(x, bias=x * 2)),
    "another name": (Variadic, lambda inner, x: inner(x, scale=x * 2)),
    "nothing": (Attends, lambda inner, x: inner(x)),
    "a number": (Attends, lambda inner, x: inner(x, 7)),
    "a number last": (Attends, lambda inner, x: inner(x, bias=7)),
    "no rest": (Variadic, lambda inner, x: inner(x)),
    "numbers": (Variadic, lambda inner, x: inner(x, None, 7, scale=None)),
}
SIGNATURES = (
    None, "", "x", "x, bias", "x, mask", "x, bias, mask", "x, mask, scale", "x, scale", "x, zz, args", "x, zz, args[0]",
    "x, zz, args[0], *rest", "x, args[1], args[0]", "x, *args", "x, *bias", "x, bias, *args", "x, zz, *args",
    "x, zz, bias, *rest", "x, scale, *args", "x, args, *scale", "x, x, bias", "bias, x", "x, *args, scale, **others",
    "x, *args, scale=..., **others", "x, *rest, scale=..., bias", "x=..., *args", "x, args=..., scale=..., **others",
)  # fmt: skip


def handed(name, view=FeatureMapsView):
    inner, call = HANDED[name]
    return view(HandsOver(inner(), call), input_data=image())


@pytest.mark.parametrize("name", HANDED)
def test_no_signature_that_a_summary_claims_takes_one_argument_for_another(name):
    view = handed(name, ModelSummaryView)
    capture = view.capture()
    row = capture.facts["layers"]["inner"]
    assert "*args" not in row.get("forward", "") or HANDED[name][0] is Variadic

    def claimed(facts, signature):
        facts["layers"]["inner"].pop("forward", None)
        if signature is not None:
            facts["layers"]["inner"]["forward"] = signature

    others = {other: handed(other, ModelSummaryView).capture() for other in HANDED if other != name}
    for signature in SIGNATURES:
        baseline = reread(view, capture, lambda facts, text=signature: claimed(facts, text))
        assert matches(view, baseline, capture)
        for other, drifted in others.items():
            assert not matches(view, baseline, drifted), (signature, other)


@pytest.mark.parametrize("name", HANDED)
def test_no_signature_that_a_trace_claims_takes_one_argument_for_another(name):
    view, kind = handed(name), HANDED[name][0]
    capture = view.capture()
    others = {other: handed(other).capture() for other in HANDED if other != name and HANDED[other][0] is kind}

    def claimed(trace, signature, defaults):
        config = trace.modules["inner"].config
        config |= {"defaults": defaults, "forward": config["forward"] if signature is None else signature}

    for defaults in ("", "mask=7\nbias=7", "mask=None\nbias=None\nzz=None\nscale=None", "zz=7\nargs[0]=7\nargs[1]=7"):
        for signature in SIGNATURES:
            forge = functools.partial(claimed, signature=signature, defaults=defaults)
            baseline = retraced(view, capture, forge)
            assert matches(view, baseline, capture)
            for other, drifted in others.items():
                assert not matches(view, baseline, drifted), (signature, defaults, other)


@pytest.mark.parametrize("view", [FeatureMapsView, ModelSummaryView])
def test_a_parameter_whose_default_no_text_says_is_not_required(view):
    nothing = object()

    class Takes(nn.Module):
        def forward(self, x, bias=nothing, **others):
            return x + 0

    def given(name):
        return view(HandsOver(Takes(), lambda inner, x: inner(x, **{name: x * 2})), input_data=image())

    def renamed_in_trace(trace):
        trace.modules["inner"].config["forward"] = "x, scale, *args, **others"

    def renamed_in_facts(facts):
        facts["layers"]["inner"]["forward"] = "x, scale, **others"

    honest = given("scale")
    forge = (retraced, renamed_in_trace) if view is FeatureMapsView else (reread, renamed_in_facts)
    baseline = forge[0](honest, honest.capture(), forge[1])
    assert matches(honest, baseline, honest.capture())
    assert not matches(honest, baseline, given("bias").capture())


class Renamed(nn.Module):
    def forward(self, y, mask=None, shift=None):
        return y + 0


Renamed.__name__ = Renamed.__qualname__ = "Attends"


def test_a_parameter_with_another_name_is_no_other_argument():
    """Also of a baseline that names no parameters, as earlier ones, if it is given the first of them."""
    models = [HandsOver(kind(), HANDED["mask"][1]) for kind in (Attends, Renamed)]
    view, other = (FeatureMapsView(model, image()) for model in models)
    assert matches(other, view.capture(), other.capture())
    view, other = (ModelSummaryView(model, input_data=image()) for model in models)
    capture = view.capture()
    assert capture.facts["layers"]["inner"]["forward"] == "x, mask, bias"
    earlier = reread(view, capture, lambda facts: facts["layers"]["inner"].pop("forward"))
    assert matches(other, capture, other.capture())
    assert matches(other, earlier, other.capture())
    assert matches(view, earlier, capture)


class TakesAnything(nn.Module):
    def forward(self, x, *rest, **others):
        return x + (rest[0] if rest else others["rest"][0] * 2)


class TakesByPosition(nn.Module):
    def forward(self, x=None, /, **others):
        return others["y"] + (others["x"] if x is None else -x)


class Calls(nn.Module):
    def __init__(self, inner, call):
        super().__init__()
        self.inner, self.run = inner, call

    def forward(self, x):
        return self.run(self.inner, x, x * 2)


AMBIGUOUS = [
    (TakesAnything, lambda m, x, y: m(x, y), lambda m, x, y: m(x, rest=[y])),
    (TakesByPosition, lambda m, x, y: m(x, y=y), lambda m, x, y: m(x=x, y=y)),
]


@pytest.mark.parametrize("view", [FeatureMapsView, ModelSummaryView])
@pytest.mark.parametrize(("kind", "first", "second"), AMBIGUOUS)
def test_a_keyword_named_like_a_parameter_is_another_argument(kind, first, second, view):
    passes = [FeatureMapsView(Calls(kind(), call), image()).capture().arrays for call in (first, second)]
    inputs = [list(unpack_trace(arrays).calls[1].inputs) for arrays in passes]
    assert inputs[0] != inputs[1]
    honest, other = (view(Calls(kind(), call), input_data=image()) for call in (first, second))
    assert matches(honest, honest.capture(), honest.capture())
    assert not matches(other, honest.capture(), other.capture())


def test_a_keyword_and_a_parameter_of_one_name_are_two_arguments():
    class Takes(nn.Module):
        def forward(self, x, /, **others):
            return x * 0

    view, other = (
        FeatureMapsView(Calls(Takes(), lambda m, x, y, gain=gain: m(x * gain, x=y)), image()) for gain in (1, 2)
    )
    assert list(unpack_trace(view.capture().arrays).calls[1].inputs) == ["x", "**x"]
    assert not matches(other, view.capture(), other.capture())


@pytest.mark.parametrize(("kind", "first", "second"), AMBIGUOUS)
def test_an_input_of_a_graph_named_like_a_parameter_is_another_input(kind, first, second):
    def inputs(call):
        args, kwargs = call(lambda *args, **kwargs: (args, kwargs), image(), image())
        return [name for name, _ in named_inputs(kind(), args, kwargs)]

    assert inputs(first) != inputs(second)


@pytest.mark.parametrize("gains", [(1.0, 2.0), (2.0, 1.0)])
def test_two_keys_that_are_written_alike_are_two_outputs(gains):
    class Returns(nn.Module):
        def __init__(self, first, second):
            super().__init__()
            self.gains = first, second

        def forward(self, x):
            return {"a.b": x * self.gains[0], "a": {"b": x * self.gains[1]}}

    view, other = (FeatureMapsView(Returns(*both), image()) for both in ((1.0, 1.0), gains))
    assert not matches(other, view.capture(), other.capture())
