"""How fast is training while another program uses one of the processors?

A step is forward, backward, clipping and AdamW of an AWD-LSTM (200, 400 x 3) on windows of 50 steps of 32 streams in
fp32, with fastai's default dropouts, AR 2 and TAR 1. ulmkit runs in its trainer, with a fixed number of threads and
with `--threads auto`; the trials and the steps before it notices count. The peer is fastai's model with its own loss
and torch's fused AdamW, in a plain loop. Each library is measured on the quiet machine first, then while processes that
do nothing but count are running, in one process of its own. Speeds leave out the first step; each value is the median
over processes, started in turn. Nothing else may run meanwhile.

    python benchmarks/busy.py [--busy N] [--seconds N] [--repeats N] [--quick] [--json FILE]
"""

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import torch
from common import report, row
from fastai_peer import MISSING, load_fastai, zipf_ids
from torch import Tensor, nn
from train_cpu_models import FastaiModel, OurModel, Setting

from ulmkit.model.config import AWDLSTMConfig
from ulmkit.model.language_model import AWDLSTMLanguageModel, LanguageModelConfig
from ulmkit.model.layer_groups import language_model_groups
from ulmkit.training import Budget, StepResult, Trainer, TrainerConfig, full

VOCAB_SIZE = 10_000
SIZES = AWDLSTMConfig(embedding_size=200, hidden_size=400)
STEPS = 50
BATCH = 32
WINDOWS = 8
CLIP = 0.4
RATE = 1e-3
GOAL = 0.45
COUNT = "n = 0\nwhile True: n += 1"


def main() -> None:
    options = read_options()
    if options.worker:
        print(json.dumps(work(options.worker, options.seconds, options.busy)))
        return
    libraries = ["ulmkit", *(["fastai"] if load_fastai() else [])]
    if len(libraries) == 1:
        print(f"{MISSING}: see benchmarks/requirements.txt")
    threads = torch.get_num_threads()
    print(f"torch {torch.__version__}, {threads} threads, {options.seconds:g} s for each figure")
    if threads < 2:
        print("one thread waits for no other: nothing to adapt; run it with two or more")
    speeds: dict[str, list[float]] = defaultdict(list)
    for repeat in range(options.repeats):
        for library in libraries if repeat % 2 == 0 else reversed(libraries):
            for name, speed in start_worker(library, options).items():
                print(f"  {library}, {name}: {speed:,.0f} tokens/s", flush=True)
                speeds[f"{library}, {name}"].append(speed)
    print()
    report("busy", table({name: statistics.median(values) for name, values in speeds.items()}), options.json)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--busy", type=int, default=1, help="other processes that keep a processor busy (default: 1)")
    parser.add_argument("--seconds", type=float, default=60.0, help="time for each figure (default: 60)")
    parser.add_argument("--repeats", type=int, default=3, help="processes of each library (default: 3)")
    parser.add_argument("--quick", action="store_true", help="one process of each library, 4 seconds for each figure")
    parser.add_argument("--json", metavar="FILE", help="write the results to this file")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.repeats = 1
        options.seconds = 4.0
    return options


def start_worker(library: str, options: argparse.Namespace) -> dict[str, float]:
    """Run one process, and return its speeds in tokens per second."""
    command = [sys.executable, __file__, "--worker", library]
    command += ["--seconds", str(options.seconds), "--busy", str(options.busy)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    speeds: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return speeds


def table(speeds: dict[str, float]) -> list[dict[str, Any]]:
    """Rows of ulmkit beside fastai under the same load, and of the shares of the quiet speed that they keep."""
    peer_name = "fastai" if "fastai, quiet" in speeds else MISSING
    rows = []
    for case in ("quiet", "busy, threads fixed", "busy, threads auto"):
        peer = speeds.get(f"fastai, {case.partition(',')[0]}")
        rows.append(row(case, "tokens/s", speeds[f"ulmkit, {case}"], peer, peer_name))
    quiet = speeds["ulmkit, quiet"]
    rows.append(
        row("quiet, threads auto", "tokens/s", speeds["ulmkit, quiet, threads auto"], quiet, "ulmkit, threads fixed")
    )
    peer_share = speeds["fastai, busy"] / speeds["fastai, quiet"] if peer_name == "fastai" else None
    for threads in ("fixed", "auto"):
        share = speeds[f"ulmkit, busy, threads {threads}"] / quiet
        case = f"busy, threads {threads}: share of the quiet speed"
        rows.append(row(case, "", share, peer_share, peer_name))
    rows.append(row(case, "", share, GOAL, "goal"))
    return rows


def work(library: str, seconds: float, busy: int) -> dict[str, float]:
    """Measure one library, in tokens per second by case."""
    torch.manual_seed(0)
    module = AWDLSTMLanguageModel(LanguageModelConfig(encoder=SIZES), VOCAB_SIZE)
    weights = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    ids = zipf_ids(VOCAB_SIZE, (WINDOWS * STEPS + 1) * BATCH).view(BATCH, -1).T.contiguous()
    setting = Setting(vocab_size=VOCAB_SIZE, weights=weights, precision="fp32", dropout=True, sizes=SIZES)
    if library == "fastai":
        peer = FastaiModel(setting)
        speeds = {"quiet": fastai_speed(peer, ids, seconds)}
        with busy_processes(busy):
            speeds["busy"] = fastai_speed(peer, ids, seconds)
        return speeds
    task = StreamTask(OurModel(setting), ids)
    threads = torch.get_num_threads()
    speeds = {
        "quiet": ulmkit_speed(task, seconds, threads),
        "quiet, threads auto": ulmkit_speed(task, seconds, "auto"),
    }
    with busy_processes(busy):
        speeds["busy, threads fixed"] = ulmkit_speed(task, seconds, threads)
        speeds["busy, threads auto"] = ulmkit_speed(task, seconds, "auto")
    return speeds


@contextlib.contextmanager
def busy_processes(number: int) -> Iterator[None]:
    """Run processes that count for ever inside the block."""
    processes = [subprocess.Popen([sys.executable, "-c", COUNT]) for _ in range(number)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


class StreamTask:
    """A language model on windows of parallel streams, for ulmkit's trainer.

    Args:
        model: The model.
        ids: (WINDOWS * STEPS + 1, BATCH) int64.
    """

    is_language_model = True

    def __init__(self, model: OurModel, ids: Tensor) -> None:
        self.model = model.module
        self.groups = language_model_groups(model.module)
        self._loss = model.loss
        self._ids = ids

    def __len__(self) -> int:
        return WINDOWS

    def batches(self, epoch: int, start: int = 0) -> Iterator[int]:
        return iter(range(start * STEPS, WINDOWS * STEPS, STEPS))

    def start_epoch(self, epoch: int) -> None:
        pass

    def loss(self, batch: int) -> StepResult:
        loss = self._loss(self._ids[batch : batch + STEPS], self._ids[batch + 1 : batch + STEPS + 1])
        return StepResult(loss, tokens=STEPS * BATCH)

    def validate(self) -> dict[str, float]:
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


def ulmkit_speed(task: StreamTask, seconds: float, threads: int | str) -> float:
    """Tokens per second of a run of the trainer, without its first step."""
    config = TrainerConfig(clip=CLIP, validate_every=None, log_every_steps=1, threads=threads)
    phases = full(len(task.groups), budget=Budget(minutes=seconds / 60), peak_rate=RATE)
    history = Trainer(task, config, phases).fit().history
    first = history[0] if len(history) > 1 else {"tokens": 0, "seconds": 0.0}  # too slow to leave it out
    speed: float = (history[-1]["tokens"] - first["tokens"]) / (history[-1]["seconds"] - first["seconds"])
    return speed


def fastai_speed(model: FastaiModel, ids: Tensor, seconds: float) -> float:
    """Tokens per second of a plain loop, without its first step."""
    parameters = list(model.module.parameters())
    ends: list[float] = []
    start = time.perf_counter()
    while len(ends) < 2 or time.perf_counter() - start < seconds:
        begin = len(ends) % WINDOWS * STEPS
        model.optimizer.zero_grad()
        model.loss(ids[begin : begin + STEPS], ids[begin + 1 : begin + STEPS + 1]).backward()
        nn.utils.clip_grad_norm_(parameters, CLIP)
        model.optimizer.step()
        ends.append(time.perf_counter())
    return (len(ends) - 1) * STEPS * BATCH / (ends[-1] - ends[0])


if __name__ == "__main__":
    main()
