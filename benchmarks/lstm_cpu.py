"""How fast is one LSTM layer on this CPU, beside torch's own and beside the processor's limits?

The layer has 1152 inputs and 1152 units, as in the middle of a full-size AWD-LSTM.

training       Forward and backward of 70 steps, all gradients, with weights packed anew each time.
serving        Forward only, with weights packed once.
short          Few sequences of 10 steps, for which ulmkit does not pack the weights, unless half of the recurrent
               weights are dropped.

The peer is torch.nn.LSTM in fp32 and in bf16; its dropped weights are zeroed before the timing starts. First ulmkit
must give torch's fp32 output and gradients for the same weights.

recurrent step The time of one step of a layer with 32 inputs, whose input matmul is a thirty-sixth of the recurrent
               one, beside its floor: the larger of bytes of W_hh / memory bandwidth and operations / peak rate. Both
               are probed by lstm_cpu_probe.cpp, which needs a C++ compiler.

Times are medians over turns.

    python benchmarks/lstm_cpu.py [--threads N] [--repeats N] [--quick] [--json FILE]
"""

import argparse
import ctypes
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from common import median_seconds_in_turn, report, row
from torch import Tensor, nn

from ulmkit.kernels import choose_precision, draw_keep_bits, mask_recurrent, pack

HIDDEN = 1152
STEPS = 70
BATCHES = (40, 80)
SMALL_BATCHES = (1, 2, 4, 8)
SMALL_STEPS = 10
FEW_INPUTS = 32
DROPOUT = 0.5
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
LIMIT = {"fp32": 1e-4, "bf16": 2e-2}  # relative: fp32 sums in another order; states and gradients of 8 bits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, help="threads (default: torch's choice)")
    parser.add_argument("--repeats", type=int, default=9, help="turns, of which the median counts (default: 9)")
    parser.add_argument("--quick", action="store_true", help="training of the smallest batches, one turn")
    parser.add_argument("--json", metavar="FILE", help="write the results to this file")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    auto = choose_precision("auto", torch.device("cpu"), torch.float32)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; precision auto is {auto}\n")
    batches = BATCHES
    small_batches = SMALL_BATCHES
    precisions = tuple(DTYPES)
    directions: tuple[bool, ...] = (True, False)
    if options.quick:
        batches = BATCHES[:1]
        small_batches = SMALL_BATCHES[:1]
        directions = (True,)
        precisions = tuple(name for name, dtype in DTYPES.items() if dtype == auto)
        options.repeats = 1
    rows = []
    for batch in batches:
        for requires_grad in directions:
            rows += compare(STEPS, batch, precisions, requires_grad, options.repeats)
    for batch in small_batches:
        for requires_grad in directions:
            rows += compare(SMALL_STEPS, batch, ("fp32",), requires_grad, 10 * options.repeats)
        rows += compare(SMALL_STEPS, batch, ("fp32",), True, 10 * options.repeats, masked=True)
    rows += steps_beside_floors(batches, precisions, options.repeats)
    report("lstm_cpu", rows, options.json)


def compare(
    steps: int, batch: int, precisions: tuple[str, ...], requires_grad: bool, repeats: int, masked: bool = False
) -> list[dict[str, Any]]:
    """Measure ulmkit and torch in turn, in each precision; each beside torch in that precision and in fp32."""
    runs: dict[str, Callable[[], Sequence[Tensor]]] = {}
    for name in precisions:
        runs[f"ulmkit {name}"] = our_run(steps, batch, DTYPES[name], requires_grad, masked=masked)
        runs[f"nn.LSTM {name}"] = torch_run(steps, batch, DTYPES[name], requires_grad, masked)
    expected = torch_run(steps, batch, torch.float32, requires_grad, masked)()
    for name, run in runs.items():
        error = max(relative_error(mine, theirs) for mine, theirs in zip(run(), expected, strict=True))
        print(f"T {steps}, B {batch}, {name}: at most {error:.1g} from nn.LSTM in fp32, relative")
        if name.startswith("ulmkit") and not error <= LIMIT[name.removeprefix("ulmkit ")]:
            sys.exit("Not the same output and gradients")
    seconds = median_seconds_in_turn(runs, repeats)
    what = ("forward + backward" if requires_grad else "forward") + (", weight drop" if masked else "")
    pairs = [(ours, theirs) for ours in precisions for theirs in precisions if (ours, theirs) != ("fp32", "bf16")]
    return [
        row(
            f"{ours}, T {steps}, B {batch}: {what}",
            "ms",
            1000 * seconds[f"ulmkit {ours}"],
            1000 * seconds[f"nn.LSTM {theirs}"],
            f"nn.LSTM {theirs}",
            lower_is_better=True,
        )
        for ours, theirs in pairs
    ]


def problem(steps: int, batch: int, inputs: int = HIDDEN) -> list[Tensor]:
    """Inputs w_ih, w_hh, bias, x, h0, c0 and the gradient of y; equal numbers every time."""
    torch.manual_seed(0)
    shapes = ((4 * HIDDEN, inputs), (4 * HIDDEN, HIDDEN), (4 * HIDDEN,))
    weights = [(torch.randn(shape) * HIDDEN**-0.5).requires_grad_() for shape in shapes]
    states = (batch, HIDDEN), (batch, HIDDEN), (steps, batch, HIDDEN)
    return [*weights, torch.randn(steps, batch, inputs), *(torch.randn(shape) for shape in states)]


def relative_error(actual: Tensor, expected: Tensor) -> float:
    return float((actual.detach().float() - expected.detach()).norm() / expected.detach().norm())


def drop_weights() -> Tensor:
    """Dropout bits of the recurrent weights; equal every time."""
    return draw_keep_bits(4 * HIDDEN, HIDDEN, DROPOUT, generator=torch.Generator().manual_seed(1))


def our_run(
    steps: int, batch: int, dtype: torch.dtype, requires_grad: bool, inputs: int = HIDDEN, masked: bool = False
) -> Callable[[], Sequence[Tensor]]:
    """A run of ulmkit's layer that returns y and, with gradients, those of x, w_ih, bias and an unmasked w_hh."""
    w_ih, w_hh, bias, x, h0, c0, dy = problem(steps, batch, inputs)
    x = x.to(dtype).requires_grad_(requires_grad)
    dy = dy.to(dtype)
    keep_bits, scale = (drop_weights(), 1 / (1 - DROPOUT)) if masked else (None, 1.0)
    with torch.no_grad():
        packed = pack(w_ih, w_hh, keep_bits, scale, dtype=dtype)

    def forward_and_backward() -> Sequence[Tensor]:
        y, _, _ = pack(w_ih, w_hh, keep_bits, scale, dtype=dtype).run(x, h0, c0, bias)
        return (y, *torch.autograd.grad(y, [x, w_ih, bias, w_hh], dy))[: 4 if masked else 5]

    def forward() -> Sequence[Tensor]:
        with torch.no_grad():
            return packed.run(x, h0, c0, bias)[:1]

    return forward_and_backward if requires_grad else forward


def torch_run(
    steps: int, batch: int, dtype: torch.dtype, requires_grad: bool, masked: bool = False
) -> Callable[[], Sequence[Tensor]]:
    """A run of torch.nn.LSTM, which gets its weights already masked, with the results of `our_run`."""
    w_ih, w_hh, bias, x, h0, c0, dy = problem(steps, batch)
    if masked:
        w_hh = mask_recurrent(w_hh, drop_weights(), 1 / (1 - DROPOUT))
    module = nn.LSTM(HIDDEN, HIDDEN)
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    module.load_state_dict(dict(zip(names, (w_ih, w_hh, bias, torch.zeros_like(bias)), strict=True)))
    module.to(dtype)
    x = x.to(dtype).requires_grad_(requires_grad)
    dy = dy.to(dtype)
    state = (h0[None].to(dtype), c0[None].to(dtype))

    def forward_and_backward() -> Sequence[Tensor]:
        y, _ = module(x, state)
        weights = module.weight_ih_l0, module.bias_ih_l0, module.weight_hh_l0, module.bias_hh_l0
        return (y, *torch.autograd.grad(y, [x, *weights], dy))[: 4 if masked else 5]

    def forward() -> Sequence[Tensor]:
        with torch.no_grad():
            return module(x, state)[:1]

    return forward_and_backward if requires_grad else forward


def steps_beside_floors(batches: Sequence[int], precisions: Sequence[str], repeats: int) -> list[dict[str, Any]]:
    """Measure the recurrent step beside the least time that this machine needs for it."""
    probe = build_probe()
    if probe is None:
        return [row("recurrent step", "ms", float("nan"), None, "no C++ compiler for the probe")]
    threads = torch.get_num_threads()
    rows = []
    for name in precisions:
        dtype = DTYPES[name]
        read_bytes = 4 * HIDDEN * HIDDEN * dtype.itemsize
        bandwidth = probe.read_bandwidth(ctypes.c_int64(read_bytes), threads, repeats)
        peak = probe.peak(int(name == "bf16"), threads, repeats)
        print(f"{name}: {bandwidth / 1e9:.0f} GB/s of {read_bytes / 1e6:.1f} MB, {peak / 1e9:,.0f} GFLOP/s")
        if not peak:
            continue
        for batch in batches:
            operations = 2.0 * batch * 4 * HIDDEN * HIDDEN
            run = our_run(STEPS, batch, dtype, False, inputs=FEW_INPUTS)
            run()
            seconds = median_seconds_in_turn({"run": run}, repeats)["run"] / STEPS
            floor = max(read_bytes / bandwidth, operations / peak)
            bound = "bandwidth" if read_bytes / bandwidth > operations / peak else "arithmetic"
            case = f"{name}, B {batch}: recurrent step"
            rows.append(row(case, "ms", 1000 * seconds, 1000 * floor, f"floor: {bound}", lower_is_better=True))
    return rows


def build_probe() -> ctypes.CDLL | None:
    """Compile the probe for this processor; None without a compiler."""
    compiler = shutil.which("c++")
    if compiler is None:
        return None
    source = Path(__file__).with_name("lstm_cpu_probe.cpp")
    with tempfile.TemporaryDirectory() as folder:
        built = Path(folder) / "probe.so"
        options = ["-O3", "-march=native", "-fopenmp", "-fPIC", "-shared", "-o", str(built)]
        subprocess.run([compiler, *options, str(source)], check=True)
        probe = ctypes.CDLL(str(built))
    probe.read_bandwidth.restype = probe.peak.restype = ctypes.c_double
    return probe


if __name__ == "__main__":
    main()
