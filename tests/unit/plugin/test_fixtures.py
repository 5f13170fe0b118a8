"""Each fixture's signature stands in its type; its view, the docs and the public names agree with it."""

import importlib
import inspect
import re
from pathlib import Path

import pytest

import pytest_modelviz
from pytest_modelviz.plugin import fixtures
from pytest_modelviz.views.combined.capture import CombinedCapture
from pytest_modelviz.views.fixture import CheckFixture

ROOT = Path(__file__).resolve().parents[3]
OF_THE_CHECK = ("name", "rtol", "atol")
TYPES = [getattr(pytest_modelviz, name) for name in pytest_modelviz.__all__]
FIXTURES = [
    one
    for one in TYPES
    if isinstance(one, type) and issubclass(one, CheckFixture) and one.__module__ != CheckFixture.__module__
]


def view_class(fixture):
    if fixture.view == "modelviz":
        return CombinedCapture
    module = importlib.import_module(f"pytest_modelviz.views.{fixture.view}.capture")
    return getattr(module, fixture.__name__.replace("Fixture", "View"))


def parameters(function):
    """Names, kinds, defaults and types, without what a type is imported as."""
    return [
        (name, parameter.kind, parameter.default, parameter.annotation.replace("torch.", "").replace("nn.", ""))
        for name, parameter in inspect.signature(function).parameters.items()
        if name != "self"
    ]


def by_view(fixture):
    return fixture.view


@pytest.mark.parametrize("fixture", FIXTURES, ids=by_view)
def test_the_view_takes_what_the_fixture_takes(fixture):
    taken = parameters(fixture.__call__)
    assert tuple(name for name, *_ in taken[-3:]) == OF_THE_CHECK
    assert taken[:-3] == parameters(view_class(fixture).__init__)


@pytest.mark.parametrize("fixture", FIXTURES, ids=by_view)
def test_each_argument_is_documented_in_the_order_of_the_signature(fixture):
    sections = re.split(r"^(Args|Returns|Raises|Example):$", inspect.getdoc(fixture.__call__), flags=re.MULTILINE)
    assert sections[1::2] == ["Args", "Returns", "Raises", "Example"]
    assert re.findall(r"^    (\w+): ", sections[2], re.MULTILINE) == [name for name, *_ in parameters(fixture.__call__)]
    assert re.search(rf"^    >>> .*\b{fixture.view}\(", sections[8], re.MULTILINE)


@pytest.mark.parametrize("fixture", FIXTURES, ids=by_view)
def test_it_is_public_and_says_in_one_line_what_it_is_for(fixture):
    assert fixture.__doc__
    assert "\n" not in fixture.__doc__
    assert fixture.__name__ in pytest_modelviz.__all__


def test_every_fixture_has_a_type():
    assert {fixture.view: fixture.__name__ for fixture in FIXTURES} == fixtures._TYPES
    assert {*fixtures.NAMES} == {*fixtures._TYPES, "_modelviz_checks"}
    assert {*CheckFixture.__subclasses__()} == {*FIXTURES}


def test_every_public_name_is_what_type_checkers_think_it_is():
    source = inspect.getsource(pytest_modelviz)
    pairs = re.findall(r"^    from pytest_modelviz\.([\w.]+) import (.+)$", source, re.MULTILINE)
    assert {name: module for module, names in pairs for name in names.split(", ")} == pytest_modelviz._MODULES
    assert sorted(pytest_modelviz._MODULES) == sorted(pytest_modelviz.__all__)
    for name in pytest_modelviz.__all__:
        assert getattr(pytest_modelviz, name).__name__ == name
    with pytest.raises(AttributeError, match="module 'pytest_modelviz' has no attribute 'FeatureMap'"):
        pytest_modelviz.FeatureMap  # noqa: B018


def signature(fixture):
    """As the docs write it: without types, and without what every fixture takes."""
    parts, is_keyword = [], False
    for name, kind, default, _ in parameters(fixture.__call__)[:-3]:
        if kind is inspect.Parameter.KEYWORD_ONLY and not is_keyword:
            parts, is_keyword = [*parts, "*"], True
        parts.append(name if default is inspect.Parameter.empty else f"{name}={default!r}".replace("'", '"'))
    return f"{fixture.view}({', '.join(parts)})"


def test_pytest_lists_the_fixtures_with_those_lines(pytester):
    lines = pytester.runpytest_inprocess("--fixtures").outlines
    for fixture in FIXTURES:
        at = next(at for at, line in enumerate(lines) if line.startswith(f"{fixture.view} -- "))
        assert lines[at + 1].strip() == fixture.__doc__


def test_the_docs_show_the_signatures():
    table = (ROOT / "docs" / "guide.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+\(.*\))` \| `(\w+)` \|", table, re.MULTILINE)
    returned = {signature(one): inspect.signature(one.__call__).return_annotation for one in FIXTURES}
    assert dict(rows) == returned
