"""Copies of batches to the model's device, and copies of models that share their weights."""

import copy
import itertools
from typing import TypeVar

import torch
from torch import Tensor, nn

Model = TypeVar("Model", bound=nn.Module)


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on a device.

    A copy to a GPU is asynchronous: it is queued from pinned memory, which torch keeps until the copy is done.
    """
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def frozen_copy(model: Model) -> Model:
    """A copy in evaluation mode that shares the model's weights, of which none requires a gradient.

    Gradients by the inputs alone then cost no gradients by the weights.
    """
    shared = {
        id(tensor): nn.Parameter(tensor.detach(), requires_grad=False)
        if isinstance(tensor, nn.Parameter)
        else tensor.detach()
        for tensor in itertools.chain(model.parameters(), model.buffers())
    }
    return copy.deepcopy(model, shared).eval()
