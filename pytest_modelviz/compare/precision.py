"""How many digits a result has: by its dtype, and by what products of float32 tensors were computed in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_modelviz.records.trace import ForwardTrace

# What products of float32 tensors may be computed in, the finest first, and the dtype with as many digits. TF32 has
# float16's digits and no other range: float32 in TF32 is allowed what float16 is, on whatever device.
_PRODUCTS = {"ieee": "float32", "tf32": "float16", "bf16": "bfloat16"}
_COARSENESS = ("float64", "complex128", "float32", "complex64", "float16", "complex32", "bfloat16")
_LOW = {"float16", "bfloat16", "complex32"}
MOVE = 2.0**-21  # how far numbers are moved to measure noise, relative: four units in the last place of float32
_REAL = {"complex128": "float64", "complex64": "float32", "complex32": "float16"}


def is_exact(dtype: str) -> bool:
    """Whether tensors of a dtype are compared exactly: integers and booleans."""
    return not dtype.startswith(("float", "bfloat", "complex", "q"))


def is_float(dtype: str) -> bool:
    """Whether tensors of a dtype hold floating-point numbers of more than 8 bits."""
    return not is_exact(dtype) and not is_eight_bit(dtype)


def is_quantised(dtype: str) -> bool:
    """Whether tensors of a dtype are integers with a scale, such as quint8."""
    return dtype.startswith("q")


def is_eight_bit(dtype: str) -> bool:
    """Whether results of a dtype have so few digits as float8, or as integers with a scale."""
    return _coarseness(dtype) == len(_COARSENESS)


def coarser(a: str, b: str) -> str:
    """The one of two dtypes with fewer digits; an exact dtype counts as the finest."""
    return max(a, b, key=_coarseness)


def is_low(trace: ForwardTrace) -> bool:
    """Whether anything in a pass is of lower precision than single."""
    return bool(low_dtypes(trace))


def low_dtypes(trace: ForwardTrace) -> set[str]:
    """The dtypes in a pass that are of lower precision than single."""
    return _LOW & {record.dtype for record in (*trace.tensors.values(), *trace.weights.values())}


def real_dtype(dtype: str) -> str:
    """The dtype of a complex number's parts; any other dtype itself."""
    return _REAL.get(dtype, dtype)


def effective_dtype(dtype: str, precision: str) -> str:
    """The dtype with as many digits as results have that were computed in this one, at this precision of products."""
    real = real_dtype(dtype)
    return _PRODUCTS.get(precision, real) if real == "float32" else real


def precision_of(environment: Mapping[str, str]) -> str:
    """What products of float32 were computed in ("ieee", "tf32", "bf16"); "ieee" where that is not known.

    Older files say of TF32 only whether cuDNN was allowed to use it.
    """
    stated = environment.get("float32_precision")
    if stated is None:
        on_gpu, matmul = "cuda" in environment.get("device", "cpu"), environment.get("matmul_precision", "highest")
        stated = "tf32" if on_gpu and (environment.get("tf32") == "True" or matmul in ("high", "medium")) else "ieee"
    return stated if stated in _PRODUCTS else "ieee"


def changed_autocast(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[str, str] | None:
    """The states of autocast in two environments, None where they do not differ; older files say no dtype."""
    flags = before.get("autocast", "False"), after.get("autocast", "False")
    dtypes = before.get("autocast_dtype"), after.get("autocast_dtype")
    if flags[0] == flags[1] and (dtypes[0] is None or dtypes[1] is None or dtypes[0] == dtypes[1]):
        return None
    states = (dtype or ("on" if flag == "True" else "off") for flag, dtype in zip(flags, dtypes, strict=True))
    return next(states), next(states)


def coarsest_precision(*environments: Mapping[str, str]) -> str:
    """The coarsest of several: two captures agree to no more digits than the one that has fewer."""
    return max((precision_of(environment) for environment in environments), key=list(_PRODUCTS).index, default="ieee")


def finest_precision(*environments: Mapping[str, str]) -> str:
    """The finest of several."""
    return min((precision_of(environment) for environment in environments), key=list(_PRODUCTS).index, default="ieee")


def _coarseness(dtype: str) -> int:
    if is_exact(dtype):
        return -1
    return _COARSENESS.index(dtype) if dtype in _COARSENESS else len(_COARSENESS)
