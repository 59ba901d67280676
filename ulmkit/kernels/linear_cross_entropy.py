"""Softmax cross-entropy of a linear layer, one block of rows at a time, so that memory never holds all logits."""

from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ulmkit.errors import ConfigError
from ulmkit.kernels.capabilities import fused_on_gpu
from ulmkit.kernels.cpu import fused_cross_entropy as cpu
from ulmkit.kernels.cpu.library import choose_path
from ulmkit.kernels.cuda import fused_cross_entropy as cuda

_BLOCK_ELEMENTS = 1 << 24  # logits of a block: 64 MiB in fp32


def linear_cross_entropy(
    x: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, classes: int | None = None, backend: str = "auto"
) -> Tensor:
    """Mean over rows of -log softmax(x W^T + b)[target], differentiable in x, weight and bias.

    While gradients are on, loss and gradients are computed together, block by block.

    Args:
        x: (N, E) float, in the type of the matmuls.
        weight: (V, E) float.
        bias: (V,) float or None.
        targets: (N,) int64, 0 <= target < classes.
        classes: Rows of `weight` that are classes, None for all; the rest only aligns the matmul and takes no
            probability.
        backend: "fused" asks for our own kernels, which "auto" chooses on CPUs with AVX2 or better; any other name for
            torch's.

    Returns:
        Scalar float32 (float64 for float64 input), nats per row.

    Raises:
        ConfigError: If a shape, type or device does not fit, or on CPUs a target is not a class.
    """
    return linear_cross_entropy_rows(x, weight, bias, targets, classes, backend)[0]


def linear_cross_entropy_rows(
    x: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, classes: int | None = None, backend: str = "auto"
) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy as from `linear_cross_entropy`, and each row's (N,), which takes no gradient."""
    classes = weight.shape[0] if classes is None else classes
    _check(x, weight, bias, targets, classes)
    if not torch.is_grad_enabled():
        nll = _nll(x, weight, bias, targets, classes, backend)
        return nll.mean(), nll
    return _LinearCrossEntropy.apply(x, weight, bias, targets, classes, backend)


def linear_nll(
    x: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, classes: int | None = None, backend: str = "auto"
) -> Tensor:
    """Loss of each row, -log softmax(x W^T + b)[target], differentiable in x, weight and bias.

    For losses that are not a plain mean: backward recomputes the logits, one block of rows at a time, and weights each
    row's gradient, softmax - one_hot(target), by the incoming one.

    Args:
        x: (N, E) float, in the type of the matmuls.
        weight: (V, E) float.
        bias: (V,) float or None.
        targets: (N,) int64, 0 <= target < classes.
        classes: Rows of `weight` that are classes, see `linear_cross_entropy`.
        backend: Backend by name, see `linear_cross_entropy`.

    Returns:
        (N,) float32 (float64 for float64 input), nats.

    Raises:
        ConfigError: If a shape, type or device does not fit, or on CPUs a target is not a class.
    """
    classes = weight.shape[0] if classes is None else classes
    _check(x, weight, bias, targets, classes)
    return _LinearNll.apply(x, weight, bias, targets, classes, backend)


def _check(x: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, classes: int) -> None:
    rows, columns = len(targets), weight.shape[0]
    for name, tensor, shape in (
        ("x", x, (rows, weight.shape[1])),
        ("bias", bias, (columns,)),
        ("targets", targets, (rows,)),
    ):
        if tensor is not None and (tuple(tensor.shape) != shape or tensor.device != weight.device):
            raise ConfigError(
                f"{name}: expected {shape} on {weight.device}, got {tuple(tensor.shape)} on {tensor.device}"
            )
    if targets.dtype != torch.int64:
        raise ConfigError(f"targets: expected int64, got {targets.dtype}")
    if not 1 <= classes <= columns:
        raise ConfigError(f"classes: expected 1 to {columns}, the rows of the weight, got {classes}")
    if targets.device.type == "cpu" and rows and not 0 <= int(targets.min()) <= int(targets.max()) < classes:
        raise ConfigError(f"targets: expected 0 to {classes - 1}, got {int(targets.min())} to {int(targets.max())}")


def _fused(x: Tensor, weight: Tensor, bias: Tensor | None, backend: str) -> ModuleType | None:
    """The module, `cpu` or `cuda`, that fuses these tensors; None if there is none, or it was not asked for."""
    if not x.shape[0] or weight.dtype != torch.float32 or (bias is not None and bias.dtype != torch.float32):
        return None
    if fused_on_gpu(x.device, x.dtype, backend):
        return cuda
    path = choose_path(x.dtype)[0] if x.device.type == "cpu" else None
    # portable C++ has not been compared with torch's kernels, so it must be asked for, as in `choose_backend`
    if path is None or backend not in ("auto", "fused") or (path == "portable" and backend == "auto"):
        return None
    return cpu


def _blocks(rows: int, columns: int) -> list[slice]:
    height = max(1, _BLOCK_ELEMENTS // columns)
    return [slice(start, min(start + height, rows)) for start in range(0, rows, height)]


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _scaled(tensor: Tensor, factor: Tensor) -> Tensor:
    """Tensor times a scalar factor, multiplied in at least float32."""
    wide = _wide(tensor.dtype)
    return (tensor.to(wide) * factor.to(wide)).to(tensor.dtype)


def _is_known_to_be_one(factor: Tensor) -> bool:
    """True if a scalar is 1 and reading it does not wait for a GPU."""
    return factor.device.type == "cpu" and factor.item() == 1.0


def _log_softmax(x: Tensor, weight: Tensor, bias: Tensor | None, classes: int) -> Tensor:
    logits = torch.nn.functional.linear(x, weight, bias)
    logits[:, classes:] = -torch.inf
    return torch.log_softmax(logits, dim=1, dtype=_wide(x.dtype))


def _nll(x: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, classes: int, backend: str) -> Tensor:
    """Loss of each row (N,), without gradient; no logits are kept."""
    fused = _fused(x, weight, bias, backend)
    if fused is not None:
        nll: Tensor = fused.cross_entropy(x.detach(), weight.detach(), bias, targets, classes)
        return nll
    weight, bias = weight.to(x.dtype), None if bias is None else bias.to(x.dtype)
    blocks = [
        -_log_softmax(x[rows], weight, bias, classes).gather(1, targets[rows, None])[:, 0]
        for rows in _blocks(x.shape[0], weight.shape[0])
    ]
    return torch.cat(blocks) if blocks else x.new_empty(0, dtype=_wide(x.dtype))


def _nll_with_gradients(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    classes: int,
    fused: ModuleType | None,
    row_weights: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Loss of each row (N,), and the gradients in x, weight and bias.

    The gradients are those of the rows' sum weighted by row_weights (N,); without weights those of the sum, or of the
    mean if `fused` is `cpu`.
    """
    if fused is not None:
        results: tuple[Tensor, Tensor, Tensor, Tensor | None]
        results = fused.cross_entropy_with_gradients(x, weight, bias, targets, classes, row_weights)
        return results
    low_weight, low_bias = weight.to(x.dtype), None if bias is None else bias.to(x.dtype)
    grad_x, grad_weight = torch.empty_like(x), torch.zeros_like(weight)
    grad_bias = None if bias is None else torch.zeros_like(bias)
    nll = x.new_empty(x.shape[0], dtype=_wide(x.dtype))
    for block in _blocks(x.shape[0], weight.shape[0]):
        log_p = _log_softmax(x[block], low_weight, low_bias, classes)
        target = targets[block, None]
        nll[block] = -log_p.gather(1, target)[:, 0]
        # d nll / d logits = softmax - one_hot(target)
        d_logits = log_p.exp_().scatter_add_(1, target, log_p.new_full(target.shape, -1.0))
        if row_weights is not None:
            d_logits *= row_weights[block, None]
        if grad_bias is not None:
            grad_bias += d_logits.sum(0)
        d_logits = d_logits.to(x.dtype)
        torch.mm(d_logits, low_weight, out=grad_x[block])
        grad_weight += d_logits.T @ x[block]
    return nll, grad_x, grad_weight, grad_bias


class _LinearCrossEntropy(torch.autograd.Function):
    """Mean cross-entropy: forward computes the gradients too, backward scales them by the incoming one."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, classes: int, backend: str
    ) -> tuple[Tensor, Tensor]:
        fused = _fused(x, weight, bias, backend)
        nll, *gradients = _nll_with_gradients(x, weight, bias, targets, classes, fused)
        # Divide by N only in backward, after multiplying by the incoming gradient: 1 / N can underflow in fp16.
        ctx.scale = 1.0 if fused is cpu else 1.0 / max(1, len(nll))
        ctx.save_for_backward(*gradients)
        ctx.mark_non_differentiable(nll)
        return nll.mean(), nll

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        gradients = ctx.saved_tensors
        factor = grad * ctx.scale
        if not _is_known_to_be_one(factor):
            gradients = [None if saved is None else _scaled(saved, factor) for saved in gradients]
        return *gradients, None, None, None


class _LinearNll(torch.autograd.Function):
    """Loss of each row: backward weights each row's gradient by the incoming one."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, classes: int, backend: str
    ) -> Tensor:
        ctx.save_for_backward(x, weight, bias, targets)
        ctx.classes, ctx.backend = classes, backend
        return _nll(x, weight, bias, targets, classes, backend)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, targets = ctx.saved_tensors
        fused = _fused(x, weight, bias, ctx.backend)
        _, *gradients = _nll_with_gradients(x, weight, bias, targets, ctx.classes, fused, grad)
        return *gradients, None, None, None
