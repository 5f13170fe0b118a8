"""Linear sketches: a few hundred numbers that stand for a tensor in comparisons.

For a fixed sign matrix S, ||S a - S b|| estimates ||a - b|| without b at hand, because S is linear. The signs come from
an integer hash of the element's index, never from a library's random generator, so they are the same on every machine
and every torch version. A tensor no larger than the sketch is kept as it is.

Method: the "count sketch" / AMS sketch of Alon, Matias and Szegedy (1996) and Charikar, Chen and Farach-Colton (2002).
Element i goes to bucket (i mod width) with a random sign; the width is prime, so that the strides of images spread over
all buckets. Of a large tensor, short runs of neighbours are first added up with signs of their own, which keeps the
cost near one read of the memory.
"""

from __future__ import annotations

import contextlib
import functools

import numpy as np
import numpy.typing as npt
import torch

from pytest_modelviz.trace import Sketch, TensorRecord

ACTIVATION_WIDTH = 251
WEIGHT_WIDTH = 61
_DIRECT = 2**17  # up to this many elements each element has a bucket of its own choosing
_CHUNK = 2**18  # elements folded at a time: they stay in the processor's cache
_BUCKET_CHUNK = 2**16
_PERIOD = 2**14  # of the signs within a fold; what comes after has signs of its own
_SHORT_RUN, _LONG_RUN = 8, 32
# Weights are only evidence. These 128 signs are neither balanced nor far from it over any small stride, so that no
# constant or regular change cancels out.
_COARSE_RUN, _COARSE_SALT = 128, 1117
_PLAIN_TENSORS = (torch.Tensor, torch.nn.Parameter, torch.nn.Buffer)

_ARITHMETIC = {torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.bool}
_NARROW = {torch.float32, torch.float16, torch.bfloat16, torch.complex32, torch.complex64}


def hashed(index: npt.NDArray[np.uint64], salt: int) -> npt.NDArray[np.uint64]:
    """Mix 64-bit integers (the finaliser of SplitMix64, Steele, Lea and Flood 2014)."""
    with np.errstate(over="ignore"):
        z = index + np.uint64(salt) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed: npt.NDArray[np.uint64] = z ^ (z >> np.uint64(31))
    return mixed


@functools.lru_cache(maxsize=16)
def _signs(count: int, salt: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    bits = hashed(np.arange(1, count + 1, dtype=np.uint64), salt) >> np.uint64(63)
    values = bits.astype(np.float64) * 2 - 1
    with torch.inference_mode(False):
        return torch.from_numpy(values).to(device=device, dtype=dtype)


def _fold(flat: torch.Tensor, run: int, salt: int) -> torch.Tensor:
    """Add up runs of `run` neighbours with signs of their own: (n,) -> (ceil(n / run),)."""
    signs = _signs(_PERIOD, salt, flat.dtype, flat.device)
    folded = flat.new_empty(-(-flat.numel() // run))
    scratch = flat.new_empty(min(_CHUNK, flat.numel() + run))
    for start in range(0, flat.numel(), _CHUNK):
        chunk = flat[start : start + _CHUNK]
        count = chunk.numel()
        whole, padded = count - count % _PERIOD, count + -count % run
        if whole:
            torch.mul(chunk[:whole].view(-1, _PERIOD), signs, out=scratch[:whole].view(-1, _PERIOD))
        if whole < count:
            torch.mul(chunk[whole:], signs[: count - whole], out=scratch[whole:count])
            scratch[count:padded] = 0
        torch.sum(scratch[:padded].view(-1, run), 1, out=folded[start // run : (start + padded) // run])
    return folded


def _fold_coarsely(flat: torch.Tensor) -> torch.Tensor:
    """Add up runs of 128 neighbours, all with the same signs: one product, at the speed of memory."""
    signs = _signs(_COARSE_RUN, _COARSE_SALT, flat.dtype, flat.device)
    rows = flat.numel() // _COARSE_RUN
    folded = flat[: rows * _COARSE_RUN].view(rows, _COARSE_RUN).mv(signs)
    rest = flat[rows * _COARSE_RUN :]
    return torch.cat([folded, (rest * signs[: rest.numel()]).sum()[None]]) if rest.numel() else folded


def _buckets(flat: torch.Tensor, width: int) -> torch.Tensor:
    """Add element i, signed, to bucket (i mod width): (n,) -> (width,)."""
    signs = _signs(_DIRECT, 0, flat.dtype, flat.device)
    total = flat.new_zeros(width)
    step = _BUCKET_CHUNK - _BUCKET_CHUNK % width
    for start in range(0, flat.numel(), step):
        chunk = flat[start : start + step]
        signed = chunk * signs[start : start + chunk.numel()]
        whole = signed.numel() - signed.numel() % width
        total += signed[:whole].view(-1, width).sum(0)
        total[: signed.numel() - whole] += signed[whole:]
    return total


def sketch_values(flat: torch.Tensor, width: int) -> torch.Tensor:
    """Sketch a one-dimensional float32 or float64 tensor: shape (n,) -> (min(n, width),), same dtype and device."""
    if flat.numel() <= width:
        return flat
    if width == WEIGHT_WIDTH and flat.numel() > _COARSE_RUN * width:
        flat = _fold_coarsely(flat)
    salt = 1
    while flat.numel() > _DIRECT:
        flat = _fold(flat, _SHORT_RUN if flat.numel() <= _DIRECT * _SHORT_RUN else _LONG_RUN, salt)
        salt += 1
    return _buckets(flat, width)


def record_tensor(tensor: torch.Tensor, width: int = ACTIVATION_WIDTH, statistics: bool = True) -> TensorRecord:
    """Sketch any tensor where it lies and bring the few numbers to the CPU.

    Complex tensors count as pairs of reals, quantised and sparse ones as what they stand for. Integers and booleans
    are summed exactly (float64). NaN and infinities are taken out, counted and fingerprinted by place.
    A tensor without data (meta) has an empty sketch.
    """
    if tensor.is_meta or torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        return record_shape(tensor)  # inside vmap or grad there are no values to be had
    try:
        return _record(tensor, width, statistics)
    except (RuntimeError, NotImplementedError, TypeError):
        if is_plain_type(tensor) and tensor.dtype in _ARITHMETIC:
            raise
        return record_shape(tensor)  # a subclass or dtype that cannot be read as numbers


def is_plain_type(tensor: torch.Tensor) -> bool:
    """Whether a tensor is torch's own kind, not a subclass with a mind of its own."""
    return type(tensor) in _PLAIN_TENSORS and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)


def _record(tensor: torch.Tensor, width: int, statistics: bool) -> TensorRecord:
    # Our own arithmetic is nobody's business: modes that watch the model must not see it.
    alone = torch._C._DisableTorchDispatch() if is_plain_type(tensor) else contextlib.nullcontext()
    with torch.no_grad(), alone:
        flat = _flat(tensor)
        dtype = torch.float32 if tensor.dtype in _NARROW or flat.dtype == torch.float32 else torch.float64
        values = flat.to(dtype)
        kept: Sketch = sketch_values(values, width).cpu().numpy().copy()
        places: dict[str, tuple[int, int]] = {}
        if not np.isfinite(kept).all():
            places, values = _take_out(values)
            kept = sketch_values(values, width).cpu().numpy().copy()
        numbers = _statistics(values) if statistics else ()
    return TensorRecord(str(tensor.dtype).removeprefix("torch."), _shape(tensor), kept, places, numbers)


def record_weight(tensor: torch.Tensor) -> TensorRecord:
    """Sketch a parameter or buffer, narrowly: weights are evidence, they need not be measured well."""
    return record_tensor(tensor, WEIGHT_WIDTH, statistics=False)


def record_number(value: float | complex) -> TensorRecord:
    """A Python number that came out of floating arithmetic: compared as a tensor is, within a tolerance."""
    dtype = torch.complex128 if isinstance(value, complex) else torch.float64
    return record_tensor(torch.tensor(value, dtype=dtype, device="cpu"))


def record_shape(tensor: torch.Tensor) -> TensorRecord:
    """Dtype and shape alone."""
    name = str(tensor.dtype).removeprefix("torch.")
    return TensorRecord(name, _shape(tensor), np.zeros(0, np.float32))


def _shape(tensor: torch.Tensor) -> tuple[int, ...]:
    return (int(tensor.size(0)),) if tensor.is_nested else tuple(int(size) for size in tensor.shape)


def _flat(tensor: torch.Tensor) -> torch.Tensor:
    tensor = tensor.detach()
    if tensor.is_nested:
        tensor = torch.cat([part.reshape(-1) for part in tensor.unbind()])
    if tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    if tensor.is_quantized:
        tensor = tensor.dequantize()
    if tensor.is_complex():
        if tensor.dtype == torch.complex32:
            tensor = tensor.to(torch.complex64)
        tensor = torch.view_as_real(tensor.resolve_conj())
    if tensor.is_floating_point() and tensor.element_size() < 2:
        tensor = tensor.to(torch.float32)  # the float8 family has no arithmetic of its own
    return tensor.resolve_neg().reshape(-1)


def _take_out(values: torch.Tensor) -> tuple[dict[str, tuple[int, int]], torch.Tensor]:
    """Count and fingerprint what is not finite; return the rest, wide enough to be added up without overflow."""
    places = {}
    for kind, mask in (
        ("nan", torch.isnan(values)),
        ("+inf", torch.isposinf(values)),
        ("-inf", torch.isneginf(values)),
    ):
        where = mask.nonzero().reshape(-1).cpu().numpy().astype(np.uint64)
        if where.size:
            fingerprint = int((hashed(where, 99) >> np.uint64(12)).sum(dtype=np.uint64) >> np.uint64(11))
            places[kind] = (int(where.size), fingerprint)
    return places, torch.nan_to_num(values.to(torch.float64), nan=0.0, posinf=0.0, neginf=0.0)


def _statistics(values: torch.Tensor) -> tuple[float, ...]:
    """Mean, root mean square, minimum and maximum, rounded to four digits for people."""
    if not values.numel():
        return ()
    count = values.numel()
    low, high = torch.aminmax(values)
    numbers = (float(values.sum()) / count, (float(values.dot(values)) / count) ** 0.5, float(low), float(high))
    return tuple(float(f"{number:.4g}") for number in numbers)
