"""The AWD-LSTM language model: encoder, tied softmax or a mixture of them, and the regularized loss.

p(next token | ids) = softmax(x_L E^T + b)      E the embedding, x_L the encoder's output after dropout
loss = mean NLL + AR(x_L) + TAR(h_L)
"""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ulmkit.kernels import linear_cross_entropy_rows
from ulmkit.model.aligned import AlignedRows
from ulmkit.model.awd_lstm import AWDLSTM
from ulmkit.model.config import LanguageModelConfig
from ulmkit.model.mixture import MixtureOfSoftmaxes
from ulmkit.model.prepared import EncoderOutput, PreparedWeights, State
from ulmkit.model.regularizers import penalties


@dataclass(frozen=True)
class LanguageModelLoss:
    """Training loss of a batch.

    Attributes:
        total: NLL and regularization; the quantity to minimize.
        nll: Mean negative log-likelihood, nats per token, without gradient.
        tokens: Number of predicted tokens.
        state: State to continue from, without gradient.
    """

    total: Tensor
    nll: Tensor
    tokens: int
    state: State


@dataclass(frozen=True)
class TokenScores:
    """Likelihood of each target; gradients flow through `mean_nll` alone.

    Attributes:
        mean_nll: Mean negative log-likelihood over all targets, nats, differentiable while gradients are on.
        nll: (T, B) negative log-likelihood of each target, nats.
        hidden: (T, B, H) output of the encoder's last layer.
        state: State to continue from.
    """

    mean_nll: Tensor
    nll: Tensor
    hidden: Tensor
    state: State


class AWDLSTMLanguageModel(nn.Module):
    """An AWD-LSTM whose embedding is also the weight of the softmax, or of every softmax of a mixture.

    Args:
        config: The encoder's config and the softmax's options.
        vocab_size: Number of token ids, V.

    Attributes:
        encoder: The AWD-LSTM.
        decoder: Bias of the softmax; None without.
        mixture: The mixture of softmaxes; None for the plain softmax.

    Source: Merity et al. 2017, arXiv:1708.02182; weight tying: Inan et al. 2017, arXiv:1611.01462, section 3.
    """

    def __init__(self, config: LanguageModelConfig, vocab_size: int) -> None:
        super().__init__()
        self.config = config
        self.vocab_size = vocab_size
        self.encoder = AWDLSTM(config.encoder, vocab_size)
        self.decoder = AlignedRows(vocab_size) if config.decoder_bias else None
        self.mixture: MixtureOfSoftmaxes | None = None
        if config.softmax_experts > 1:
            sizes = config.encoder.output_size, config.encoder.embedding_size
            self.mixture = MixtureOfSoftmaxes(*sizes, config.softmax_experts, config.latent_dropout)

    def forward(
        self, ids: Tensor, state: State | None = None, prepared: PreparedWeights | None = None
    ) -> tuple[Tensor, State]:
        """Logits of the token after each token, for short sequences: all of them are held in memory.

        A mixture's are log-probabilities. The matmul is in the weight's own type: for a few tokens, casting the weight
        would cost more.

        Args:
            ids: (T, B) int64.
            state: State to continue from; None for zeros.
            prepared: Masks and weights from `encoder.prepare(B)`; None prepares them.

        Returns:
            Logits (T, B, V) float, and the state to continue from.
        """
        output = self.encoder(ids, state, prepared)
        weight = self.encoder.embedding.weight
        dropped = output.dropped.to(weight.dtype)  # (T, B, E), or (T, B, H) for a mixture
        if self.mixture is not None:
            return self.mixture.log_probabilities(dropped, weight, self._bias, self.vocab_size), output.state
        return functional.linear(dropped, weight, self._bias)[..., : self.vocab_size], output.state

    def loss(
        self, ids: Tensor, targets: Tensor, state: State | None = None, *, ar: float = 2.0, tar: float = 1.0
    ) -> LanguageModelLoss:
        """Mean cross-entropy plus activation and temporal activation regularization.

        Args:
            ids: (T, B) int64.
            targets: (T, B) int64, the ids one step later.
            state: State to continue from, into which no gradient flows; None for zeros.
            ar: Weight alpha of AR (Merity et al. 2017, arXiv:1708.02182, section 4.6).
            tar: Weight beta of TAR (same section).
        """
        state = None if state is None else _detached(state)
        prepared = self.encoder.prepare(ids.shape[1])
        output = self.encoder(ids, state, prepared)
        nll, _ = self._nll(output, targets, prepared)
        terms = penalties(output.raw, output.dropped, prepared.output_masks[-1], ar, tar, self.encoder.backend)
        return LanguageModelLoss(sum(terms, start=nll), nll.detach(), targets.numel(), _detached(output.state))

    def token_scores(
        self, ids: Tensor, targets: Tensor, state: State | None = None, prepared: PreparedWeights | None = None
    ) -> TokenScores:
        """Likelihood of each target and the vectors it was predicted from, without regularization.

        Args:
            ids: (T, B) int64.
            targets: (T, B) int64, the ids one step later.
            state: State to continue from, into which no gradient flows; None for zeros.
            prepared: Masks and weights from `encoder.prepare(B)`; None prepares them.
        """
        prepared = self.encoder.prepare(ids.shape[1]) if prepared is None else prepared
        output = self.encoder(ids, state, prepared)
        mean_nll, nll = self._nll(output, targets, prepared)
        return TokenScores(mean_nll, nll.view(ids.shape), output.raw.detach(), _detached(output.state))

    @torch.no_grad()
    def token_nll(
        self, ids: Tensor, targets: Tensor, state: State | None = None, prepared: PreparedWeights | None = None
    ) -> tuple[Tensor, State]:
        """Negative log-likelihood of each target, nats, without regularization or gradient.

        Returns:
            NLL (T, B) float32, and the state to continue from.
        """
        scores = self.token_scores(ids, targets, state, prepared)
        return scores.nll, scores.state

    def _nll(self, output: EncoderOutput, targets: Tensor, prepared: PreparedWeights) -> tuple[Tensor, Tensor]:
        """Mean NLL over all targets, differentiable, and each target's (N,), without gradient; nats."""
        table = cast(Tensor, prepared.table)  # the embedding's own table, so that both uses share one gradient
        backend = self.encoder.backend
        if self.mixture is not None:
            nll = self.mixture.nll(output.dropped, table, self._bias, targets, self.vocab_size, backend)
            return nll.mean(), nll.detach().flatten()
        rows = output.dropped.flatten(0, 1)  # (T B, E)
        return linear_cross_entropy_rows(rows, table, self._bias, targets.flatten(), self.vocab_size, backend)

    @property
    def _bias(self) -> Tensor | None:
        return None if self.decoder is None else self.decoder.weight


def _detached(state: State) -> State:
    """The state without its history: no gradient flows into it."""
    return [(h.detach(), c.detach()) for h, c in state]
