"""Linear sketches: a few hundred numbers that represent a tensor in comparisons.

For a fixed sign matrix S, ||S a - S b|| estimates ||a - b|| without b at hand, because S is linear. The signs come from
an integer hash of the element's index, never from a library's random generator, so they are the same on every machine
and every torch version. A tensor no larger than the sketch is stored unchanged.

Method: the "count sketch" / AMS sketch of Alon, Matias and Szegedy (1996) and Charikar, Chen and Farach-Colton (2002).
Element i goes to bucket (i mod width) with a random sign; the width is prime, so that the strides of images spread over
all buckets. Multiplying by the signs and adding up the rows of a (n / width, width) view are two passes over memory
that the model has just written: `benchmarks/sketch.py` compares other layouts and widths.

A large tensor is sketched piece by piece with the same signs. The sketches of the pieces are rotated, each by another
number of buckets, and given signs of their own before they are added up: otherwise a change that is alike in all pieces
would cancel. Earlier versions gave each piece a single sign; that sketch is recorded too, for baselines of theirs.
"""

from __future__ import annotations

import contextlib
import functools
import math
import threading
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from pytest_modelviz.probe.torch_internals import is_inside_transform, without_dispatch_modes
from pytest_modelviz.records.norms import norm
from pytest_modelviz.records.tensors import (
    COMPONENTS,
    INTEGERS,
    LARGE_INTEGERS,
    LARGEST_PIECE,
    WIDEST_SKETCH,
    Sketch,
    TensorRecord,
    splitmix64,
)

ACTIVATION_WIDTH = WIDEST_SKETCH
_PIECES_SALT = 74  # of the first 200 the one with which uniform changes of 2 to 40 pieces are estimated best
_MOST_ADDERS = 200
_MOST_MEMORY = 2 * LARGEST_PIECE  # numbers; larger memory, as for hundreds of weights together, is not reused
_WIDE_INTEGERS = {getattr(torch, name, torch.int64) for name in ("int64", "uint64", "int32", "uint32")}
_EXACT_BELOW = 2.0**53  # integers from here on, and sums of integers, have more digits than float64 holds
_LARGE_RMS = 30.0  # root mean square above which a tensor is searched for a few giants that dominate it
_GIANT_RATIO = 100.0  # how many times larger than all others a giant is
_FEWEST_SIGNS = 2**14
_FEWEST_COLUMNS = 200  # columns below which adding up rows is slow: then several rows are added up in parallel
_LARGEST_GROUPED = 2**14  # weights up to this size are sketched many at a time
_PLAIN_TENSORS = (torch.Tensor, torch.nn.Parameter, torch.nn.Buffer)

_ARITHMETIC = {torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.bool}
_NARROW = {torch.float32, torch.float16, torch.bfloat16}


@functools.lru_cache(maxsize=16)
def _sign_table(size: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    bits = splitmix64(np.arange(1, size + 1, dtype=np.uint64), 0) >> np.uint64(63)
    values = bits.astype(np.float64) * 2 - 1
    with torch.inference_mode(False):
        return torch.from_numpy(values).to(device=device, dtype=dtype)


@functools.lru_cache(maxsize=1024)
def _piece_signs(index: int, width: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """The signs of a piece's sketch, (width,)."""
    buckets = np.arange(index * width, (index + 1) * width, dtype=np.uint64)
    signs = (splitmix64(buckets, _PIECES_SALT) >> np.uint64(63)).astype(np.float64) * 2 - 1
    with torch.inference_mode(False):
        return torch.from_numpy(signs).to(device=device, dtype=dtype)


@functools.lru_cache(maxsize=1024)
def _former_sign(index: int) -> int:
    """The one sign that earlier versions gave a piece's sketch."""
    return 1 - 2 * int(splitmix64(np.array([index], np.uint64), 1)[0] >> np.uint64(63))


class _Adder:
    """Adds up rows of `count` numbers in `width` buckets, element i, with its sign, in bucket (i mod width).

    Its memory is reused: allocating memory costs more than the multiplication that fills it.
    """

    def __init__(self, rows: int, count: int, width: int, dtype: torch.dtype, device: torch.device) -> None:
        self._parallel_rows = -(-_FEWEST_COLUMNS // width) if count > _FEWEST_COLUMNS else 1
        span = width * self._parallel_rows
        padded = count + -count % span
        size = _FEWEST_SIGNS
        while size < count:
            size *= 8
        self._signs = _sign_table(size, dtype, device)[:count]
        memory = _memory(rows * padded, dtype, device).view(rows, padded)
        self._product, self._rest = memory[:, :count], memory[:, count:] if padded > count else None
        self._lines = memory.view(rows, -1, span)
        self._shape = (rows, self._parallel_rows, width)

    def __call__(self, values: torch.Tensor) -> torch.Tensor:
        """(rows, count) or, of one row, (count,) -> (rows, width)."""
        torch.mul(values.view(self._product.shape), self._signs, out=self._product)
        if self._rest is not None:
            self._rest.zero_()
        sums = self._lines.sum(1)
        return sums if self._parallel_rows == 1 else sums.view(self._shape).sum(1)


class _PerThread(threading.local):
    """Adders and their memory, separate for each thread."""

    def __init__(self) -> None:
        self.adders: dict[tuple[object, ...], _Adder] = {}
        self.memory: dict[tuple[torch.dtype, torch.device], torch.Tensor] = {}


_scratch = _PerThread()


def _memory(count: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    if count > _MOST_MEMORY:
        with torch.inference_mode(False):
            return torch.empty(count, dtype=dtype, device=device)
    memory = _scratch.memory.get((dtype, device))
    if memory is None or memory.numel() < count:
        _scratch.adders.clear()  # they hold the smaller piece
        with torch.inference_mode(False):
            memory = _scratch.memory[dtype, device] = torch.empty(count, dtype=dtype, device=device)
    return memory[:count]


def _adder(rows: int, count: int, width: int, dtype: torch.dtype, device: torch.device) -> _Adder:
    key = (rows, count, width, dtype, device)
    adder = _scratch.adders.get(key)
    if adder is None:
        adder = _Adder(*key)
        if rows * count <= LARGEST_PIECE:
            if len(_scratch.adders) > _MOST_ADDERS:
                _scratch.adders.clear()
            _scratch.adders[key] = adder
    return adder


def sketch_values(flat: torch.Tensor, width: int) -> torch.Tensor:
    """Sketch a one-dimensional float32 or float64 tensor.

    Args:
        flat: the tensor, shape (n,).
        width: the number of buckets, a prime.

    Returns:
        The sketch, shape (min(n, width),), same dtype and device; the tensor itself if it is no larger.

    """
    return _sketches(flat, width)[0]


def _sketches(flat: torch.Tensor, width: int) -> torch.Tensor:
    """The sketch as one row and, for a tensor of several pieces, that of earlier versions as another."""
    count = flat.numel()
    if count <= width:
        return flat[None]
    if count <= LARGEST_PIECE:
        return _adder(1, count, width, flat.dtype, flat.device)(flat)
    step = LARGEST_PIECE - LARGEST_PIECE % (width * -(-_FEWEST_COLUMNS // width))
    total, former = totals = flat.new_zeros(2, width)
    for index, piece in enumerate(flat.split(step)):
        sums = _adder(1, piece.numel(), width, flat.dtype, flat.device)(piece)[0]
        total += sums.roll(index) * _piece_signs(index, width, flat.dtype, flat.device)
        former += _former_sign(index) * sums
    return totals


def record_tensor(tensor: torch.Tensor, width: int = ACTIVATION_WIDTH, *, statistics: bool = True) -> TensorRecord:
    """Sketch any tensor on its device and copy the sketch to the CPU.

    Complex tensors count as pairs of reals, quantised and sparse ones as the dense tensors they represent. The
    components of nested ones are laid end to end, and their shapes are fingerprinted. Integers and booleans are summed
    in float64; where that may lose digits, integers are fingerprinted by position and value. NaN and infinities are
    left out of the sketch, counted, and fingerprinted by position. A tensor without data (meta) has an empty sketch.

    Args:
        tensor: any tensor.
        width: the number of buckets, a prime.
        statistics: add the mean and the root mean square; the latter is for a large tensor the sketch's estimate, with
            an error of a few per cent.

    Example:
        >>> record_tensor(torch.ones(2, 3)).shape
        (2, 3)

    """
    if tensor.is_meta or is_inside_transform(tensor):
        return record_shape(tensor)  # inside vmap or grad no values can be read
    try:
        return _record(tensor, width, statistics)
    except (RuntimeError, NotImplementedError, TypeError):
        if is_plain_type(tensor) and tensor.dtype in _ARITHMETIC:
            raise
        return record_shape(tensor)  # a subclass or dtype that cannot be read as numbers


def record_sketch(tensor: torch.Tensor) -> TensorRecord:
    """Record a tensor of a pass that nobody reads, but that is compared: without statistics, which take longer."""
    return record_tensor(tensor, statistics=False)


def is_plain_type(tensor: torch.Tensor) -> bool:
    """Whether a tensor is of torch's own classes: a subclass may override any operation."""
    return type(tensor) in _PLAIN_TENSORS and not is_inside_transform(tensor)


def _record(tensor: torch.Tensor, width: int, statistics: bool) -> TensorRecord:
    # Modes that observe the model must not see this arithmetic.
    plain = is_plain_type(tensor)
    with without_dispatch_modes() if plain else contextlib.nullcontext():
        values = _flat(tensor.detach() if plain else _readable(tensor.detach()))
        count = values.numel()
        sketches: Sketch = _sketches(values, width).cpu().numpy()
        if count <= width:
            sketches = sketches.copy()  # it is the tensor itself, which may be written into later
        fingerprints: dict[str, tuple[int, int]] = {}
        sizes = [norm(sketch) for sketch in sketches]  # masks of the lowest number overflow float32
        if not all(map(math.isfinite, sizes)):
            fingerprints, values = _take_out(values)
            sketches = _sketches(values, width).cpu().numpy()
            sizes = [norm(sketch) for sketch in sketches]
        giants: dict[str, tuple[int, int]] = {}
        is_large = [size > _LARGE_RMS * math.sqrt(count) for size in sizes]
        if any(is_large):
            giants, rest = _without_giants(values)
            without_giants: Sketch = _sketches(rest, width).cpu().numpy()
        fingerprints |= _digits(tensor.detach()) | _components(tensor.detach())
        moments = (float(values.sum()) / count, sizes[0] / math.sqrt(count)) if statistics and count else ()
    record = TensorRecord(
        dtype_name(tensor.dtype), _shape(tensor), sketches[0], fingerprints, moments, step=_step(tensor)
    )
    if record.numbers != count:
        record = replace(record, value_count=count)
    records = [replace(record, sketch=sketch) for sketch in sketches]
    for at, large in enumerate(is_large):
        if giants and large:
            every = {**giants, **fingerprints}
            records[at] = replace(records[at], value_fingerprints=every, sketch_without_giants=without_giants[at])
    return records[0] if len(records) == 1 else replace(records[0], former=replace(records[1], statistics=()))


def _step(tensor: torch.Tensor) -> float | None:
    """The scale of a quantised tensor, None where each channel has its own, and for any other tensor."""
    is_single = tensor.is_quantized and tensor.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric)
    return float(tensor.q_scale()) if is_single else None


def _without_giants(values: torch.Tensor) -> tuple[dict[str, tuple[int, int]], torch.Tensor]:
    """Fingerprints of a few values far larger than all others, as in a mask of -1e9, and the values without them.

    Relative to such values no other difference in the tensor would count.
    """
    size = values.abs()
    giant = size > size.max() / _GIANT_RATIO**0.5
    rest = torch.where(giant, torch.zeros_like(values), values)
    if not bool(rest.any()) or float(rest.abs().max()) * _GIANT_RATIO > float(size.max()):
        return {}, values
    fingerprints = {}
    for sign, mask in (("+", giant & (values > 0)), ("-", giant & (values < 0))):
        if fingerprint := _fingerprint(mask):
            decade = round(math.log10(float(size[mask].double().mean())))
            fingerprints[f"{sign}1e{decade}"] = fingerprint
    return fingerprints, rest


def _digits(tensor: torch.Tensor) -> dict[str, tuple[int, int]]:
    """Fingerprints of integers whose sums may have more digits than float64 holds, empty for anything else."""
    if tensor.dtype not in _WIDE_INTEGERS or torch.iinfo(tensor.dtype).max * tensor.numel() < _EXACT_BELOW:
        return {}
    integers = _dense(tensor).reshape(-1).cpu().numpy()
    sizes = np.abs(integers.astype(np.float64))
    if integers.size * sizes.max(initial=0.0) < _EXACT_BELOW:
        return {}
    positions, bits = np.arange(integers.size, dtype=np.uint64), integers.astype(np.int64).view(np.uint64)
    mixed = splitmix64(positions, 99) ^ splitmix64(bits, 7)
    large = mixed[sizes >= _EXACT_BELOW]  # all that earlier versions recorded
    return {INTEGERS: _hash(mixed), **({LARGE_INTEGERS: _hash(large)} if large.size else {})}


def _components(tensor: torch.Tensor) -> dict[str, tuple[int, int]]:
    """A fingerprint of the shapes of a nested tensor's components, empty for anything else."""
    if not tensor.is_nested:
        return {}
    sizes = [size for part in tensor.unbind() for size in (part.dim(), *part.shape)]
    positions, lengths = np.arange(len(sizes), dtype=np.uint64), np.array(sizes, dtype=np.uint64)
    return {COMPONENTS: _hash(splitmix64(positions, 99) ^ splitmix64(lengths, 7))}


def _fingerprint(mask: torch.Tensor) -> tuple[int, int] | None:
    """How many elements are marked, and a hash of their indices; None if there are none."""
    indices = mask.nonzero().reshape(-1).cpu().numpy().astype(np.uint64)
    return _hash(indices) if indices.size else None


def _hash(numbers: npt.NDArray[np.uint64]) -> tuple[int, int]:
    """How many numbers there are, and a hash of them in any order."""
    return int(numbers.size), int((splitmix64(numbers, 99) >> np.uint64(12)).sum(dtype=np.uint64) >> np.uint64(11))


def _arithmetic(dtype: torch.dtype) -> torch.dtype:
    narrow = dtype in _NARROW or (dtype.is_floating_point and dtype.itemsize < 2)  # the float8 family
    return torch.float32 if narrow else torch.float64


def record_together(tensors: Iterable[torch.Tensor], width: int) -> dict[int, TensorRecord]:
    """Sketch many small tensors, those of equal size and dtype together.

    Args:
        tensors: any tensors.
        width: the number of buckets, a prime.

    Returns:
        Records without statistics by the `id` of the tensor. Tensors that are large, not plain or not finite have none:
        they are for `record_tensor`.

    """
    groups: dict[tuple[int, torch.dtype, torch.device], list[torch.Tensor]] = {}
    for tensor in tensors:
        plain = is_plain_type(tensor) and tensor.layout == torch.strided and not (tensor.is_meta or tensor.is_nested)
        if plain and tensor.dtype in _ARITHMETIC and 0 < tensor.numel() <= _LARGEST_GROUPED:
            groups.setdefault((tensor.numel(), tensor.dtype, tensor.device), []).append(tensor)
    records = {}
    with torch.no_grad(), without_dispatch_modes():
        for (count, dtype, _), group in groups.items():
            rows = torch.stack([tensor.reshape(-1) for tensor in group]).to(_arithmetic(dtype))
            if count > width:
                rows = _adder(len(group), count, width, rows.dtype, rows.device)(rows)
            sketches = rows.cpu().numpy()
            finite = np.isfinite(sketches).all(axis=1)
            for tensor, sketch, is_finite in zip(group, sketches, finite, strict=True):
                if is_finite:
                    digits = {kind: value for kind, value in _digits(tensor).items() if kind == INTEGERS}
                    records[id(tensor)] = TensorRecord(dtype_name(dtype), _shape(tensor), sketch, digits)
    return records


@functools.lru_cache(maxsize=64)
def dtype_name(dtype: torch.dtype) -> str:
    """A dtype as baselines hold it: "float32"."""
    return str(dtype).removeprefix("torch.")


def record_number(value: float | complex) -> TensorRecord:
    """Record a Python number from floating arithmetic as a tensor, so that it is compared within a tolerance."""
    dtype = torch.complex128 if isinstance(value, complex) else torch.float64
    return record_tensor(torch.tensor(value, dtype=dtype, device="cpu"))


def record_shape(tensor: torch.Tensor) -> TensorRecord:
    """Record dtype and shape alone, with an empty sketch."""
    return TensorRecord(dtype_name(tensor.dtype), _shape(tensor), np.zeros(0, np.float32))


def _shape(tensor: torch.Tensor) -> tuple[int, ...]:
    return (int(tensor.size(0)),) if tensor.is_nested else tuple(tensor.shape)


def _flat(tensor: torch.Tensor) -> torch.Tensor:
    """All elements in one dimension, float32 or float64."""
    if tensor.dtype != torch.float32 or tensor.layout != torch.strided or tensor.is_nested:
        tensor = _plain_numbers(tensor)
    return tensor.resolve_neg().reshape(-1)


def _readable(tensor: torch.Tensor) -> torch.Tensor:
    """The dense tensor that a subclass represents, if it is quantised."""
    return tensor.dequantize() if is_quantised_subclass(tensor) else tensor


def is_quantised_subclass(tensor: torch.Tensor) -> bool:
    """Whether a tensor's class has a `dequantize` of its own, as the quantised ones of torchao do."""
    kinds = type(tensor).__mro__
    return any("dequantize" in vars(kind) for kind in kinds[: kinds.index(torch.Tensor)])


def _dense(tensor: torch.Tensor) -> torch.Tensor:
    if tensor.is_nested:
        parts = [part.reshape(-1) for part in tensor.unbind()]
        tensor = torch.cat(parts) if parts else torch.zeros(0, dtype=tensor.dtype)
    return tensor if tensor.layout == torch.strided else tensor.to_dense()


def _plain_numbers(tensor: torch.Tensor) -> torch.Tensor:
    tensor = _dense(tensor)
    if tensor.is_quantized:
        tensor = tensor.dequantize()
    if tensor.is_complex():
        if tensor.dtype == torch.complex32:
            tensor = tensor.to(torch.complex64)
        tensor = torch.view_as_real(tensor.resolve_conj())
    return tensor.to(_arithmetic(tensor.dtype))


def _take_out(values: torch.Tensor) -> tuple[dict[str, tuple[int, int]], torch.Tensor]:
    """Fingerprints of the values that are not finite, and the rest in float64, which adds up without overflow."""
    fingerprints = {}
    for kind, is_kind in (("nan", torch.isnan), ("+inf", torch.isposinf), ("-inf", torch.isneginf)):
        if fingerprint := _fingerprint(is_kind(values)):
            fingerprints[kind] = fingerprint
    return fingerprints, torch.nan_to_num(values.to(torch.float64), nan=0.0, posinf=0.0, neginf=0.0)
