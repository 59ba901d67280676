"""How fast is one LSTM layer on this GPU, beside cuDNN?

A layer of 1152 inputs and 1152 units with half of its recurrent weights dropped, as in the middle of a full-size AWD-
LSTM: forward and backward of 70 steps in bf16, new masks laid out each time, as training does. The peers are cuDNN
with weights masked by torch's dropout and its flat buffer filled anew each time, as it has to be then, and
`torch.nn.LSTM` as it comes, without masks. Then forward alone; the time of one more step; and fp16 with 1,024 units
and no masks, where cuDNN has its own persistent kernel. First each layer's output is compared with that in float32.
Medians by device events.

With --flashrnn the one peer is FlashRNN's fused kernel (Pöppel et al. 2024, arXiv:2412.07752) with a single head, in
the order of axes that it computes in, weights masked each time; it needs nvcc, and compiles for minutes.

    python benchmarks/lstm_cuda.py [--batches N ...] [--repeats N] [--quick] [--flashrnn] [--json FILE]
"""

import argparse
import statistics
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from common import DifferentError, report_as_they_come, row
from torch import Tensor, nn

from ulmkit.kernels import draw_keep_bits, lstm, pack, unpack_keep_bits
from ulmkit.kernels.cuda.launcher import kernels

HIDDEN, STEPS, DROPOUT = 1152, 70, 0.5
PERSISTENT_HIDDEN = 1024  # the largest that cuDNN keeps on the chip
LIMIT = 2e-2  # relative difference from float32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, nargs="+", default=[20, 64, 128])
    parser.add_argument("--repeats", type=int, default=50, help="of which the medians are taken (50)")
    parser.add_argument("--quick", action="store_true", help="batch 64 and 10 repeats")
    parser.add_argument("--flashrnn", action="store_true", help="compare with FlashRNN, and with nothing else")
    parser.add_argument("--json", metavar="FILE", help="write the figures to this file")
    options = parser.parse_args()
    if options.quick:
        options.batches, options.repeats = [64], 10
    if not torch.cuda.is_available():
        sys.exit("this benchmark needs a CUDA device; torch finds none here")
    print(f"torch {torch.__version__}, {torch.cuda.get_device_name()}, cuDNN {torch.backends.cudnn.version()}\n")
    cases: list[Callable[[], list[dict[str, Any]]]] = [
        partial(compare, batch, HIDDEN, torch.bfloat16, DROPOUT, options.repeats) for batch in options.batches
    ]
    cases.append(partial(compare, 64, PERSISTENT_HIDDEN, torch.float16, 0.0, options.repeats))
    if options.flashrnn:
        cases = [partial(compare_with_flashrnn, batch, options.repeats) for batch in options.batches]
    name = "lstm_cuda_flashrnn" if options.flashrnn else "lstm_cuda"
    sys.exit(not report_as_they_come(name, cases, options.json))


def compare(batch: int, hidden: int, dtype: torch.dtype, dropout: float, repeats: int) -> list[dict[str, Any]]:
    """Forward and backward, forward, and a step of ours and of theirs."""
    name = {torch.bfloat16: "bf16", torch.float16: "fp16"}[dtype]
    case = f"{name}, {hidden} units, B {batch}" + (", masks" if dropout else "")
    for direction in ("forward", "backward"):
        plan = kernels(0).plan(direction, dtype, batch, hidden)
        print(f"{case}: {direction} {'step by step' if plan is None else dict(plan.source.constants)}")
    ours, cudnn = (Layer(batch, hidden, dtype, dropout, backend) for backend in ("fused", "torch"))
    check(case, ours, cudnn)
    peers: dict[str, Callable[[int, bool], Callable[[], Any]]] = {
        "nn.LSTM, no masks": ModuleLayer(batch, hidden, dtype).run
    }
    if dropout:
        peers = {"cuDNN, masked weights laid out": cudnn.run, **peers}
    rows = []
    for what, learns in (("forward + backward", True), ("forward", False)):
        mine = milliseconds(ours.run(STEPS, learns), repeats)
        for peer, run in peers.items():
            theirs = milliseconds(run(STEPS, learns), repeats)
            rows.append(row(f"{case}: {what}", "ms", mine, theirs, peer, lower_is_better=True))
    step = 1000 * (milliseconds(ours.run(2 * STEPS, False), repeats) - mine) / STEPS
    rows.append(row(f"{case}: a step more, forward", "us", step, 4.0, "goal", lower_is_better=True))
    return rows


def compare_with_flashrnn(batch: int, repeats: int) -> list[dict[str, Any]]:
    """Forward and backward, and forward, beside FlashRNN."""
    case = f"bf16, {HIDDEN} units, B {batch}, masks"
    ours = Layer(batch, HIDDEN, torch.bfloat16, DROPOUT, "fused")
    theirs = FlashRNNLayer(ours)
    check(case, ours, theirs)
    rows = []
    for what, learns in (("forward + backward", True), ("forward", False)):
        times = [milliseconds(layer.run(STEPS, learns), repeats) for layer in (ours, theirs)]
        rows.append(row(f"{case}: {what}", "ms", *times, "FlashRNN, fused", lower_is_better=True))
    return rows


def check(case: str, ours: "Layer", theirs: "Layer | FlashRNNLayer") -> None:
    """Both are near the layer in float32."""
    with torch.no_grad():
        wanted = ours.output(torch.float32, "torch")
        for layer in (ours, theirs):
            difference = torch.linalg.norm(layer.output().float() - wanted) / torch.linalg.norm(wanted)
            print(f"{case}: {layer.backend} differs from float32 by {difference:.2g}")
            if not difference < layer.limit:
                raise DifferentError(f"{case}: {layer.backend} differs from float32 by more than {layer.limit:g}")


class Layer:
    """A layer of ulmkit's through one of its backends."""

    limit = LIMIT

    def __init__(self, batch: int, hidden: int, dtype: torch.dtype, dropout: float, backend: str) -> None:
        torch.manual_seed(0)
        self.dtype, self.dropout, self.backend = dtype, dropout, backend
        self.weights = [
            (torch.randn(shape, device="cuda") * hidden**-0.5).requires_grad_()
            for shape in ((4 * hidden, hidden), (4 * hidden, hidden), (4 * hidden,))
        ]
        self.x = torch.randn(2 * STEPS, batch, hidden, device="cuda").to(dtype)
        self.dy = torch.randn(2 * STEPS, batch, hidden, device="cuda").to(dtype)
        self.state = torch.zeros(batch, hidden, device="cuda")
        self.bits = draw_keep_bits(4 * hidden, hidden, dropout, device="cuda") if dropout else None

    def output(self, dtype: torch.dtype | None = None, backend: str | None = None) -> Tensor:
        """y for all of x. Args: another type or backend than the layer's."""
        dtype = dtype or self.dtype
        return self._forward(self.x.to(dtype), self.bits, dtype, backend or self.backend)

    def run(self, steps: int, learns: bool) -> Callable[[], Any]:
        """What is timed. learns: with the backward, and masks drawn anew."""
        x = self.x[:steps].clone().requires_grad_(learns)

        def forward_and_backward() -> None:
            rows, columns = self.weights[1].shape
            w_ih, w_hh, bias = self.weights
            if self.backend == "fused":
                bits = None
                if self.dropout:
                    bits = draw_keep_bits(rows, columns, self.dropout, device="cuda", backend="fused")
                y = self._forward(x, bits, self.dtype, self.backend)
            else:
                dropped = nn.functional.dropout(w_hh, self.dropout)
                y = lstm(x, self.state, self.state, pack(w_ih, dropped, None, 1.0, self.dtype, "torch"), bias)[0]
            torch.autograd.grad(y, [x, *self.weights], self.dy[:steps])

        def forward() -> None:
            with torch.no_grad():
                self._forward(x, self.bits, self.dtype, self.backend)

        return forward_and_backward if learns else forward

    def _forward(self, x: Tensor, bits: Tensor | None, dtype: torch.dtype, backend: str) -> Tensor:
        w_ih, w_hh, bias = self.weights
        packed = pack(w_ih, w_hh, bits, 1.0 / (1.0 - self.dropout), dtype, backend)
        return lstm(x, self.state, self.state, packed, bias)[0]


class ModuleLayer:
    """torch.nn.LSTM as it comes: weights of its own type, laid out once, never masked."""

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
    """FlashRNN's fused LSTM with the weights of a layer: axes named T, B, head, D units, G gates, P units before."""

    backend, limit = "FlashRNN", 2.5 * LIMIT  # it keeps the cell's state in bf16

    def __init__(self, like: Layer) -> None:
        from flashrnn.flashrnn.flashrnn import FlashRNNConfig, flashrnn

        self.like, self._run = like, flashrnn
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
        """y for all of the other layer's x, with its mask."""
        keep = unpack_keep_bits(self.like.bits, HIDDEN).unflatten(0, (4, HIDDEN)).transpose(0, 1)
        return self._forward(self.like.x, self.w_hh * keep / (1.0 - DROPOUT))

    def run(self, steps: int, learns: bool) -> Callable[[], Any]:
        """What is timed."""
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
        """x: (T, B, E). w_hh: (D, G, P) float32, masked."""
        sums = nn.functional.linear(x, self.w_ih.flatten(0, 1).to(x.dtype)).unflatten(2, (1, HIDDEN, 4))
        low = w_hh.to(x.dtype)[None], self.bias.to(x.dtype)[None]
        states, _ = self._run(sums, *low, states=self.states, config=self._config)
        return states[0, :, :, 0]


def milliseconds(run: Callable[[], Any], repeats: int) -> float:
    """The median time of a call on the device, after three others."""
    for _ in range(3):
        run()
    events = [tuple(torch.cuda.Event(enable_timing=True) for _ in range(2)) for _ in range(repeats)]
    for start, end in events:
        start.record()
        run()
        end.record()
    torch.cuda.synchronize()
    return statistics.median(start.elapsed_time(end) for start, end in events)


if __name__ == "__main__":
    main()
