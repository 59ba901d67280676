"""How do time and accuracy of ulmkit's linear cross-entropy compare with torch's?

Loss and all gradients of 2,800 rows of 400 features (40 streams of 70 steps), with the vocabulary sizes of PTB,
WikiText-2 and general text, in fp32 and bf16; the weights are fp32 parameters, as in training. The peers are torch's
chunked `linear_cross_entropy`, at its most accurate and with its defaults, if this torch has it, and `linear` with
`cross_entropy`, which hold all logits. The targets are words of a text, or drawn by Zipf's law.

Times are medians over turns. Errors of the loss are relative to float64 (torch's chunked loss has the type of its
input), errors of the gradients to those of all logits in fp32.

    python benchmarks/cross_entropy.py [--data FOLDER] [--device DEVICE] [--repeats N] [--quick] [--json FILE]
"""

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from common import median_seconds_in_turn, report, row
from fastai_peer import zipf_ids
from torch import Tensor
from torch.nn import functional
from train_cpu import read_ids

from ulmkit.kernels import choose_precision, linear_cross_entropy
from ulmkit.training import keep_freed_memory

ROWS = 2_800
FEATURES = 400
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
LOSS_LIMIT = {"fp32": 1e-4, "bf16": 5e-3}  # nats
GRADIENT_LIMIT = {"fp32": 1e-5, "bf16": 2e-2}  # relative: of other sums, of logits and gradients of 8 bits
CHUNKED = "torch's linear_cross_entropy, chunked"
WHOLE = "torch, all logits held"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", metavar="FOLDER", type=Path, help="word-level corpus with a train.txt, to use its words"
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--repeats", type=int, default=5, help="turns, of which the median counts (default: 5)")
    parser.add_argument("--quick", action="store_true", help="one vocabulary, the precision auto chooses, 2 turns")
    parser.add_argument("--json", metavar="FILE", help="write the results to this file")
    options = parser.parse_args()
    keep_freed_memory()
    vocab_sizes = (10_000, 33_278, 60_000)
    repeats = options.repeats
    dtypes = DTYPES
    if options.quick:
        auto = choose_precision("auto", torch.device(options.device), torch.float32)
        vocab_sizes = vocab_sizes[:1]
        repeats = 2
        dtypes = {name: dtype for name, dtype in DTYPES.items() if dtype == auto}
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {options.device}")
    rows = []
    for vocab_size in vocab_sizes:
        targets = (partial(read_ids, options.data) if options.data else zipf_ids)(vocab_size, ROWS)
        for name, dtype in dtypes.items():
            rows += compare(vocab_size, targets.to(options.device), name, dtype, repeats)
    report("cross_entropy", rows, options.json)


def compare(vocab_size: int, targets: Tensor, precision: str, dtype: torch.dtype, repeats: int) -> list[Any]:
    """Measure ulmkit's and torch's losses in turn; targets: (ROWS,)."""
    torch.manual_seed(0)
    device = targets.device
    x = torch.randn(ROWS, FEATURES, dtype=dtype, device=device).requires_grad_()
    weight = (torch.randn(vocab_size, FEATURES, device=device) * 0.05).requires_grad_()
    bias = torch.zeros(vocab_size, device=device, requires_grad=True)
    losses: dict[str, Callable[[], Tensor]] = {"ulmkit": lambda: linear_cross_entropy(x, weight, bias, targets)}
    if hasattr(functional, "linear_cross_entropy"):
        for policy in ("accurate", "auto"):
            losses[f"{CHUNKED}, {policy}"] = partial(chunked, x, weight, bias, targets, policy)
    losses[WHOLE] = lambda: functional.cross_entropy(
        functional.linear(x, weight.to(dtype), bias.to(dtype)).float(), targets
    )
    with torch.no_grad():
        low = [tensor.to(dtype).double() for tensor in (x, weight, bias)]
        exact = float(functional.cross_entropy(functional.linear(*low), targets))
    errors = {name: abs(float(loss().detach()) - exact) for name, loss in losses.items()}
    if max(errors["ulmkit"], errors[WHOLE]) > LOSS_LIMIT[precision]:
        sys.exit(f"Not the same loss: {errors}")

    def run(loss: Callable[[], Tensor]) -> tuple[Tensor, ...]:
        gradients = torch.autograd.grad(loss(), [x, weight, bias])
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return gradients

    runs = {name: partial(run, loss) for name, loss in losses.items()}
    whole = run(lambda: functional.cross_entropy(functional.linear(x.float(), weight, bias), targets))
    for name, once in runs.items():
        pairs = zip(once(), whole, strict=True)
        error = max(float((g.float() - exact.float()).norm() / exact.float().norm()) for g, exact in pairs)
        print(f"V {vocab_size:,}, {precision}, {name}: loss off by {errors[name]:.1g} nats, gradients by {error:.1g}")
        if name == "ulmkit" and not error <= GRADIENT_LIMIT[precision]:
            sys.exit("Not the same gradients")
    del whole
    seconds = median_seconds_in_turn(runs, repeats)
    case = f"V {vocab_size:,}, {precision}"
    rows = []
    for peer in list(losses)[1:]:
        ours = 1000 * seconds["ulmkit"]
        theirs = 1000 * seconds[peer]
        rows.append(row(f"{case}: loss and gradients", "ms", ours, theirs, peer, lower_is_better=True))
        rows.append(row(f"{case}: error", "nats", errors["ulmkit"], errors[peer], peer, lower_is_better=True))
    if not hasattr(functional, "linear_cross_entropy"):
        ours = 1000 * seconds["ulmkit"]
        rows.append(row(f"{case}: loss and gradients", "ms", ours, None, f"{CHUNKED} (not in this torch)"))
    return rows


def chunked(x: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, policy: str) -> Tensor:
    """Chunked loss of torch, with the weights cast as autocast would."""
    options = torch.nn.LinearCrossEntropyOptions(acc_policy=policy)
    low_weight = weight.to(x.dtype)
    low_bias = bias.to(x.dtype)
    return functional.linear_cross_entropy(x, low_weight, targets, linear_bias=low_bias, options=options)


if __name__ == "__main__":
    main()
