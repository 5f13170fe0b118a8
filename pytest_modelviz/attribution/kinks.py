"""Whether a gradient can jump where its function is continuous: at kinks, such as those of rectifiers and max pooling.

The tolerance for such jumps must follow from the model that runs, not from a file: see `compare.explanations`.
"""

import re
from collections.abc import Iterable

import torch

_NUMBER = re.compile(r"Backward\d*$")
# Operators of the backward pass whose derivative is continuous. All others may jump: functions of users, compiled and
# scripted code, and operators that a later version of torch renames.
_SMOOTH_OPERATORS = """
    torch::autograd::AccumulateGrad torch::autograd::CopySlices torch::autograd::CopyBackwards
    Add Addbmm Addmm Addmv Baddbmm Bmm Div Dot Linear Mm Mul Mv Neg Rsub Sub
    Convolution MkldnnConvolution CudnnConvolution SlowConv2D
    NativeBatchNorm CudnnBatchNorm MiopenBatchNorm NativeLayerNorm NativeGroupNorm FusedRmsNorm
    Alias AsStrided Cat Clone ConstantPadNd Diagonal Expand Flip Index Permute Repeat ReshapeAlias Roll Select Slice
    Split SplitWithSizes Squeeze Stack T ToCopy Transpose Unbind Unfold UnsafeSplit UnsafeView Unsqueeze View
    ViewAsReal ViewAsComplex
    AdaptiveAvgPool1D AdaptiveAvgPool2D AdaptiveAvgPool3D MkldnnAdaptiveAvgPool2D AvgPool2D AvgPool3D
    Cumsum Mean Sum Std StdMean Var VarMean
    UpsampleBilinear2D UpsampleBicubic2D UpsampleNearest1D UpsampleNearest2D UpsampleLinear1D
    Atan Cos Cosh Erf Exp Expm1 Gelu Log Log1P LogSigmoid LogSoftmax Logsumexp Mish Pow Reciprocal Rsqrt Sigmoid
    Silu Sin Sinh Softmax Softplus Sqrt Tanh
    Embedding NllLoss ScaledDotProductFlashAttention ScaledDotProductFlashAttentionForCpu
    ScaledDotProductEfficientAttention ScaledDotProductCudnnAttention
"""
_SMOOTH = frozenset(_SMOOTH_OPERATORS.split())


def is_smooth(values: Iterable[torch.Tensor]) -> bool:
    """Whether no operator in the autograd graphs of these numbers has a kink; False where there is no graph.

    Args:
        values: the numbers that are differentiated, before or after.

    """
    waiting = [value.grad_fn for value in values]
    if not waiting or None in waiting:
        return False
    visited = set()
    while waiting:
        node = waiting.pop()
        if node is None or node in visited:
            continue
        visited.add(node)
        if _NUMBER.sub("", node.name()) not in _SMOOTH:
            return False
        waiting += [following for following, _ in node.next_functions]
    return True
