"""The float32 shadow of a pass in lower precision: the same code on the same numbers, computed in single precision.

In bfloat16 rounding takes an activation as far as one or two per cent, and hides a fault as large. The shadow has no
such rounding: weights and inputs are converted exactly, and whatever asks for a lower precision on the way (autocast,
`.half()`, a dtype in the configuration, TF32) gets single precision. What then differs between two shadows is code,
configuration, weights or input.
"""

import contextlib
import operator
import warnings
from collections.abc import Iterator
from dataclasses import replace

import torch

from pytest_modelviz.compare.precision import is_low
from pytest_modelviz.probe.containers import rebuild
from pytest_modelviz.probe.environment import float32_precision
from pytest_modelviz.probe.forward import ModelInput, call, prepared
from pytest_modelviz.probe.module_state import NestedState
from pytest_modelviz.probe.modules import all_tensors
from pytest_modelviz.probe.nested_values import tensors
from pytest_modelviz.probe.pass_recorder import PassRecorder
from pytest_modelviz.probe.purity import written_tensors
from pytest_modelviz.probe.refusals import refusal
from pytest_modelviz.probe.sketch_queue import SketchQueue
from pytest_modelviz.probe.torch_internals import Args, Kwargs, Operator, TorchDispatchMode, tree_map
from pytest_modelviz.records.shadow import Shadow
from pytest_modelviz.records.trace import ForwardTrace

_SINGLE = {torch.float16: torch.float32, torch.bfloat16: torch.float32, torch.complex32: torch.complex64}
_PLAIN = {int, float, bool, str, type(None)}  # arguments of operators that have no precision
_NOT_CONVERTIBLE = ("float8", "float4", "q")  # how such dtypes begin
_MOST_BYTES = 2 * 2**30  # of weights in single precision
_MOST_SECONDS = 60.0  # that the pass itself took
_FREE_SHARE = 0.5  # of an accelerator's free memory
_PRODUCTS = ("cuda.matmul", "cudnn.conv", "cudnn.rnn", "mkldnn.matmul", "mkldnn.conv", "mkldnn.rnn")


def with_shadow(
    trace: ForwardTrace, model: torch.nn.Module, input_data: ModelInput, shadow: Shadow, seconds: float = 0.0
) -> tuple[ForwardTrace, str]:
    """Repeat a pass in single precision, if it was made in a lower one.

    Args:
        trace: the pass.
        model: the model as it was before that pass, outside of a `prepared` block.
        input_data: what it was given.
        shadow: whether to do so; `AUTO` leaves it out where the weights would take more than 2 GiB, or more than half
            of the free memory of their accelerator, and where the pass took more than a minute.
        seconds: how long the pass took.

    Returns:
        The pass with its shadow, and an empty text; or the pass as it was, and why it has none where it should.

    """
    reason = reason_against(trace, model, input_data, shadow, seconds)
    if reason is not None:
        return trace, reason
    try:
        queue = SketchQueue()
        shadow_trace = _shadow_alone(trace, model, input_data, queue)
        if not queue.is_complete:
            shadow_trace = _shadow_alone(trace, model, input_data)
    except Exception as error:  # of the model's own
        return trace, left_out(f"there {refusal(error)}")
    return replace(trace, shadow=shadow_trace), ""


def _shadow_alone(
    trace: ForwardTrace, model: torch.nn.Module, input_data: ModelInput, queue: SketchQueue | None = None
) -> ForwardTrace:
    with prepared(model, input_data) as ready, in_single_precision(ready, input_data) as converted:
        return shadow_pass(trace, ready, converted, queue)


def shadow_pass(
    trace: ForwardTrace, model: torch.nn.Module, converted: ModelInput, queue: SketchQueue | None = None
) -> ForwardTrace:
    """Make the shadow of a pass.

    Args:
        trace: the pass.
        model: its model, `in_single_precision`.
        converted: the input that this has converted.
        queue: where sketches wait on a device.

    """
    recorder = PassRecorder(model, weight_width=None, queue=queue, structure=trace.structure)
    with recorder.recording():
        call(model, converted)
    return recorder.trace


def reason_against(
    trace: ForwardTrace, model: torch.nn.Module, input_data: ModelInput, shadow: Shadow, seconds: float
) -> str | None:
    """Why a pass is not repeated: a note, an empty text if it needs no shadow, None if it is to be repeated."""
    records = (*trace.tensors.values(), *trace.weights.values())
    inconvertible = next((record.dtype for record in records if record.dtype.startswith(_NOT_CONVERTIBLE)), None)
    devices = ",".join(sorted({str(tensor.device) for tensor in (*all_tensors(model), *tensors(input_data))}))
    if not is_low(trace) and inconvertible is None and float32_precision(model, devices) == "ieee":
        return ""
    if all(not record.sketch.size for record in trace.tensors.values()):
        return ""  # on the meta device
    if inconvertible is not None:
        return left_out(f"tensors of {inconvertible} cannot be converted")
    if shadow is Shadow.NEVER:
        return left_out("--modelviz-shadow=never")
    if shadow is Shadow.AUTO and (reason := _too_large(model) or _too_slow(seconds)):
        return left_out(f"{reason}; --modelviz-shadow=always repeats it all the same")
    return None


def left_out(reason: str) -> str:
    """The note on a pass that has no shadow where it should."""
    return f"the pass was not repeated in float32 ({reason}): faults within the rounding of its precision are not seen"


def _too_large(model: torch.nn.Module) -> str:
    sizes: dict[torch.device, int] = {}
    for tensor in all_tensors(model):
        if tensor.dtype in _SINGLE and not torch.nn.parameter.is_lazy(tensor):
            sizes[tensor.device] = sizes.get(tensor.device, 0) + 4 * tensor.numel()
    for device, size in sizes.items():
        if size > _MOST_BYTES:
            return f"its weights would take {size / 2**30:.1f} GiB"
        if device.type == "cuda" and size > _FREE_SHARE * torch.cuda.mem_get_info(device)[0]:
            return f"its weights would take more than half of the free memory of {device}"
    return ""


def _too_slow(seconds: float) -> str:
    return f"the pass took {seconds:.0f} seconds" if seconds > _MOST_SECONDS else ""


@contextlib.contextmanager
def in_single_precision(model: torch.nn.Module, input_data: ModelInput) -> Iterator[ModelInput]:
    """Convert a model that is `prepared`, which restores it, and have the block compute in single precision.

    Yields:
        The input, converted.

    """
    held = NestedState(list(model.modules())).tensors  # in attributes, where a model may keep a cache
    with torch.no_grad():
        for tensor in {id(tensor): tensor for tensor in (*all_tensors(model), *held)}.values():
            if tensor.dtype in _SINGLE and not tensor.is_meta and tensor.layout == torch.strided:
                with torch.inference_mode(tensor.is_inference()):  # otherwise torch can use neither
                    tensor.data = tensor.data.to(_SINGLE[tensor.dtype])
    for kind in ("cpu", "cuda"):
        if torch.is_autocast_enabled(kind):
            torch.set_autocast_enabled(kind, False)
    _multiply_in_full()
    with warnings.catch_warnings(), _SinglePrecision():
        warnings.simplefilter("ignore")
        yield rebuild(input_data, _converted)


def _multiply_in_full() -> None:
    """Turn off TF32 and its like; `prepared` restores these switches, too."""
    holders = [operator.attrgetter(path)(torch.backends) for path in _PRODUCTS if _has_precision(path)]
    for holder in holders:
        holder.fp32_precision = "ieee"
    if not holders:  # torch before 2.9
        torch.backends.cudnn.allow_tf32 = False
        torch.set_float32_matmul_precision("highest")


def _has_precision(path: str) -> bool:
    try:
        return hasattr(operator.attrgetter(path)(torch.backends), "fp32_precision")
    except AttributeError:
        return False


def _converted(value: object) -> object:
    if isinstance(value, torch.Tensor) and value.dtype in _SINGLE and not value.is_quantized:
        return value.to(_SINGLE[value.dtype])
    return value


def _is_lower(value: object) -> bool:
    """Whether an operator's argument, or what it contains, is in a lower precision than single or asks for one."""
    if isinstance(value, torch.Tensor):
        return value.dtype in _SINGLE
    if isinstance(value, (tuple, list)):
        return any(type(item) not in _PLAIN and _is_lower(item) for item in value)
    if isinstance(value, dict):
        return _is_lower(list(value.values()))
    return isinstance(value, torch.dtype) and value in _SINGLE


class _SinglePrecision(TorchDispatchMode):
    """Computes in single precision whatever asks for a lower one.

    A tensor that an operator writes into keeps its dtype: it may be one of the model's own.
    """

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves its modes untyped

    def __torch_dispatch__(self, op: Operator, types: object, args: Args = (), kwargs: Kwargs | None = None) -> object:
        kwargs = kwargs or {}
        if op is torch.ops.aten.view.dtype or not (_is_lower(args) or (kwargs and _is_lower(kwargs))):
            return op(*args, **kwargs)  # other numbers out of the same bits, or nothing to convert
        written = {id(tensor) for tensor in written_tensors(op, args, kwargs)}

        def single(value: object) -> object:
            if isinstance(value, torch.dtype):
                return _SINGLE.get(value, value)
            return value if id(value) in written else _converted(value)

        return op(*tree_map(single, args), **tree_map(single, kwargs))
