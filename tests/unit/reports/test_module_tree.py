"""The tree of modules with the layers that drifted, by hand."""

from pytest_modelviz.records.verdict import LayerError
from pytest_modelviz.reports.module_tree import module_tree, times, tree_lines

LAYERS = (
    LayerError("stem", 0, 0.0, 1e-4),
    LayerError("a.0.conv", 0, 0.5, 1e-4),
    LayerError("a.0.relu", 0, 0.25, 1e-4),
    LayerError("a.0.relu", 1, 0.125, 1e-4),
    LayerError("a.0", 0, 0.125, 1e-4),
    LayerError("b.c", 0, 0.0, 1e-4),
    LayerError("b.d", 0, 0.0, 1e-4),
    LayerError("", 0, 0.1, 1e-4),
)


def outline(lines) -> str:
    """The lines with brackets where levels open and close."""
    return "".join(f"{line.name}{'[' if line.opens else ' '}{']' * line.closes}" for line in lines)


def test_modules_are_counted_with_all_inside():
    root = module_tree(LAYERS, "a.0.conv")
    assert (root.name, root.compared, root.drifted) == ("(model)", 7, 4)
    block = root.children["a"].children["0"]
    assert (block.compared, block.drifted, block.error) == (3, 3, 0.125)
    assert block.children["relu"].error == 0.25  # its worst call
    assert root.children["a"].worst is None


def test_where_the_drift_begins_and_what_it_is_inside_of():
    root = module_tree(LAYERS, "a.0.conv")
    assert root.children["a"].children["0"].children["conv"].is_first
    assert [root.children["a"].holds_first, root.children["b"].holds_first] == [True, False]


def test_levels_open_and_close():
    lines = tree_lines(module_tree(LAYERS), 100)
    assert outline(lines) == "(model)[stem a[0[conv relu ]]b[c d ]]"


def test_modules_that_agree_are_not_taken_apart_where_there_are_too_many():
    lines = tree_lines(module_tree(LAYERS), 8)
    assert outline(lines) == "(model)[stem a[0[conv relu ]]b ]"
    assert lines[-1].omitted == 2


def test_what_is_still_too_much_is_counted_and_closed():
    for most in range(1, 8):
        lines = tree_lines(module_tree(LAYERS), most)
        assert len(lines) == min(most, 7)
        assert sum(line.opens for line in lines) == sum(line.closes for line in lines)
    assert outline(tree_lines(module_tree(LAYERS), 4)) == "(model)[stem a[0 ]]"
    assert tree_lines(module_tree(LAYERS), 4)[-1].omitted > 0


def test_names_of_ten_thousand_dots():
    lines = tree_lines(module_tree([LayerError("." * 10_000, 0, 1.0, 0.1)]), 100)
    assert len(lines) < 30


def test_sizes_are_short():
    assert times(LAYERS[1]) == "0.5, 5,000 x allowed"
    assert times(LayerError("a", 0, float("inf"), 0.1)) == "cannot be subtracted"
    assert times(LayerError("a", 0, 0.5, 0.0)) == "0.5"
