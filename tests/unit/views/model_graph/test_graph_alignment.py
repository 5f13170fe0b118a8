"""Lists of operators are aligned as a diff is read, also long ones."""

import collections
import itertools
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_modelviz.views.model_graph.align import align
from pytest_modelviz.views.model_graph.compare import compare_graphs
from pytest_modelviz.views.model_graph.findings import FollowingFinding, OperatorFinding
from pytest_modelviz.views.model_graph.records import Operator, OperatorGraph


def graph_of(kinds, modules=None):
    """A chain of operators, each on what the one before it returned."""
    counts, operators, last = collections.Counter(), [], "input.x"
    for at, kind in enumerate(kinds):
        module = modules[at] if modules else ""
        count = counts[module, kind]
        counts[module, kind] += 1
        name = f"{module}/{kind}" + (f"#{count}" if count else "")
        operators.append(Operator(name, kind, (last,), {}, "float32[1]"))
        last = name
    return OperatorGraph("exported", "", {"input.x": "float32[1]"}, tuple(operators), (last,), {})


@given(st.lists(st.sampled_from("abcde"), min_size=1, max_size=40), st.data())
@settings(max_examples=200)
def test_deleted_operators_are_told_as_exactly_these(kinds, data):
    gone = data.draw(st.sets(st.integers(0, len(kinds) - 1)))
    left = [kind for at, kind in enumerate(kinds) if at not in gone]
    for before, after, side in ((kinds, left, "before"), (left, kinds, "after")):
        verdict = compare_graphs(graph_of(before), graph_of(after))
        found = [finding for finding in verdict.findings if not isinstance(finding, FollowingFinding)]
        assert all(isinstance(finding, OperatorFinding) for finding in found)
        assert all(bool(finding.before) == (side == "before") != bool(finding.after) for finding in found)
        named = collections.Counter(getattr(finding, side) for finding in found)
        assert named == collections.Counter(kinds) - collections.Counter(left)
        assert verdict.matched == (not gone)


@given(st.lists(st.integers(0, 6), max_size=30), st.lists(st.integers(0, 6), max_size=30))
def test_blocks_cover_both_lists_and_equal_ones_are_equal(before, after):
    blocks = align(before, after)
    assert [at for block in blocks for at in block.before] == list(range(len(before)))
    assert [at for block in blocks for at in block.after] == list(range(len(after)))
    for block in blocks:
        if block.equal:
            assert [before[at] for at in block.before] == [after[at] for at in block.after]
    assert all(one.equal != two.equal for one, two in itertools.pairwise(blocks))


@pytest.mark.parametrize("kinds", [["add"], [f"op{at}" for at in range(7)], [f"op{at}" for at in range(5000)]])
def test_ten_thousand_operators_are_aligned_at_once(kinds):
    before = [kinds[at % len(kinds)] for at in range(10_000)]
    after = [kind for at, kind in enumerate(before) if at % 100]
    after[3333:3333] = ["new"] * 3
    started = time.process_time()
    verdict = compare_graphs(graph_of(before), graph_of(after))
    assert time.process_time() - started < 20
    assert not verdict.matched


def nested(depth: int, noise: str) -> list[str]:
    """Of these names a few are unique, and among those between them again a few, and so on."""
    rungs = [(f"n{at + 1}", f"n{at}", noise, noise) for at in range(depth)]
    return list(itertools.chain.from_iterable(rungs))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (["add"] * 1000, ["mul", "add", "tanh"] * 1000),
        (["a"] * 400, ["m", "a", "t"] * 400),  # few enough pairs of equal items to be searched
        (
            [name for at in range(12) for name in (*["a"] * 400, f"x{at}")],
            [name for at in range(12) for name in (*["m", "a", "t"] * 400, f"x{at}")],
        ),
        ([*["a"] * 60, "x"] * 301, [*["a"] * 60, "y"] * 301),
        (nested(3000, "p"), nested(3000, "q")),
    ],
)
def test_no_baseline_takes_minutes_to_be_aligned(before, after):
    """The work of all searches together is bounded, whatever the lists repeat."""
    started = time.process_time()
    blocks = align(before, after)
    assert time.process_time() - started < 10
    assert [at for block in blocks for at in block.before] == list(range(len(before)))
    assert [at for block in blocks for at in block.after] == list(range(len(after)))
    assert all(before[i] == after[j] for b in blocks if b.equal for i, j in zip(b.before, b.after, strict=True))


def test_many_edits_leave_as_much_as_possible():
    """Beyond the fewest edits that are looked for: the longest chain of equal items."""
    before, after = ["a", "b"] * 200, ["a", "x", "y", "b", "z"] * 200
    blocks = align(before, after)
    assert sum(len(block.before) for block in blocks if block.equal) == 400


def test_graphs_that_do_not_list_the_modules_of_their_operators_are_compared():
    before, after = (graph_of([kind, "mul"], ["a.b", "a"]) for kind in ("add", "sub"))
    assert compare_graphs(before, before).matched
    assert not compare_graphs(before, after).matched
