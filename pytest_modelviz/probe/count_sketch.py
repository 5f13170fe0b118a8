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

import functools
import threading

import numpy as np
import torch

from pytest_modelviz.records.tensors import LARGEST_PIECE, random_signs

_PIECES_SALT = 74  # of the first 200 the one with which uniform changes of 2 to 40 pieces are estimated best
_MOST_ADDERS = 200
_MOST_MEMORY = 2 * LARGEST_PIECE  # numbers; larger memory, as for hundreds of weights together, is not reused
_FEWEST_SIGNS = 2**14
_FEWEST_COLUMNS = 200  # columns below which adding up rows is slow: then several rows are added up in parallel


@functools.lru_cache(maxsize=16)
def _sign_table(size: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    signs = random_signs(np.arange(1, size + 1, dtype=np.uint64), 0)
    with torch.inference_mode(False):
        return torch.from_numpy(signs).to(device=device, dtype=dtype)


@functools.lru_cache(maxsize=1024)
def _piece_signs(index: int, width: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """The signs of a piece's sketch, (width,)."""
    buckets = np.arange(index * width, (index + 1) * width, dtype=np.uint64)
    signs = random_signs(buckets, _PIECES_SALT)
    with torch.inference_mode(False):
        return torch.from_numpy(signs).to(device=device, dtype=dtype)


@functools.lru_cache(maxsize=1024)
def _former_sign(index: int) -> int:
    """The one sign that earlier versions gave a piece's sketch."""
    return -int(random_signs(np.array([index], np.uint64), 1)[0])


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


def sketch_rows(flat: torch.Tensor, width: int) -> torch.Tensor:
    """Sketch a one-dimensional float32 or float64 tensor.

    Args:
        flat: the tensor, shape (n,).
        width: the number of buckets, a prime.

    Returns:
        (1, min(n, width)), same dtype and device: the sketch, or the tensor itself if it is no larger. For a tensor of
        several pieces (2, width): the sketch of earlier versions as well.

    """
    count = flat.numel()
    if count <= width:
        return flat[None]
    if count <= LARGEST_PIECE:
        return row_adder(1, count, width, flat.dtype, flat.device)(flat)
    step = LARGEST_PIECE - LARGEST_PIECE % (width * -(-_FEWEST_COLUMNS // width))
    total, former = totals = flat.new_zeros(2, width)
    for index, piece in enumerate(flat.split(step)):
        sums = row_adder(1, piece.numel(), width, flat.dtype, flat.device)(piece)[0]
        total += sums.roll(index) * _piece_signs(index, width, flat.dtype, flat.device)
        former += _former_sign(index) * sums
    return totals
