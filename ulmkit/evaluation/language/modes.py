"""Language models in evaluation: without dropout and gradients, or as a copy that learns."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

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


class LearningCopy:
    """A copy of a language model whose parameters may be changed; the original stays as it is.

    Dropout is off. The copy computes in fp32 unless the encoder's precision is chosen.

    Args:
        model: Model to copy.

    Attributes:
        model: The copy.
        parameters: Its parameters by name, without the rows that only align the softmax; changes to them change the
            copy.
    """

    def __init__(self, model: AWDLSTMLanguageModel) -> None:
        self.model = copy.deepcopy(model).requires_grad_(True).eval()
        self.model.zero_grad()
        if self.model.encoder.precision == "auto":
            self.model.encoder.precision = "fp32"
        self.parameters = unpadded_parameters(self.model)
        self._padded_parameters = list(self.model.parameters())

    def gradients(self, loss: Tensor) -> list[Tensor]:
        """Gradients of a scalar loss with respect to `parameters`, in their order and shapes."""
        gradients = torch.autograd.grad(loss, self._padded_parameters)
        return [gradient[: len(value)] for gradient, value in zip(gradients, self.parameters.values(), strict=True)]


def unpadded_parameters(model: AWDLSTMLanguageModel) -> dict[str, Tensor]:
    """Detached parameters by name, without the rows that only align the softmax; they share the parameters' memory."""
    state = model.state_dict()
    return {name: state[name] for name, _ in model.named_parameters()}
