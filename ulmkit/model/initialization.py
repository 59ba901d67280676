"""Initial weights with which a deep LSTM learns from its first steps on."""

import math

import torch
from torch import nn

from ulmkit.config import check_positive
from ulmkit.model.awd_lstm import AWDLSTM

OUTPUT_DEVIATION = 0.3
"""Typical standard deviation of a layer's outputs, after some steps, when its pre-activations have one of 1."""


@torch.no_grad()
def draw_input_weights(encoder: AWDLSTM, gain: float, generator: torch.Generator | None = None) -> None:
    """Redraw the input weights of all layers, so that W_ih x begins with standard deviation `gain`.

    W_ih ~ U(-b, b);  b = gain sqrt(3 / E) / s

    E is the number of inputs and s their standard deviation. The published weights, U(-1 / sqrt(H), 1 / sqrt(H)) over
    an embedding from U(-0.1, 0.1), begin with a deviation of 0.02 in the first layer and less in each one above.

    Args:
        encoder: The encoder, changed in place.
        gain: Standard deviation of W_ih x, of the order of 1.
        generator: Source of randomness; None for torch's own.

    Raises:
        ConfigError: If the gain is not above 0.

    Source: the rule of LeCun, Bottou, Orr & Müller 1998, "Efficient BackProp", with each layer's own s.
    """
    check_positive("gain", gain)
    deviation = encoder.embedding.weight[: encoder.vocab_size].std().item()
    for layer in encoder.layers:
        weight = layer.input_weight
        bound = gain * math.sqrt(3.0 / weight.shape[1]) / deviation
        nn.init.uniform_(weight, -bound, bound, generator=generator)
        deviation = OUTPUT_DEVIATION
