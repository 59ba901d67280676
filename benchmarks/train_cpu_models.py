"""Language models of both libraries for train_cpu.py, each with its loss and optimizer."""

from dataclasses import replace
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
DROPOUTS = ("embedding", "input", "hidden", "output", "weight")


class OurModel:
    """ulmkit's language model and optimizer; `sizes` are those of the encoder, by default of full size."""

    def __init__(
        self,
        vocab_size: int,
        weights: dict[str, Tensor],
        precision: str,
        *,
        dropout: bool,
        sizes: AWDLSTMConfig | None = None,
    ) -> None:
        dropouts: dict[str, Any] = {} if dropout else {f"{name}_dropout": 0.0 for name in DROPOUTS}
        encoder = replace(sizes or AWDLSTMConfig(), **dropouts)
        self.module = AWDLSTMLanguageModel(LanguageModelConfig(encoder=encoder), vocab_size)
        self.module.load_state_dict(weights)
        self.module.encoder.precision = precision
        groups = [group.parameters for group in language_model_groups(self.module)]
        self.optimizer = make_optimizer(groups, OptimizerConfig(), [RATE] * len(groups))
        self._vocab_size = vocab_size
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
    """fastai's language model and loss with torch's optimizer; `sizes` are those of the encoder."""

    def __init__(
        self,
        vocab_size: int,
        weights: dict[str, Tensor],
        precision: str,
        *,
        dropout: bool,
        sizes: AWDLSTMConfig | None = None,
    ) -> None:
        self._fastai: Any = load_fastai()
        sizes = sizes or AWDLSTMConfig()
        numbers = {"emb_sz": sizes.embedding_size, "n_hid": sizes.hidden_size, "n_layers": sizes.layers}
        config = {**self._fastai.awd_lstm_lm_config, **numbers}
        config = config if dropout else no_dropout(config)
        self.module = self._fastai.get_language_model(self._fastai.AWD_LSTM, vocab_size, config)
        self.module.load_state_dict(to_fastai(weights))
        self.module.reset()
        settings = OptimizerConfig()
        self.optimizer = torch.optim.AdamW(
            self.module.parameters(),
            lr=RATE,
            betas=settings.betas,
            eps=settings.eps,
            weight_decay=settings.weight_decay,
            fused=True,
        )
        self._autocast = torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16")

    def loss(self, ids: Tensor, targets: Tensor) -> Tensor:
        with self._autocast:
            return regularized_loss(self._fastai, self.module(ids.T), targets.T, AR, TAR)

    def gradients(self) -> dict[str, Tensor]:
        """Gradients by ulmkit's names."""
        gradients = {name: parameter.grad for name, parameter in self.module.named_parameters()}
        return from_fastai(gradients, language_model_names())
