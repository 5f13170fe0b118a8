"""A view's capture as plain data: facts for people, arrays for comparison and pictures, and the environment.

Every room after the probe works with captures alone; none of them needs torch or pytest for that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Array: TypeAlias = "npt.NDArray[np.generic]"  # quoted: numpy is not imported where captures are only passed on


@dataclass(frozen=True)
class Capture:
    """What one view captured of one model.

    Attributes:
        view: the name of the view.
        facts: what people read, and some views compare; only what JSON can hold.
        arrays: what is compared.
        environment: the circumstances of the capture; they never make a check fail.
        result: what the fixture returns to the test; not stored.
        notes: what a user should know about the limits of this capture; not stored.
        layers: the names of the model's layers, where the view knows them; not stored.
        repeatable: whether a second capture, from other random states, would show the same; not stored.

    """

    view: str
    facts: Mapping[str, Any]
    arrays: Mapping[str, Array] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    result: object = None
    notes: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    repeatable: bool = True
