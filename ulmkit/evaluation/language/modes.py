"""A model as it is evaluated: dropout off, no gradients, and put back as it was."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ulmkit.model.language_model import AWDLSTMLanguageModel


@contextmanager
def evaluation_mode(model: AWDLSTMLanguageModel, *, exact: bool) -> Iterator[torch.device]:
    """Within the block `model` is in evaluation mode without gradients; afterwards each module has its own mode again.

    Args: exact: compute in the parameters' own type where the encoder's precision is "auto", which may mean bf16; a
        precision that was chosen stays.
    Yields: the device of the model's parameters.
    """
    modes = [(module, module.training) for module in model.modules()]
    precision = model.encoder.precision
    model.eval()
    if exact and precision == "auto":
        model.encoder.precision = "fp32"
    try:
        with torch.no_grad():
            yield next(model.parameters()).device
    finally:
        model.encoder.precision = precision
        for module, training in modes:
            module.training = training
