"""What differs between two processes is no configuration; what people configure is, and numbers have their digits."""

from __future__ import annotations

import logging
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from pytest_modelviz.compare.diagnosis import compare_traces
from pytest_modelviz.compare.ignored import lasting_modules, matches
from pytest_modelviz.compare.shared_objects import object_text
from pytest_modelviz.compare.stored import lasting_trace, stored_trace
from pytest_modelviz.compare.texts import same, same_setting, same_text
from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.compare.volatile import is_machinery, lasting, normalised
from pytest_modelviz.records.findings import (
    AttributeFinding,
    CodeFinding,
    ConfigFinding,
    EventFinding,
    RenameFinding,
    Role,
    WeightFinding,
)
from pytest_modelviz.records.structure import ModelStructure, ModuleRecord
from pytest_modelviz.records.tensors import TensorRecord
from pytest_modelviz.records.trace import Call, ForwardTrace, Leaf
from pytest_modelviz.records.trace_arrays import pack_trace
from pytest_modelviz.views.model_graph.difference import difference
from pytest_modelviz.views.model_graph.records import EXPORTED, Operator, OperatorGraph
from pytest_modelviz.views.model_summary.compare import compare_trees
from pytest_modelviz.views.model_summary.pictures import diff_lines


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("'/tmp/tmpa1/model'", "'/home/me/a folder/model'"),
        ("'read from /tmp/a1/x.pt'", "'read from /home/me/a folder/x.pt'"),
        ("PosixPath('/tmp/a/b')", "PosixPath('/srv/c/d')"),
        (r"'C:\\Users\\me\\model'", r"'D:\\model'"),
        ("'../a/b'", "'../../c'"),
        ("root=/tmp/a/b, eps=1", "root=/var/c/d, eps=1"),
        ("'file:///tmp/a/b'", "'file:///c'"),
        ("-8032175437154834729", "49915153752624772"),
        ("140234567890123", "94123456789012"),
        ("1764176567.1234567", "1700000000.5"),
        ("1764176567", "1700000123"),
        ("1764176567123456789", "1764176567999999999"),
        ("'2026-11-26T17:02:47.123'", "'2025-01-02 03:04'"),
        ("'run_20261126-170247'", "'run_20250102-030405'"),
        ("'Thu Nov 26 17:02:47 2026'", "'Fri Jan  2 03:04:05 2025'"),
        ("'Nov26_17-02-47_host'", "'Jan02_03-04-05_host'"),
        ("'8ea5b8e6-7a4c-4f0e-9d2b-1c9f5f0f3b11'", "'11111111-7a4c-4f0e-9d2b-1c9f5f0f3b11'"),
        (f"'{'0a' * 20}'", f"'{'1b' * 20}'"),
        ("<thing 0x7f3a2b1c>", "<thing 0x55d0aabb>"),
        ("device(type='cuda', index=0)", "device(type='cpu')"),
        ("'cuda:1'", "'cpu'"),
        ("{'b', 'a'}", "{'a', 'b'}"),
        ("frozenset({(2, 'b'), (1, 'a')})", "frozenset({(1, 'a'), (2, 'b')})"),
        ("{'x': 1, 'y': ('b', 'a')}", "{'y': ('b', 'a'), 'x': 1}"),
        ("{'eps': 1, '_use_default_values': (1, 2)}", "{'eps': 1}"),
        ("eps=1, pid=41", "eps=1, pid=42"),
        ("Config(eps=1, device=cuda)", "Config(eps=1)"),
    ],
)
def test_two_processes_write_the_same(one, two):
    assert normalised(one) == normalised(two)
    assert normalised(normalised(one)) == normalised(one)


@pytest.mark.parametrize(
    "text",
    [
        "64, 128, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1), bias=False",
        "'microsoft/resnet-50'",
        "'models/base.pt'",
        "'/'",
        "'s3://bucket/model'",
        "'gpt-4-2024-05-13'",
        "'</s>'",
        "'reflect'",
        "('b', 'a', 'c')",
        "(3, 1, 2)",
        "(32,)",
        "1234567890",  # a seed
        "9223372036854775807",
        "1000000000000",
        "1000000000000000019884624838656",
        "1e-05",
        "1769472.5",
        "-3.4028234663852886e+38",
        "a[0] -> it's (not closed",
        "x / y / z",
        "torch.float32",
    ],
)
def test_what_people_configure_stays_as_it_is(text):
    assert normalised(text) == text


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        ("('b', 'a', 'c')", "('c', 'a', 'b')", True),
        ("{'x': 1, 'y': ('b', 'a')}", "{'x': 1, 'y': ('a', 'b')}", True),
        ("words=['b', 'a'], eps=1", "words=['a', 'b'], eps=1", True),
        ("{('b', 'a'), ('c', 'd')}", "{('a', 'b'), ('c', 'd')}", True),
        ("('b', 'a', 'c')", "('b', 'a', 'd')", False),
        ("('a', 'a', 'b')", "('a', 'b', 'a')", False),  # no set
        ("(2, 1)", "(1, 2)", False),
        ("('a', 1)", "(1, 'a')", False),
    ],
)
def test_a_list_of_texts_is_compared_without_its_order(one, two, same):
    assert same_setting(one, two) is same_setting(two, one) is same


@pytest.mark.parametrize("shared", [False, True])
def test_the_order_of_texts_is_evidence_where_there_is_no_other(shared):
    """`[tanh, exp]` may be what a module is to do, in that order, and may be a set in the order of this process."""

    def holding(*order, **others):
        text = str(order)
        if not shared:
            return {"": {}, "a": {}, "b": {"order": text, **others}}
        config = object_text("Config", {"order": text})
        return {"": {"config": config, "config.order": text}, "a": {}, "b": {"config": config, **others}}

    old, new = holding("tanh", "exp"), holding("exp", "tanh")
    one, two = (stored_trace(pack_trace(trace(configs))) for configs in (old, new))
    assert compare_traces(one, two, Tolerances()).matched
    found = verdict(old, new)
    assert (found.first.layer, found.cause) == ("b", "architecture")
    (finding,) = attributes(found)
    assert finding.role is Role.EVIDENCE
    assert finding.name == ("config.order" if shared else "order")
    assert (finding.before, finding.after) == ("('tanh', 'exp')", "('exp', 'tanh')")
    assert not [finding for finding in found.findings if isinstance(finding, CodeFinding)]
    stronger = verdict(holding("tanh", "exp", size="1"), holding("exp", "tanh", size="2"))
    assert [finding.name for finding in attributes(stronger)] == ["size"]
    elsewhere = {**new, "b": old["b"], "a": new["b"]} if not shared else new
    assert verdict(old, old).cause == "computation"
    if not shared:
        assert verdict({**old, "a": old["b"]}, elsewhere).cause == "computation"
        assert not attributes(verdict({**old, "a": old["b"]}, elsewhere))


def test_a_summary_shows_no_other_order_of_texts():
    old, new = (
        {"layers": {"": {"class": "Net"}, "a": {"class": "Steps", "config": f"steps={order}"}}}
        for order in (["tanh", "exp"], ["exp", "tanh"])
    )
    assert compare_trees(old, new).matched
    new["layers"]["b"] = new["layers"].pop("a")
    assert [type(finding) for finding in compare_trees(old, new).findings] == [RenameFinding]


def test_attributes_are_left_out_by_name_with_what_is_in_them():
    config = {
        "generation_config._original_object_hash": "1",
        "config._name_or_path": "'x'",
        "config.eps": "1e-05",
        "_trainer": "<Trainer 9f2f5789>",
        "monitor": "<MyTrainer 9f2f5789>",
        "monitor.step": "3",
        "start_time": "82134.123456",
        "time": "0.5",  # of an audio clip
        "start": "2",
        "pid": "77",
        "forward": "x, *args",
    }
    assert lasting(config) == {"config.eps": "1e-05", "time": "0.5", "start": "2", "forward": "x, *args"}


def test_machinery_is_known_by_its_class():
    class MyTrainer:
        pass

    class Config:
        pass

    machinery = (MyTrainer, logging.Logger, threading.Thread, logging.LoggerAdapter)
    assert [is_machinery(kind) for kind in (*machinery, Config, SimpleNamespace)] == [True] * 4 + [False] * 2


@pytest.mark.parametrize(
    ("one", "two", "equal"),
    [
        ("scale=0.01885072886943817, zero_point=55", "scale=0.018850727006793022, zero_point=55", True),
        ("scale=0.01885072886943817, zero_point=55", "scale=0.018850727006793022, zero_point=54", False),
        ("scale=0.01885072886943817", "scale=0.0188600", False),
        ("2.9999998211860657", "3.0", True),
        ("eps=1e-05", "eps=1e-06", False),
        ("momentum=0.1", "momentum=0.1001", False),
        ("0.9999", "0.99995", False),
        ("(64, 128)", "(64, 129)", False),
        ("12345678", "12345679", False),
        ("1000000.0", "1000001.0", False),
        ("0.1234567", "-0.1234567", False),
        ("a0.1234567", "a0.1234568", False),  # a name
        ("nan", "nan", True),
        ("1.0", "nan", False),
    ],
)
def test_numbers_that_were_computed_differ_in_their_last_digits(one, two, equal):
    assert same_text(one, two) is same_text(two, one) is equal
    assert same({"config": [one]}, {"config": [two]}) is equal


def trace(configs: dict[str, dict[str, str]], output: float = 1.0) -> ForwardTrace:
    """Two modules in a model, the second of which gives another output."""
    records = {
        key: TensorRecord("float32", (4,), np.full(4, value, np.float32)) for key, value in (("x", 1), ("y", output))
    }
    calls = [
        Call("", 0, 0, {"x": Leaf("x")}, {"": Leaf("y")}),
        Call("a", 0, 1, {"x": Leaf("x")}, {"": Leaf("x")}),
        Call("b", 0, 1, {"x": Leaf("x")}, {"": Leaf("y")}),
    ]
    modules = {name: ModuleRecord("Net", {"extra_repr": "", **config}, {}) for name, config in configs.items()}
    return ForwardTrace(ModelStructure(modules), calls, records)


def verdict(before, after, ignored=()):
    """The verdict on two traces of which the second drifts, through what is stored."""
    one, two = (stored_trace(pack_trace(made), ignored) for made in (trace(before), trace(after, 2.0)))
    return compare_traces(one, two, Tolerances())


def attributes(verdict):
    return [finding for finding in verdict.findings if isinstance(finding, AttributeFinding)]


def recorded_by_an_earlier_version(folder: str, key: int, scale: str, eps: str = "1e-05") -> dict[str, dict[str, str]]:
    """A configuration object, shared by all modules, with its digest over everything in it."""
    shared = {"config": f"<Config {abs(key) % 10**8:08d}>"}
    written = {"config._name_or_path": f"'{folder}'", "config._hash": str(key), "config.scale": scale}
    trained = {"_trainer": f"<Trainer {abs(key) % 10**7:08d}>", "_trainer.root": f"'{folder}'"}
    return {"": {**shared, **written, "config.eps": eps, **trained}, "a": dict(shared), "b": dict(shared)}


def test_a_baseline_with_such_attributes_is_no_evidence():
    old = recorded_by_an_earlier_version("/tmp/a/b", 5356302935261528573, "0.01885072886943817")
    new = recorded_by_an_earlier_version("/home/c/d", -6053428748521729058, "0.018850727006793022")
    found = verdict(old, new)
    assert (found.first.layer, found.cause) == ("b", "computation")
    assert not [finding for finding in found.findings if isinstance(finding, (ConfigFinding, AttributeFinding))]


def test_a_real_change_beside_them_is_evidence_by_itself():
    old = recorded_by_an_earlier_version("/tmp/a/b", 5356302935261528573, "0.5")
    new = recorded_by_an_earlier_version("/home/c/d", -6053428748521729058, "0.5", eps="0.1")
    found = verdict(old, new)
    assert found.cause == "architecture"
    assert {(finding.name, finding.before, finding.after) for finding in attributes(found)} == {
        ("config.eps", "1e-05", "0.1")
    }


def test_a_renamed_module_is_known_in_spite_of_them():
    old, new = (
        recorded_by_an_earlier_version(*of) for of in (("/a/b/c", 2**60 + 1, "0.5"), ("/d/e", 2**61 + 3, "0.5"))
    )
    one, two = trace(old), trace(new)
    two.modules["c"] = two.modules.pop("b")
    two.calls[2] = Call("c", 0, 1, two.calls[2].inputs, two.calls[2].outputs)
    stored = (stored_trace(pack_trace(made)) for made in (one, two))
    findings = compare_traces(*stored, Tolerances()).findings
    assert [f for f in findings if not isinstance(f, EventFinding)] == [RenameFinding("c", before="b")]


class TestIgnored:
    @pytest.mark.parametrize(
        ("pattern", "layer", "attribute", "matched"),
        [
            ("*._trainer", "", "_trainer", True),
            ("*._trainer", "a.b", "_trainer", True),
            ("_trainer", "", "_trainer", True),
            ("_trainer", "a", "_trainer", False),
            ("a.config", "a", "config.eps", True),  # what an ignored object says is ignored
            ("config.*_path", "", "config._name_or_path", True),
            ("*.config._name_or_path", "a", "config._name_or_path", True),
            ("a.*.scale", "a.b", "scale", True),
            ("a.*.scale", "b.a", "scale", False),
            ("*.scal", "a", "scale", False),
        ],
    )
    def test_globs_are_of_layers_and_attributes(self, pattern, layer, attribute, matched):
        assert matches(pattern, layer, attribute) is matched

    OLD, NEW = (
        {"": {}, "a": {}, "b": {"extra_repr": f"scale={n}, bias=True", "scale": n, "bias": "True"}}
        for n in ("0.5", "0.7")
    )

    def test_an_attribute_is_left_out_on_both_sides_and_where_extra_repr_shows_it(self):
        assert verdict(self.OLD, self.NEW).cause == "architecture"
        found = verdict(self.OLD, self.NEW, ["b.scale"])
        assert found.cause == "computation"
        assert not [finding for finding in found.findings if isinstance(finding, ConfigFinding)]
        (config,) = {str(lasting_modules(one, ["b.scale"])) for one in (self.OLD, self.NEW)}
        assert "bias=True" in config

    def test_a_glob_of_one_layer_leaves_another_of_equal_configuration_as_it_is(self):
        config = {"extra_repr": "scale=0.5", "scale": "0.5"}
        for _ in range(2):
            found = lasting_modules({"a": config, "b": config}, ["b.scale"])
            assert found == {"a": config, "b": {"extra_repr": ""}}
            assert lasting_modules({"a": config, "b": config}) == {"a": config, "b": config}
            found["a"].clear()  # what is handed out is the caller's own

    def test_an_object_is_compared_by_what_is_left_of_it(self):
        old, new = (recorded_by_an_earlier_version("/a/b", 2**60 + 1, scale) for scale in ("0.5", "0.7"))
        assert verdict(old, new).cause == "architecture"
        assert verdict(old, new, ["*.config.scale"]).cause == "computation"
        assert verdict(old, new, ["*.config"]).cause == "computation"

    def test_a_summary_without_it_matches(self):
        old, new = (
            {"layers": {"": {"class": "Net"}, "a": {"class": "Scale", "config": f"scale={n}, dim=1"}}}
            for n in (0.5, 0.7)
        )
        assert not compare_trees(old, new).matched
        for glob in ("a.scale", "*.scale", "a.extra_repr", "*"):
            assert compare_trees(old, new, [glob]).matched
        assert not compare_trees(old, new, ["*.dim"]).matched

    def test_a_tensor_in_an_attribute_is_no_weight(self):
        made = trace({"": {}, "a": {}, "b": {}})
        made.weights["cache (attribute)"] = made.tensors["x"]
        made.modules["a"] = ModuleRecord("Net", {}, {"cache[0] (attribute)": "cache (attribute)"})
        assert lasting_trace(made).modules["a"].weights
        assert not lasting_trace(made, ["*.cache"]).modules["a"].weights


def quantised(scale: str, padding: str = "1") -> dict:
    config = f"3, 32, kernel_size=(3, 3), scale={scale}, zero_point=55, padding={padding}"
    return {"layers": {"": {"class": "Net"}, "1": {"class": "Conv2d", "config": config}}}


def test_a_summary_compares_computed_numbers_as_numbers():
    one, two = quantised("0.01885072886943817"), quantised("0.018850727006793022")
    assert compare_trees(one, two).matched
    assert [sign for sign, _ in diff_lines(one["layers"], two["layers"])] == [" ", " "]
    other = quantised("0.018850727006793022", padding="2")
    assert compare_trees(one, other).first.layer == "1"
    assert not compare_trees(one, quantised("0.0189")).matched


def test_a_graph_compares_computed_numbers_as_numbers():
    def graph(factor: str) -> OperatorGraph:
        operator = Operator("/mul", "mul", ("input.x",), {"other": factor}, "float32[1]")
        return OperatorGraph(EXPORTED, "", {"input.x": "float32[1]"}, (operator,), ("/mul",), {})

    assert not difference(graph("0.01885072886943817"), graph("0.018850727006793022")).findings
    assert difference(graph("0.01885072886943817"), graph("0.0189")).findings


def test_an_attribute_made_of_a_set_is_the_same_in_any_order():
    class Net(nn.Module):
        def __init__(self, words) -> None:
            super().__init__()
            self.words, self.table = list(words), dict.fromkeys(words, 1)

    from pytest_modelviz.probe.configuration import configuration

    words = [f"word {number}" for number in range(70)]  # more than are written out
    for count in (3, 70):
        one, two = configuration(Net(words[:count])), configuration(Net(words[:count][::-1]))
        assert same_setting(one["words"], two["words"])
    assert one["words"] == two["words"]  # a digest
    assert configuration(Net(words[:3]))["table"] == configuration(Net(words[:3][::-1]))["table"]
    assert configuration(Net(words[:3])) != configuration(Net(words[:4]))


def test_a_tensor_of_the_module_s_own_in_a_list_is_no_second_weight():
    from pytest_modelviz.views.feature_maps.capture import FeatureMapsView

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.head = nn.LSTM(4, 5, 2), nn.Linear(5, 2)
            self.inner, self.table = [self.head.weight], {"bias": self.head.bias}
            self.free = [torch.ones(3)]

        def forward(self, x):
            return self.head(self.lstm(x)[0]) + self.free[0].sum()

    torch.manual_seed(0)
    net, x = Net(), torch.rand(3, 1, 4)
    view = FeatureMapsView(net, x)
    before = view.capture()
    modules = before.result.trace.modules
    assert list(modules[""].weights) == ["free[0] (attribute)"]
    assert not [name for name in modules["lstm"].weights if "flat" in name]
    with torch.no_grad():
        net.lstm.weight_hh_l1.mul_(1.2)
    found = view.compare(before, view.capture(), Tolerances())
    assert [f.name for f in found.findings if isinstance(f, WeightFinding)] == ["weight_hh_l1"]


def test_a_baseline_that_lists_such_a_tensor_twice_is_read_without():
    made = trace({"": {}, "a": {}, "b": {}})
    made.weights.update({"a.w": made.tensors["x"], "b.w": made.tensors["x"]})
    own = {"w": "a.w", "_flat_weights[0] (attribute)": "a.w", "other (attribute)": "b.w"}
    made.modules["a"] = ModuleRecord("LSTM", {}, own)
    read = stored_trace(pack_trace(made))
    assert list(read.modules["a"].weights) == ["w", "other (attribute)"]
