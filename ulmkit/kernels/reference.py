"""The LSTM as its formula: the reference that every other backend is tested against."""

import torch
from torch import Tensor


def lstm(
    x: Tensor, h0: Tensor, c0: Tensor, w_ih: Tensor, w_hh: Tensor, bias: Tensor, lengths: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """One LSTM layer over a batch of sequences, step by step.

    i, f, g, o = split(W_ih x_t + W_hh h_{t-1} + b)
    c_t = sigmoid(f) * c_{t-1} + sigmoid(i) * tanh(g);  h_t = sigmoid(o) * tanh(c_t)

    Args:
        x: (T, B, E).
        h0: (B, H) hidden state before the first step.
        c0: (B, H) cell state before the first step.
        w_ih: (4H, E).
        w_hh: (4H, H), masked.
        bias: (4H,).
        lengths: (B,) int64 valid steps of each sequence; None if all are T.

    Returns:
        y (T, B, H), zero beyond a sequence's length, and h_n and c_n (B, H) after its last valid step.

    Source: Gers, Schmidhuber & Cummins 2000, "Learning to forget", section 3, in torch.nn.LSTM's gate order.
    """
    h, c = h0, c0
    outputs = []
    for t in range(x.shape[0]):
        i, f, g, o = (x[t] @ w_ih.T + h @ w_hh.T + bias).chunk(4, dim=1)
        c_next = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h_next = (o.sigmoid() * c_next.tanh()).to(h0.dtype)
        if lengths is None:
            h, c = h_next, c_next
            outputs.append(h)
        else:
            valid = (t < lengths).unsqueeze(1)
            h, c = torch.where(valid, h_next, h), torch.where(valid, c_next, c)
            outputs.append(torch.where(valid, h_next, torch.zeros_like(h_next)))
    y = torch.stack(outputs) if outputs else x.new_empty(0, x.shape[1], h0.shape[1])
    return y, h, c
