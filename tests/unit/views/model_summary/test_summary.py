"""`model_summary`: rows and counts, the state of a pass, models that fail, and its pictures."""

import contextlib
import copy
import warnings

import pytest
import torch
from torch import nn
from zoo import ZOO, SmallNet, data_parallel, images, vectors

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.records.findings import TiesFinding
from pytest_modelviz.views.combined.capture import CombinedCapture
from pytest_modelviz.views.model_summary.capture import ModelSummaryView
from pytest_modelviz.views.model_summary.findings import FieldFinding
from pytest_modelviz.views.model_summary.pictures import diff_lines


def compared(view, other=None):
    first = view.capture()
    return view.compare(first, (other or view).capture(), Tolerances())


class TestModelSummary:
    def test_counts_by_hand(self):
        summary = ModelSummaryView(SmallNet(), (2, 3, 16, 16)).capture().result
        # conv1 3*8*9, bn1 2*8, conv2 8*12*9 + 12, bn2 2*12, head 12*5 + 5
        assert summary.total_params == 216 + 16 + 876 + 24 + 65
        assert summary.buffer_elements == 2 * 8 + 1 + 2 * 12 + 1
        assert summary.parameter_bytes == 4 * summary.total_params
        # conv1 at 16 x 16, conv2 at 8 x 8, head, each for two samples
        assert summary.mult_adds == 2 * (216 * 256 + 864 * 64 + 60)
        assert summary.layers["conv2"].mult_adds == 2 * 864 * 64
        assert summary.layers[""].mult_adds == 0
        assert summary.layers["conv1"].outputs == "float32[2, 8, 16, 16]"
        assert "Conv2d" in summary.table

    def test_attention_is_counted(self):
        # projections 5*8*8*4 and two products 5*5*8 for each of two samples
        summary = ModelSummaryView(ZOO["attention"].build(), (2, 5, 8)).capture().result
        assert summary.mult_adds == 2 * (5 * 8 * 8 * 4 + 2 * 5 * 5 * 8)

    def test_recurrent_layers_are_counted(self):
        model = nn.LSTM(8, 6, batch_first=True)
        assert ModelSummaryView(model, (2, 5, 8)).capture().result.mult_adds == 2 * 5 * 4 * 6 * (8 + 6)

    def test_what_is_counted_after_a_swallowed_exception_is_the_caller_s(self):
        class Half(nn.Module):
            def __init__(self):
                super().__init__()
                self.good, self.bad = nn.Linear(8, 8), nn.Linear(3, 3)

            def forward(self, x):
                return self.bad(self.good(x))

        class Tries(nn.Module):
            def __init__(self):
                super().__init__()
                self.inner, self.head = Half(), nn.Linear(8, 2)
                self.weight = nn.Parameter(torch.rand(8, 8))

            def forward(self, x):
                x = x @ self.weight
                with contextlib.suppress(RuntimeError):
                    x = self.inner(x)
                return self.head(x @ self.weight)

        tries, good = Tries(), nn.Sequential(Tries(), nn.Linear(2, 5))
        for model, prefix in ((tries, ""), (good, "0.")):
            layers = ModelSummaryView(model, (1, 8)).capture().result.layers
            counts = {
                name: layers[f"{prefix}{name}"].mult_adds for name in ("inner", "inner.good", "inner.bad", "head")
            }
            assert counts == {"inner": 0, "inner.good": 64, "inner.bad": 0, "head": 16}
            assert layers[prefix.rstrip(".")].mult_adds == 128
        assert layers[""].mult_adds == 0

    def test_shared_parameters_count_once_and_ties_are_told(self):
        summary = ModelSummaryView(ZOO["tied"].build()).capture().result
        assert summary.total_params == 88
        assert summary.ties == (("embedding.weight", "out.weight"),)

    def test_a_lost_tie_is_drift(self):
        model = ZOO["tied"].build()
        loose = copy.deepcopy(model)
        loose.out.weight = nn.Parameter(loose.out.weight.detach().clone())
        verdict = compared(ModelSummaryView(model), ModelSummaryView(loose))
        assert [type(finding) for finding in verdict.findings] == [TiesFinding]
        assert verdict.cause == "architecture"

    def test_trainability_is_drift(self):
        model = SmallNet()
        other = copy.deepcopy(model)
        other.conv1.requires_grad_(False)
        verdict = compared(ModelSummaryView(model), ModelSummaryView(other))
        assert verdict.findings == (FieldFinding("conv1", "frozen", "", '["weight"]', "frozen"),)

    def test_another_input_size_is_input(self):
        verdict = compared(ModelSummaryView(SmallNet(), (1, 3, 16, 16)), ModelSummaryView(SmallNet(), (1, 3, 32, 32)))
        assert (verdict.first.layer, verdict.cause) == ("", "input")

    def test_several_inputs_by_size(self):
        model = nn.Bilinear(3, 4, 2)
        assert ModelSummaryView(model, [(5, 3), (5, 4)]).capture().result.layers[""].outputs == "float32[5, 2]"

    def test_a_meta_model_is_not_allocated(self):
        with torch.device("meta"):
            model = nn.Sequential(nn.Linear(10**6, 10**6), nn.ReLU(), nn.Linear(10**6, 10))
        summary = ModelSummaryView(model, (1, 10**6)).capture().result
        assert summary.total_params == 10**12 + 10**6 + 10**7 + 10
        assert summary.layers["2"].outputs == "float32[1, 10]"
        assert ModelSummaryView(model, input_data=torch.empty(1, 10**6)).capture().result.mult_adds == 10**12 + 10**7

    def test_a_lazy_model_shows_its_shapes_and_stays_lazy(self):
        model = ZOO["lazy"].build()
        summary = ModelSummaryView(model, input_data=images()).capture().result
        assert summary.layers["0"].parameters["weight"] == "float32[4, 3, 3, 3]"
        assert ModelSummaryView(model).capture().result.layers["0"].parameters["weight"] == "uninitialized"

    def test_without_input_there_are_no_shapes(self):
        layer = ModelSummaryView(SmallNet()).capture().result.layers["conv1"]
        assert (layer.inputs, layer.outputs, layer.calls) == ("", "", 0)
        assert layer.parameters == {"weight": "float32[8, 3, 3, 3]"}

    @pytest.mark.parametrize("size", [(), "abc", [(1, 2), 3], [[1.5, 2]]])
    def test_a_wrong_input_size_is_named(self, size):
        with pytest.raises(ModelvizError, match="input_size must be a shape"):
            ModelSummaryView(SmallNet(), size)

    def test_size_and_data_exclude_each_other(self):
        with pytest.raises(ModelvizError, match="not both"):
            ModelSummaryView(SmallNet(), (1, 3, 16, 16), input_data=images())

    def test_wrapped_models_have_the_names_of_what_they_wrap(self):
        plain = ModelSummaryView(SmallNet(), input_data=images())
        for wrapped in (data_parallel(SmallNet()), torch.compile(SmallNet(), backend="eager")):
            assert compared(plain, ModelSummaryView(wrapped, input_data=images())).matched


def test_a_summary_s_drift_is_pictured_as_a_diff():
    model = SmallNet()
    view = ModelSummaryView(model, input_data=images())
    before = view.capture()
    assert list(view.picture(before)) == []  # the JSON file is a page for people already
    model.bn1.eps = 1e-3
    model.extra = nn.Linear(2, 2)
    del model.pool
    model.pool = nn.Identity()
    after = ModelSummaryView(model, input_data=images()).capture()
    lines = diff_lines(before.facts["layers"], after.facts["layers"])
    assert ("-", "bn1: BatchNorm2d  config: " + before.facts["layers"]["bn1"]["config"]) in lines
    assert ("+", "bn1: BatchNorm2d  config: " + after.facts["layers"]["bn1"]["config"]) in lines
    assert ("+", "extra: Linear(in_features=2, out_features=2, bias=True)") in lines
    assert lines[lines.index(("-", "pool: MaxPool2d")) + 1] == ("+", "pool: Identity")
    assert (" ", "conv1: Conv2d") in lines
    (picture,) = view.picture(after, before)
    assert picture.image.shape[0] > 100


class Caches(nn.Module):
    """Makes what it needs in its first pass, as timm's ConViT does."""

    def __init__(self, persistent=False, table=3):
        super().__init__()
        self.linear = nn.Linear(8, 8)
        self.register_buffer("indices", torch.zeros(1, 1), persistent=persistent)
        self.register_buffer("table", torch.zeros(table), persistent=False)

    def forward(self, x):
        if self.indices.shape[1] != x.shape[0]:
            self.indices = torch.arange(x.shape[0])[None].float()
        if not hasattr(self, "mask"):
            self.register_buffer("mask", torch.ones(8), persistent=False)
        return self.linear(x) + self.indices.sum() * self.mask


class Grows(nn.Linear):
    """Makes a cache that it needs in its first pass, and a larger one where that is too small."""

    def forward(self, x):
        if not hasattr(self, "cache") or len(self.cache) < len(x):
            self.register_buffer("cache", torch.zeros(len(x), 1), persistent=False)
        return super().forward(x) + self.cache[: len(x)]


class TestCachesOfAPass:
    def verdict(self, before, after, data=vectors):
        views = [ModelSummaryView(model, data() if data else None) for model in (before, after)]
        captures = [view.capture() for view in views]
        verdicts = [views[0].compare(*pair, Tolerances()) for pair in (captures, captures[::-1])]
        assert verdicts[0].matched == verdicts[1].matched
        return verdicts[0]

    @pytest.mark.parametrize("rows", [2, 5])
    def test_a_model_that_ran_before_is_the_same_model(self, rows):
        used = Caches()
        used(torch.rand(rows, 8))
        assert self.verdict(Caches(), used).matched
        again = Caches()
        again(torch.rand(7, 8))
        assert self.verdict(again, used).matched

    @pytest.mark.parametrize("maps", [True, False])
    def test_several_views_at_once_find_the_same_caches(self, maps):
        used = Grows(8, 8)
        used(torch.rand(5, 8))
        views = [CombinedCapture(model, vectors(), feature_maps=maps).summary for model in (Grows(8, 8), used)]
        captures = [ModelSummaryView(Grows(8, 8), vectors()).capture(), *(view.capture() for view in views)]
        for one in captures:
            assert all(views[0].compare(one, other, Tolerances()).matched for other in captures)

    def test_also_where_nothing_is_run(self):
        used = Caches()
        used(vectors())
        used.__delattr__("mask")  # what a pass adds is not known without one
        assert self.verdict(Caches(), used, data=None).matched

    def test_another_buffer_is_still_another_model(self):
        verdict = self.verdict(Caches(), Caches(table=4))
        assert (verdict.cause, [f.name for f in verdict.findings]) == ("architecture", ["buffer table"])
        assert not self.verdict(Caches(persistent=True), Caches()).matched
        used = Caches(persistent=True)
        used(vectors())
        assert not self.verdict(Caches(persistent=True), used).matched  # it is in every checkpoint

    def test_the_facts_of_a_baseline_excuse_no_buffer_that_is_saved(self):
        view = ModelSummaryView(nn.BatchNorm1d(8), vectors())
        other = ModelSummaryView(nn.BatchNorm1d(8, track_running_stats=False), vectors())
        baseline = view.capture()
        baseline.facts["layers"][""]["state"] = ["running_mean", "running_var", "num_batches_tracked"]
        assert not view.compare(baseline, other.capture(), Tolerances()).matched

    def test_a_model_that_makes_no_caches_says_nothing_of_them(self):
        rows = ModelSummaryView(SmallNet(), images()).capture().facts["layers"]
        assert not [row for row in rows.values() if "state" in row]


@pytest.mark.parametrize(
    "given",
    [lambda x: x, lambda x: (x,), lambda x: [x], lambda x: {"x": x}],
    ids=["tensor", "tuple", "list", "dict"],
)
def test_tensors_in_the_place_of_a_size_are_the_input(given):
    expected = ModelSummaryView(SmallNet(), input_data=images()).capture().facts["layers"]
    assert ModelSummaryView(SmallNet(), given(images())).capture().facts["layers"] == expected
    with pytest.raises(ModelvizError, match="not both"):
        ModelSummaryView(SmallNet(), given(images()), input_data=images())


@pytest.mark.parametrize("made", [ModelSummaryView, lambda model, x: CombinedCapture(model, x).summary])
@pytest.mark.parametrize("kind", ["own", "operator", "assertion"])
def test_a_model_that_fails_is_run_once(made, kind):
    calls = []

    class Fails(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(8, 4)

        def forward(self, x):
            calls.append(x)
            x = self.linear(x)
            if kind == "own":
                raise LookupError("of the model")
            assert kind != "assertion", "of the model"
            return x @ torch.ones(3, 3)

    with pytest.raises((LookupError, AssertionError, RuntimeError), match=r"of the model|mat1 and mat2"):
        made(Fails(), vectors()).capture()
    assert len(calls) == 1


@pytest.mark.parametrize("layout", [torch.jagged, torch.strided])
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_what_cannot_be_counted_is_run_once_more(layout):
    class Uneven(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(8, 4)

        def forward(self, x):
            pieces = torch.nested.nested_tensor([x, x[:1]], layout=layout)
            return self.linear(pieces).unbind()[0]

    summary = ModelSummaryView(Uneven(), vectors()).capture().result
    assert summary.layers[""].outputs == "float32[2, 4]"


def test_an_operator_that_takes_a_function_is_not_counted():
    attention = pytest.importorskip("torch.nn.attention.flex_attention")

    class Attending(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(8, 24)

        def forward(self, x):
            query, key, value = self.linear(x)[None, None].chunk(3, -1)
            return attention.flex_attention(query, key, value, score_mod=lambda s, *at: s - (at[2] - at[3]))[0, 0]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is not compiled here
        summary = ModelSummaryView(Attending(), vectors()).capture().result
    assert summary.layers[""].outputs == f"float32[{len(vectors())}, 8]"


class Repeated(nn.Module):
    def __init__(self, scale, note):
        super().__init__()
        self.scale, self.note = scale, note

    def forward(self, x):
        return x.repeat(1, self.scale)


def test_the_picture_of_a_summary_shows_the_attributes_that_are_evidence_and_no_others():
    def view(scale, note):
        blocks = [Repeated(scale if number == 5 else 1, note) for number in range(6)]
        return ModelSummaryView(nn.Sequential(*blocks), input_data=torch.ones(1, 3))

    one, other = view(1, "a"), view(2, "b")
    before, after = one.capture(), other.capture()
    verdict = other.compare(before, after, Tolerances(ignored=("*.note",)))
    lines = diff_lines(before.facts["layers"], after.facts["layers"], verdict)
    changed = [(sign, text) for sign, text in lines if sign != " "]
    assert [(sign, text) for sign, text in changed if "scale" in text] == [
        ("-", "5: Repeated  scale: 1"),
        ("+", "5: Repeated  scale: 2"),
    ]
    assert not [text for _, text in changed if text.startswith(tuple("01234")) or "note" in text]


@pytest.mark.parametrize("name", ["0", "1", "2", "a"])
def test_no_argument_takes_the_place_of_another_that_is_called_by_a_number(name):
    """A text with a comma is written like two arguments, of which the second has no name."""

    class Mode(nn.Linear):
        def forward(self, **given):
            return super().forward(given["x"])

    def summary(mode: str) -> ModelSummaryView:
        return ModelSummaryView(Mode(8, 4), input_data={name: mode, "x": vectors()})

    assert compared(summary("mean, std")).matched
    assert not compared(summary("mean, std"), summary("sum, std")).matched
    assert not compared(summary("mean, std"), summary("mean, var")).matched
