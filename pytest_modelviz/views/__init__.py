"""One package a view: a way of looking at a model, with four methods (`base.View`).

A view is registered in `plugin/fixtures.py`, and named in `stored.py`, in `pytest_modelviz/__init__.py` and in the
import contracts of `pyproject.toml`.
"""
