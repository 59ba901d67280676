"""A tiny language model, streams for it, and its formulas written out in float64."""

import copy
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from support.models import make_language_model
from ulmkit.evaluation import CacheConfig, DynamicConfig
from ulmkit.model.language_model import AWDLSTMLanguageModel
from ulmkit.text.batches import LanguageModelBatch

V = 13
CONTEXT = 3
RMS = DynamicConfig(learning_rate=2e-3, decay=0.01, epsilon=1e-3)
SGD = DynamicConfig(learning_rate=0.3, decay=0.02, rule="sgd")
CACHE = CacheConfig(window=12, theta=0.5, weight=0.15)
MIXTURE = {"softmax_experts": 3, "latent_dropout": 0.2, "last_hidden_size": 10}


def tiny_model(vocab_size: int = V, **options: Any) -> AWDLSTMLanguageModel:
    """A language model in training mode, with dropout, whose state matters."""
    torch.manual_seed(0)
    model = make_language_model(vocab_size, embedding_size=8, hidden_size=12, layers=2, **options)
    model.encoder.precision = "fp32"  # approximate_perplexity keeps "auto", which may be bf16
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0)  # the state of an untrained model hardly matters
    return model.train()


def ids(length: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, V, length)


def batches() -> list[LanguageModelBatch]:
    """Batches of four rows and five steps of one text."""
    text = torch.from_numpy(ids(4 * 21, seed=7)).view(21, 4)
    return [
        LanguageModelBatch(text[start : start + 5], text[start + 1 : start + 6], 1.0, is_first=start == 0)
        for start in (0, 5, 10, 15)
    ]


def inputs_of(stream: np.ndarray) -> list[int]:
    """Tokens that those of an exact stream are predicted from."""
    return [CONTEXT, *stream[:-1].tolist()]


class NaiveModel:
    """The AWD-LSTM without dropout, as formulas on float64 parameters.

    Attributes:
        parameters: Copies of the model's parameters by name, which require gradients.
    """

    def __init__(self, model: AWDLSTMLanguageModel) -> None:
        saved = copy.deepcopy(model).double().state_dict()
        self.parameters = {name: tensor.clone().requires_grad_(True) for name, tensor in saved.items()}
        self.layers = model.config.encoder.layers

    def step(
        self, tokens: Tensor, state: list[tuple[Tensor, Tensor]] | None
    ) -> tuple[Tensor, Tensor, list[tuple[Tensor, Tensor]]]:
        """Read a token of each row (B,); returns log-probabilities (B, V), last layer's h (B, E) and the new state."""
        p = self.parameters
        x, new = p["encoder.embedding.weight"][tokens], []
        for layer in range(self.layers):
            weights = [p[f"encoder.layers.{layer}.{name}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
            w_ih, w_hh, b_ih, b_hh = weights
            zeros = x.new_zeros(len(tokens), w_hh.shape[1])
            h, c = (zeros, zeros) if state is None else state[layer]
            i, f, g, o = (x @ w_ih.T + b_ih + h @ w_hh.T + b_hh).chunk(4, dim=1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            x = o.sigmoid() * c.tanh()
            new.append((x, c))
        if "mixture.prior.weight" not in p:
            return functional.log_softmax(self._logits(x), dim=1), x, new
        prior = (x @ p["mixture.prior.weight"].T).softmax(dim=1)
        latent = (x @ p["mixture.latent.weight"].T + p["mixture.latent.bias"]).tanh()
        experts = latent.chunk(prior.shape[1], dim=1)
        mixed = [prior[:, k, None] * self._logits(h).softmax(dim=1) for k, h in enumerate(experts)]
        return torch.stack(mixed).sum(dim=0).log(), x, new

    def _logits(self, x: Tensor) -> Tensor:
        return x @ self.parameters["encoder.embedding.weight"].T + self.parameters["decoder.weight"]


def naive_statistics(model: AWDLSTMLanguageModel, read: Iterable[LanguageModelBatch]) -> dict[str, Tensor]:
    """Mean squared gradients by parameter name, from the naive model."""
    naive, state, sums, count = NaiveModel(model), None, {}, 0
    for batch in read:
        losses = []
        for inputs, targets in zip(batch.inputs, batch.targets, strict=True):
            log_p, _, state = naive.step(inputs, state)
            losses.append(-log_p.gather(1, targets[:, None]))
        gradients = torch.autograd.grad(torch.cat(losses).mean(), list(naive.parameters.values()))
        for name, gradient in zip(naive.parameters, gradients, strict=True):
            sums[name] = sums.get(name, 0) + gradient**2
        state, count = [(h.detach(), c.detach()) for h, c in state], count + 1
    return {name: total / count for name, total in sums.items()}
