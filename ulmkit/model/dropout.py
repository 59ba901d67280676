"""The dropouts of AWD-LSTM on activations and embeddings, each as one mask.

DropConnect on the recurrent weights is in `ulmkit.kernels.masks`.
"""

import torch
from torch import Tensor


def locked_dropout_mask(
    batch: int, features: int, dropout: float, like: Tensor, generator: torch.Generator | None = None
) -> Tensor | None:
    """Mask (1, B, F) of 0 and 1 / (1 - dropout), one per sequence, that holds at every time step.

    Returns:
        The mask in the type and on the device of `like`; None for dropout 0, which draws nothing.

    Source: Gal & Ghahramani 2016, arXiv:1512.05287, section 4; Merity et al. 2017, arXiv:1708.02182, section 4.2.
    """
    return _mask((1, batch, features), dropout, like, generator)


def embedding_dropout_mask(
    rows: int, dropout: float, like: Tensor, generator: torch.Generator | None = None
) -> Tensor | None:
    """Mask (V,) of 0 and 1 / (1 - dropout) that drops a word everywhere in the pass.

    Returns:
        The mask in the type and on the device of `like`; None for dropout 0, which draws nothing.

    Source: Gal & Ghahramani 2016, arXiv:1512.05287, section 4; Merity et al. 2017, arXiv:1708.02182, section 4.3.
    """
    return _mask((rows,), dropout, like, generator)


def apply_mask(x: Tensor, mask: Tensor | None) -> Tensor:
    """Multiply x by a mask that broadcasts to it; None leaves x as it is."""
    return x if mask is None else x * mask


def _mask(shape: tuple[int, ...], dropout: float, like: Tensor, generator: torch.Generator | None) -> Tensor | None:
    if dropout == 0.0:
        return None
    mask = torch.empty(shape, dtype=like.dtype, device=like.device)
    return mask.bernoulli_(1.0 - dropout, generator=generator).div_(1.0 - dropout)
