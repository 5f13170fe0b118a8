"""The tools: each records a model and later judges another one against what it recorded."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import nn

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.storage.names import Location
from pytest_modelviz.storage.store import Store
from pytest_modelviz.views.base import measured
from pytest_modelviz.views.cam_map.capture import CamMapView
from pytest_modelviz.views.feature_maps.capture import FeatureMapsView
from pytest_modelviz.views.model_summary.capture import ModelSummaryView
from pytest_modelviz.views.model_summary.findings import FieldFinding


class Judgement(NamedTuple):
    """Whether a change was noticed, the layer that was named (None: none), and the cause that was given."""

    caught: bool
    layer: str | None = None
    cause: str | None = None
    detail: str = ""


class Judge(Protocol):
    title: str
    names_layers: bool
    gives_causes: bool
    from_disk: bool

    def record(self, folder: Path, model: nn.Module, data: Any) -> None: ...

    def judge(self, folder: Path, model: nn.Module, data: Any) -> Judgement: ...


class Views:
    """This project's `feature_maps` and, where that matches, `model_summary`, through their own files."""

    title = "pytest-modelviz"
    names_layers = gives_causes = from_disk = True

    def _views(self, model: nn.Module, data: Any) -> list[Any]:
        return [FeatureMapsView(model, data), ModelSummaryView(model, input_data=data)]

    def record(self, folder: Path, model: nn.Module, data: Any) -> None:
        for view in self._views(model, data):
            store, at = Store(folder), Location.of("t.py::test", view.view)
            store.save(at, measured(view, view.capture()), nodeid="t.py::test", name=view.view, picture=None)

    def judge(self, folder: Path, model: nn.Module, data: Any) -> Judgement:
        for view in self._views(model, data):
            at = Location.of("t.py::test", view.view)
            stored = Store(folder).load(at, nodeid="t.py::test", name=view.view)
            assert stored is not None
            verdict = view.compare(stored.capture, view.capture(), Tolerances())
            # that parameters were frozen is a fact about the model, and here one of the benign changes
            fields = {finding.field if isinstance(finding, FieldFinding) else "" for finding in verdict.findings}
            if not verdict.matched and fields != {"frozen"}:
                break
        else:
            return Judgement(False)
        first = verdict.first
        layer = None if first is None else first.layer
        return Judgement(True, layer, verdict.cause, f"{verdict.error:.2g}")


class CamMap(Views):
    """This project's `cam_map`, for what the forward pass cannot show."""

    def _views(self, model: nn.Module, data: Any) -> list[Any]:
        return [CamMapView(model, data, target=1)]


def hooked_outputs(model: nn.Module, data: Any) -> dict[str, np.ndarray]:
    """Every module's output in the order of execution, as people write it with forward hooks."""
    arrays: dict[str, np.ndarray] = {}

    def hook(name: str) -> Any:
        def keep(module: nn.Module, args: Any, output: Any) -> None:
            if isinstance(output, torch.Tensor):
                arrays[name] = output.detach().clone().float().numpy()

        return keep

    model.eval()
    handles = [module.register_forward_hook(hook(name or "(model)")) for name, module in model.named_modules()]
    try:
        with torch.no_grad():
            output = model(**data) if isinstance(data, Mapping) else model(data)
    finally:
        for handle in handles:
            handle.remove()
    values = output.to_tuple() if hasattr(output, "to_tuple") else (output,)
    for index, value in enumerate(values):
        if isinstance(value, torch.Tensor):
            arrays[f"output {index}"] = value.detach().float().numpy()
    return arrays


class Regressions:
    """Forward hooks and pytest-regressions' `ndarrays_regression` on the full arrays, with its default tolerance."""

    title = "hooks + pytest-regressions"
    names_layers = from_disk = True
    gives_causes = False

    def record(self, folder: Path, model: nn.Module, data: Any) -> None:
        np.savez(folder / "expected.npz", **hooked_outputs(model, data))

    def judge(self, folder: Path, model: nn.Module, data: Any) -> Judgement:
        from pytest_regressions.ndarrays_regression import NDArraysRegressionFixture

        fixture = NDArraysRegressionFixture.__new__(NDArraysRegressionFixture)
        fixture._tolerances_dict, fixture._default_tolerance = {}, {}
        arrays = hooked_outputs(model, data)
        np.savez(folder / "obtained.npz", **arrays)
        try:
            with np.errstate(all="ignore"), contextlib.redirect_stdout(None):
                fixture._check_fn(folder / "obtained.npz", folder / "expected.npz")
        except AssertionError as error:
            differing = re.findall(r"^(\S.*):\n  Shape", str(error), re.M) + re.findall(r"[Kk]ey: (.*)", str(error))
            ordered = [name for name in arrays if name in differing]
            return Judgement(True, _plain(ordered[0]) if ordered else None)
        return Judgement(False)


def _plain(name: str) -> str:
    return "" if name in ("(model)", "<root>") else name


class Golden:
    """pytest-torch's `golden`: the model's output, with its default tolerance."""

    title = "pytest-torch `golden`"
    names_layers = gives_causes = False
    from_disk = True

    def _check(self, folder: Path, model: nn.Module, data: Any, *, update: bool) -> None:
        from pytest_torch.golden import Golden as File

        model.eval()
        with torch.no_grad():
            output = model(**data) if isinstance(data, Mapping) else model(data)
        output = dict(output) if hasattr(output, "to_tuple") else output
        if isinstance(output, Mapping):  # HuggingFace's caches are not among what it can store
            output = {key: value for key, value in output.items() if isinstance(value, torch.Tensor)}
        File(folder / "golden.pt", update).check(output)

    def record(self, folder: Path, model: nn.Module, data: Any) -> None:
        self._check(folder, model, data, update=True)

    def judge(self, folder: Path, model: nn.Module, data: Any) -> Judgement:
        try:
            self._check(folder, model, data, update=False)
        except AssertionError:
            return Judgement(True)
        return Judgement(False)


class Localize:
    """pytest-torch's `localize_divergence`: both models alive in memory, with its default tolerance."""

    title = "pytest-torch `localize_divergence`"
    names_layers = True
    gives_causes = from_disk = False

    def record(self, folder: Path, model: nn.Module, data: Any) -> None:
        self._model, self._data = model, data

    def judge(self, folder: Path, model: nn.Module, data: Any) -> Judgement:
        from pytest_torch import localize_divergence

        first = localize_divergence(self._model, model.eval(), self._data, inputs_b=data).first
        return Judgement(False) if first is None else Judgement(True, _plain(first.name))


JUDGES: tuple[Judge, ...] = (Views(), Regressions(), Golden(), Localize())
