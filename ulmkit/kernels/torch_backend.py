"""The LSTM by torch's own kernels, called as functions: no module is changed.

They are oneDNN's on CPUs, in fp32 only (`ulmkit.kernels.stepwise` says why), and cuDNN's on GPUs.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


def lstm(
    x: Tensor, h0: Tensor, c0: Tensor, w_ih: Tensor, w_hh: Tensor, bias: Tensor, lengths: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """One LSTM layer over a batch of sequences; see `ulmkit.kernels.reference.lstm`.

    In bf16, cuDNN keeps the cell state in bf16 between steps.
    """
    if x.shape[0] == 0:
        return x.new_empty(0, x.shape[1], h0.shape[1]), h0, c0
    c0 = c0.to(x.dtype)
    weights = _flat_weights(w_ih, w_hh, bias)
    requires_grad = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (x, *weights))
    if lengths is not None:
        return _packed_lstm(x, h0, c0, weights, lengths, requires_grad)
    states = h0.unsqueeze(0), c0.unsqueeze(0)
    y, h, c = _torch_lstm(x, states, weights, True, 1, 0.0, requires_grad, False, False)
    return y, h[0], c[0]


def _torch_lstm(*arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    return (_opaque_lstm() if torch.compiler.is_compiling() else torch.lstm)(*arguments)


@functools.cache
def _opaque_lstm() -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
    """torch.lstm that torch.compile does not trace: unrolled into time steps, it would compile for minutes.

    Made on first use, since it loads the compiler.
    """
    return torch.compiler.disable(torch.lstm)


def _flat_weights(w_ih: Tensor, w_hh: Tensor, bias: Tensor) -> list[Tensor]:
    """The four tensors that torch.lstm takes; on a GPU views of one buffer, the layout that cuDNN needs."""
    weights = [w_ih, w_hh, bias, torch.zeros_like(bias)]
    if w_ih.device.type != "cuda":
        return weights
    flat = torch.cat([w.reshape(-1) for w in weights])
    parts = flat.split([w.numel() for w in weights])
    return [part.view_as(w) for part, w in zip(parts, weights, strict=True)]


def _packed_lstm(
    x: Tensor, h0: Tensor, c0: Tensor, weights: list[Tensor], lengths: Tensor, requires_grad: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """The LSTM over sequences of several lengths, packed so that each step computes only those that are still running.

    torch cannot pack empty sequences: they are left out and keep their state.
    """
    order = torch.argsort(lengths, descending=True, stable=True)
    present = order[: int((lengths > 0).sum())]
    if len(present) == 0:
        return x.new_zeros(*x.shape[:2], h0.shape[1]), h0, c0
    packed = pack_padded_sequence(x[:, present], lengths[present].cpu())
    states = h0[present].unsqueeze(0), c0[present].unsqueeze(0)
    data, h, c = _torch_lstm(packed.data, packed.batch_sizes, states, weights, True, 1, 0.0, requires_grad, False)
    padded, _ = pad_packed_sequence(packed._replace(data=data), total_length=x.shape[0])
    y = x.new_zeros(*x.shape[:2], h0.shape[1]).index_copy(1, present, padded)
    return y, h0.index_copy(0, present, h[0]), c0.index_copy(0, present, c[0])
