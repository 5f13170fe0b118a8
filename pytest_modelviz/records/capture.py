"""A view's capture as plain data: facts for people, arrays for comparison and pictures, and the environment.

Every room after the probe works with captures alone; none of them needs torch or pytest for that.
"""

import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeAlias

from pytest_modelviz.text.strict_json import JsonObject

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from typing_extensions import TypeVar

    Result_co = TypeVar("Result_co", covariant=True, default=object)
else:  # Python has default= from 3.13 on
    Result_co = typing.TypeVar("Result_co", covariant=True)

Array: TypeAlias = "npt.NDArray[np.generic]"  # quoted: numpy is not imported where captures are only passed on


@dataclass(frozen=True)
class Capture(Generic[Result_co]):
    """What a view captured of a model.

    `facts` holds only what JSON can hold. `arrays` is what is compared, together with the facts of the views that
    compare facts. `environment` says under what circumstances the capture was made; it never makes a check fail.
    `result` is what the fixture hands to the test, in a `Capture[FeatureMaps]` a `FeatureMaps`; `notes` are what a user
    should know about the limits of this capture, `layers` the names of the model's layers where the view knows them,
    `repeatable` whether another capture, from other random states, would be the same; none of these is stored.
    """

    view: str
    facts: JsonObject
    arrays: Mapping[str, Array] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    result: Result_co = None  # type: ignore[assignment]  # what is read from a file has none
    notes: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    repeatable: bool = True
