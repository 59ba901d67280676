"""A copy of a model that learns while it is evaluated."""

import copy

import torch
from torch import Tensor

from ulmkit.errors import ConfigError
from ulmkit.model.language_model import AWDLSTMLanguageModel


class LearningCopy:
    """A copy of a model to take gradients of and to change; the model itself stays as it is, whatever happens.

    Dropout is off; it computes in fp32 unless the encoder's precision is chosen.

    Args: model: what to copy.
    Attributes: model: the copy; values: its parameters themselves by name, without the rows that only align.
    Raises: ConfigError for a model of bytes.
    """

    def __init__(self, model: AWDLSTMLanguageModel) -> None:
        if model.encoder.is_int8:
            raise ConfigError(
                "model: its weights are bytes, which cannot learn; take the model that they were made from"
            )
        self.model = copy.deepcopy(model).requires_grad_(True).eval()
        self.model.zero_grad()
        if self.model.encoder.precision == "auto":
            self.model.encoder.precision = "fp32"
        self.values = named_values(self.model)
        self._parameters = list(self.model.parameters())

    def gradients(self, loss: Tensor) -> list[Tensor]:
        """Of a scalar in each of `values`, in their order and shapes."""
        gradients = torch.autograd.grad(loss, self._parameters)
        return [gradient[: len(value)] for gradient, value in zip(gradients, self.values.values(), strict=True)]


def named_values(model: AWDLSTMLanguageModel) -> dict[str, Tensor]:
    """The parameters by name, detached, without the rows that only align; they share the parameters' memory."""
    saved = model.state_dict()
    return {name: saved[name] for name, _ in model.named_parameters()}
