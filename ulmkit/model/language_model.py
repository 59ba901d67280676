"""The AWD-LSTM language model: encoder, tied softmax or several of them, and the regularised loss."""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ulmkit.kernels import linear_cross_entropy_rows
from ulmkit.model.aligned import AlignedRows
from ulmkit.model.awd_lstm import AWDLSTM, EncoderOutput, Prepared, State
from ulmkit.model.config import LanguageModelConfig
from ulmkit.model.mixture import MixtureOfSoftmaxes
from ulmkit.model.regularizers import penalties


@dataclass(frozen=True)
class LanguageModelLoss:
    """total: what is minimised; nll: mean negative log-likelihood, nats a token; tokens: predicted tokens."""

    total: Tensor
    nll: Tensor
    tokens: int
    state: State


@dataclass(frozen=True)
class TokenScores:
    """mean_nll: over all targets, nats, differentiable where gradients are on; nll: (T, B) of each target; hidden:
    (T, B, H) the encoder's last layer; state: to go on with. Gradients flow through `mean_nll` alone."""

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
            self.mixture = MixtureOfSoftmaxes(
                config.encoder.output_size,
                config.encoder.embedding_size,
                config.softmax_experts,
                config.latent_dropout,
            )

    def forward(
        self, ids: Tensor, state: State | None = None, prepared: Prepared | None = None
    ) -> tuple[Tensor, State]:
        """Logits of the token after each token (of a mixture log-probabilities, which are logits too); for short
        sequences, since all are held.

        Products with the softmax's weight are in its own type: for a few tokens, casting it would cost the most.

        Args: ids: (T, B) int64. state: to go on from. prepared: from `encoder.prepare(B)`.
        Returns: logits (T, B, V) float, and the state to go on with.
        """
        output = self.encoder(ids, state, prepared)
        dropped, classes = output.dropped.to(self._weight.dtype), self.vocab_size
        if self.mixture is not None:
            return self.mixture.log_probabilities(dropped, self._weight, self._bias, classes), output.state
        return functional.linear(dropped, self._weight, self._bias)[..., :classes], output.state

    def loss(
        self, ids: Tensor, targets: Tensor, state: State | None = None, *, ar: float = 2.0, tar: float = 1.0
    ) -> LanguageModelLoss:
        """Mean cross-entropy plus activation and temporal activation regularisation.

        Args:
            ids, targets: (T, B) int64; targets are ids one step later.
            state: to go on from (its history is cut: no gradient flows into it).
            ar, tar: alpha and beta of Merity et al. 2017, arXiv:1708.02182, section 4.6.
        """
        state = None if state is None else [(h.detach(), c.detach()) for h, c in state]
        prepared = self.encoder.prepare(ids.shape[1])
        output = self.encoder(ids, state, prepared)
        nll, _ = self._nll(output, targets, prepared)
        mask, backend = prepared.output_mask, self.encoder.backend
        total = sum(penalties(output.raw, output.dropped, mask, ar, tar, backend), start=nll)
        state = [(h.detach(), c.detach()) for h, c in output.state]
        return LanguageModelLoss(total, nll.detach(), targets.numel(), state)

    def token_scores(
        self, ids: Tensor, targets: Tensor, state: State | None = None, prepared: Prepared | None = None
    ) -> TokenScores:
        """How likely each target is, and the vectors that it was predicted from; without regularisation.

        Args: as `loss` and `forward` have them. No gradient flows into `state`.
        """
        prepared = self.encoder.prepare(ids.shape[1]) if prepared is None else prepared
        output = self.encoder(ids, state, prepared)
        mean_nll, nll = self._nll(output, targets, prepared)
        state = [(h.detach(), c.detach()) for h, c in output.state]
        return TokenScores(mean_nll, nll.view(ids.shape), output.raw.detach(), state)

    @torch.no_grad()
    def token_nll(
        self, ids: Tensor, targets: Tensor, state: State | None = None, prepared: Prepared | None = None
    ) -> tuple[Tensor, State]:
        """Negative log-likelihood of each target, nats, without regularisation or gradient.

        Returns: nll (T, B) float32, and the state to go on with.
        """
        scores = self.token_scores(ids, targets, state, prepared)
        return scores.nll, scores.state

    def _nll(self, output: EncoderOutput, targets: Tensor, prepared: Prepared) -> tuple[Tensor, Tensor]:
        """Mean over all targets, differentiable, and each target's, (N,), without gradient; nats."""
        table = cast(Tensor, prepared.table)  # as the embedding's: one gradient
        classes, backend = self.vocab_size, self.encoder.backend
        if self.mixture is not None:
            nll = self.mixture.nll(output.dropped, table, self._bias, targets, classes, backend)
            return nll.mean(), nll.detach().flatten()
        rows = output.dropped.flatten(0, 1)
        return linear_cross_entropy_rows(rows, table, self._bias, targets.flatten(), classes, backend)

    @property
    def _weight(self) -> Tensor:
        """Of the softmax: the embedding's."""
        return cast(AlignedRows, self.encoder.embedding).weight

    @property
    def _bias(self) -> Tensor | None:
        return None if self.decoder is None else self.decoder.weight
