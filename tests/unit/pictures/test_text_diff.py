"""Pages of text: which lines are on them. What is drawn is compared with a page of the lines that are expected."""

import numpy as np
import pytest

from pytest_modelviz.pictures.text_diff import around_changes, text_picture


def page(lines):
    return text_picture("label", "headline", lines).image


def unchanged(first, last):
    return [(" ", f"line {number}") for number in range(first, last + 1)]


def test_a_page_holds_sixty_lines_and_counts_those_that_follow():
    height = page(unchanged(1, 2)).shape[0] - page(unchanged(1, 1)).shape[0]
    assert page(unchanged(1, 60)).shape[0] == page(unchanged(1, 1)).shape[0] + 59 * height
    assert np.array_equal(page(unchanged(1, 61)), page([*unchanged(1, 59), ("@", "and 2 lines more")]))
    assert np.array_equal(page(unchanged(1, 200)), page([*unchanged(1, 59), ("@", "and 141 lines more")]))


def test_a_page_without_lines_says_so():
    assert np.array_equal(page([]), page([(" ", "nothing")]))


def test_the_four_kinds_of_lines_differ():
    pages = [page([(sign, "line")]).tobytes() for sign in "-+ @"]
    assert len(set(pages)) == 4


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], []),
        (unchanged(1, 9), []),
        ([*unchanged(1, 3), ("-", "x")], [*unchanged(1, 3), ("-", "x")]),
        ([*unchanged(1, 4), ("-", "x")], [("@", "1 unchanged"), *unchanged(2, 4), ("-", "x")]),
        ([("+", "x"), *unchanged(1, 3)], [("+", "x"), *unchanged(1, 3)]),
        ([("+", "x"), *unchanged(1, 5)], [("+", "x"), *unchanged(1, 3), ("@", "2 unchanged")]),
        (
            [("-", "x"), *unchanged(1, 6), ("+", "y")],
            [("-", "x"), *unchanged(1, 6), ("+", "y")],
        ),
        (
            [("-", "x"), *unchanged(1, 8), ("+", "y"), *unchanged(9, 12)],
            [
                *(("-", "x"), *unchanged(1, 3), ("@", "2 unchanged")),
                *(*unchanged(6, 8), ("+", "y"), *unchanged(9, 11), ("@", "1 unchanged")),
            ],
        ),
    ],
)
def test_an_excerpt_has_three_lines_around_each_change(lines, expected):
    assert around_changes(lines) == expected
