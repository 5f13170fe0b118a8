"""The tree of modules with the layers that drifted, by hand."""

import pytest

from pytest_modelviz.records.verdict import LayerError, WorstCall
from pytest_modelviz.reports.module_tree import module_tree, times

LAYERS = (
    LayerError("stem", 0, 0.0, 1e-4),
    LayerError("a.0.conv", 0, 0.5, 1e-4),
    LayerError("a.0.relu", 0, 0.25, 1e-4),
    LayerError("a.0.relu", 1, 0.125, 1e-4),
    LayerError("a.0", 0, 0.125, 1e-4),
    LayerError("b.c", 0, 0.0, 1e-4),
    LayerError("b.d", 0, 0.0, 1e-4),
    LayerError("(output)", 0, 0.1, 1e-4),
)


def tree(first=None, most=100, layers=LAYERS):
    return module_tree(layers, first, most)


def outline(node) -> str:
    """The names of modules with what is inside in brackets, and how many are left out."""
    inside = " ".join([*map(outline, node.children.values()), *([f"+{node.omitted}"] if node.omitted else [])])
    return f"{node.name}[{inside}]" if inside else node.name


def test_modules_are_counted_with_all_inside():
    root = tree(("a.0.conv", 0))
    assert (root.name, root.compared, root.drifted, root.error) == ("(model)", 7, 4, "")
    block = root.children["a"].children["0"]
    assert (block.compared, block.drifted, block.error) == (3, 3, "0.12, 1,250 x allowed")
    assert block.children["relu"].error == "0.25, 2,500 x allowed in call 0"  # its worst call
    assert (root.children["a"].error, root.children["a"].kind) == ("", "holds")
    assert outline(root) == "(model)[stem a[0[conv relu]] b[c d] (output)]"


def test_where_the_drift_begins_and_what_it_is_inside_of():
    root = tree(("a.0.conv", 0))
    block = root.children["a"].children["0"]
    assert [block.children[name].kind for name in ("conv", "relu")] == ["first", "drifted"]
    assert [root.children["a"].holds_first, root.children["b"].holds_first] == [True, False]
    assert tree(("", 0)).kind == "first"


def test_the_first_layer_has_the_error_of_the_call_where_the_drift_begins():
    block = tree(("a.0.relu", 1)).children["a"].children["0"]
    assert block.children["relu"].error == "0.12, 1,250 x allowed in call 1"


def test_a_module_stands_where_it_first_drifted_not_where_it_was_first_called():
    shared = [LayerError("relu", 0, 0.0, 1e-4), LayerError("conv", 0, 0.5, 1e-4), LayerError("relu", 1, 0.5, 1e-4)]
    assert outline(tree(("conv", 0), layers=shared)) == "(model)[conv relu]"
    assert outline(tree(layers=shared[:2])) == "(model)[relu conv]"


def test_another_input_is_no_module_that_was_compared():
    root = tree(("(input)", 0), layers=[LayerError("(input)", 0, 0.5, 1e-4), *LAYERS])
    assert outline(root).startswith("(model)[(input) ")
    assert (root.children["(input)"].kind, root.compared, root.drifted) == ("first", 7, 4)


@pytest.mark.parametrize(
    ("most", "expected"),
    [
        (10, "(model)[stem a[0[conv relu]] b[c d] (output)]"),
        (9, "(model)[stem a[0[conv relu]] b[+2] (output)]"),  # modules that agree are not taken apart
        (7, "(model)[stem a[0[conv relu]] b[+2] +1]"),
        (4, "(model)[stem a[0[+2]] +3]"),
        (1, "(model)[+7]"),
    ],
)
def test_what_is_too_much_is_counted(most, expected):
    assert outline(tree(most=most)) == expected


def test_names_of_ten_thousand_dots():
    assert tree(layers=[LayerError("." * 10_000, 0, 1.0, 0.1)]).lines < 30


@pytest.mark.parametrize(
    ("error", "tolerance", "calls", "text"),
    [
        (0.5, 1e-4, 1, "0.5, 5,000 x allowed"),
        (float("inf"), 0.1, 1, "cannot be subtracted"),
        (0.5, 0.0, 2, "0.5 in call 1"),
    ],
)
def test_errors_are_short(error, tolerance, calls, text):
    assert times(WorstCall(LayerError("a", 1, error, tolerance), calls)) == text
