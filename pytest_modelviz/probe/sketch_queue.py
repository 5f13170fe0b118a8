"""Sketches that stay on their device until a pass has ended, so that the host waits for the device once.

A sketch that is copied to the host at once makes it wait for all that the device has still to do, and then the device
for the host. So of a tensor off the CPU only the sums are computed when it is recorded. Whether they can stand for it
(no NaN, no giants) is seen when all of them have been copied together. A closer look needs the tensor's values:
weights still have them, and small arguments of calls, such as masks, are kept until then. For any other tensor the pass
has to be made again, with every tensor examined as it is recorded.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch

from pytest_modelviz.probe.purity import state_of
from pytest_modelviz.probe.sketch import on_host, ordinary_record, record_shape, record_tensor, sums_on_device
from pytest_modelviz.records.tensors import TensorRecord

_MOST_KEPT = 2**24  # bytes of arguments that are kept; a mask of 1024 x 1024 takes 4 MiB
Keep = Callable[[TensorRecord], None]


class _Waiting(NamedTuple):
    """A tensor whose sums are not yet on the host; `tensor` and its `state` are None where it was not kept."""

    sums: torch.Tensor
    dtype: torch.dtype
    shape: TensorRecord
    width: int
    numbers: int
    keep: Keep
    tensor: torch.Tensor | None
    state: object


class SketchQueue:
    """The sketches of a pass that wait on a device.

    Attributes:
        is_complete: whether all that was settled is recorded; if not, the pass has to be made again without a queue.

    Example:
        >>> queue = SketchQueue()
        >>> record = queue.record(activation, 251, functools.partial(records.__setitem__, "layer1"))
        >>> queue.settle()

    """

    def __init__(self) -> None:
        self._waiting: list[_Waiting] = []
        self._kept_bytes = 0
        self.is_complete = True

    def record(self, tensor: torch.Tensor, width: int, keep: Keep, *, is_kept: bool = False) -> TensorRecord:
        """Record a tensor.

        Args:
            tensor: any tensor.
            width: the number of buckets, a prime.
            keep: called with the record of a tensor off the CPU when the queue is settled.
            is_kept: whether to keep it for a closer look, as far as there is room: it is an argument, or a weight, for
                which others have made room.

        Returns:
            The record, that of a tensor off the CPU with an empty sketch.

        """
        sums = sums_on_device(tensor, width)
        if sums is None:
            return record_tensor(tensor, width)
        shape = record_shape(tensor)
        size = 0 if isinstance(tensor, torch.nn.Parameter) else tensor.numel() * tensor.element_size()
        is_kept = is_kept and self._kept_bytes + size <= _MOST_KEPT
        self._kept_bytes += size if is_kept else 0
        kept = (tensor, state_of(tensor)) if is_kept else (None, None)
        self._waiting.append(_Waiting(sums, tensor.dtype, shape, width, tensor.numel(), keep, *kept))
        return shape

    def settle(self) -> None:
        """Copy all sums to the host, and hand on the records."""
        waiting, self._waiting, self._kept_bytes = self._waiting, [], 0
        for each, sums in zip(waiting, on_host([each.sums for each in waiting]), strict=True):
            record = ordinary_record(sums, each.shape.dtype, each.shape.shape, each.numbers)
            if record is None and each.numbers == sums.numel():  # the sketch of a small tensor is the tensor
                record = record_tensor(sums.view(each.shape.shape).to(each.dtype), each.width)
            if record is None and each.tensor is not None and state_of(each.tensor) == each.state:
                record = record_tensor(each.tensor, each.width)
            if record is None:
                self.is_complete = False
            else:
                each.keep(record)
