"""A results folder made by hand, without a model: what report.html is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pytest_modelviz.pictures.files import quick_png_bytes
from pytest_modelviz.records.check_result import CheckResult, LayerCounts, Status
from pytest_modelviz.records.effect import OutputEffect, ScoredClass, TopClassChange
from pytest_modelviz.records.orphan import OrphanRecord
from pytest_modelviz.records.run_result import RunFacts, RunResult
from pytest_modelviz.records.verdict import Cause, Divergence, LayerError, Verdict
from pytest_modelviz.reports.details import details_document
from pytest_modelviz.reports.terminal import explain
from pytest_modelviz.storage.names import Location
from pytest_modelviz.storage.results import ResultsFolder

PARTS = {"composite": 0, "baseline": 60, "actual": 120, "difference": 180}  # and their grey
FACTS = RunFacts("2026-01-02_03-04-05.6_7", "2.14", "3.12", "linux-x86_64", "cpu", 1)
CHANGE = TopClassChange(0, ScoredClass(5), ScoredClass(7))
EFFECT = OutputEffect(0.3, 1e-4, samples=2, top1_changed=1, changes=(CHANGE,))


def drift(
    test: str, name: str = "feature_maps", cause: str | None = "weights", layer: str = "net.conv2", **members: Any
):
    """A check that drifted."""
    nodeid = test if "::" in test else f"test_net.py::{test}"
    result = CheckResult(
        nodeid=nodeid,
        view=name,
        name=name,
        status=Status.DRIFT,
        layers=LayerCounts(4, 2),
        error=0.05,
        tolerance=1e-4,
        first_divergence=Divergence(layer, "Conv2d", 0, 0.05, 1e-4),
        cause=None if cause is None else Cause(cause),
        output=EFFECT,
        location=("test_net.py", 3),
        baseline="baselines/x",
        candidate=".modelviz/candidates/x",
        accept_command=f"modelviz accept --run {FACTS.id} {nodeid}",
    )
    result = replace(result, **members)
    return replace(result, message=members.get("message", explain(result, commands=("", nodeid))))


def picture_files(label: str = "conv2", number: int = 0) -> dict[str, bytes]:
    """The files of one picture with all of its parts."""
    names = {role: f"{number:03}-{label}.{role}.png".replace(".composite", "") for role in PARTS}
    return {names[role]: quick_png_bytes(np.full((40, 60, 3), grey, np.uint8)) for role, grey in PARTS.items()}


def write_results(
    root: Path, *checks: CheckResult, facts: RunFacts = FACTS, orphans: Sequence[OrphanRecord] = ()
) -> ResultsFolder:
    """The folder with these results."""
    folder = ResultsFolder(root)
    folder.prepare()
    folder.write(RunResult(facts, checks, orphans=tuple(orphans)))
    return folder


def keep_details(folder: ResultsFolder, check: CheckResult, /, **members: Any) -> None:
    """The details of a check with the errors of four layers, and these members."""
    layers = tuple(
        LayerError(name, 0, error, 1e-4)
        for name, error in {"net.conv1": 0.0, "net.conv2": 0.05, "net.relu": 0.03, "head.fc": 0.0}.items()
    )
    verdict = Verdict(False, 4, 2, 0.05, 1e-4, layers=layers)
    document = {**details_document(check, verdict), **members}
    folder.details.keep(Location.of(check.nodeid, check.name).path, document)
