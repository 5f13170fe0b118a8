"""What a test file says of its tests without being run: there, not there, or open."""

import warnings

import pytest

from pytest_modelviz.storage.definitions import is_defined, is_same_file
from pytest_modelviz.storage.orphans import file_digest

SOURCE = """
import sys
import unittest
from elsewhere import Base, test_imported
from elsewhere import other as test_renamed

def test_plain(): ...
async def test_async(): ...
test_assigned = made()
test_one, (test_two, *_) = several()
test_typed: object = made()

if sys.platform == "win32":
    def test_windows(): ...
else:
    try:
        def test_other(): ...
    except ImportError:
        def test_fallback(): ...
with context():
    for _ in range(3):
        def test_loop(): ...
match sys.platform:
    case "linux":
        def test_matched(): ...

def describe_net():
    def test_inner(): ...

class TestOwn:
    def test_q(self): ...
    class TestInner:
        def test_deep(self): ...
class TestChild(TestOwn): ...
class TestForeign(Base):
    def test_q(self): ...
class TestUnit(unittest.TestCase):
    def test_q(self): ...
class TestCircle(TestCircle): ...
class TestMade(make()): ...
"""


@pytest.fixture
def answer(tmp_path):
    (tmp_path / "t.py").write_text(SOURCE)
    return lambda test: is_defined(tmp_path, f"t.py::{test}")


@pytest.mark.parametrize(
    "test",
    [
        *("test_plain", "test_plain[a::b]", "test_async", "test_assigned", "test_one", "test_two", "test_typed"),
        *("test_imported", "test_renamed", "test_windows", "test_other", "test_fallback", "test_loop", "test_matched"),
        *("describe_net::test_inner", "TestOwn", "TestOwn::test_q[x]", "TestOwn::TestInner::test_deep"),
        *("TestChild::test_q", "TestForeign::test_q", "TestUnit::test_q"),
    ],
)
def test_there(answer, test):
    assert answer(test) is True


@pytest.mark.parametrize(
    "test",
    [
        *("test", "test_plai", "test_plain2", "sys.platform", "other", "test_inner", "test_q", "TestInner"),
        *("TestOwn::test_deep", "TestOwn::test_x", "TestChild::test_x", "TestUnit::test_x", "TestCircle::test_x"),
        *("describe_net::test_x", "test_plain::test_q", "", "\0"),
    ],
)
def test_not_there(answer, test):
    assert answer(test) is False


@pytest.mark.parametrize("test", ["TestForeign::test_x", "TestMade::test_x", "test_assigned::test_x", "Base::test_q"])
def test_open(answer, test):
    assert answer(test) is None


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("from elsewhere import *\n", None),
        ("def broken(:\n", None),
        ("x = " + "(" * 5000, None),
        ("def test_x(): ...\n" + "#" * 2**20, None),
        ("\0", None),
        ("", False),
        ("# test_x\n'def test_x(): ...'\n", False),
        ("class TestCase:\n    def test_x(self): ...\nclass TestY(TestCase): ...\n", False),
    ],
)
def test_other_files(tmp_path, text, wanted):
    (tmp_path / "t.py").write_text(text)
    assert is_defined(tmp_path, "t.py::test_x") is wanted
    if "TestY" in text:
        assert is_defined(tmp_path, "t.py::TestY::test_x") is True


CHAINS = {
    "a chain of classes": "".join(f"class C{n}(C{n + 1}): ...\n" for n in range(2000)),
    "blocks within blocks": "if 1: ...\n" + "elif 1: ...\n" * 900,
    "two ways to each class": "".join(f"class C{n}(C{n + 1}, C{n + 1}): ...\n" for n in range(60)),
    "all from all": "".join(f"class C{n}({', '.join(f'C{m}' for m in range(60))}): ...\n" for n in range(60)),
}


@pytest.mark.parametrize("text", CHAINS.values(), ids=CHAINS)
def test_what_refers_to_itself_a_thousand_times_ends(tmp_path, text):
    (tmp_path / "t.py").write_text(text)
    assert is_defined(tmp_path, "t.py::C0::test_x") in (None, False)


def test_a_file_that_changed_is_read_again(tmp_path):
    (tmp_path / "t.py").write_text("def test_x(): ...\n")
    assert is_defined(tmp_path, "t.py::test_x") is True
    (tmp_path / "t.py").write_text("def test_yy(): ...\n")
    assert is_defined(tmp_path, "t.py::test_x") is False


@pytest.mark.parametrize("file", ["nowhere.py", "", ".", "\0.py", "x" * 5000])
def test_no_file(tmp_path, file):
    assert is_defined(tmp_path, f"{file}::test_x") is False
    assert not is_same_file(tmp_path, file, "t.py")


def test_what_python_warns_of_is_no_matter(tmp_path, recwarn):
    (tmp_path / "t.py").write_text("def test_x():\n    return '\\d' is 1\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert is_defined(tmp_path, "t.py::test_x") is True
    assert not recwarn.list


def test_nothing_is_run(tmp_path):
    (tmp_path / "t.py").write_text("raise SystemExit\ndef test_x(): ...\n")
    assert is_defined(tmp_path, "t.py::test_x") is True


@pytest.mark.parametrize(
    ("source", "test", "there"),
    [
        ("from shared import *", "test_b", True),
        ("from shared import *", "test_gone", False),
        ("from shared import Base\nclass TestA(Base): pass", "TestA::test_b", True),
        ("from shared import Base\nclass TestA(Base): pass", "TestA::test_gone", False),
        ("from .shared import Base as Other\nclass TestA(Other): pass", "TestA::test_b", True),
        ("from ..top import Base\nclass TestA(Base): pass", "TestA::test_top", True),
        ("from top import Base\nclass TestA(Base): pass", "TestA::test_gone", False),
        ("import shared\nclass TestA(shared.Base): pass", "TestA::test_b", True),
        ("import shared\nclass TestA(shared.Base): pass", "TestA::test_gone", False),
        ("import shared as other\nclass TestA(other.Base): pass", "TestA::test_b", True),
        ("import inner.deep\nclass TestA(inner.deep.Base): pass", "TestA::test_d", True),
        ("from inner import deep\nclass TestA(deep.Base): pass", "TestA::test_d", True),
        ("from . import shared\nclass TestA(shared.Base): pass", "TestA::test_b", True),
        ("from shared import *\nclass TestA(Base): pass", "TestA::test_b", True),
        ("from shared import *\nclass TestA(Base): pass", "TestA::test_gone", False),
        ("import torch.nn as nn\nclass TestA(nn.Module): pass", "TestA::test_b", None),
        ("import unittest as u\nclass TestA(u.TestCase): pass", "TestA::test_b", False),
        ("from inner import test_inner as test_x", "test_x", True),
        ("from inner import Base\nclass TestA(Base): pass", "TestA::test_b", True),
        ("from torch.nn import Module\nclass TestA(Module): pass", "TestA::test_b", None),
        ("from unittest import TestCase\nclass TestA(TestCase): pass", "TestA::test_b", False),
        ("from cycle import *", "test_b", None),
        ("from .......far import Base\nclass TestA(Base): pass", "TestA::test_b", None),
    ],
)
def test_what_a_file_imports_is_looked_up_in_the_project(tmp_path, source, test, there):
    folder = tmp_path / "tests"
    folder.mkdir()
    (tmp_path / "top.py").write_text("class Base:\n    def test_top(self): pass\n")
    (folder / "shared.py").write_text("def test_b(): pass\nclass Base:\n    def test_b(self): pass\n")
    (folder / "inner").mkdir()
    (folder / "inner/__init__.py").write_text("from ..shared import Base\ndef test_inner(): pass\n")
    (folder / "inner/deep.py").write_text("class Base:\n    def test_d(self): pass\n")
    (folder / "cycle.py").write_text("from test_a import *\n")
    (folder / "test_a.py").write_text(source)
    assert is_defined(tmp_path, f"tests/test_a.py::{test}") is there


@pytest.mark.parametrize(
    "source",
    [f"from {'m' * 300} import *", f"from {'m' * 300} import Base", f"from {'.'.join(['m'] * 3000)} import *"],
)
def test_a_module_that_no_file_can_have_is_open(tmp_path, source):
    (tmp_path / "t.py").write_text(source)
    assert is_defined(tmp_path, "t.py::Base::test_a") is None


def test_a_file_that_is_spelled_otherwise_is_not_looked_into(tmp_path):
    (tmp_path / "t.py").write_text("def test_a(): ...\n")
    (tmp_path / "a").mkdir()
    assert is_defined(tmp_path, "t.py::test_a") is True
    assert is_defined(tmp_path, "a/../t.py::test_a") is False
    assert file_digest(tmp_path, "t.py::test_a") is not None
    assert file_digest(tmp_path, "a/../t.py::test_a") is None
