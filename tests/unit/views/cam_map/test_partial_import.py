"""Parts of a package are imported as they are needed, and whoever imports the package itself gets it whole."""

import importlib
import sys
import threading
import time
import types

import pytest

from pytest_modelviz.views.cam_map import library, partial_import
from pytest_modelviz.views.cam_map.methods import COMPOSED, METHODS, RUNNING

FILES = {
    "__init__.py": (
        "import time\n"
        "from toy_cams.plain import Plain\n"
        "from .relative import Relative as Relative\n"
        "from toy_cams.composed import Composed\n"
        "from toy_cams.composed import Composed as Renamed\n"
        "time.sleep(0.05)\n"  # other threads look in meanwhile
        "import toy_cams.metrics\n"
        "FACTOR = toy_cams.metrics.FACTOR\n"
    ),
    "base.py": (
        "import toy_heavy\n"
        "from toy_heavy import drawing as artist, Tool, part as piece\n"
        "from toy_cams.tools import double\n"
        "class Base:\n"
        "    def picture(self): return artist.draw(), piece.HERE, toy_heavy.LOADED\n"
        "    def tool(self): return Tool(3)\n"
        "    def double(self): return double(4)\n"
    ),
    "tools.py": "def double(x):\n    import math\n    return math.prod((2, x))\n",
    "plain.py": "from toy_cams.base import Base\nclass Plain(Base): pass\n",
    "relative.py": "from .base import Base\nclass Relative(Base): pass\n",
    "composed.py": "from toy_cams import Plain, tools\nclass Composed(Plain): TOOLS = tools\n",
    "derived.py": "from toy_heavy import Tool\nclass Derived(Tool): pass\ndef is_tool(x): return isinstance(x, Tool)\n",
    "broken.py": "from toy_cams.base import Base\nraise ValueError('broken')\n",
    "metrics.py": "FACTOR = 7\n",
}
HEAVY = {
    "__init__.py": "LOADED = True\nclass Tool:\n    def __init__(self, size): self.size = size\n",
    "drawing.py": "def draw(): return 'drawn'\n",
    "part.py": "HERE = 'part'\n",
}


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A package that stands for pytorch-grad-cam, and one for what that imports; both are forgotten afterwards."""
    for package, files in (("toy_cams", FILES), ("toy_heavy", HEAVY)):
        (tmp_path / package).mkdir()
        for name, text in files.items():
            (tmp_path / package / name).write_text(text)
    finder = partial_import._Finder()
    for name, value in (("_PACKAGE", "toy_cams"), ("_PUT_OFF", frozenset({"toy_heavy"})), ("_FINDER", finder)):
        monkeypatch.setattr(partial_import, name, value)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "toy_cams"
    for name in loaded():
        del sys.modules[name]


def loaded():
    return {name for name in sys.modules if name.partition(".")[0] in ("toy_cams", "toy_heavy")}


def test_a_class_comes_with_the_modules_that_it_needs_and_no_others(toy):
    plain = partial_import.exported("Plain")
    assert loaded() == {"toy_cams", "toy_cams.plain", "toy_cams.base", "toy_cams.tools"}
    assert plain().double() == 8
    assert "toy_heavy" not in sys.modules
    assert plain().tool().size == 3
    assert plain().picture() == ("drawn", "part", True)
    assert {"toy_heavy.drawing", "toy_heavy.part"} <= loaded()
    assert "toy_cams.metrics" not in sys.modules


def test_modules_take_classes_from_their_own_package_without_completing_it(toy):
    composed = partial_import.exported("Composed")
    assert composed.__bases__ == (partial_import.exported("Plain"),)
    assert composed.TOOLS is sys.modules["toy_cams.tools"]
    assert partial_import.exported("Relative").__module__ == "toy_cams.relative"
    assert partial_import.submodule("tools").double(1) == 2
    assert not {"toy_cams.metrics", "toy_heavy"} & loaded()


def test_a_class_may_derive_from_what_is_put_off(toy):
    derived = partial_import.submodule("derived").Derived
    assert derived.__mro__[1] is sys.modules["toy_heavy"].Tool
    assert derived(2).size == 2
    assert sys.modules["toy_cams.derived"].is_tool(derived(2))
    assert not sys.modules["toy_cams.derived"].is_tool(2)


@pytest.mark.parametrize("statement", ["from toy_cams import Plain", "import toy_cams; Plain = toy_cams.Plain"])
def test_who_imports_the_package_later_gets_the_same_classes_and_all_the_rest(toy, statement):
    ours = partial_import.exported("Plain")
    namespace = {}
    exec(statement, namespace)
    package = sys.modules["toy_cams"]
    assert namespace["Plain"] is ours
    assert type(package) is types.ModuleType
    assert package.FACTOR == package.metrics.FACTOR == 7
    assert package.Renamed is package.Composed is partial_import.exported("Composed")
    base, heavy = package.base, sys.modules["toy_heavy"]
    assert (base.artist, base.piece, base.Tool, base.toy_heavy) == (heavy.drawing, heavy.part, heavy.Tool, heavy)
    assert partial_import.exported("FACTOR") == 7
    names = {name for name in vars(package) if not name.startswith("__")}
    for name in loaded():
        del sys.modules[name]
    fresh = importlib.import_module("toy_cams")
    assert not isinstance(fresh, partial_import._WaitingPackage)
    assert {name for name in vars(fresh) if not name.startswith("__")} == names


def test_listing_its_names_completes_it_and_what_tools_ask_of_every_module_does_not(toy):
    package = partial_import._package()
    for name in ("__warningregistry__", "__wrapped__", "__test__"):
        assert not hasattr(package, name)
    assert loaded() == {"toy_cams"}
    assert {"Plain", "FACTOR", "metrics"} <= {*dir(package)}
    assert not hasattr(package, "__version__")
    with pytest.raises(AttributeError, match="module 'toy_cams' has no attribute 'Missing'"):
        partial_import.exported("Missing")


def test_a_name_that_only_the_package_knows_completes_it(toy):
    assert partial_import.exported("FACTOR") == 7
    assert partial_import.whole() is sys.modules["toy_cams"]


def test_a_star_takes_everything(toy):
    partial_import.exported("Plain")
    namespace = {}
    exec("from toy_cams import *", namespace)
    assert {"Plain", "Composed", "FACTOR", "metrics"} <= namespace.keys()


def test_a_package_that_was_imported_before_is_used_as_it_is(toy, monkeypatch):
    package = importlib.import_module("toy_cams")
    assert type(package) is types.ModuleType
    monkeypatch.setattr(package, "Plain", "a user's own")
    assert partial_import.exported("Plain") == "a user's own"
    assert partial_import.submodule("metrics") is package.metrics


def test_the_imports_of_others_are_not_affected(toy):
    partial_import.exported("Plain")
    namespace = {}
    exec("from toy_heavy import Tool, drawing", namespace)
    assert namespace["Tool"] is sys.modules["toy_heavy"].Tool
    assert namespace["drawing"] is sys.modules["toy_heavy.drawing"]


def test_a_module_that_cannot_be_imported_leaves_nothing_of_itself(toy):
    with pytest.raises(ValueError, match="broken"):
        partial_import.submodule("broken")
    assert "toy_cams.broken" not in sys.modules
    assert partial_import.exported("Plain")().double() == 8


def test_a_package_that_cannot_be_completed_is_not_imported_and_can_be_later(toy):
    init = toy / "__init__.py"
    whole = init.read_text()
    init.write_text(f"{whole}raise RuntimeError('another torchvision')\n")
    assert partial_import.exported("Plain")().double() == 8
    with pytest.raises(RuntimeError, match="another torchvision"):
        exec("from toy_cams import Plain")
    assert not {name for name in loaded() if name.startswith("toy_cams")}
    init.write_text(f"{whole}# mended\n")
    importlib.invalidate_caches()
    assert importlib.import_module("toy_cams").FACTOR == 7


def test_threads_that_ask_at_the_same_time_find_it_whole(toy):
    partial_import.submodule("tools")
    start, found = threading.Barrier(8), []

    def ask(number):
        start.wait()
        if number % 2:
            found.append(partial_import.exported("Composed").__bases__[0])
        else:
            import toy_cams

            found.append(toy_cams.Plain)
            assert toy_cams.FACTOR == 7

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_a_module_that_is_imported_while_the_package_is_completed_does_not_wait_for_it(toy):
    """It holds the lock of a module that `__init__` is to import, and takes a name from the package itself."""
    plain = toy / "plain.py"
    plain.write_text(f"import time\ntime.sleep(0.5)\n{plain.read_text()}")  # while the other thread begins
    partial_import.submodule("tools")
    found = []
    importing = threading.Thread(target=lambda: found.append(partial_import.exported("Composed")), daemon=True)
    completing = threading.Thread(target=lambda: found.append(partial_import.whole().Composed), daemon=True)
    for thread in (completing, importing):
        thread.start()
        time.sleep(0.1)
    for thread in (importing, completing):
        thread.join(timeout=20)
    assert len(found) == 2
    assert found[0] is found[1]


def test_a_package_whose_files_another_importer_reads_is_imported_as_usual(toy, monkeypatch):
    class Other(importlib.machinery.SourceFileLoader):
        """As a package has that rewrites what it imports."""

    find = importlib.machinery.PathFinder.find_spec

    def find_for_other(name, path=None, target=None):
        spec = find(name, path, target)
        if spec is not None and name.startswith("toy_cams"):
            spec.loader = Other(name, spec.origin)
        return spec

    monkeypatch.setattr(importlib.machinery.PathFinder, "find_spec", find_for_other)
    assert partial_import.exported("Plain")().double() == 8
    assert type(sys.modules["toy_cams"]) is types.ModuleType
    assert "toy_heavy" in sys.modules


def test_every_method_is_found_where_the_installed_package_exports_it():
    import pytorch_grad_cam

    source = importlib.util.find_spec("pytorch_grad_cam").loader.get_data(pytorch_grad_cam.__file__)
    exports = partial_import._exports(source)
    for method, name in {**METHODS, **RUNNING, **COMPOSED}.items():
        found = getattr(importlib.import_module(exports[name]), name)
        assert found is getattr(pytorch_grad_cam, name) is library.method_class(method)
