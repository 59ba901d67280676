"""LSTM layers for lstm_cuda.py: ulmkit's backends, torch.nn.LSTM and FlashRNN."""

import importlib.util
import shutil
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ulmkit.kernels import draw_keep_bits, pack, unpack_keep_bits

HIDDEN = 1152
STEPS = 70
DROPOUT = 0.5
LIMIT = 2e-2  # relative difference from float32


class Layer:
    """An LSTM layer computed by one of ulmkit's backends."""

    limit = LIMIT

    def __init__(self, batch: int, hidden: int, dtype: torch.dtype, dropout: float, backend: str) -> None:
        torch.manual_seed(0)
        self.dtype = dtype
        self.dropout = dropout
        self.backend = backend
        self.weights = [
            (torch.randn(shape, device="cuda") * hidden**-0.5).requires_grad_()
            for shape in ((4 * hidden, hidden), (4 * hidden, hidden), (4 * hidden,))
        ]
        self.x = torch.randn(2 * STEPS, batch, hidden, device="cuda").to(dtype)
        self.dy = torch.randn(2 * STEPS, batch, hidden, device="cuda").to(dtype)
        self.state = torch.zeros(batch, hidden, device="cuda")
        self.bits = draw_keep_bits(4 * hidden, hidden, dropout, device="cuda") if dropout else None

    def output(self, dtype: torch.dtype | None = None, backend: str | None = None) -> Tensor:
        """Output for all of x, in the layer's type and by its backend unless others are given."""
        dtype = dtype or self.dtype
        return self.forward(self.x.to(dtype), self.bits, dtype, backend or self.backend)

    def run(self, steps: int, learns: bool) -> Callable[[], Any]:
        """A function to time; `learns`: with backward, and with masks drawn anew."""
        x = self.x[:steps].clone().requires_grad_(learns)

        def forward_and_backward() -> None:
            rows, columns = self.weights[1].shape
            w_ih, w_hh, bias = self.weights
            if self.backend == "fused":
                bits = None
                if self.dropout:
                    bits = draw_keep_bits(rows, columns, self.dropout, device="cuda", backend="fused")
                y = self.forward(x, bits, self.dtype, self.backend)
            else:
                dropped = nn.functional.dropout(w_hh, self.dropout)
                packed = pack(w_ih, dropped, None, 1.0, self.dtype, "torch")
                y = packed.run(x, self.state, self.state, bias)[0]
            torch.autograd.grad(y, [x, *self.weights], self.dy[:steps])

        def forward() -> None:
            with torch.no_grad():
                self.forward(x, self.bits, self.dtype, self.backend)

        return forward_and_backward if learns else forward

    def forward(self, x: Tensor, bits: Tensor | None, dtype: torch.dtype, backend: str) -> Tensor:
        w_ih, w_hh, bias = self.weights
        packed = pack(w_ih, w_hh, bits, 1.0 / (1.0 - self.dropout), dtype, backend)
        return packed.run(x, self.state, self.state, bias)[0]


class ModuleLayer:
    """torch.nn.LSTM with weights in its own type, laid out once and never masked."""

    def __init__(self, batch: int, hidden: int, dtype: torch.dtype) -> None:
        self.module = nn.LSTM(hidden, hidden, device="cuda", dtype=dtype)
        self.x = torch.randn(2 * STEPS, batch, hidden, device="cuda", dtype=dtype)
        self.dy = torch.randn_like(self.x)

    def run(self, steps: int, learns: bool) -> Callable[[], Any]:
        x = self.x[:steps].clone().requires_grad_(learns)

        def forward_and_backward() -> None:
            torch.autograd.grad(self.module(x)[0], [x, *self.module.parameters()], self.dy[:steps])

        def forward() -> None:
            with torch.no_grad():
                self.module(x)

        return forward_and_backward if learns else forward


class FlashRNNLayer:
    """FlashRNN's fused LSTM with a layer's weights; its axes: T, B, head, D units, G gates, P previous units."""

    backend = "FlashRNN"
    limit = 2.5 * LIMIT  # FlashRNN keeps the cell state in bf16

    def __init__(self, like: Layer) -> None:
        from flashrnn.flashrnn.flashrnn import FlashRNNConfig, flashrnn

        self.like = like
        self._run = flashrnn
        self._config = FlashRNNConfig(
            head_dim=HIDDEN,
            num_heads=1,
            batch_size=like.x.shape[1],
            function="lstm",
            backend="cuda_fused",
            dtype="bfloat16",
            input_shape="TBHDG",
            recurrent_shape="HDGP",
            bias_shape="HDG",
            output_shape="STBHD",
        )
        w_ih, w_hh, bias = (
            weight.detach().unflatten(0, (4, HIDDEN)).transpose(0, 1).contiguous() for weight in like.weights
        )
        self.w_ih, self.w_hh, self.bias = (weight.requires_grad_() for weight in (w_ih, w_hh, bias))
        self.states = torch.zeros(2, 1, like.x.shape[1], 1, HIDDEN, device="cuda", dtype=like.dtype)

    def output(self) -> Tensor:
        """Output for all of the layer's x, with the layer's mask."""
        keep = unpack_keep_bits(self.like.bits, HIDDEN).unflatten(0, (4, HIDDEN)).transpose(0, 1)
        return self._forward(self.like.x, self.w_hh * keep / (1.0 - DROPOUT))

    def run(self, steps: int, learns: bool) -> Callable[[], Any]:
        """A function to time; `learns`: with backward, and with masks drawn anew."""
        x = self.like.x[:steps].clone().requires_grad_(learns)
        dropped = nn.functional.dropout(self.w_hh.detach(), DROPOUT)

        def forward_and_backward() -> None:
            y = self._forward(x, nn.functional.dropout(self.w_hh, DROPOUT))
            torch.autograd.grad(y, [x, self.w_ih, self.w_hh, self.bias], self.like.dy[:steps])

        def forward() -> None:
            with torch.no_grad():
                self._forward(x, dropped)

        return forward_and_backward if learns else forward

    def _forward(self, x: Tensor, w_hh: Tensor) -> Tensor:
        """Output for x (T, B, E) with masked weights w_hh (D, G, P) float32."""
        sums = nn.functional.linear(x, self.w_ih.flatten(0, 1).to(x.dtype)).unflatten(2, (1, HIDDEN, 4))
        low = w_hh.to(x.dtype)[None], self.bias.to(x.dtype)[None]
        states, _ = self._run(sums, *low, states=self.states, config=self._config)
        return states[0, :, :, 0]


def missing_flashrnn() -> str | None:
    """Reason why FlashRNN cannot run; None if it can."""
    if importlib.util.find_spec("flashrnn") is None:
        return "not installed"
    return "no nvcc to compile it" if shutil.which("nvcc") is None else None
