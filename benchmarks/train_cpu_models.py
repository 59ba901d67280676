"""Language models of both libraries for train_cpu.py, each with its loss and optimizer."""

from dataclasses import dataclass, field
from typing import Any

import torch
from fastai_peer import from_fastai, language_model_names, load_fastai, no_dropout, regularized_loss, to_fastai
from torch import Tensor

from ulmkit.model.awd_lstm import AWDLSTMConfig, State
from ulmkit.model.language_model import AWDLSTMLanguageModel, LanguageModelConfig
from ulmkit.model.layer_groups import language_model_groups
from ulmkit.training import OptimizerConfig, make_optimizer

AR = 2.0
TAR = 1.0
RATE = 1e-3


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Language model that both libraries make.

    Attributes:
        vocab_size: Size of the vocabulary.
        weights: Weights by ulmkit's names.
        precision: Precision to compute in, "fp32" or "bf16".
        dropout: Whether to train with dropout.
        sizes: Sizes of the encoder, by default full.
    """

    vocab_size: int
    weights: dict[str, Tensor]
    precision: str
    dropout: bool
    sizes: AWDLSTMConfig = field(default_factory=AWDLSTMConfig)


class OurModel:
    """ulmkit's language model and optimizer."""

    def __init__(self, setting: Setting) -> None:
        encoder = setting.sizes if setting.dropout else setting.sizes.without_dropout()
        self.module = AWDLSTMLanguageModel(LanguageModelConfig(encoder=encoder), setting.vocab_size)
        self.module.load_state_dict(setting.weights)
        self.module.encoder.precision = setting.precision
        groups = language_model_groups(self.module)
        self.optimizer = make_optimizer(groups, OptimizerConfig(), [RATE] * len(groups))
        self._vocab_size = setting.vocab_size
        self._state: State | None = None

    def loss(self, ids: Tensor, targets: Tensor) -> Tensor:
        result = self.module.loss(ids, targets, self._state, ar=AR, tar=TAR)
        self._state = result.state
        return result.total

    def gradients(self) -> dict[str, Tensor]:
        """Gradients by name, without the rows that only align the softmax."""
        by_row = ("encoder.embedding.weight", "decoder.weight")
        return {
            name: parameter.grad[: self._vocab_size if name in by_row else None].contiguous()
            for name, parameter in self.module.named_parameters()
        }


class FastaiModel:
    """fastai's language model and loss with torch's optimizer."""

    def __init__(self, setting: Setting) -> None:
        self._fastai: Any = load_fastai()
        sizes = setting.sizes
        numbers = {"emb_sz": sizes.embedding_size, "n_hid": sizes.hidden_size, "n_layers": sizes.layers}
        config = {**self._fastai.awd_lstm_lm_config, **numbers}
        config = config if setting.dropout else no_dropout(config)
        self.module = self._fastai.get_language_model(self._fastai.AWD_LSTM, setting.vocab_size, config)
        self.module.load_state_dict(to_fastai(setting.weights))
        self.module.reset()
        adamw = OptimizerConfig()
        self.optimizer = torch.optim.AdamW(
            self.module.parameters(),
            lr=RATE,
            betas=adamw.betas,
            eps=adamw.eps,
            weight_decay=adamw.weight_decay,
            fused=True,
        )
        self._autocast = torch.autocast("cpu", dtype=torch.bfloat16, enabled=setting.precision == "bf16")

    def loss(self, ids: Tensor, targets: Tensor) -> Tensor:
        with self._autocast:
            return regularized_loss(self._fastai, self.module(ids.T), targets.T, AR, TAR)

    def gradients(self) -> dict[str, Tensor]:
        """Gradients by ulmkit's names."""
        gradients = {name: parameter.grad for name, parameter in self.module.named_parameters()}
        return from_fastai(gradients, language_model_names())
