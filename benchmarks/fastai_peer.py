"""fastai's AWD-LSTM as a peer: equal weights in both libraries, and token ids for them."""

import functools
import traceback
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

MISSING = "fastai (not installed)"
PAD_ID = 1  # fastai passes no gradient to this row of the embedding
LAYERS = 3
NO_DROPOUT = 1e-30
"""A dropout that drops nothing.

With 0, fastai 2.8.12 registers the LSTM's weight twice and then cannot be reset, and leaves layers out of a
classifier's head.
"""


@functools.cache
def load_fastai() -> SimpleNamespace | None:
    """Parts of fastai that the benchmarks use; None if it is not installed, or fails with a printed traceback."""
    try:
        from fastai.callback.rnn import RNNRegularizer
        from fastai.text.models.awdlstm import AWD_LSTM, awd_lstm_clas_config, awd_lstm_lm_config
        from fastai.text.models.core import get_language_model, get_text_classifier
    except Exception as error:  # any of the packages that it imports may fail
        if getattr(error, "name", None) != "fastai":
            traceback.print_exc()
        return None
    return SimpleNamespace(
        AWD_LSTM=AWD_LSTM,
        awd_lstm_lm_config=awd_lstm_lm_config,
        awd_lstm_clas_config=awd_lstm_clas_config,
        RNNRegularizer=RNNRegularizer,
        get_language_model=get_language_model,
        get_text_classifier=get_text_classifier,
    )


def language_model_names(layers: int = LAYERS) -> dict[str, str]:
    """fastai's names of a language model's parameters by ulmkit's names; shapes and gate order are equal."""
    return {**_encoder_names("0.", layers), "decoder.weight": "1.decoder.bias"}


def classifier_names(layers: int = LAYERS) -> dict[str, str]:
    """fastai's names of a classifier's parameters by ulmkit's names; its head's linear layers have no bias."""
    names = _encoder_names("0.module.", layers)
    for ours, theirs in ((0, "0.0"), (4, "1.0")):
        for tensor in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            names[f"head.layers.{ours}.{tensor}"] = f"1.layers.{theirs}.{tensor}"
    return {**names, "head.layers.2.weight": "1.layers.0.2.weight", "head.layers.6.weight": "1.layers.1.2.weight"}


def _encoder_names(prefix: str, layers: int) -> dict[str, str]:
    names = {"encoder.embedding.weight": f"{prefix}encoder.weight"}
    for layer in range(layers):
        names[f"encoder.layers.{layer}.weight_hh"] = f"{prefix}rnns.{layer}.weight_hh_l0_raw"
        for tensor in ("weight_ih", "bias_ih", "bias_hh"):
            names[f"encoder.layers.{layer}.{tensor}"] = f"{prefix}rnns.{layer}.module.{tensor}_l0"
    return names


def to_fastai(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert a state dict of ulmkit's language model to fastai's, where the embedding has three names."""
    renamed = {theirs: weights[ours] for ours, theirs in language_model_names().items()}
    embedding = weights["encoder.embedding.weight"]
    return {**renamed, "0.encoder_dp.emb.weight": embedding, "1.decoder.weight": embedding}


def from_fastai(weights: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    """Rename a state dict or gradients of a fastai model to ulmkit's names."""
    return {ours: weights[theirs] for ours, theirs in names.items()}


def no_dropout(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration of fastai's with dropouts that drop nothing."""
    zeros = {name: 0.0 for name in config if name.endswith("_p")}
    return {**config, **zeros, "weight_p": NO_DROPOUT}


def regularized_loss(fastai: Any, prediction: tuple[Tensor, ...], targets: Tensor, ar: float, tar: float) -> Tensor:
    """Loss that fastai's learner minimizes, computed by its own callback.

    Args:
        fastai: Result of `load_fastai`.
        prediction: Logits (B, T, V), raw outputs (B, T, E) and outputs after dropout (B, T, E).
        targets: (B, T) int64.
        ar: Factor of activation regularization.
        tar: Factor of temporal activation regularization.
    """
    logits, raw, dropped = prediction
    loss = torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten())
    callback = fastai.RNNRegularizer(alpha=ar, beta=tar)
    outputs = SimpleNamespace(out=dropped, raw_out=raw)
    callback.learn = SimpleNamespace(training=True, rnn=outputs, loss_grad=loss.clone())  # the callback adds in place
    callback.after_loss()
    return callback.learn.loss_grad


def zipf_ids(vocab_size: int, tokens: int, seed: int = 0) -> Tensor:
    """Draw token ids with probability proportional to 1 / (id + 2.7), like words of a text sorted by frequency.

    Returns:
        (tokens,) int64, none of them PAD_ID.
    """
    probability = 1.0 / (torch.arange(vocab_size, dtype=torch.float64) + 2.7)
    probability[PAD_ID] = 0.0
    generator = torch.Generator().manual_seed(seed)
    return torch.multinomial(probability, tokens, replacement=True, generator=generator)
