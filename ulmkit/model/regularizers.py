"""Activation regularization: penalties on the last layer's output.

Source: Merity, McCann & Socher 2017, "Revisiting activation regularization for language RNNs", arXiv:1708.01009.
"""

from torch import Tensor

from ulmkit.kernels import fused_on_gpu
from ulmkit.kernels.cuda import fused_regularization


def penalties(raw: Tensor, dropped: Tensor, mask: Tensor | None, ar: float, tar: float, backend: str) -> list[Tensor]:
    """AR and TAR where their weights are not 0; on GPUs with the backend "fused" their sum, from one kernel.

    Args:
        raw: (T, B, H) float, before output dropout.
        dropped: (T, B, H) float, after output dropout.
        mask: (1, B, H) output dropout's mask; None for none.
        ar: Weight alpha of AR.
        tar: Weight beta of TAR.
        backend: Name of a backend, or "auto".
    """
    if (ar or tar) and raw.numel() and fused_on_gpu(raw.device, raw.dtype, backend):
        return [fused_regularization.regularization(raw, mask, ar, tar)]
    terms = []
    if ar:
        terms.append(activation_regularization(dropped, ar))
    if tar:
        terms.append(temporal_activation_regularization(raw, tar))
    return terms


def activation_regularization(dropped: Tensor, alpha: float) -> Tensor:
    """Activation regularization, alpha * mean(h_t^2), of activations after dropout.

    Args:
        dropped: (T, B, H) float.
        alpha: Weight of the penalty.

    Returns:
        Scalar float32 or float64.

    Source: arXiv:1708.02182, section 4.6 (alpha L2(m . h_t), m the dropout mask).
    Deviation: the mean of squares in place of L2, as in the published code.
    """
    return alpha * _wide(dropped).pow(2).mean()


def temporal_activation_regularization(raw: Tensor, beta: float) -> Tensor:
    """Temporal activation regularization, beta * mean((h_{t+1} - h_t)^2), of activations before dropout.

    Args:
        raw: (T, B, H) float.
        beta: Weight of the penalty.

    Returns:
        Scalar float32 or float64; zero for a single step.

    Source: arXiv:1708.02182, section 4.6 (beta L2(h_t - h_{t+1})).
    Deviation: the mean of squares in place of L2, as in the published code.
    """
    wide = _wide(raw)
    if len(wide) < 2:
        return wide.sum() * 0.0
    return beta * (wide[1:] - wide[:-1]).pow(2).mean()


def _wide(x: Tensor) -> Tensor:
    return x if x.element_size() >= 4 else x.float()
