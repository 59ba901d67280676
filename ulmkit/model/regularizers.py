"""Activation regularisation: penalties on what the last layer gives.

Source: Merity, McCann & Socher 2017, "Revisiting activation regularization for language RNNs", arXiv:1708.01009.
"""

from torch import Tensor

from ulmkit.kernels import fused_on_gpu
from ulmkit.kernels.cuda import fused_regularization


def penalties(raw: Tensor, dropped: Tensor, mask: Tensor | None, ar: float, tar: float, backend: str) -> list[Tensor]:
    """AR and TAR, those that are asked for; on GPUs with the backend "fused" their sum, in one pass.

    Args: raw, dropped: (T, B, H) float, before and after dropout. mask: (1, B, H) that dropout multiplied with, None
        for 1. ar, tar: alpha and beta, 0 for none. backend: as `ulmkit.kernels.pack` has it.
    """
    if (ar or tar) and raw.numel() and fused_on_gpu(raw.device, raw.dtype, backend):
        return [fused_regularization.regularization(raw, mask, ar, tar)]
    found = [activation_regularization(dropped, ar)] if ar else []
    return [*found, temporal_activation_regularization(raw, tar)] if tar else found


def activation_regularization(dropped: Tensor, alpha: float) -> Tensor:
    """AR: alpha * mean(h_t^2), on the activations after dropout (they carry the dropout's mask m).

    Args: dropped: (T, B, H) float. alpha: weight of the penalty.
    Returns: scalar float32 or float64.
    Source: arXiv:1708.02182, section 4.6 (alpha L2(m . h_t)); the mean of squares as in the published code.
    """
    return alpha * _wide(dropped).pow(2).mean()


def temporal_activation_regularization(raw: Tensor, beta: float) -> Tensor:
    """TAR: beta * mean((h_{t+1} - h_t)^2), on the activations before dropout; zero for a single step.

    Args: raw: (T, B, H) float. beta: weight of the penalty.
    Returns: scalar float32 or float64.
    Source: arXiv:1708.02182, section 4.6 (beta L2(h_t - h_{t+1})); the mean of squares as in the published code.
    """
    if raw.shape[0] < 2:
        return _wide(raw).sum() * 0.0
    wide = _wide(raw)
    return beta * (wide[1:] - wide[:-1]).pow(2).mean()


def _wide(x: Tensor) -> Tensor:
    return x if x.element_size() >= 4 else x.float()
