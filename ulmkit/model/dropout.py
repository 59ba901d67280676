"""The dropouts of AWD-LSTM on activations and embeddings, each as one mask. (DropConnect is in `ulmkit.kernels`.)"""

import torch
from torch import Tensor


def locked_dropout_mask(
    batch: int, features: int, dropout: float, *, like: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """(1, B, F) mask of 0 and 1 / (1 - dropout), the same at every time step; each sequence has its own.

    Source: Gal & Ghahramani 2016, arXiv:1512.05287, section 4; Merity et al. 2017, arXiv:1708.02182, section 4.2.
    """
    mask = torch.empty(1, batch, features, dtype=like.dtype, device=like.device)
    return mask.bernoulli_(1.0 - dropout, generator=generator).div_(1.0 - dropout)


def embedding_dropout_mask(
    rows: int, dropout: float, *, like: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """(V,) mask of 0 and 1 / (1 - dropout): a dropped word disappears at every place of the pass.

    Source: Gal & Ghahramani 2016, arXiv:1512.05287, section 4; Merity et al. 2017, arXiv:1708.02182, section 4.3.
    """
    mask = torch.empty(rows, dtype=like.dtype, device=like.device)
    return mask.bernoulli_(1.0 - dropout, generator=generator).div_(1.0 - dropout)
