"""Linear sketches: a few hundred numbers that represent a tensor in comparisons.

For a fixed sign matrix S, ||S a - S b|| estimates ||a - b|| without b at hand, because S is linear. The signs come from
an integer hash of the element's index, never from a library's random generator, so they are the same on every machine
and every torch version. A tensor no larger than the sketch is stored unchanged.

Method: the "count sketch" / AMS sketch of Alon, Matias and Szegedy (1996) and Charikar, Chen and Farach-Colton (2002).
Element i goes to bucket (i mod width) with a random sign; the width is prime, so that the strides of images spread over
all buckets. `benchmarks/sketch.py` compares other layouts and widths.

Up to `LARGEST_ALIKE` numbers, each has a sign of its own: the product with the signs is written and its rows are added
up. A larger tensor is read once, at the speed of a plain sum: of every 64 x 64 rows of some 250 numbers, each 64 are
added up, a sign for each row, and only these sums get a sign for each number. The signs of rows are the columns of a
Hadamard matrix times random ones. As these are orthogonal, what is alike in all rows (a constant, a ramp) is estimated
as well as what is random: with random signs for rows the estimate would spread by a further tenth.

Baselines of version 2 were sketched with a sign of its own for each number, whatever their number (`sketched_as`).
There a large tensor is sketched piece by piece with the same signs. The sketches of the pieces are rotated, each by
another number of buckets, and given signs of their own before they are added up: otherwise a change that is alike in
all pieces would cancel. Still earlier ones gave each piece a single sign; that sketch is made for them too.
"""

import functools
import threading
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from pytest_modelviz.records.sketch_version import EARLIER_VERSION, LARGEST_ALIKE, sketch_version
from pytest_modelviz.records.tensors import LARGEST_PIECE, random_signs, splitmix64

_PIECES_SALT = 74  # of the first 200 the one with which uniform changes of 2 to 40 pieces are estimated best
_MOST_ADDERS = 200
_MOST_MEMORY = 2 * LARGEST_PIECE  # numbers; larger memory, as for hundreds of weights together, is not reused
_FEWEST_SIGNS = 2**14
_FEWEST_COLUMNS = 200  # columns below which adding up rows is slow: then several rows are added up in parallel
_BAGS = 64  # of a piece of 64 x 64 rows: as many as rows in each, so that their signs can be orthogonal
_CHUNK = 16 * _BAGS**2  # rows that are read at once, so that the memory and the tables that this needs are bounded
_ROWS_SALT, _BAGS_SALT, _CHUNKS_SALT = 13, 14, 15


@functools.lru_cache(maxsize=16)
def _sign_table(size: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    signs = random_signs(np.arange(1, size + 1, dtype=np.uint64), 0)
    with torch.inference_mode(False):
        return torch.from_numpy(signs).to(device=device, dtype=dtype)


def _signs(count: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """The signs of the first `count` indices."""
    size = _FEWEST_SIGNS
    while size < count:
        size *= 8
    return _sign_table(size, dtype, device)[:count]


@functools.lru_cache(maxsize=1024)
def _part_signs(index: int, width: int, salt: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """The signs of the sums of a part of a large tensor, (width,)."""
    buckets = np.arange(index * width, (index + 1) * width, dtype=np.uint64)
    signs = random_signs(buckets, salt)
    with torch.inference_mode(False):
        return torch.from_numpy(signs).to(device=device, dtype=dtype)


@functools.lru_cache(maxsize=1024)
def _former_sign(index: int) -> int:
    """The one sign that earlier versions gave a piece's sketch."""
    return -int(random_signs(np.array([index], np.uint64), 1)[0])


def _span(width: int) -> int:
    """How many numbers are added up in parallel: as many of the rows of `width` as make enough columns."""
    return width * -(-_FEWEST_COLUMNS // width)


class _Adder:
    """Adds up rows of `count` numbers in `width` buckets, element i, with its sign, in bucket (i mod width).

    Its memory is reused: allocating memory costs more than the multiplication that fills it.
    """

    def __init__(self, rows: int, count: int, width: int, dtype: torch.dtype, device: torch.device) -> None:
        span = _span(width) if count > _FEWEST_COLUMNS else width
        self._parallel_rows = span // width
        padded = count + -count % span
        self._signs = _signs(count, dtype, device)
        memory = _memory(rows * padded, dtype, device).view(rows, padded)
        self._product, self._rest = memory[:, :count], memory[:, count:] if padded > count else None
        self._lines = memory.view(rows, -1, span)
        self._shape = (rows, self._parallel_rows, width)
        self._row, self._lines_of_row = self._product[0], self._lines[0]

    def __call__(self, values: torch.Tensor) -> torch.Tensor:
        """(rows, count) -> (rows, width)."""
        torch.mul(values, self._signs, out=self._product)
        if self._rest is not None:
            self._rest.zero_()
        sums = self._lines.sum(1)
        return sums if self._parallel_rows == 1 else sums.view(self._shape).sum(1)

    def sum_row(self, values: torch.Tensor) -> torch.Tensor:
        """The same of a single row, in fewer operators: (count,) -> (width,)."""
        torch.mul(values, self._signs, out=self._row)
        if self._rest is not None:
            self._rest.zero_()
        sums = self._lines_of_row.sum(0)
        return sums if self._parallel_rows == 1 else sums.view(self._shape[1:]).sum(0)


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


def row_adder(rows: int, count: int, width: int, dtype: torch.dtype, device: torch.device) -> _Adder:
    key = (rows, count, width, dtype, device)
    adder = _scratch.adders.get(key)
    if adder is None:
        adder = _Adder(*key)
        if rows * count <= LARGEST_PIECE:
            if len(_scratch.adders) > _MOST_ADDERS:
                _scratch.adders.clear()
            _scratch.adders[key] = adder
    return adder


class _Bags(NamedTuple):
    """How rows are added up: `order` lists them bag by bag, with their `signs`; each bag begins at its `start`.

    `sum_signs` (bags, span) are those of the sums. A row that is cut off is the last one of its bag, `last`.
    """

    order: torch.Tensor
    starts: torch.Tensor
    signs: torch.Tensor
    sum_signs: torch.Tensor
    last: int
    last_sign: int


@functools.lru_cache(maxsize=128)
def _bags(count: int, span: int, dtype: torch.dtype, device: torch.device) -> _Bags:
    """The bags of a chunk of `count` numbers in rows of `span`."""
    bags, signs = _signed_rows(-(-count // span))
    whole, number = count // span, _BAGS * (bags[-1] // _BAGS + 1)
    order = np.argsort(bags[:whole], kind="stable")
    starts = np.searchsorted(bags[:whole][order], np.arange(number))
    with torch.inference_mode(False):
        return _Bags(
            torch.from_numpy(order).to(device),
            torch.from_numpy(starts).to(device),
            torch.from_numpy(signs[order]).to(device=device, dtype=dtype),
            _signs(number * span, dtype, device).view(number, span),
            int(bags[-1]),
            int(signs[-1]),
        )


def _signed_rows(count: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """The bag of each of `count` rows, and its sign."""
    size = -(-count // _BAGS)
    hashes = splitmix64(np.arange(size * _BAGS, dtype=np.uint64), _BAGS_SALT).reshape(size, _BAGS)
    bags, columns = np.argsort(hashes, axis=1), np.arange(size)[:, None]
    bits = columns % _BAGS & bags
    for shift in (4, 2, 1):
        bits ^= bits >> shift
    signs = random_signs(columns.astype(np.uint64), _ROWS_SALT) * (1 - 2 * (bits & 1))
    return (columns // _BAGS * _BAGS + bags).reshape(-1)[:count], signs.reshape(-1)[:count]


def _sketch_chunk(values: torch.Tensor, span: int) -> torch.Tensor:
    """Add up rows of `span` numbers: (count,) -> (span,)."""
    count = values.numel()
    bags = _bags(count, span, values.dtype, values.device)
    rest = count % span
    rows = values[: count - rest].view(-1, span)
    sums: torch.Tensor = torch.embedding_bag(rows, bags.order, bags.starts, False, 0, False, bags.signs)[0]
    if rest:
        sums[bags.last, :rest].add_(values[count - rest :], alpha=bags.last_sign)
    return sums.mul_(bags.sum_signs).sum(0)


def sketch_rows(flat: torch.Tensor, width: int) -> torch.Tensor:
    """Sketch a one-dimensional float32 or float64 tensor.

    Args:
        flat: the tensor, shape (n,).
        width: the number of buckets, a prime.

    Returns:
        (1, min(n, width)), same dtype and device: the sketch, or the tensor itself if it is no larger. In version 2 for
        a tensor of several pieces (2, width): the sketch of still earlier versions as well.

    """
    single = single_sketch(flat, width)
    return _sketches_of_pieces(flat, width) if single is None else single[None]


def reads_in_chunks(count: int) -> bool:
    """Whether a tensor of so many numbers is sketched chunk by chunk, so that `single_sketch` may widen it."""
    return count > LARGEST_ALIKE and sketch_version() != EARLIER_VERSION


def single_sketch(flat: torch.Tensor, width: int, dtype: torch.dtype | None = None) -> torch.Tensor | None:
    """The same, (min(n, width),), of a tensor that has a single sketch; None for one that has two.

    One that `reads_in_chunks` may be in half precision: `dtype` is what each chunk is converted to.
    """
    count = flat.numel()
    if count <= width:
        return flat
    if count <= LARGEST_ALIKE:
        return row_adder(1, count, width, flat.dtype, flat.device).sum_row(flat)
    if sketch_version() == EARLIER_VERSION:
        return row_adder(1, count, width, flat.dtype, flat.device).sum_row(flat) if count <= LARGEST_PIECE else None
    span, flat = _span(width), flat.contiguous()
    chunks = flat.split(_CHUNK * span) if count > _CHUNK * span else [flat]
    total = _sketch_chunk(chunks[0] if dtype is None else chunks[0].to(dtype), span)
    for index, chunk in enumerate(chunks[1:], 1):
        sums = _sketch_chunk(chunk if dtype is None else chunk.to(dtype), span)
        total += sums * _part_signs(index, span, _CHUNKS_SALT, total.dtype, flat.device)
    return total if span == width else total.view(-1, width).sum(0)


def signs_of(count: int, width: int) -> npt.NDArray[np.float64]:
    """The sign of each number of a tensor of `count` numbers, at most `LARGEST_PIECE`."""
    if count <= LARGEST_ALIKE or sketch_version() == EARLIER_VERSION:
        return random_signs(np.arange(1, count + 1, dtype=np.uint64), 0)
    span = _span(width)
    bags, signs = _signed_rows(-(-count // span))
    sum_signs = random_signs(np.arange(1, (bags.max() + 1) * span + 1, dtype=np.uint64), 0).reshape(-1, span)
    signs_of_all: npt.NDArray[np.float64] = (sum_signs[bags] * signs[:, None]).reshape(-1)[:count]
    return signs_of_all


def _sketches_of_pieces(flat: torch.Tensor, width: int) -> torch.Tensor:
    """Both sketches of earlier versions, (2, width)."""
    step = LARGEST_PIECE - LARGEST_PIECE % _span(width)
    total, former = totals = flat.new_zeros(2, width)
    for index, piece in enumerate(flat.split(step)):
        sums = row_adder(1, piece.numel(), width, flat.dtype, flat.device).sum_row(piece)
        total += sums.roll(index) * _part_signs(index, width, _PIECES_SALT, flat.dtype, flat.device)
        former += _former_sign(index) * sums
    return totals
