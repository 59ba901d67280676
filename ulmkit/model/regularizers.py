"""Activation regularisation: penalties on what the last layer gives.

Source: Merity, McCann & Socher 2017, "Revisiting activation regularization for language RNNs", arXiv:1708.01009.
"""

from torch import Tensor


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
