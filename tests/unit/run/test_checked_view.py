"""Methods of a view that return something wrong: one error names the view, the method and what it must return."""

import dataclasses

import numpy as np
import pytest

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.pictures.composite import Picture
from pytest_modelviz.pictures.exhibits import Curve, Graph, Histogram
from pytest_modelviz.records.capture import Capture
from pytest_modelviz.records.findings import Finding
from pytest_modelviz.records.verdict import Divergence, LayerError, Verdict
from pytest_modelviz.run.check import Check
from pytest_modelviz.run.session import Session
from pytest_modelviz.run.settings import Mode, Settings

CAPTURE, DRIFT, PICTURE = Capture("fake", {}, {"x": np.ones(2)}), Verdict.drift(), np.zeros((4, 4, 3), np.uint8)


class FakeView:
    """Returns what it is given; without that what it must."""

    view = "fake"

    def __init__(self, **returned):
        self._returned = returned

    def capture(self):
        return self._returned.get("capture", CAPTURE)

    def compare(self, baseline, actual, tolerances):
        matched = baseline is actual  # a mistake in the branch of a drift is no damage of the baseline
        return Verdict.match(compared=1) if matched else self._returned.get("compare", DRIFT)

    def picture(self, actual, baseline=None, verdict=None):
        return self._returned.get("picture", [Picture("x", PICTURE)])

    def describe(self, actual):
        return self._returned.get("describe", "words")


def check(root, view, mode=Mode.COMPARE):
    settings = Settings(mode, root, root / "baselines", root / ".modelviz")
    return Session("run").check(Check("t.py::test", "test", "", "n", view, settings))[1]


def capture(**changes):
    return dataclasses.replace(CAPTURE, **changes)


def drift(**changes):
    return dataclasses.replace(DRIFT, **changes)


@pytest.mark.parametrize(
    ("method", "returned", "message"),
    [
        ("capture", None, "its capture must return a Capture, not None"),
        ("capture", {"x": 1}, "its capture must return a Capture, not {'x': 1}"),
        ("capture", capture(view=None), "in what its capture returned, view must be a str, not None"),
        ("capture", capture(facts=[1]), "in what its capture returned, facts must be a dict, not [1]"),
        (
            "capture",
            capture(arrays=None),
            "in what its capture returned, arrays must be a dict of NumPy arrays by name",
        ),
        ("capture", capture(arrays={"x": [1.0]}), "must be a dict of NumPy arrays by name, not {'x': [1.0]}"),
        (
            "capture",
            capture(arrays={1: np.ones(2)}),
            "must be a dict of NumPy arrays by name, not {1: array([1., 1.])}",
        ),
        ("capture", capture(environment={"torch": 2}), "must be a dict of str by name, not {'torch': 2}"),
        ("capture", capture(notes="all of it"), "in what its capture returned, notes must be a tuple of str"),
        ("capture", capture(layers=None), "in what its capture returned, layers must be a tuple of str, not None"),
        ("compare", None, "its compare must return a Verdict, not None"),
        ("compare", True, "its compare must return a Verdict, not True"),
        ("compare", drift(matched=None), "in what its compare returned, matched must be a bool, not None"),
        ("compare", drift(compared=1.0), "in what its compare returned, compared must be an int, not 1.0"),
        ("compare", drift(error=np.float32(1)), "in what its compare returned, error must be a float, not"),
        ("compare", drift(error=None), "in what its compare returned, error must be a float, not None"),
        (
            "compare",
            drift(cause="magic"),
            "must be None or one of architecture, weights, input, computation, gradient, not",
        ),
        (
            "compare",
            drift(first="conv1"),
            "in what its compare returned, first must be a Divergence or None, not 'conv1'",
        ),
        (
            "compare",
            drift(first=Divergence("conv1", None, 0, 1.0, 0.0)),
            "in what its compare returned, first.class_name must be a str, not None",
        ),
        (
            "compare",
            drift(findings=None),
            "in what its compare returned, findings must be a tuple of findings, not None",
        ),
        ("compare", drift(findings=("conv1",)), "must be a tuple of findings, not ('conv1',)"),
        (
            "compare",
            drift(findings=(Finding("heads", "attention", "heads", 8, 4),)),
            "in what its compare returned, findings[0].before must be a str, not 8",
        ),
        (
            "compare",
            drift(layers=(LayerError("conv1", 0, "much", 0.0),)),
            "in what its compare returned, layers[0].error must be a float, not 'much'",
        ),
        (
            "compare",
            drift(layers=(*[LayerError("conv1", 0, 0.0, 0.0)] * 9, LayerError("conv1", "0", 0.0, 0.0))),
            "in what its compare returned, layers[9].call must be an int, not '0'",
        ),
        ("picture", None, "its picture must return a list of Picture, Curve, Histogram and Graph, not None"),
        ("picture", [PICTURE], "its picture must return a list of Picture, Curve, Histogram and Graph, not [array("),
        (
            "picture",
            Picture("x", PICTURE),
            "its picture must return a list of Picture, Curve, Histogram and Graph, not",
        ),
        ("picture", [Picture(None, PICTURE)], "in what its picture returned, [0].label must be a str, not None"),
        ("picture", [Picture("x", PICTURE / 2)], "must be a NumPy array (height, width, 3) of uint8, not"),
        ("picture", [Picture("x", PICTURE[..., 0])], "must be a NumPy array (height, width, 3) of uint8, not"),
        (
            "picture",
            [Picture("x", PICTURE, difference=PICTURE / 2)],
            "[0].difference must be None or a NumPy array (height, width, 3) of uint8, not",
        ),
        ("picture", [Picture("x", PICTURE, captions=("a", 1))], "[0].captions must be a tuple of str, not"),
        ("picture", [Picture("x", PICTURE, not_finite={"NaN"})], "[0].not_finite must be a frozenset of NaN, +inf"),
        ("picture", [Curve("x", [1.0])], "in what its picture returned, [0].series must be a dict of sequences"),
        (
            "picture",
            [Histogram("x", {"a": None})],
            "in what its picture returned, [0].series must be a dict of pairs",
        ),
        (
            "picture",
            [Graph("x", ("a",))],
            "in what its picture returned, [0].nodes must be a tuple of Node, not ('a',)",
        ),
        ("describe", None, "its describe must return a str, not None"),
        ("describe", 3, "its describe must return a str, not 3"),
    ],
)
def test_the_error_names_view_method_and_what_it_must_return(tmp_path, method, returned, message):
    assert check(tmp_path, FakeView(), Mode.UPDATE).status == "recorded"
    with pytest.raises(ModelvizError) as raised:
        check(tmp_path, FakeView(**{method: returned}))
    text = str(raised.value)
    assert text.startswith("the view 'fake' is faulty: ")
    assert message in text
    assert len(text) < 300


@pytest.mark.parametrize("mode", [Mode.COMPARE, Mode.UPDATE])
def test_a_faulty_picture_is_no_folder_that_cannot_be_written(tmp_path, mode):
    with pytest.raises(ModelvizError, match="its picture must return"):
        check(tmp_path, FakeView(picture=None), mode)


def test_numbers_of_numpy_that_are_python_s_are_as_good(tmp_path):
    check(tmp_path, FakeView(), Mode.UPDATE)
    verdict = drift(
        matched=np.bool_(False), error=np.float64(0.5), tolerance=0, findings=[Finding("a", "b", "c", "", "d")]
    )
    assert check(tmp_path, FakeView(compare=verdict)).status == "drift"


def test_a_view_words_causes_of_its_own(tmp_path):
    view = FakeView(compare=drift(cause="computation"))
    check(tmp_path, FakeView(), Mode.UPDATE)
    assert "  cause     computation: modules, weights" in check(tmp_path, view).message
    view.cause_texts = {"computation": "the data is different"}
    assert "  cause     computation: the data is different" in check(tmp_path, view).message.splitlines()
    view.cause_texts = {"weights": "unused here"}
    assert "  cause     computation: modules, weights" in check(tmp_path, view).message
    view.cause_texts = {"computation": 3}
    with pytest.raises(ModelvizError, match="its cause_texts must return a dict of str by cause, not"):
        check(tmp_path, view)
