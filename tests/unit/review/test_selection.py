"""Which tests a pattern means, where ids that nobody can trust stand beside them."""

import pytest

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.review.selection import matching

PLAIN = ["t.py::test_a", "t.py::test_b[1]", "t.py::test_b[2]", "u/t.py::test_a[x]"]


def chosen(pattern: str, ids: list[str], known: tuple[str, ...] = ()) -> list[str]:
    return matching(ids, [pattern], str, known.__contains__, "nothing")


@pytest.mark.parametrize(
    "pattern", ["*", "t.py::*", "t.py::test_?", "t.py::test_b[[]*", "t.py::test_[ab][[]?]", "*[[]x]", "t.py::*[1]*"]
)
def test_a_glob_is_one_although_an_id_is_spelled_like_it(pattern):
    """Else that check alone would be listed, or accepted, and those that are meant would not."""
    meant = chosen(pattern, PLAIN)
    assert set(chosen(pattern, [*PLAIN, pattern])) == {*meant, pattern}
    assert chosen(pattern, PLAIN, known=(pattern,)) == meant


@pytest.mark.parametrize(
    ("id_", "also_as_a_glob"),
    [
        ("t.py::test[1]", "t.py::test1"),
        ("t.py::test[a*b]", "t.py::testb"),
        ("t.py::test[?]", "t.py::test?"),
        ("t.py::test[!x]", "t.py::testy"),
        ("t.py::test[]]", "t.py::test]"),
    ],
)
def test_a_whole_id_means_that_test_alone(id_, also_as_a_glob):
    assert chosen(id_, [id_, also_as_a_glob]) == [id_]
    assert chosen(id_, [also_as_a_glob]) == [also_as_a_glob]
    with pytest.raises(ModelvizError, match="nothing matches"):
        chosen(id_, [also_as_a_glob], known=(id_,))


@pytest.mark.parametrize(
    "id_", ["t.py::test[[]x*]", "t.py::test[a]*]", "t.py::test[[*]?]", "t.py::test[x*", "t.py::test[[]a]"]
)
def test_a_whole_id_matches_itself_always(id_):
    assert id_ in chosen(id_, [id_, "t.py::test[x1]"])
