"""What does a token cost as the work grows, and is there a size at which the cost jumps?

One LSTM layer of H inputs and H units, forward and backward, the weights new each time, over the batch B, the steps T
and the units H, each with the other two at B 40, T 70, H 1152. Then linear_cross_entropy with all gradients of 2,800
rows of 400 features over the vocabulary V. Both run on one thread and on all, in fp32 and, where it pays, in bf16;
ulmkit alone, as its trainer runs it, with the allocator told to keep freed memory. The sizes of an axis take turns, and
times are medians.

A token always costs more in a larger layer or vocabulary, so tokens/s stand beside the rate of the operations that the
matmuls need, two for each multiplication and addition. A size is a cliff if its rate is below half of the next
smaller size's. Small batches have low rates: they wait for the weights to be read.

    python benchmarks/scaling_cpu.py [--data FOLDER] [--repeats N] [--quick] [--plot FILE] [--json FILE]
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from common import median_seconds_in_turn, report, row
from fastai_peer import zipf_ids
from torch import Tensor
from train_cpu import read_ids

from ulmkit.kernels import choose_precision, linear_cross_entropy, pack
from ulmkit.safe_writes import atomic_write
from ulmkit.training import keep_freed_memory

BASE = {"B": 40, "T": 70, "H": 1152}
AXES = {
    "B": (1, 2, 4, 8, 16, 32, 64, 128),
    "T": (10, 20, 35, 70, 140, 280, 512),
    "H": (400, 800, 1152, 1600, 2048),
    "V": (10_000, 20_000, 33_278, 60_000, 100_000, 200_000),
}
QUICK_AXES = {"B": (1, 8, 40), "T": (10, 35), "H": (400, 800), "V": (10_000, 20_000)}
TITLES = {"B": "LSTM: sequences B", "T": "LSTM: steps T", "H": "LSTM: units H", "V": "cross-entropy: vocabulary V"}
ROWS = BASE["B"] * BASE["T"]
FEATURES = 400
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
FORMATS = (".png", ".svg", ".pdf")
COLORS = {"fp32": "#1f6fb4", "bf16": "#c8500a"}
TEXT = "#333333"
FAINT = "#e3e6e9"


@dataclass(frozen=True)
class Work:
    """A function to time, with the tokens and operations of one run."""

    run: Callable[[], Any]
    tokens: int
    operations: float


@dataclass(frozen=True)
class Curve:
    """Rates over the sizes of one axis, in one precision and with one number of threads."""

    axis: str
    precision: str
    threads: int
    sizes: tuple[int, ...]
    tokens_per_second: list[float]
    gflops: list[float]

    @property
    def name(self) -> str:
        return f"{self.precision}, {self.threads} thread{'s' if self.threads > 1 else ''}"

    def cliffs(self) -> list[str]:
        """Describe the sizes whose rate is below half of the next smaller one's."""
        return [
            f"{self.axis} {size:,}, {self.name}: {rate:.1f} GFLOP/s after {smaller:.1f}"
            for size, smaller, rate in zip(self.sizes[1:], self.gflops, self.gflops[1:], strict=False)
            if rate < smaller / 2
        ]


def main() -> None:
    options = read_options()
    keep_freed_memory()
    all_threads = torch.get_num_threads()
    auto = choose_precision("auto", torch.device("cpu"), torch.float32)
    precisions = [
        name for name, dtype in DTYPES.items() if dtype in ((auto,) if options.quick else (torch.float32, auto))
    ]
    print(f"torch {torch.__version__}, {all_threads} threads; precision auto is {auto}\n")
    curves = []
    for axis, sizes in (QUICK_AXES if options.quick else AXES).items():
        draw = partial(read_ids, options.data) if options.data else zipf_ids
        targets = {size: draw(size, ROWS) for size in sizes if axis == "V"}
        for precision in precisions:
            works = {
                size: loss_work(size, targets[size], DTYPES[precision])
                if axis == "V"
                else lstm_work(**{**BASE, axis: size}, dtype=DTYPES[precision])
                for size in sizes
            }
            counts = {all_threads} if options.quick else {1, all_threads}
            curves += [measure(axis, works, precision, threads, options.repeats) for threads in sorted(counts)]
    report("scaling_cpu", table(curves), options.json)
    cliffs = [line for curve in curves for line in curve.cliffs()]
    print("\ncliffs, below half of the next smaller size's rate: " + ("; ".join(cliffs) or "none"))
    if options.plot:
        plot(curves, options.plot)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", metavar="FOLDER", type=Path, help="word-level corpus with a train.txt, to use its words"
    )
    parser.add_argument("--repeats", type=int, default=3, help="turns, of which the median counts (default: 3)")
    parser.add_argument("--quick", action="store_true", help="one turn of one precision at few sizes, by all threads")
    parser.add_argument("--plot", metavar="FILE", type=Path, help="draw a plot into this file: " + ", ".join(FORMATS))
    parser.add_argument("--json", metavar="FILE", help="write the results to this file")
    options = parser.parse_args()
    if options.plot and options.plot.suffix not in FORMATS:
        parser.error(f"--plot: expected a name that ends in {', '.join(FORMATS)}, got {options.plot}")
    if options.quick:
        options.repeats = 1
    return options


def lstm_work(B: int, T: int, H: int, dtype: torch.dtype) -> Work:
    """Forward and backward of a layer: six matmuls of 2 T B 4H H operations."""
    torch.manual_seed(0)
    w_ih, w_hh, bias = ((torch.randn(shape) * H**-0.5).requires_grad_() for shape in ((4 * H, H), (4 * H, H), (4 * H,)))
    x = torch.randn(T, B, H).to(dtype).requires_grad_()
    dy = torch.randn(T, B, H).to(dtype)
    h0 = torch.randn(B, H)
    c0 = torch.randn(B, H)

    def run() -> None:
        y, _, _ = pack(w_ih, w_hh, dtype=dtype).run(x, h0, c0, bias)
        torch.autograd.grad(y, [x, w_ih, w_hh, bias], dy)

    return Work(run, T * B, 6 * 2.0 * T * B * 4 * H * H)


def loss_work(vocab_size: int, targets: Tensor, dtype: torch.dtype) -> Work:
    """Loss and gradients: three matmuls of 2 N V E operations; targets: (N,)."""
    torch.manual_seed(0)
    x = torch.randn(ROWS, FEATURES).to(dtype).requires_grad_()
    weight = (torch.randn(vocab_size, FEATURES) * FEATURES**-0.5).requires_grad_()
    bias = torch.zeros(vocab_size, requires_grad=True)

    def run() -> None:
        torch.autograd.grad(linear_cross_entropy(x, weight, bias, targets), [x, weight, bias])

    return Work(run, ROWS, 3 * 2.0 * ROWS * vocab_size * FEATURES)


def measure(axis: str, works: dict[int, Work], precision: str, threads: int, repeats: int) -> Curve:
    """Time the sizes of an axis in turn, after one run of each."""
    torch.set_num_threads(threads)
    for work in works.values():
        work.run()
    seconds = median_seconds_in_turn({str(size): work.run for size, work in works.items()}, repeats)
    timed = [(work, seconds[str(size)]) for size, work in works.items()]
    tokens_per_second = [work.tokens / taken for work, taken in timed]
    gflops = [work.operations / taken / 1e9 for work, taken in timed]
    return Curve(axis, precision, threads, tuple(works), tokens_per_second, gflops)


def table(curves: list[Curve]) -> list[dict[str, Any]]:
    """Rows of tokens per second, then of operations per second."""
    return [
        row(f"{curve.axis} {size:,}, {curve.name}", unit, figure, None, "itself")
        for unit, name in (("tokens/s", "tokens_per_second"), ("GFLOP/s", "gflops"))
        for curve in curves
        for size, figure in zip(curve.sizes, getattr(curve, name), strict=True)
    ]


def plot(curves: list[Curve], path: Path) -> None:
    """Draw a column for each axis, tokens per second above and operations per second below."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter, NullLocator, StrMethodFormatter

    figure = Figure(figsize=(13, 6), layout="constrained", facecolor="white")
    grid = figure.subplots(2, len(TITLES), sharex="col", sharey="row")
    for (axis, title), (upper, lower) in zip(TITLES.items(), grid.T, strict=True):
        upper.set_title(title, fontsize=10, color=TEXT, loc="left")
        for axes in (upper, lower):
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid(color=FAINT, linewidth=0.8)
            axes.tick_params(colors=TEXT, labelsize=9)
            axes.set_xscale("log")
        for curve in (curve for curve in curves if curve.axis == axis):
            style = {"color": COLORS[curve.precision], "linestyle": "--" if curve.threads == 1 else "-"}
            upper.plot(curve.sizes, curve.tokens_per_second, marker="o", markersize=4, label=curve.name, **style)
            lower.plot(curve.sizes, curve.gflops, marker="o", markersize=4, **style)
            lower.set_xticks(curve.sizes, [f"{size / 1000:.0f}k" if axis == "V" else str(size) for size in curve.sizes])
        lower.xaxis.set_minor_locator(NullLocator())
    (speed, *_), (rate, *_) = grid
    speed.set_yscale("log")
    speed.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    speed.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    speed.yaxis.set_minor_formatter(NullFormatter())
    rate.set_ylim(0, 1.05 * max(max(curve.gflops) for curve in curves))
    speed.set_ylabel("tokens/s", color=TEXT)
    rate.set_ylabel("GFLOP/s", color=TEXT)
    grid[0][-1].legend(frameon=False, fontsize=9, labelcolor=TEXT)
    with atomic_write(path, "wb") as file:
        figure.savefig(file, format=path.suffix[1:], dpi=150)


if __name__ == "__main__":
    main()
