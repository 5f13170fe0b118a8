"""`modelviz mv`: which tests a name stands for."""

import pytest

from pytest_modelviz.errors import ModelvizError
from pytest_modelviz.storage.renaming import Renaming, foreign_reason, move_command, renaming

PARAMETERS = ("tests/test_a.py::test_x[1]", "tests/test_a.py::test_x[2]")
KNOWN = {
    *PARAMETERS,
    "tests/test_a.py::test_x",
    "tests/test_a.py::test_xy",
    "tests/test_a.py::TestA::test_x[1]",
    "tests/test_ab.py::test_x",
    "tests/sub/test_a.py::test_x[a/b::c]",
    "tests/sub/test_a.py::test_odd[a*b]",
    "tests/sub/test_a.py::test_odd[axb]",
}


def renamed(old: str, new: str, rootdir, known=KNOWN) -> dict[str, str]:
    asked = renaming(old, new, rootdir)
    asked.require_sense(known)
    return {id_: new for id_ in known if (new := asked.of(id_, known)) is not None}


class TestNames:
    @pytest.mark.parametrize(
        ("old", "new", "wanted"),
        [
            (
                "tests/test_a.py",
                "tests/test_b.py",
                {id_: id_.replace("test_a.py", "test_b.py") for id_ in KNOWN if id_.startswith("tests/test_a.py")},
            ),
            ("tests/sub", "spec", {id_: id_.replace("tests/sub", "spec") for id_ in KNOWN if "/sub/" in id_}),
            ("tests/sub/", "./spec/", {id_: id_.replace("tests/sub", "spec") for id_ in KNOWN if "/sub/" in id_}),
            ("tests", ".", {id_: id_.removeprefix("tests/") for id_ in KNOWN}),
            (".", "all", {id_: f"all/{id_}" for id_ in KNOWN}),
            (
                "tests/test_a.py::test_x",
                "tests/test_a.py::test_y",
                {id_: id_.replace("test_x", "test_y") for id_ in (*PARAMETERS, "tests/test_a.py::test_x")},
            ),
            (PARAMETERS[0], "tests/test_a.py::test_x[one]", {PARAMETERS[0]: "tests/test_a.py::test_x[one]"}),
            (
                "tests/test_a.py::TestA",
                "tests/test_b.py::TestB",
                {"tests/test_a.py::TestA::test_x[1]": "tests/test_b.py::TestB::test_x[1]"},
            ),
            (
                "tests/test_a.py::TestA::test_x",
                "tests/test_a.py::test_x",  # out of its class
                {"tests/test_a.py::TestA::test_x[1]": "tests/test_a.py::test_x[1]"},
            ),
            (
                "tests/test_a.py::test_x[*]",
                "tests/test_a.py::test_z[n*]",
                {PARAMETERS[0]: "tests/test_a.py::test_z[n1]", PARAMETERS[1]: "tests/test_a.py::test_z[n2]"},
            ),
            (
                "tests/test_a.py::test_x[[]*",  # as in the patterns of the other commands
                "tests/test_a.py::test_z[[]*",
                {id_: id_.replace("test_x", "test_z") for id_ in PARAMETERS},
            ),
            (
                "tests/*/test_a.py",
                "*/test_b.py",
                {
                    id_: id_.replace("tests/sub/test_a", "sub/test_b")
                    for id_ in KNOWN
                    if id_.startswith("tests/sub/test_a.py")
                },
            ),
            (
                "tests/test_ab.py::test_*",
                "tests/test_ab.py::test_*_model",
                {"tests/test_ab.py::test_x": "tests/test_ab.py::test_x_model"},
            ),
            (
                "*.py::test_x",
                "*_new.py::test_q",
                {
                    id_: id_.replace(".py", "_new.py").replace("test_x", "test_q")
                    for id_ in KNOWN
                    if id_.partition("::")[2].partition("[")[0] == "test_x"
                },
            ),
            (
                "tests/sub/test_a.py::test_odd[a*b]",  # a whole id means itself
                "tests/sub/test_a.py::test_odd[new]",
                {"tests/sub/test_a.py::test_odd[a*b]": "tests/sub/test_a.py::test_odd[new]"},
            ),
            ("tests/test", "tests/best", {}),  # not a part of a name
            ("test_a.py", "test_b.py", {}),
            ("tests/test_a.py::test", "tests/test_a.py::best", {}),
        ],
    )
    def test_what_a_name_stands_for(self, tmp_path, old, new, wanted):
        assert renamed(old, new, tmp_path) == wanted

    @pytest.mark.parametrize("forged", ["tests/test_a.py::test_*", "tests/*_a.py::test_*", "*"])
    def test_no_id_takes_a_pattern_over(self, forged):
        pattern, ids = Renaming(forged, f"new_{forged}"), [forged, "tests/test_a.py::test_x"]
        pattern.require_sense(ids)
        assert pattern.of(ids[1], ids) is not None
        with pytest.raises(ModelvizError, match="the same number"):
            Renaming(forged, "new").require_sense(ids)

    @pytest.mark.parametrize(
        "forged",
        ["tests/old.py/../../test_b.py::test_b", "tests/old.py/../old.py::t", "tests/./old.py::t", "tests//old.py::t"],
    )
    @pytest.mark.parametrize("old", ["tests/old.py", "tests", "tests/*.py", "."])
    def test_no_id_reaches_another_file_by_its_spelling(self, forged, old):
        asked = Renaming(old, f"new_{old}")
        assert asked.of(forged) is None
        assert asked.of("tests/old.py::t[a/../b]") is not None

    def test_no_command_moves_an_id_that_is_spelled_otherwise(self):
        assert foreign_reason("a/../b.py::t", "c.py::t") == "it belongs to another test, 'a/../b.py::t'"

    def test_no_command_names_an_id_that_fills_a_page(self):
        said = foreign_reason(f"a.py::t[{'x' * 1_000_000}]", "c.py::t")
        assert said.startswith("it belongs to another test, 'a.py::t[xxx")
        assert "modelviz mv" not in said
        assert "modelviz mv" in foreign_reason(f"a.py::t[{'x' * 1000}]", "c.py::t")
        assert len(said) < 2200

    def test_a_file_goes_into_a_folder_as_with_mv(self, tmp_path):
        (tmp_path / "spec").mkdir()
        assert renamed("tests/test_ab.py", "spec", tmp_path) == {"tests/test_ab.py::test_x": "spec/test_ab.py::test_x"}

    def test_paths_may_be_absolute(self, tmp_path):
        old, new = f"{tmp_path}/tests/test_ab.py", f"{tmp_path}/tests/../test_c.py"
        assert renamed(old, new, tmp_path) == {"tests/test_ab.py::test_x": "test_c.py::test_x"}

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ("tests/test_*.py", "tests/check.py", "need the same number of"),
            ("tests/test_*.py", "tests/*_*.py", "need the same number of"),
            ("tests/test_a.py::test_x", "tests/test_b.py", "give its full name, such as 'tests/test_b.py::test_x'"),
            ("tests/test_a.py", "tests/test_b.py::test_x", "name both a file, or both a test"),
            ("", "x", "not a test file, folder or test id"),
            ("tests/test_a.py::", "tests/test_b.py::", "not a test file, folder or test id"),
        ],
    )
    def test_what_makes_no_sense_is_told(self, tmp_path, old, new, message):
        with pytest.raises(ModelvizError, match=message):
            renamed(old, new, tmp_path)

    @pytest.mark.parametrize(
        ("old", "new", "options", "words"),
        [
            ("a.py::test_x[1]", "a.py::test_y[1]", {}, "a.py::test_x a.py::test_y"),
            ("a.py::test_x[1]", "a.py::test_x[2]", {}, "'a.py::test_x[1]' 'a.py::test_x[2]'"),
            ("a.py::test_x", "b.py::test_x", {}, "a.py::test_x b.py::test_x"),
            ("a.py::test_x[1]", "b.py::test_x[1]", {"whole_file": True}, "a.py b.py"),
            ("a.py::test_x", "b.py::test_y", {"whole_file": True}, "a.py::test_x b.py::test_y"),
            ("a b.py::x", "a b.py::y", {}, "'a b.py::x' 'a b.py::y'"),
            ("--help.py::x", "b.py::y", {}, "-- --help.py::x b.py::y"),
            (
                "a.py::x",
                "a.py::y",
                {"options": "--rootdir 'in here' --from out --baseline-dir s3://b"},
                "--rootdir 'in here' --baseline-dir s3://b a.py::x a.py::y",
            ),
        ],
    )
    def test_the_command(self, old, new, options, words):
        assert move_command(old, new, **options) == f"modelviz mv {words}"
