"""Records of tensors: dtype, shape, a sketch of the values and fingerprints of what the sketch cannot hold."""

import contextlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch

from pytest_modelviz.probe.count_sketch import reads_in_chunks, row_adder, single_sketch, sketch_rows
from pytest_modelviz.probe.fingerprints import (
    WIDE_INTEGERS,
    component_fingerprints,
    digit_fingerprints,
    without_exceptional,
    without_giants,
)
from pytest_modelviz.probe.plain_numbers import (
    ARITHMETIC,
    PLAIN_TENSORS,
    arithmetic_dtype,
    dtype_name,
    flat_numbers,
    is_plain_type,
    readable,
)
from pytest_modelviz.probe.torch_internals import is_inside_transform, without_dispatch_modes
from pytest_modelviz.records.norms import norm, row_norms
from pytest_modelviz.records.tensors import INTEGERS, LARGEST_GROUPED, WIDEST_SKETCH, Sketch, TensorRecord

ACTIVATION_WIDTH = WIDEST_SKETCH
_LARGE_RMS = 30.0  # root mean square above which a tensor is searched for a few giants that dominate it
_ORDINARY_SQUARE = 0.99 * _LARGE_RMS**2  # the mean of squares up to which rounding cannot make it as large
_FLOATS = {torch.float64, torch.float32, torch.float16, torch.bfloat16}
_HALVES = {torch.float16, torch.bfloat16}
_AT_HAND = {"cpu"}  # devices whose memory is the host's


def record_tensor(tensor: torch.Tensor, width: int = ACTIVATION_WIDTH, *, mean: bool = False) -> TensorRecord:
    """Sketch any tensor on its device and copy the sketch to the CPU.

    Complex tensors count as pairs of reals, quantised and sparse ones as the dense tensors they represent. The
    components of nested ones are laid end to end, and their shapes are fingerprinted. Integers and booleans are summed
    in float64; where that may lose digits, integers are fingerprinted by position and value. NaN and infinities are
    left out of the sketch, counted, and fingerprinted by position. A tensor without data (meta) has an empty sketch.

    Args:
        tensor: any tensor.
        width: the number of buckets, a prime.
        mean: add the mean, for people; that takes half as long again.

    Example:
        >>> record_tensor(torch.ones(2, 3)).shape
        (2, 3)

    """
    if tensor.is_meta or is_inside_transform(tensor):
        return record_shape(tensor)  # inside vmap or grad no values can be read
    plain = type(tensor) in PLAIN_TENSORS
    try:
        # Modes that observe the model must not see this arithmetic.
        with without_dispatch_modes() if plain else contextlib.nullcontext():
            if plain and tensor.dtype in _FLOATS and tensor.layout == torch.strided and not tensor.is_nested:
                return _record_floats(tensor.detach() if tensor.requires_grad else tensor, width, mean)
            return _record(tensor.detach(), width, mean, plain)
    except (RuntimeError, NotImplementedError, TypeError):
        if is_plain_type(tensor) and tensor.dtype in ARITHMETIC:
            raise
        return record_shape(tensor)  # a subclass or dtype that cannot be read as numbers


def _record_floats(tensor: torch.Tensor, width: int, mean: bool) -> TensorRecord:
    """What `_record` makes of a tensor of floats, of most in a third of its time."""
    values = _widened_whole(tensor)
    sums = single_sketch(values, width, torch.float32 if values.dtype in _HALVES else None)
    if sums is None:
        return _record(tensor, width, mean, plain=True)
    count = values.numel()
    host = sums.cpu() if count > width else sums.clone().cpu()  # it is the tensor, which may be written into later
    record = ordinary_record(host, dtype_name(tensor.dtype), tuple(tensor.shape), count)
    if record is None:
        return _record(tensor, width, mean, plain=True, sketched=None if values.dtype in _HALVES else (values, sums))
    return replace(record, mean=float(flat_numbers(tensor).sum()) / count) if mean else record


def _widened_whole(tensor: torch.Tensor) -> torch.Tensor:
    """The numbers of a tensor of floats in one dimension; in half precision where they are widened chunk by chunk."""
    if tensor.dtype in _HALVES and reads_in_chunks(tensor.numel()):
        return tensor.resolve_neg().reshape(-1)
    return flat_numbers(tensor)


def ordinary_record(sums: torch.Tensor, dtype: str, shape: tuple[int, ...], count: int) -> TensorRecord | None:
    """The record of a tensor of floats that its sketch alone can stand for; None for any other.

    Args:
        sums: the sketch, (n,), on the CPU; the record shares its memory.
        dtype: the tensor's, by name.
        shape: its shape.
        count: how many numbers it holds.

    """
    # NaN where one is in it, infinite where the sum of squares is no number of its precision
    is_ordinary = float(sums.dot(sums)) < _ORDINARY_SQUARE * count
    return TensorRecord(dtype, shape, sums.numpy()) if is_ordinary else None


def sums_on_device(tensor: torch.Tensor, width: int) -> torch.Tensor | None:
    """The sketch of a tensor of floats off the CPU, (n,), on its device; None for what is to be recorded at once."""
    if tensor.device.type in _AT_HAND or tensor.is_meta or not is_plain_type(tensor) or tensor.layout != torch.strided:
        return None
    if tensor.dtype not in _FLOATS or tensor.is_nested or not tensor.numel():
        return None
    with without_dispatch_modes():
        values = _widened_whole(tensor.detach())
        sums = single_sketch(values, width, torch.float32 if values.dtype in _HALVES else None)
        return sums.clone() if sums is not None and tensor.numel() <= width else sums


def on_host(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """The same one-dimensional tensors on the CPU, copied together: each copy waits for the device."""
    groups: dict[tuple[torch.dtype, torch.device], list[int]] = {}
    for at, tensor in enumerate(tensors):
        groups.setdefault((tensor.dtype, tensor.device), []).append(at)
    copies = list(tensors)
    with torch.no_grad(), without_dispatch_modes():
        for (_, device), places in groups.items():
            if device.type not in _AT_HAND:
                joined = copied_to_host(torch.cat([tensors[at] for at in places]))
                for at, copied in zip(places, joined.split([tensors[at].numel() for at in places]), strict=True):
                    copies[at] = copied
    return copies


def copied_to_host(tensor: torch.Tensor) -> torch.Tensor:
    """A copy on the CPU, for which the host waits."""
    return tensor.cpu()


def _record(
    tensor: torch.Tensor,
    width: int,
    mean: bool,
    plain: bool,
    sketched: tuple[torch.Tensor, torch.Tensor] | None = None,
) -> TensorRecord:
    """Record a tensor of any kind; `sketched` are its numbers and their single sketch, where that is known."""
    values = flat_numbers(tensor if plain else readable(tensor)) if sketched is None else sketched[0]
    count = values.numel()
    if count > width and not is_plain_type(values):  # a subclass may wrap the results of its operators, too
        values = torch.empty(count, dtype=values.dtype, device=values.device).copy_(values)
    table = sketch_rows(values, width) if sketched is None else sketched[1][None]
    sketches: Sketch = table.cpu().numpy()
    if count <= width:
        sketches = sketches.copy()  # it is the tensor itself, which may be written into later
    fingerprints: dict[str, tuple[int, int]] = {}
    sizes = [norm(sketch) for sketch in sketches]  # masks of the lowest number overflow float32
    if not all(map(math.isfinite, sizes)):
        fingerprints, values = without_exceptional(values)
        sketches = sketch_rows(values, width).cpu().numpy()
        sizes = [norm(sketch) for sketch in sketches]
    giants: dict[str, tuple[int, int]] = {}
    is_large = [size > _LARGE_RMS * math.sqrt(count) for size in sizes]
    if any(is_large):
        giants, rest = without_giants(values)
        bulk: Sketch = sketch_rows(rest, width).cpu().numpy() if giants else sketches
    if tensor.dtype in WIDE_INTEGERS:
        fingerprints |= digit_fingerprints(tensor)
    if tensor.is_nested:
        fingerprints |= component_fingerprints(tensor)
    average = float(values.sum()) / count if mean and count else None
    shape = _shape(tensor)
    record = TensorRecord(dtype_name(tensor.dtype), shape, sketches[0], fingerprints, average, step=_step(tensor))
    if record.numbers != count:
        record = replace(record, value_count=count)
    if len(sketches) == 1 and not giants:
        return record
    records = [
        replace(
            record,
            sketch=sketch,
            value_fingerprints={**giants, **fingerprints} if giants and large else fingerprints,
            sketch_without_giants=bulk[at] if giants and large else None,
        )
        for at, (sketch, large) in enumerate(zip(sketches, is_large, strict=True))
    ]
    return records[0] if len(records) == 1 else replace(records[0], former=replace(records[1], mean=None))


def _step(tensor: torch.Tensor) -> float | None:
    """The scale of a quantised tensor, None where each channel has its own, and for any other tensor."""
    is_single = tensor.is_quantized and tensor.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric)
    return float(tensor.q_scale()) if is_single else None


def record_together(tensors: Iterable[torch.Tensor], width: int) -> dict[int, TensorRecord]:
    """Sketch many small tensors, those of equal size and dtype together.

    Args:
        tensors: any tensors.
        width: the number of buckets, a prime.

    Returns:
        Records by the `id` of the tensor. Tensors that are large, not plain or not finite, or may hold giants, have
        none: they are for `record_tensor`.

    """
    groups: dict[tuple[int, torch.dtype, torch.device], list[torch.Tensor]] = {}
    for tensor in tensors:
        count = tensor.numel() if is_plain_type(tensor) and tensor.layout == torch.strided else 0
        if 0 < count <= LARGEST_GROUPED and tensor.dtype in ARITHMETIC and not (tensor.is_meta or tensor.is_nested):
            groups.setdefault((count, tensor.dtype, tensor.device), []).append(tensor)
    records = {}
    with torch.no_grad(), without_dispatch_modes():
        stacks = [torch.stack([tensor.reshape(-1) for tensor in group]) for group in groups.values()]
        # integers are fingerprinted on the host
        stacks = _copied(stacks, [dtype in WIDE_INTEGERS for _, dtype, _ in groups])
        sketched = []
        for (count, dtype, _), stack in zip(groups, stacks, strict=True):
            rows = stack.to(arithmetic_dtype(dtype))
            is_wide = count > width
            sketched.append(row_adder(len(rows), count, width, rows.dtype, rows.device)(rows) if is_wide else rows)
        for ((count, dtype, _), group), stack, rows in zip(groups.items(), stacks, _copied(sketched), strict=True):
            sketches = rows.numpy()
            # no giant hides anything among integers, which are compared exactly
            largest = _LARGE_RMS * math.sqrt(count) if dtype in _FLOATS or dtype.is_complex else math.inf
            ordinary = np.isfinite(sketches).all(axis=1) & (row_norms(sketches) <= largest)
            for at, (tensor, sketch, is_ordinary) in enumerate(zip(group, sketches, ordinary, strict=True)):
                if not is_ordinary:
                    continue
                digits: dict[str, tuple[int, int]] = {}
                if tensor.dtype in WIDE_INTEGERS:
                    own = digit_fingerprints(stack[at])
                    digits = {INTEGERS: own[INTEGERS]} if INTEGERS in own else {}
                records[id(tensor)] = TensorRecord(dtype_name(tensor.dtype), tuple(tensor.shape), sketch, digits)
    return records


def _copied(tables: Sequence[torch.Tensor], wanted: Sequence[bool] | None = None) -> list[torch.Tensor]:
    """Tables with those that are wanted, or all of them, on the CPU."""
    places = [at for at in range(len(tables)) if wanted is None or wanted[at]]
    copies = list(tables)
    for at, flat in zip(places, on_host([tables[at].reshape(-1) for at in places]), strict=True):
        copies[at] = flat.view(tables[at].shape)
    return copies


def record_number(value: float | complex) -> TensorRecord:
    """Record a Python number from floating arithmetic as a tensor, so that it is compared within a tolerance."""
    dtype = torch.complex128 if isinstance(value, complex) else torch.float64
    return record_tensor(torch.tensor(value, dtype=dtype, device="cpu"))


def record_shape(tensor: torch.Tensor) -> TensorRecord:
    """Record dtype and shape alone, with an empty sketch."""
    return TensorRecord(dtype_name(tensor.dtype), _shape(tensor), np.zeros(0, np.float32))


def _shape(tensor: torch.Tensor) -> tuple[int, ...]:
    return (int(tensor.size(0)),) if tensor.is_nested else tuple(tensor.shape)
