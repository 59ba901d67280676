"""The mixture of softmaxes: several softmaxes over the same words, weighted by the context.

Source: Yang, Dai, Salakhutdinov & Cohen 2018, "Breaking the softmax bottleneck: a high-rank RNN language model",
arXiv:1711.03953.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from ulmkit.kernels import linear_nll
from ulmkit.model.dropout import apply_mask, locked_dropout_mask


class MixtureOfSoftmaxes(nn.Module):
    """K softmaxes that share one weight and one bias, mixed by weights that depend on the context.

    p(y | g) = sum_k pi_k softmax(h_k W^T + b)_y
    h_k = m * tanh(g W_h,k^T + b_h,k);  pi = softmax(g W_pi^T);  m: the mask of locked dropout

    One softmax's logits are a linear function of E numbers; the logarithm of such a sum is not, so that the matrix of
    all contexts' log-probabilities may have any rank.

    Args:
        features: H of the encoder's output g.
        embedding_size: E of h_k.
        experts: K.
        dropout: Locked dropout on each h_k, as in the authors' code (`dropoutl`).

    Source: Yang et al. 2018, arXiv:1711.03953.
    Deviation: the logarithm is of p, in the authors' code of p + 1e-8.
    """

    def __init__(self, features: int, embedding_size: int, experts: int, dropout: float) -> None:
        super().__init__()
        self.experts = experts
        self.dropout = dropout
        self.latent = nn.Linear(features, experts * embedding_size)
        self.prior = nn.Linear(features, experts, bias=False)

    def forward(self, g: Tensor) -> tuple[Tensor, Tensor]:
        """Softmax inputs and mixture weights, computed in g's type; training draws a mask per call.

        Args:
            g: (T, B, H) float.

        Returns:
            latent: (T, B, K, E) input of each softmax, in g's type.
            log_prior: (T, B, K) log-probability of each softmax, nats, at least float32.
        """
        latent = functional.linear(g, self.latent.weight.to(g.dtype), self.latent.bias.to(g.dtype)).tanh()
        if self.training:
            latent = apply_mask(latent, locked_dropout_mask(g.shape[1], latent.shape[2], self.dropout, like=latent))
        prior = functional.linear(g, self.prior.weight.to(g.dtype))
        wide = torch.promote_types(g.dtype, torch.float32)
        return latent.unflatten(2, (self.experts, -1)), prior.log_softmax(dim=2, dtype=wide)

    def nll(
        self, g: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, classes: int, backend: str = "auto"
    ) -> Tensor:
        """NLL -log p(target | g) of each target, differentiable, from one block of logits at a time.

        nll = -log sum_k exp(log pi_k - nll_k), where nll_k is the target's under softmax k alone.

        Args:
            g: (T, B, H) float.
            weight: (V, E) float.
            bias: (V,) float or None.
            targets: (T, B) int64, below `classes`.
            classes: Rows of `weight` that are tokens.
            backend: Backend by name, see `linear_cross_entropy`.

        Returns:
            (T, B) float32 (float64 for float64 input), nats.

        Source: Yang et al. 2018, arXiv:1711.03953.
        """
        latent, log_prior = self(g)
        rows = latent.flatten(0, 2)  # T B K, E
        each = linear_nll(rows, weight, bias, targets.flatten().repeat_interleave(self.experts), classes, backend)
        return -(log_prior - each.view_as(log_prior)).logsumexp(dim=2)

    def log_probabilities(self, g: Tensor, weight: Tensor, bias: Tensor | None, classes: int) -> Tensor:
        """Log-probability log p(y | g) of every token y, for short sequences: all K logits of each are held.

        Args:
            g: (T, B, H) float.
            weight: (V, E) float.
            bias: (V,) float or None.
            classes: Rows of `weight` that are tokens.

        Returns:
            (T, B, classes) at least float32, nats.
        """
        latent, log_prior = self(g)
        logits = functional.linear(latent, weight, bias)[..., :classes]
        log_p = logits.log_softmax(dim=3, dtype=log_prior.dtype)
        return (log_p + log_prior.unsqueeze(3)).logsumexp(dim=2)
