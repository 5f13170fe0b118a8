"""Models whose code is edited, or which cannot be exported, and the verdict on two graphs as a user reads it."""

import torch
import torch.nn.functional as F
from torch import nn

from pytest_modelviz.compare.tolerance import Tolerances
from pytest_modelviz.records.check_result import CheckResult, Status
from pytest_modelviz.reports.terminal import explain
from pytest_modelviz.views.model_graph.capture import ModelGraphView


class Block(nn.Module):
    """A residual block whose code, not its modules, depends on what it is told to do."""

    code = "relu"

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(self.conv(x))
        y = F.gelu(y) if self.code == "gelu" else F.relu(y, inplace=self.code == "in place")
        if self.code != "no dropout":
            y = F.dropout(y, 0.4 if self.code == "p" else 0.5, self.training)
        if self.code == "two more":
            y = torch.sigmoid(y) * 2
        return y + y if self.code == "no skip" else y + x


class Net(nn.Module):
    code = "nearest"

    def __init__(self, *codes: str) -> None:
        super().__init__()
        self.layer = nn.Sequential(*(edited(Block, code=code)() for code in codes or ("relu", "relu")))
        self.head = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.interpolate(self.layer(x), scale_factor=2, mode=self.code)
        return self.head(x.mean((2, 3)).view(x.shape[0], -1))


def edited(module, **attributes):
    """The same class with other code."""
    return type(module.__name__, (module,), attributes)


class Choosing(nn.Module):
    """What it computes depends on the data: no export can follow it."""

    activation = staticmethod(torch.relu)

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.inner(x)
        if y.sum() > -1e9:
            y = self.activation(y)
        return y.chunk(2, 1)[1] + 1


def small() -> torch.Tensor:
    return torch.rand(1, 4, 8, 8)


def capture(model, data=None):
    return ModelGraphView(model, small() if data is None else data).capture()


def compared(before, after):
    """(verdict, the text of the report)"""
    view = ModelGraphView(nn.Identity(), small())
    verdict = view.compare(before, after, Tolerances())
    status = Status.MATCH if verdict.matched else Status.DRIFT
    result = CheckResult(
        nodeid="t.py::test",
        view="model_graph",
        name="model_graph",
        status=status,
        baseline="baselines/x.json",
        candidate="c.json",
    )
    return verdict, explain(result.with_verdict(verdict), verdict.findings)


def lines(text, label="evidence"):
    """The sentences under a label of a report."""
    found, inside = [], False
    for line in text.splitlines():
        inside = line.startswith(f"  {label}") or (inside and line.startswith("            "))
        if inside:
            found.append(line[12:])
    return found


def names(graph):
    return [one.name for one in graph.operators]
