"""What a view shows of a drift besides pictures, as plain data: curves, histograms, operator graphs.

Pictures stand in every report; these are for TensorBoard, whose readers can zoom, unfold and compare.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from pytest_modelviz.pictures.composite import Picture


@dataclass(frozen=True)
class Curve:
    """One number a step, in one chart: `series` maps "baseline" and "actual" to their values from step 0 on."""

    label: str
    series: Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Histogram:
    """How values are distributed at one step: for each series the edges of the bins (n + 1) and their counts (n)."""

    label: str
    series: Mapping[str, tuple[Sequence[float], Sequence[int]]]
    step: int = 0


@dataclass(frozen=True)
class Node:
    """One operator. Slashes in `name` fold nodes into groups; `inputs` are names of other nodes.

    `shape` is the output's, None where that is no single tensor; `attributes` are texts for people; `changed` says
    that it is not as in the baseline.
    """

    name: str
    operator: str
    inputs: tuple[str, ...] = ()
    shape: tuple[int, ...] | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    changed: bool = False


@dataclass(frozen=True)
class Graph:
    """Operators in the order of execution."""

    label: str
    nodes: tuple[Node, ...]


Exhibit: TypeAlias = Picture | Curve | Histogram | Graph


def pictures_of(exhibits: Sequence[Exhibit]) -> list[Picture]:
    """The exhibits that every report can show."""
    return [exhibit for exhibit in exhibits if isinstance(exhibit, Picture)]
