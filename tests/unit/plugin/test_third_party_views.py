"""What the hook for views of other plugins may return."""

import enum
import types

import pytest

from pytest_modelviz.plugin.fixtures import NAMES
from pytest_modelviz.plugin.third_party_views import ThirdPartyViews


class Norms:
    """The norm of each parameter."""

    view = "norms"
    capture = compare = picture = describe = len


class Kinds(enum.Enum):
    """A class that can be iterated over."""

    NORMS = Norms


def named(name: object, **attributes: object) -> type:
    return type("Other", (Norms,), {"view": name, **attributes})


@pytest.fixture
def manager():
    return pytest.PytestPluginManager()


@pytest.fixture
def views(manager):
    return ThirdPartyViews(types.SimpleNamespace(pluginmanager=manager), NAMES)


@pytest.mark.parametrize("several", [list, tuple])
def test_each_view_becomes_a_fixture_of_its_name(views, manager, several):
    views.add(several([Norms, named("others")]))
    views.add([named("more")])
    for name in ("norms", "others", "more"):
        assert hasattr(manager.get_plugin(f"modelviz_view_{name}"), name)


@pytest.mark.parametrize("returned", [Norms, Kinds, "norms", b"norms", {"norms": Norms}, {Norms}, iter([Norms]), 3])
def test_other_than_a_list_is_refused(views, returned):
    with pytest.raises(pytest.UsageError, match="pytest_modelviz_views must return a list of classes, not "):
        views.add(returned)


@pytest.mark.parametrize("returned", [len, "norms", Norms(), named(None), named("my norms"), named(b"norms")])
def test_what_is_no_class_with_a_name_is_refused(views, returned):
    with pytest.raises(pytest.UsageError, match="a view is a class whose attribute `view` is its name"):
        views.add([returned])


def test_a_view_without_its_methods_is_refused(views):
    with pytest.raises(pytest.UsageError, match="the view 'others' has no compare, describe"):
        views.add([named("others", compare=None, describe="x")])


@pytest.mark.parametrize(
    ("returned", "owner"),
    [
        ([named("cam_map")], "pytest-modelviz"),
        ([named("_modelviz_checks")], "pytest-modelviz"),
        ([named("norms"), Norms], f"{__name__}.Other"),
    ],
)
def test_a_name_that_is_taken_is_refused(views, returned, owner):
    with pytest.raises(pytest.UsageError, match=f"is already registered: {owner}$"):
        views.add(returned)
