"""Torch's own names for the switches that have no public reader, or none that can be trusted to write what it reads.

All of them are private and come and go between versions. A switch that a torch does not have is skipped, and no other
with it.
"""

# Readers and writers in torch._C, where no writer stands beside a reader it is the reader's name with _set for _get.
IN_TORCH_C = {
    # precision, algorithms and backends
    "_get_deterministic_fill_uninitialized_memory": "",
    "_check_sparse_tensor_invariants": "_set_check_sparse_tensor_invariants",
    "_get_cpu_allow_fp16_reduced_precision_reduction": "",
    "_get_qengine": "",
    "_get_nnpack_enabled": "",
    "_get_mkldnn_enabled": "",
    "_get_mkldnn_deterministic": "",
    "_get_onednn_allow_tf32": "",
    "_get_miopen_immediate": "",
    "_get_cudnn_enabled": "",
    "_get_cudnn_benchmark": "",
    "_cuda_get_cudnn_benchmark_limit": "_cuda_set_cudnn_benchmark_limit",
    "_cudnn_get_conv_benchmark_empty_cache": "_cudnn_set_conv_benchmark_empty_cache",
    "_get_cudnn_deterministic": "",
    "_get_cudnn_depthwise_kernel": "",
    "_get_cudnn_allow_tf32": "",
    "_get_cublas_allow_tf32": "",
    "_get_cublas_allow_fp16_reduced_precision_reduction": "",
    "_get_cublas_allow_bf16_reduced_precision_reduction": "",
    "_get_cublas_allow_fp16_accumulation": "",
    "_get_cublaslt_prefer_grouped_gemm": "",
    "_get_sm_carveout_experimental": "",
    "_get_blas_preferred_backend": "",
    "_get_linalg_preferred_backend": "",
    "_get_rocm_fa_preferred_backend": "",
    # scaled dot product attention
    "_get_flash_sdp_enabled": "_set_sdp_use_flash",
    "_get_fa3_sdp_enabled": "_set_sdp_use_fa3",
    "_get_mem_efficient_sdp_enabled": "_set_sdp_use_mem_efficient",
    "_get_math_sdp_enabled": "_set_sdp_use_math",
    "_get_cudnn_sdp_enabled": "_set_sdp_use_cudnn",
    "_get_overrideable_sdp_enabled": "_set_sdp_use_overrideable",
    "_get_sdp_priority_order": "",
    "_get_math_sdp_allow_fp16_bf16_reduction": "",
    # autograd
    "_is_fwd_grad_enabled": "_set_fwd_grad_enabled",
    "_is_multithreading_enabled": "_set_multithreading_enabled",
    "_is_view_replay_enabled": "_set_view_replay_enabled",
    "_is_grad_layout_enforcement_enabled": "_set_grad_layout_enforcement_enabled",
    "_get_autograd_fallback_mode": "",
    # TorchScript
    "_get_graph_executor_optimize": "",
    "_jit_can_fuse_on_cpu": "_jit_override_can_fuse_on_cpu",
    "_jit_can_fuse_on_gpu": "_jit_override_can_fuse_on_gpu",
    "_jit_texpr_fuser_enabled": "_jit_set_texpr_fuser_enabled",
    # interception and warnings
    "_get_torch_function_state": "",
    "_get_dtensor_allow_implicit_replication": "",
    "_get_warnAlways": "",
    "_get_backcompat_broadcast_warn": "",
    "_get_backcompat_keepdim_warn": "",
    "_functorch.get_single_level_autograd_function_allowed": "_functorch.set_single_level_autograd_function_allowed",
    "_functorch.get_inplace_requires_grad_allowed": "_functorch.set_inplace_requires_grad_allowed",
}

# Switches that entering inference mode changes as well.
OF_AUTOGRAD = ("grad mode", "_is_fwd_grad_enabled", "_is_multithreading_enabled", "_is_view_replay_enabled")

# Plain variables of torch's modules and classes.
VARIABLES = {
    "torch.__future__": ("_overwrite_module_params_on_conversion", "_swap_module_params_on_conversion"),
    "torch.nn.modules.module": ("_global_is_full_backward_hook",),
    "torch.nn.utils.parametrize": ("_cache_enabled", "_cache"),
    "torch.utils.checkpoint": ("_checkpoint_debug_enabled", "_enable_checkpoint_early_stop"),
    "torch.utils.checkpoint:DefaultDeviceType": ("_default_device_type",),
    "torch.utils._device": ("CURRENT_DEVICE",),
    "torch:_GLOBAL_DEVICE_CONTEXT": ("device_context",),
    "torch.autograd.graph": ("_allow_mutation_on_saved_tensors_enabled",),
    "torch.distributions.distribution:Distribution": ("_validate_args",),
    "torch.backends:m": ("__allow_nonbracketed_mutation_flag",),
    "torch.backends.opt_einsum:m": ("enabled", "strategy"),
    "torch._tensor_str:PRINT_OPTS": ("precision", "threshold", "edgeitems", "linewidth", "sci_mode"),
    "torch.utils._python_dispatch": ("_is_in_torch_dispatch_mode", "_is_in_non_infra_torch_dispatch_mode"),
}

# From the general to the specific, as each inherits from the one before it.
PRECISIONS = (
    ("generic", "all"),
    *((backend, kind) for backend in ("cuda", "mkldnn") for kind in ("all", "matmul", "conv", "rnn")),
)
