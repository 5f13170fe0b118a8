"""What a view saw, as plain data: facts for people, arrays for comparison, pictures' raw material and provenance.

Nothing here knows torch or pytest; every room after the probe works with captures alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.generic]


@dataclass(frozen=True)
class Capture:
    """One look at one model.

    `facts` holds only what JSON can hold. `arrays` is what is compared, together with the facts of the views that
    compare facts. `environment` says under what circumstances the capture was made; it never makes a check fail.
    `result` is what the fixture hands to the test, `notes` are what a user should know about the limits of this look;
    neither is stored.
    """

    view: str
    facts: Mapping[str, Any]
    arrays: Mapping[str, Array] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    result: object = None
    notes: tuple[str, ...] = ()
