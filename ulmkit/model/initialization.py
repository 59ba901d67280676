"""Initial weights that let a deep LSTM learn from its first steps."""

import math

import torch
from torch import nn

from ulmkit.config import check_positive
from ulmkit.model.aligned import AlignedRows
from ulmkit.model.awd_lstm import AWDLSTM

OUTPUT_DEVIATION = 0.3
"""About the standard deviation of a layer's outputs when its sums have one of 1 and the cell has run for a while."""


@torch.no_grad()
def draw_input_weights(encoder: AWDLSTM, gain: float, generator: torch.Generator | None = None) -> None:
    """Draw the weights that layers read their input with anew, so that their products begin with deviation `gain`.

    W_ih ~ U(-b, b);  b = gain sqrt(3 / E) / s

    with E the values that a unit reads and s their standard deviation. The published weights, U(-1 / sqrt(H), 1 /
    sqrt(H)) over an embedding of U(-0.1, 0.1), begin with 0.02 in the first layer and less in each above.

    Args: gain: of the order of 1.
    Raises: ConfigError for a gain that is not above 0.
    Source: the rule of LeCun, Bottou, Orr & Müller 1998, "Efficient BackProp", with each layer's own s.
    """
    check_positive("gain", gain)
    assert isinstance(encoder.embedding, AlignedRows)
    deviation = encoder.embedding.weight[: encoder.vocab_size].std().item()
    for layer in encoder.layers:
        weight = layer.input_weight
        bound = gain * math.sqrt(3.0 / weight.shape[1]) / deviation
        nn.init.uniform_(weight, -bound, bound, generator=generator)
        deviation = OUTPUT_DEVIATION
