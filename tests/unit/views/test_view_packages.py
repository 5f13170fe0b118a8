"""The class of a view is imported from its package, which alone brings no torch."""

import importlib
import pkgutil
import subprocess
import sys

import pytest

from pytest_modelviz import views

VIEWS = sorted(found.name for found in pkgutil.iter_modules(views.__path__) if found.ispkg and found.name != "combined")


@pytest.mark.parametrize("view", VIEWS)
def test_a_package_has_its_view(view):
    package = importlib.import_module(f"pytest_modelviz.views.{view}")
    (name,) = package.__all__
    assert getattr(package, name).view == view
    with pytest.raises(AttributeError, match="has no attribute 'Other'"):
        package.__getattr__("Other")


def test_the_packages_alone_import_no_torch():
    imports = "; ".join(f"import pytest_modelviz.views.{view}" for view in VIEWS)
    code = f"import sys; {imports}; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
