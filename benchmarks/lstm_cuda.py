"""How fast is one LSTM layer on this GPU, beside cuDNN?

The layer has 1152 inputs and 1152 units, and half of its recurrent weights are dropped, as in the middle of a full-size
AWD-LSTM. Measured are forward and backward of 70 steps in bf16 with new masks each time, as in training; forward alone;
one step within the launch of ulmkit's kernels; and fp16 with 1,024 units and no masks, where cuDNN has a persistent
kernel too. The peers are cuDNN with weights masked by torch's dropout, whose flat buffer then has to be filled each
time, and `torch.nn.LSTM` without masks.

Before that, the cost of a grid barrier is measured, and each layer's output is compared with float32. Times are medians
by device events, with all work launched before the device starts; one row includes the host's time.

With --plans N, the benchmark times a step by each of the N best plans of the kernels instead, to check their ranking.

With --flashrnn, the only peer is FlashRNN's fused kernel (Pöppel et al. 2024, arXiv:2412.07752) with a single head, in
its own order of axes, and weights masked each time; it needs nvcc and compiles for minutes.

    python benchmarks/lstm_cuda.py [--batches N ...] [--repeats N] [--quick] [--plans N | --flashrnn] [--json FILE]
"""

import argparse
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from common import DifferentError, report_as_they_come, row
from cuda_timing import milliseconds
from lstm_cuda_layers import DROPOUT, HIDDEN, STEPS, FlashRNNLayer, Layer, ModuleLayer, missing_flashrnn
from lstm_cuda_plans import compare_barriers, compare_plans, described, step_microseconds

from ulmkit.kernels.cuda.launcher import kernels

PERSISTENT_HIDDEN = 1024  # the largest that cuDNN keeps on the chip
STEP_GOAL = 4.0  # microseconds, forward, batch 64

Cases = list[Callable[[], list[dict[str, Any]]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--batches", type=int, nargs="+", default=[64, 20, 80, 128], help="batch sizes (default: 64 20 80 128)"
    )
    parser.add_argument("--repeats", type=int, default=50, help="repeats, of which the median counts (default: 50)")
    parser.add_argument("--quick", action="store_true", help="batch 64 and 10 repeats")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--plans", type=int, metavar="N", help="time only the N best plans of the kernels")
    instead.add_argument("--flashrnn", action="store_true", help="compare only with FlashRNN")
    parser.add_argument("--json", metavar="FILE", help="write the results to this file")
    options = parser.parse_args()
    if options.quick:
        options.batches = [64]
        options.repeats = 10
    if not torch.cuda.is_available():
        sys.exit("this benchmark needs a CUDA device; torch finds none here")
    print(f"torch {torch.__version__}, {torch.cuda.get_device_name()}, cuDNN {torch.backends.cudnn.version()}\n")
    name, cases = cases_of(options)
    sys.exit(not report_as_they_come(name, cases, options.json))


def cases_of(options: argparse.Namespace) -> tuple[str, Cases]:
    """Name of the benchmark, and its cases, the most important first."""
    repeats = options.repeats
    if options.flashrnn:
        return "lstm_cuda_flashrnn", [partial(compare_with_flashrnn, batch, repeats) for batch in options.batches]
    if options.plans:
        return "lstm_cuda_plans", [
            partial(compare_plans, direction, batch, options.plans, repeats)
            for batch in options.batches
            for direction in ("forward", "backward")
        ]
    first, *others = [partial(compare, batch, HIDDEN, torch.bfloat16, DROPOUT, repeats) for batch in options.batches]
    persistent = partial(compare, 64, PERSISTENT_HIDDEN, torch.float16, 0.0, repeats)
    return "lstm_cuda", [partial(compare_barriers, repeats), first, persistent, *others]


def compare(batch: int, hidden: int, dtype: torch.dtype, dropout: float, repeats: int) -> list[dict[str, Any]]:
    """Measure ulmkit beside cuDNN: forward and backward, forward, and a step within the launch."""
    name = {torch.bfloat16: "bf16", torch.float16: "fp16"}[dtype]
    case = f"{name}, {hidden} units, B {batch}" + (", masks" if dropout else "")
    for direction in ("forward", "backward"):
        plan = kernels(0).plan(direction, dtype, batch, hidden)
        print(f"{case}: {direction} {'step by step' if plan is None else described(plan)}")
    ours, cudnn = (Layer(batch, hidden, dtype, dropout, backend) for backend in ("fused", "torch"))
    check(case, ours, cudnn)
    peers: dict[str, Callable[[int, bool], Callable[[], Any]]] = {
        "nn.LSTM, no masks": ModuleLayer(batch, hidden, dtype).run
    }
    if dropout:
        peers = {"cuDNN, masked weights laid out": cudnn.run, **peers}
    rows = []
    for what, learns, ahead in (
        ("forward + backward", True, True),
        ("forward", False, True),
        ("forward + backward, with the host's time", True, False),
    ):
        mine = milliseconds(ours.run(STEPS, learns), repeats, ahead=ahead)
        for peer, run in peers.items():
            theirs = milliseconds(run(STEPS, learns), repeats, ahead=ahead)
            rows.append(row(f"{case}: {what}", "ms", mine, theirs, peer, lower_is_better=True))
    for direction, step in step_microseconds(ours, repeats).items():
        has_goal = (direction, batch, hidden) == ("forward", 64, HIDDEN)
        goal, peer = (STEP_GOAL, "goal") if has_goal else (None, "alone")
        rows.append(row(f"{case}: a step of the launch, {direction}", "us", step, goal, peer, lower_is_better=True))
    return rows


def compare_with_flashrnn(batch: int, repeats: int) -> list[dict[str, Any]]:
    """Measure ulmkit beside FlashRNN: forward and backward, and forward."""
    case = f"bf16, {HIDDEN} units, B {batch}, masks"
    missing = missing_flashrnn()
    ours = Layer(batch, HIDDEN, torch.bfloat16, DROPOUT, "fused")
    theirs = None if missing else FlashRNNLayer(ours)
    peer = f"FlashRNN, fused ({missing})" if missing else "FlashRNN, fused"
    if theirs is not None:
        check(case, ours, theirs)
    rows = []
    for what, learns in (("forward + backward", True), ("forward", False)):
        times = [layer and milliseconds(layer.run(STEPS, learns), repeats) for layer in (ours, theirs)]
        rows.append(row(f"{case}: {what}", "ms", *times, peer, lower_is_better=True))
    return rows


def check(case: str, ours: "Layer", theirs: "Layer | FlashRNNLayer") -> None:
    """Check that both layers' outputs are close to the layer in float32.

    Raises:
        DifferentError: If one is not.
    """
    with torch.no_grad():
        expected = ours.output(torch.float32, "torch")
        for layer in (ours, theirs):
            difference = torch.linalg.norm(layer.output().float() - expected) / torch.linalg.norm(expected)
            print(f"{case}: {layer.backend} differs from float32 by {difference:.2g}")
            if not difference < layer.limit:
                raise DifferentError(f"{case}: {layer.backend} differs from float32 by more than {layer.limit:g}")


if __name__ == "__main__":
    main()
