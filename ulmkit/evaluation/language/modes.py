"""The mode in which language models are evaluated: no dropout, no gradients."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ulmkit.model.language_model import AWDLSTMLanguageModel


@contextmanager
def evaluation_mode(model: AWDLSTMLanguageModel, *, exact: bool) -> Iterator[torch.device]:
    """Put a model in evaluation mode without gradients within the block, and restore each module's mode afterwards.

    Args:
        model: The model.
        exact: Compute in fp32 if the encoder's precision is "auto", which may mean bf16; a chosen precision stays.

    Yields:
        The device of the model's parameters.
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
