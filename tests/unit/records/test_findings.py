"""Findings are typed data: every family has its words, and what has none is an error that says so."""

import dataclasses
import math

import pytest
from families import FAMILIES, choices, example
from hypothesis import given
from hypothesis import strategies as st

from pytest_modelviz.records.findings import (
    AnyFinding,
    AttributeFinding,
    ConfigFinding,
    Finding,
    ModuleFinding,
    Role,
    WeightFinding,
)
from pytest_modelviz.records.verdict import Divergence, LayerError, Verdict
from pytest_modelviz.reports.sentences import likeness, sentence, sentence_for_many, sentences
from pytest_modelviz.views.model_graph.findings import ArgumentFinding, OperatorFinding
from pytest_modelviz.views.training_curve.curve_tables import CurveKind
from pytest_modelviz.views.training_curve.findings import CurveFinding

each_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)


@each_family
@given(st.data())
def test_every_family_has_a_sentence_whatever_is_in_it(family, data):
    options = {name: data.draw(st.sampled_from(values)) for name, values in choices(family).items()}
    finding = example(family, data.draw(st.text(max_size=200)), **options)
    assert sentence(finding)
    assert sentences([finding]) == [sentence(finding)]


@each_family
def test_each_choice_is_worded(family):
    for name, values in choices(family).items():
        if name != "role":
            assert all(sentence(example(family, "name", **{name: value})) for value in values)


@each_family
def test_what_is_alike_shares_a_sentence(family):
    group = [example(family, "a.b") for _ in range(3)]
    if likeness(group[0]) is None:
        assert len(sentences(group)) == 3
    else:
        assert sentences(group) == [sentence_for_many(group[0], group)]
        assert sentences(group[:2]) == [sentence(group[0])] * 2


@each_family
def test_a_finding_is_frozen_hashable_and_evidence_unless_it_says_otherwise(family):
    finding = example(family, "a")
    assert (finding.role, hash(finding)) == (Role.EVIDENCE, hash(example(family, "a")))
    assert dataclasses.replace(finding, role=Role.ALSO) != finding
    with pytest.raises(dataclasses.FrozenInstanceError):
        finding.role = Role.ALSO


def test_a_family_without_words_is_an_error_that_names_it():
    @dataclasses.dataclass(frozen=True)
    class Unworded(AnyFinding):
        number: int

    with pytest.raises(NotImplementedError, match="type Unworded"):
        sentences([Unworded(3)])


def test_a_family_of_another_plugin_has_the_words_of_any_finding():
    class Heads(Finding):
        pass

    assert sentences([Heads("heads", "encoder", "heads", "8", "4")]) == ["encoder heads: 8 -> 4"]


def test_only_findings_of_one_family_are_alike():
    mixed = [family(layer, "eps", "1", "2") for layer in "ab" for family in (ConfigFinding, AttributeFinding)]
    assert len(sentences(mixed)) == 4
    assert len(sentences([*mixed, ConfigFinding("c", "eps", "1", "2")])) == 3


def test_operators_are_counted_where_they_are_alike():
    removed = [OperatorFinding(layer, "dropout(p=0.5)", "", "") for layer in "abc"]
    added = [OperatorFinding(layer, "", "relu()", "") for layer in "abc"]
    replaced = [OperatorFinding(layer, "relu()", "gelu()", "") for layer in "abc"]
    arguments = [ArgumentFinding(layer, f"{layer}/relu#2", "inplace", "", "True") for layer in "abc"]
    assert sentences([*removed, *added, *replaced, *arguments]) == [
        "removed 3 times: dropout(p=0.5): a, b, c",
        "added 3 times: relu(): a, b, c",
        "replaced 3 times: relu() -> gelu(): a, b, c",
        "changed 3 times: relu inplace: none -> True: a, b, c",
    ]


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        (1.0, 1.5, "loss: 1 -> 1.5, +50 %"),
        (-2.0, -1.0, "loss: -2 -> -1, +50 %"),
        (1.0, 20.0, "loss: 1 -> 20, +1,900 %"),
        (0.0, 1.0, "loss: 0 -> 1"),
        (1.0, math.nan, "loss: 1 -> nan"),
        (math.inf, 1.0, "loss: inf -> 1"),
        (1e-300, 1e300, "loss: 1e-300 -> 1e+300"),
    ],
)
def test_a_curve_tells_its_numbers_and_their_change_where_there_is_one(before, after, text):
    assert sentence(CurveFinding("", CurveKind.SCALAR, "loss", before, after)) == text


def test_constructors_of_a_verdict_say_what_the_plain_one_says():
    first, layers = Divergence("conv", "Conv2d", 0, 0.5, 0.1), [LayerError("conv", 0, 0.5, 0.1)]
    weight = WeightFinding("conv", "weight", 0.5)
    assert Verdict.match(compared=3, error=0.1, tolerance=0.2) == Verdict(True, 3, 0, 0.1, 0.2)
    assert Verdict.drift(findings=[weight]) == Verdict(False, 1, 1, math.inf, 0.0, None, None, (weight,))
    assert Verdict.drift(
        compared=5,
        drifted=2,
        error=0.5,
        tolerance=0.1,
        first=first,
        cause="weights",
        findings=[weight],
        layers=layers,
    ) == Verdict(False, 5, 2, 0.5, 0.1, first, "weights", (weight,), tuple(layers))


def test_modules_share_a_sentence_within_their_parent_only():
    gone = [ModuleFinding(f"block.{name}", "removed", "ReLU") for name in "ab"]
    assert len(sentences([*gone, ModuleFinding("other.c", "removed", "ReLU")])) == 3
