"""Copies of batches to where the model is."""

import torch
from torch import Tensor


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on a device. To a GPU the copy takes its turn behind what is queued there, and the host goes on: it is
    made from memory that is pinned, which torch keeps until then."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
