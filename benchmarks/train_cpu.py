"""How fast is one training step of a full-size language model, and how much memory does it take?

A step is forward, backward, clipping and a fused AdamW of an AWD-LSTM (400, 1152 x 3) on windows of 70 steps of 40
streams, with fastai's default dropouts, AR 2, TAR 1 and the state carried. The peer is fastai's model with its own loss
and torch's fused AdamW (its own optimizer is a loop in Python, and slower): in fp32, its default, and in bf16 under
`torch.autocast`, which its learner uses on GPUs only. ulmkit runs as in its trainer, with an allocator that keeps freed
memory; fastai is measured with the default allocator and with that one. Each value is the median over processes,
started in turn, of the median over steps. First both libraries compute loss and gradient of the same weights.

    python benchmarks/train_cpu.py [--data FOLDER] [--vocab-sizes N ...] [--repeats N] [--steps N] [--quick]
        [--json FILE]
"""

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from common import report, row
from fastai_peer import MISSING, load_fastai, zipf_ids
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from train_cpu_models import FastaiModel, OurModel, Setting

from ulmkit.kernels import choose_precision
from ulmkit.model.language_model import AWDLSTMLanguageModel, LanguageModelConfig
from ulmkit.text import Vocabulary, WhitespaceTokenizer
from ulmkit.training import keep_freed_memory

STEPS = 70
BATCH = 40
CHECK_STEPS = 35
CHECK_BATCH = 16
CLIP = 0.4
LOSS_LIMIT = {"fp32": 1e-4, "bf16": 2e-2}  # nats per token
GRADIENT_LIMIT = {"fp32": 1e-3, "bf16": 0.1}  # relative; near 1 if a layer had no gradient
KEEP_FREED_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1)}
MIB = 2**20


@dataclass(frozen=True)
class Variant:
    """A library and how it runs; `keeps_memory`: freed memory stays in the process."""

    library: str
    precision: str
    keeps_memory: bool

    @property
    def name(self) -> str:
        autocast = " autocast" if (self.library, self.precision) == ("fastai", "bf16") else ""
        kept = ", memory kept" if self.library == "fastai" and self.keeps_memory else ""
        return f"{self.library} {self.precision}{autocast}{kept}"


OURS = [Variant("ulmkit", precision, True) for precision in ("fp32", "bf16")]
PEERS = [Variant("fastai", precision, kept) for precision in ("fp32", "bf16") for kept in (False, True)]


def main() -> None:
    options = read_options()
    if options.worker:
        print(json.dumps(work(**json.loads(options.worker))))
        return
    ours = OURS
    peers = PEERS if load_fastai() else []
    if options.quick:
        auto = choose_precision("auto", torch.device("cpu"), torch.float32)
        main_precision = "bf16" if auto == torch.bfloat16 else "fp32"
        ours = [variant for variant in ours if variant.precision in ("fp32", main_precision)]
        peers = [peer for peer in peers if peer.keeps_memory and peer.precision == "fp32"]
    if not peers:
        print(f"{MISSING}: see benchmarks/requirements.txt")
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    rows = []
    failures = []
    for vocab_size in (10_000,) if options.quick else options.vocab_sizes:
        figures = measure_all(vocab_size, [*ours, *peers], options)
        failures += check(vocab_size, figures)
        rows += table(vocab_size, figures)
    if failures:
        sys.exit("\nNot the same loss or gradient:\n  " + "\n  ".join(failures))
    print()
    report("train_cpu", rows, options.json)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", metavar="FOLDER", type=Path, help="word-level corpus with a train.txt, to use its words"
    )
    parser.add_argument(
        "--vocab-sizes",
        type=int,
        nargs="+",
        default=[10_000, 33_278, 60_000],
        help="vocabulary sizes (default: those of PTB, WikiText-2 and general text)",
    )
    parser.add_argument("--repeats", type=int, default=3, help="processes of each kind (default: 3)")
    parser.add_argument(
        "--steps", type=int, default=6, help="timed steps of each process, after two others (default: 6)"
    )
    parser.add_argument("--quick", action="store_true", help="one process of each main kind, one step, V 10,000")
    parser.add_argument("--json", metavar="FILE", help="write the results to this file")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.repeats = 1
        options.steps = 1
    options.warm_up = 1 if options.quick else 2
    return options


def measure_all(vocab_size: int, variants: list[Variant], options: argparse.Namespace) -> dict[Variant, dict[str, Any]]:
    """Measure the variants in turn, in reverse order every other round."""
    runs: dict[Variant, list[dict[str, Any]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_inputs(folder, vocab_size, options)
        for repeat in range(options.repeats):
            for variant in variants if repeat % 2 == 0 else reversed(variants):
                runs[variant].append(start_worker(folder, vocab_size, variant, options, check=repeat == 0))
        for variant in variants:
            runs[variant][0]["gradient_error"] = gradient_error(folder, variants, variant)
    return {
        variant: {
            **ran[0],
            "seconds": statistics.median(run["seconds"] for run in ran),
            "peak_bytes": statistics.median(run["peak_bytes"] for run in ran),
        }
        for variant, ran in runs.items()
    }


def write_inputs(folder: Path, vocab_size: int, options: argparse.Namespace) -> None:
    """Write the weights and the token ids (steps, BATCH) that all processes read."""
    torch.manual_seed(0)
    model = AWDLSTMLanguageModel(LanguageModelConfig(), vocab_size)
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    rows = (options.warm_up + options.steps) * STEPS + 1
    ids = read_ids(options.data, vocab_size, rows * BATCH) if options.data else zipf_ids(vocab_size, rows * BATCH)
    source = f"text of {options.data}" if options.data else "drawn by Zipf's law"
    print(f"V {vocab_size:,}: {len(ids):,} token ids, {source}, {len(ids.unique()):,} of them distinct")
    save_file({**weights, "ids": ids.view(BATCH, rows).T.contiguous()}, folder / "inputs.safetensors")


def read_ids(folder: Path, vocab_size: int, count: int) -> Tensor:
    """Read the first `count` token ids of train.txt under a vocabulary of at most `vocab_size`."""
    tokens = WhitespaceTokenizer().tokenize((folder / "train.txt").read_text(encoding="utf-8"))
    if len(tokens) < count:
        sys.exit(f"{folder / 'train.txt'}: expected at least {count:,} tokens, got {len(tokens):,}; use fewer --steps")
    vocabulary = Vocabulary.build(Counter(tokens), max_vocab=vocab_size, min_freq=1)
    return torch.from_numpy(vocabulary.encode(tokens[:count]))


def start_worker(
    folder: Path, vocab_size: int, variant: Variant, options: argparse.Namespace, *, check: bool
) -> dict[str, Any]:
    """Run one process, and return its loss, median step and peak memory."""
    job = {
        "folder": str(folder),
        "vocab_size": vocab_size,
        "variant": asdict(variant),
        "warm_up": options.warm_up,
        "check": check,
    }
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    if variant.library == "fastai" and variant.keeps_memory:
        environment |= KEEP_FREED_MEMORY
    command = [sys.executable, __file__, "--worker", json.dumps(job)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    figures = json.loads(done.stdout.splitlines()[-1])
    rate = STEPS * BATCH / figures["seconds"]
    print(f"  {variant.name}: {rate:,.0f} tokens/s, {figures['peak_bytes'] / MIB:,.0f} MiB", flush=True)
    return figures


def gradient_error(folder: Path, variants: list[Variant], variant: Variant) -> float:
    """Relative error |g - g32| / |g32| over all parameters; g32: fp32 gradient of the last library measured."""
    exact = load_file(_gradient_file(folder, [v for v in variants if v.precision == "fp32"][-1]))
    gradients = load_file(_gradient_file(folder, variant))
    squares = [(float((gradients[n] - g).square().sum()), float(g.square().sum())) for n, g in exact.items()]
    return (sum(error for error, _ in squares) / sum(size for _, size in squares)) ** 0.5


def _gradient_file(folder: Path, variant: Variant) -> Path:
    return folder / f"{variant.name}.safetensors"


def check(vocab_size: int, figures: dict[Variant, dict[str, Any]]) -> list[str]:
    """Print losses and gradient errors, and return those that exceed their limit.

    Losses are compared with that of the last library in fp32; only ulmkit's gradients are checked.
    """
    expected = [result["loss"] for variant, result in figures.items() if variant.precision == "fp32"][-1]
    print(f"V {vocab_size:,}, the same weights and batch: loss, and the gradient's relative distance from fp32's")
    failures = []
    for variant, result in figures.items():
        line = f"{variant.name}: {result['loss']:.6f}"
        print(f"  {line}, {result['gradient_error']:.2g}")
        if not abs(result["loss"] - expected) <= LOSS_LIMIT[variant.precision]:
            failures.append(f"V {vocab_size:,}, {line}, expected {expected:.6f}")
        if variant.library == "ulmkit" and not result["gradient_error"] <= GRADIENT_LIMIT[variant.precision]:
            failures.append(f"V {vocab_size:,}, {variant.name}: gradient off by {result['gradient_error']:.2g}")
    return failures


def table(vocab_size: int, figures: dict[Variant, dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of ulmkit beside fastai in the same precision, and for bf16 also beside fastai's default, fp32."""
    rows = []
    peers = [variant for variant in figures if variant.library == "fastai"]
    for ours in (variant for variant in figures if variant.library == "ulmkit"):
        mine = figures[ours]
        against = [p for p in peers if p.precision in ("fp32", ours.precision)]
        for peer in against or (None,):
            theirs = figures[peer] if peer else None
            peer_name = peer.name if peer else MISSING
            tokens = STEPS * BATCH
            case = f"V {vocab_size:,}, {ours.precision}"
            rate = tokens / theirs["seconds"] if theirs else None
            rows.append(row(f"{case}: speed", "tokens/s", tokens / mine["seconds"], rate, peer_name))
            peak = theirs["peak_bytes"] / MIB if theirs else None
            mib = mine["peak_bytes"] / MIB
            rows.append(row(f"{case}: peak memory", "MiB", mib, peak, peer_name, lower_is_better=True))
    return sorted(rows, key=lambda line: line["unit"], reverse=True)


def work(folder: str, vocab_size: int, variant: dict[str, Any], warm_up: int, check: bool) -> dict[str, Any]:
    """Work of one process: the loss and gradient without dropout if `check`, then the timed steps; memory in bytes."""
    chosen = Variant(**variant)
    if chosen.library == "ulmkit":
        keep_freed_memory()
    make = OurModel if chosen.library == "ulmkit" else FastaiModel
    inputs = load_file(Path(folder, "inputs.safetensors"))
    ids = inputs.pop("ids")
    figures: dict[str, Any] = {}
    setting = Setting(vocab_size=vocab_size, weights=inputs, precision=chosen.precision, dropout=True)
    if check:
        model = make(replace(setting, dropout=False))
        loss = model.loss(ids[:CHECK_STEPS, :CHECK_BATCH], ids[1 : CHECK_STEPS + 1, :CHECK_BATCH])
        loss.backward()
        figures["loss"] = loss.item()
        save_file(model.gradients(), _gradient_file(Path(folder), chosen))
        del model, loss
        gc.collect()
    model = make(setting)
    del inputs, setting
    return {**figures, "seconds": time_steps(model, ids, warm_up), "peak_bytes": peak_bytes()}


def time_steps(model: OurModel | FastaiModel, ids: Tensor, warm_up: int) -> float:
    """Median over the steps after the first `warm_up`, in seconds."""
    parameters = list(model.module.parameters())
    seconds = []
    for begin in range(0, len(ids) - 1, STEPS):
        start = time.perf_counter()
        model.optimizer.zero_grad()
        model.loss(ids[begin : begin + STEPS], ids[begin + 1 : begin + STEPS + 1]).backward()
        nn.utils.clip_grad_norm_(parameters, CLIP)
        model.optimizer.step()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[warm_up:])


def peak_bytes() -> int:
    """Highest resident memory of this process so far.

    It is read from /proc, since getrusage also counts the memory of the parent when it started this process.
    """
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    main()
