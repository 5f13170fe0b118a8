"""All figures of one model, by the keys of `goals`. A figure that a model does not have is left out."""

from __future__ import annotations

import copy
import functools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from benchmarks.cost import by_hand, memory, views
from benchmarks.cost.checks import Project, captured, picture
from benchmarks.cost.clock import Action, clock_for, interleaved
from benchmarks.cost.counts import makes_pictures, python_calls
from benchmarks.cost.goals import A_KERNEL, LAYERS
from benchmarks.cost.models import Subject, build
from pytest_modelviz.views.base import View

_VIEWS: tuple[Callable[[Subject], View], ...] = (views.feature_maps, views.model_summary, views.cam_map)

Figures = Iterator[tuple[str, float]]


class Measurement:
    """The figures of one model with so many threads, of rounds as `interleaved` makes them."""

    def __init__(self, name: str, size: int | None, threads: int, *, seconds: float, least: int) -> None:
        torch.set_num_threads(threads)
        self._built, self._subject = (name, size), build(name, size)
        self._time = functools.partial(interleaved, seconds=seconds, least=least, clock=clock_for(threads))
        self._module_calls = len(views.feature_maps(self._subject).capture().result.trace.calls)

    def figures(self, *, whole: bool) -> Figures:
        """Figures, each as soon as it is known; memory and other tools, which take minutes, only for the `whole`."""
        yield "module calls", self._module_calls
        yield from self._captures()
        yield from self._kernels()
        yield from self._graph()
        with tempfile.TemporaryDirectory() as folder:
            project = Project(Path(folder))
            yield from self._comparisons(project)
            if whole:
                yield from self._other_tools(project, Path(folder))
        if whole:
            yield from self._memory(*self._built)

    def _captures(self) -> Figures:
        subject = self._subject
        actions: dict[str, Callable[[], object]] = {
            "bare": lambda: by_hand.forward(subject),
            "feature_maps": lambda: views.feature_maps(subject).capture(),
            "model_summary": lambda: views.model_summary(subject).capture(),
            "both passes": lambda: by_hand.forward_and_backward(subject),
            "cam_map": lambda: views.cam_map(subject).capture(),
            "three": lambda: views.capture_one_by_one(subject),
        }
        if subject.finds_layout:
            actions["modelviz"] = lambda: views.capture_combined(subject)
        if isinstance(subject.data, torch.Tensor):  # grad-cam takes no other input
            actions["hand"] = lambda: by_hand.summary_outputs_and_cam(subject)
        new = Action(
            lambda model: views.feature_maps(subject, model).capture(), prepare=lambda: copy.deepcopy(subject.model)
        )
        times = self._time({**{name: Action(run) for name, run in actions.items()}, "feature_maps new": new})
        yield "bare", 1e3 * times["bare"]
        yield "both passes", 1e3 * times["both passes"]
        yield "feature_maps new", times["feature_maps new"] / times["bare"]
        for view in ("feature_maps", "model_summary"):
            yield view, times[view] / times["bare"]
            yield f"{view} call", 1e6 * (times[view] - times["bare"]) / self._module_calls
        for name in ("cam_map", "three", "modelviz"):
            if name in times:
                yield name, times[name] / times["both passes"]
        for name in ("three", "modelviz"):
            if name in times and "hand" in times:
                yield f"hand {name}", times["hand"] / times[name]

    def _kernels(self) -> Figures:
        kernels = by_hand.kernels(self._subject.model)
        if kernels:
            read = Action(lambda: by_hand.read_twice(kernels))
            view = Action(lambda: views.kernel_maps(self._subject).capture())
            times = self._time({"read": read, "view": view})
            yield "kernel_maps", times["view"] / times["read"]
            yield "kernel_maps rest", (times["view"] - A_KERNEL * len(kernels)) / times["read"]

    def _graph(self) -> Figures:
        export = Action(lambda: by_hand.export(self._subject))
        view = Action(lambda: views.model_graph(self._subject).capture())
        times = self._time({"export": export, "view": view})
        yield "model_graph", times["view"] / times["export"]

    def _comparisons(self, project: Project) -> Figures:
        actions: dict[str, Action] = {}
        for make in _VIEWS:
            project.record(make(self._subject))
            actions[make.__name__] = Action(project.compare, functools.partial(captured, make, self._subject))
        yield "baseline", project.size(views.feature_maps(self._subject)) / 1e3
        checks = [functools.partial(project.check, make, self._subject) for make in _VIEWS]
        pictures = sum(python_calls(check, is_counted=makes_pictures) for check in checks)
        prepare = functools.partial(captured, views.feature_maps, self._subject)
        times = self._time({**actions, "picture": Action(picture, prepare)})
        for name in actions:
            yield f"compare {name}", 1e3 * times[name] * LAYERS / self._module_calls
        yield "pictures", pictures
        yield "picture", 1e3 * times["picture"]

    def _other_tools(self, project: Project, folder: Path) -> Figures:
        """A whole check, capture and comparison, beside the same by other tools, as far as they are installed."""
        subject = self._subject
        check = functools.partial(project.check, views.feature_maps, subject)
        if by_hand.is_installed("pytest_regressions"):
            arrays = by_hand.FullArrays(subject, folder)
            times = self._time({"check": Action(check), "arrays": Action(arrays.check)})
            yield "arrays time", times["arrays"] / times["check"]
            yield "arrays size", arrays.size / project.size(views.feature_maps(subject))
        if by_hand.is_installed("pytest_torch"):
            reference = copy.deepcopy(subject.model)
            localize = Action(lambda: by_hand.localize(subject, reference))
            times = self._time({"check": Action(check), "localize": localize})
            yield "localize", times["localize"] / times["check"]

    def _memory(self, name: str, size: int | None) -> Figures:
        def ratio(kind: str, action: str, beside: str) -> float:
            return peaks(action)[kind] / peaks(beside)[kind]

        peaks = functools.cache(functools.partial(memory.measure, name, size))
        yield "allocated", ratio("allocated", "feature_maps", "forward")
        yield "allocated summary", ratio("allocated", "model_summary", "forward")
        yield "resident", ratio("resident", "feature_maps", "forward")
        if self._subject.finds_layout:
            yield "allocated modelviz", ratio("allocated", "modelviz", "forward and backward")
            yield "resident modelviz", ratio("resident", "modelviz", "forward and backward")
