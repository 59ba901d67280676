"""Does training in bf16 follow training in fp32?

A full-size language model is trained on a corpus such as PTB for an epoch in each precision, from equal weights over
equal batches, both runs at once with half of the threads each. Compared are the training loss (nats per token, without
regularization) as means over tenths of the epoch, and the validation loss at the end. Dropout masks are drawn in the
type that they are applied in, so the two runs see different ones.

    python benchmarks/precision_curves.py --data FOLDER [--out FOLDER] [--epochs N] [--quick] [--json FILE]
"""

import argparse
import csv
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from common import report, row

PRECISIONS = ("fp32", "bf16")
PARTS = 10
FULL_SIZE = ["--tokenizer", "whitespace", "--batch-size", "40", "--bptt", "70", "--rate", "0.002"]
SMALL_SIZE = ["--tokenizer", "whitespace", "--batch-size", "8", "--bptt", "35", "--rate", "0.002"]
SMALL_SIZE += ["--embedding-size", "100", "--hidden-size", "200", "--steps", "20", "--validations", "1"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="corpus with training and validation files")
    parser.add_argument("--out", type=Path, help="folder to keep models and logs in; training resumes from it")
    parser.add_argument("--epochs", type=float, default=1, help="epochs (default: 1)")
    parser.add_argument("--quick", action="store_true", help="20 small steps of a small model")
    parser.add_argument("--json", metavar="FILE", help="write the results to this file")
    options = parser.parse_args()
    settings = SMALL_SIZE if options.quick else [*FULL_SIZE, "--epochs", str(options.epochs)]
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.out or Path(temporary)
        train(options.data, folder, settings)
        logs = {precision: read_log(folder / precision) for precision in PRECISIONS}
    rows = [
        row(f"training loss, part {number + 1}", "nats", bf16, fp32, "fp32", lower_is_better=True)
        for number, (fp32, bf16) in enumerate(zip(*(parts(logs[p]) for p in PRECISIONS), strict=True))
    ]
    fp32, bf16 = (validation_loss(logs[precision]) for precision in PRECISIONS)
    rows.append(row("validation loss", "nats", bf16, fp32, "fp32", lower_is_better=True))
    report("precision_curves", rows, options.json)
    print(f"\nlargest difference: {max(abs(line['ratio'] - 1) for line in rows):.2%}")


def train(data: str, folder: Path, settings: list[str]) -> None:
    """Train in both precisions at once; complete runs are kept."""
    threads = str(max(1, (os.cpu_count() or 1) // len(PRECISIONS)))
    running = []
    for precision in PRECISIONS:
        out = folder / precision
        if (out / "config.json").exists():
            continue
        resume = ["--resume"] if Path(f"{out}.training").exists() else []
        command = [sys.executable, "-m", "ulmkit", "pretrain", data, "--out", str(out), *settings, *resume]
        command += ["--precision", precision, "--threads", threads]
        running.append(subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": threads}))
    statuses = [process.wait() for process in running]
    if any(statuses):
        sys.exit("a training failed: see above")


def read_log(model: Path) -> list[dict[str, Any]]:
    """Read the rows of a model's training log."""
    with open(model / "training_log.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def parts(log: list[dict[str, Any]]) -> list[float]:
    """Mean training loss of each tenth of the rows (of each row if there are fewer), in nats per token."""
    losses = [float(line["nll"]) for line in log if line["kind"] == "train"]
    count = min(PARTS, len(losses))
    edges = [len(losses) * part // count for part in range(count + 1)]
    return [statistics.fmean(losses[start:stop]) for start, stop in itertools.pairwise(edges)]


def validation_loss(log: list[dict[str, Any]]) -> float:
    """Loss of the last validation, in nats per token."""
    return float([line for line in log if line["kind"] == "validation"][-1]["valid_loss"])


if __name__ == "__main__":
    main()
