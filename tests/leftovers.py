"""What code may leave changed in the process: each with the way in which it is changed, and is read."""

import contextlib
import random
import re
import sys

import numpy as np
import torch
import torch.nn.modules.module as hooks
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils import parametrize
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.overrides import TorchFunctionMode
from torch.utils import checkpoint
from torch.utils._python_dispatch import TorchDispatchMode


class Dispatch(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


class Function(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


ENTERED = []  # contexts that were entered and are kept alive, as a model's attribute keeps them


def enter(context):
    ENTERED.append(context)
    context.__enter__()


def later(context):
    """Enter a context by a generator that is never resumed."""

    def steps():
        with context:
            yield

    generator = steps()
    next(generator)
    ENTERED.append(generator)


def autocast():
    return (
        [(torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)) for device in ("cpu", "cuda")],
        torch.is_autocast_cache_enabled(),
        (torch.autocast_increment_nesting(), torch.autocast_decrement_nesting()),
    )


def device():
    return torch.get_default_device(), torch.empty(1).device, torch._GLOBAL_DEVICE_CONTEXT.__dict__.copy()


def modes():
    function = torch.overrides._get_current_function_mode_stack()
    dispatch = [torch._C._get_dispatch_stack_at(at) for at in range(torch._C._len_torch_dispatch_stack())]
    flags = {name: value for name, value in vars(torch.utils._python_dispatch).items() if name.startswith("_is_in")}
    return function, dispatch, flags


def global_hooks():
    tables = (*vars(hooks).items(), *vars(sys.modules["torch.optim.optimizer"]).items())
    return {
        name: list(value) if isinstance(value, dict) else value
        for name, value in tables
        if re.match("_global_.*hook", name)
    }


def saved_tensors():
    return (
        torch._C._autograd._top_saved_tensors_default_hooks(True),
        torch._C._autograd._saved_tensors_hooks_get_disabled_error_message(),
    )


def set_attribute(owner, name, value):
    return lambda: setattr(owner, name, value), lambda: getattr(owner, name)


def attention():
    cuda = torch.backends.cuda
    return (
        *(cuda.flash_sdp_enabled(), cuda.mem_efficient_sdp_enabled(), cuda.math_sdp_enabled()),
        cuda.cudnn_sdp_enabled(),
        list(torch._C._get_sdp_priority_order()) if hasattr(torch._C, "_get_sdp_priority_order") else None,
    )


def precisions():
    getter = getattr(torch._C, "_get_fp32_precision_getter", None)
    pairs = [("generic", "all"), *((b, k) for b in ("cuda", "mkldnn") for k in ("all", "matmul", "conv", "rnn"))]
    values = [getter(*pair) for pair in pairs] if getter else []
    with contextlib.suppress(RuntimeError):  # torch refuses to read the old ones where the new ones are in use
        values += [torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32]
        values.append(torch.get_float32_matmul_precision())
    return values


def stance():
    compiler = sys.modules.get("torch._dynamo.eval_frame")
    return compiler._stance.stance if compiler else "default"


def nothing(*arguments):
    return None


def default_threads():
    torch.set_num_threads(torch.get_num_threads() + 1)


def fuser():
    return torch._C._jit_texpr_fuser_enabled(), torch._C._jit_can_fuse_on_cpu(), torch._C._jit_can_fuse_on_gpu()


def cudnn():
    flags = torch.backends.cudnn
    return flags.enabled, flags.benchmark, flags.deterministic


def set_cudnn():
    torch.backends.cudnn.enabled, torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = False, True, True


def set_matmul():
    matmul = torch.backends.cuda.matmul
    matmul.allow_fp16_reduced_precision_reduction = matmul.allow_bf16_reduced_precision_reduction = False


def matmul():
    flags = torch.backends.cuda.matmul
    return flags.allow_fp16_reduced_precision_reduction, flags.allow_bf16_reduced_precision_reduction


def enter_level():
    if not torch.is_inference_mode_enabled():
        forward_ad.enter_dual_level()


def enter_cached_parametrizations():
    enter(parametrize.cached())
    parametrize._cache[0, "left"] = torch.zeros(1)


def print_options():
    return vars(torch._tensor_str.PRINT_OPTS).copy()


def anomaly():
    return torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()


def deterministic():
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


def other_engine():
    quantized = torch.backends.quantized
    quantized.engine = next(
        engine for engine in quantized.supported_engines if engine not in ("none", quantized.engine)
    )


CUDA = torch.backends.cuda
# what is left changed: how, and how it is read
LEFT = {
    "default dtype": (lambda: torch.set_default_dtype(torch.float64), torch.get_default_dtype),
    "default tensor type": (lambda: torch.set_default_tensor_type(torch.DoubleTensor), torch.get_default_dtype),
    "default device": (lambda: torch.set_default_device("meta"), device),
    "device context": (lambda: enter(torch.device("meta")), device),
    "device context of a generator": (lambda: later(torch.device("meta")), device),
    "grad mode": (lambda: torch.set_grad_enabled(not torch.is_grad_enabled()), torch.is_grad_enabled),
    "inference mode": (lambda: enter(torch.inference_mode()), torch.is_inference_mode_enabled),
    "anomaly detection": (lambda: torch.autograd.set_detect_anomaly(True, check_nan=False), anomaly),
    "autocast": (lambda: enter(torch.autocast("cpu", torch.float16, cache_enabled=False)), autocast),
    "autocast dtype": (lambda: torch.set_autocast_dtype("cuda", torch.bfloat16), autocast),
    "autocast cache": (lambda: torch.set_autocast_cache_enabled(False), autocast),
    "autocast of a generator": (lambda: later(torch.autocast("cpu")), autocast),
    "deterministic": (lambda: torch.use_deterministic_algorithms(True, warn_only=True), deterministic),
    "filled memory": set_attribute(torch.utils.deterministic, "fill_uninitialized_memory", False),
    "threads": (default_threads, torch.get_num_threads),
    "matmul precision": (lambda: torch.set_float32_matmul_precision("medium"), precisions),
    "cudnn precision": (lambda: setattr(torch.backends.cudnn, "allow_tf32", False), precisions),
    "cublas precision": (lambda: setattr(CUDA.matmul, "allow_tf32", True), precisions),
    "reductions": (set_matmul, matmul),
    "cudnn": (set_cudnn, cudnn),
    "mkldnn": set_attribute(torch.backends.mkldnn, "enabled", False),
    "nnpack": (lambda: torch.backends.nnpack.set_flags(False), torch._C._get_nnpack_enabled),
    "einsum": (
        lambda: vars(torch.backends.opt_einsum.m).update(strategy="optimal"),
        lambda: torch.backends.opt_einsum.m.strategy,
    ),
    "fast path": (lambda: torch.backends.mha.set_fastpath_enabled(False), torch.backends.mha.get_fastpath_enabled),
    "attention": (lambda: enter(sdpa_kernel([SDPBackend.MATH])), attention),
    "frozen flags": (torch.backends.disable_global_flags, torch.backends.flags_frozen),
    "forward hook": (lambda: hooks.register_module_forward_hook(nothing, always_call=True), global_hooks),
    "forward pre-hook": (lambda: hooks.register_module_forward_pre_hook(nothing), global_hooks),
    "backward hook": (lambda: hooks.register_module_full_backward_hook(nothing), global_hooks),
    "backward pre-hook": (lambda: hooks.register_module_full_backward_pre_hook(nothing), global_hooks),
    "old backward hook": (lambda: hooks.register_module_backward_hook(nothing), global_hooks),
    "buffer hook": (lambda: hooks.register_module_buffer_registration_hook(nothing), global_hooks),
    "module hook": (lambda: hooks.register_module_module_registration_hook(nothing), global_hooks),
    "parameter hook": (lambda: hooks.register_module_parameter_registration_hook(nothing), global_hooks),
    "optimizer hook": (lambda: register_optimizer_step_post_hook(nothing), global_hooks),
    "function mode": (lambda: enter(Function()), modes),
    "dispatch mode": (lambda: enter(Dispatch()), modes),
    "two modes": (lambda: (enter(Dispatch()), enter(Function()), later(Dispatch())), modes),
    "saved tensors": (lambda: enter(torch.autograd.graph.saved_tensors_hooks(id, id)), saved_tensors),
    "no saved tensors": (lambda: enter(torch.autograd.graph.disable_saved_tensors_hooks("no")), saved_tensors),
    "mutation": (
        lambda: enter(torch.autograd.graph.allow_mutation_on_saved_tensors()),
        lambda: torch.autograd.graph._allow_mutation_on_saved_tensors_enabled,
    ),
    "autograd threads": (
        lambda: enter(torch.autograd.set_multithreading_enabled(False)),
        torch._C._is_multithreading_enabled,
    ),
    "forward-mode AD": (lambda: enter(forward_ad._set_fwd_grad_enabled(False)), torch._C._is_fwd_grad_enabled),
    "forward-mode level": (enter_level, lambda: forward_ad._current_level),
    "torch.func": (
        lambda: torch._C._functorch._vmap_increment_nesting(2, "error"),
        torch._C._functorch.get_dynamic_layer_stack_depth,
    ),
    "dispatch keys": (
        lambda: enter(torch._C._ExcludeDispatchKeyGuard(torch._C.DispatchKeySet(torch._C.DispatchKey.Negative))),
        lambda: torch._C._dispatch_tls_is_dispatch_key_excluded(torch._C.DispatchKey.Negative),
    ),
    "parametrizations": (enter_cached_parametrizations, lambda: (parametrize._cache_enabled, [*parametrize._cache])),
    "checkpoint debugging": (
        lambda: enter(checkpoint.set_checkpoint_debug_enabled(True)),
        lambda: checkpoint._checkpoint_debug_enabled,
    ),
    "checkpoint early stop": (
        lambda: enter(checkpoint.set_checkpoint_early_stop(False)),
        lambda: checkpoint._enable_checkpoint_early_stop,
    ),
    "swapped parameters": (
        lambda: torch.__future__.set_swap_module_params_on_conversion(True),
        torch.__future__.get_swap_module_params_on_conversion,
    ),
    "overwritten parameters": (
        lambda: torch.__future__.set_overwrite_module_params_on_conversion(True),
        torch.__future__.get_overwrite_module_params_on_conversion,
    ),
    "sparse invariants": (torch.sparse.check_sparse_tensor_invariants.enable, torch._C._check_sparse_tensor_invariants),
    "distributions": (
        # importing torch's compiler has set it to False
        lambda: torch.distributions.Distribution.set_default_validate_args(
            not torch.distributions.Distribution._validate_args
        ),
        lambda: torch.distributions.Distribution._validate_args,
    ),
    "warnings": (lambda: torch.set_warn_always(True), torch.is_warn_always_enabled),
    "broadcast warnings": set_attribute(torch.utils.backcompat.broadcast_warning, "enabled", True),
    "printing": (lambda: torch.set_printoptions(precision=1, sci_mode=True), print_options),
    "TorchScript": (lambda: enter(torch.jit.optimized_execution(False)), torch._C._get_graph_executor_optimize),
    "TorchScript's fuser": (lambda: enter(torch.jit.fuser("fuser0")), fuser),
    "compiler": (lambda: enter(torch.compiler.set_stance("force_eager")), stance),
    "torch's numbers": (lambda: torch.manual_seed(5), lambda: (torch.initial_seed(), torch.get_rng_state().tolist())),
    "Python's numbers": (lambda: random.seed(5), random.getstate),
    "NumPy's numbers": (lambda: np.random.seed(5), lambda: str(np.random.get_state())),
}
NEW_PRECISIONS = {
    "precision of all": (lambda: setattr(torch.backends, "fp32_precision", "ieee"), precisions),
    "precision of a backend": (lambda: setattr(torch.backends.cudnn, "fp32_precision", "ieee"), precisions),
    "precision of an operation": (lambda: setattr(torch.backends.cudnn.conv, "fp32_precision", "ieee"), precisions),
}
# what not every version, build and processor has
if hasattr(torch._C, "_get_fp32_precision_getter"):
    LEFT |= NEW_PRECISIONS
if hasattr(torch._C, "_get_torch_function_state"):
    LEFT["torch functions"] = (lambda: enter(torch._C.DisableTorchFunction()), torch._C._get_torch_function_state)
if torch.backends.cuda.is_built():
    LEFT["linear algebra"] = (lambda: CUDA.preferred_linalg_library("magma"), torch._C._get_linalg_preferred_backend)
if len(torch.backends.quantized.supported_engines) > 2:
    LEFT["quantized engine"] = (other_engine, lambda: torch.backends.quantized.engine)
if torch.set_flush_denormal(False):
    LEFT["denormals"] = (
        lambda: torch.set_flush_denormal(True),
        lambda: torch.tensor([1e-310], dtype=torch.float64) * 1 == 0,
    )
