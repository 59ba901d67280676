"""How fast is one training step of a full-size language model on this GPU, and how much memory does it take?

Forward, backward, clipping and a fused AdamW of an AWD-LSTM (400, 1152 x 3) on windows of 70 steps of 80 streams, all
dropouts as fastai's defaults, AR 2 and TAR 1, the state carried; token ids as words of a text are. ulmkit with its
own kernels beside ulmkit on cuDNN, the same compiled by torch.compile, and fastai's model with its own loss and
torch's fused AdamW under fp16 autocast with loss scaling. First all compute the loss of the same weights, in
evaluation mode. Medians by device events; the last row is the time of an epoch of Penn Treebank, its 929,589 tokens
at the speed of a step.

    python benchmarks/train_cuda.py [--vocab-sizes N ...] [--batch N] [--repeats N] [--quick] [--json FILE]
"""

import argparse
import gc
import statistics
import sys
from collections.abc import Callable
from typing import Any

import torch
from common import report, row
from fastai_peer import load_fastai, regularized_loss, to_fastai, zipf_ids
from torch import Tensor, nn

from ulmkit.model.awd_lstm import AWDLSTMConfig, State
from ulmkit.model.language_model import AWDLSTMLanguageModel

STEPS, BATCH, CLIP, RATE, AR, TAR = 70, 80, 0.4, 1e-3, 2.0, 1.0
PTB_TOKENS = 929_589
LIMIT = 2e-2  # nats a token between any two
MIB = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocab-sizes", type=int, nargs="+", default=[10_000, 60_000])
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--repeats", type=int, default=30, help="timed steps (30)")
    parser.add_argument("--quick", action="store_true", help="V 10,000 and 5 steps")
    parser.add_argument("--json", metavar="FILE", help="write the figures to this file")
    options = parser.parse_args()
    if options.quick:
        options.vocab_sizes, options.repeats = [10_000], 5
    if not torch.cuda.is_available():
        sys.exit("this benchmark needs a CUDA device; torch finds none here")
    print(f"torch {torch.__version__}, {torch.cuda.get_device_name()}")
    if load_fastai() is None:
        print("fastai is not installed: see benchmarks/requirements.txt")
    rows = [line for vocab_size in options.vocab_sizes for line in compare(vocab_size, options.batch, options.repeats)]
    report("train_cuda", rows, options.json)


def compare(vocab_size: int, batch: int, repeats: int) -> list[dict[str, Any]]:
    """One vocabulary, every variant after the other."""
    torch.manual_seed(0)
    weights = AWDLSTMLanguageModel(AWDLSTMConfig(vocab_size=vocab_size)).state_dict()
    ids = zipf_ids(vocab_size, (STEPS + 1) * batch).view(STEPS + 1, batch).cuda()
    variants: dict[str, Callable[[], Trained]] = {
        "ulmkit": lambda: Ours(vocab_size, weights, "fused"),
        "ulmkit on cuDNN": lambda: Ours(vocab_size, weights, "torch"),
        "ulmkit on cuDNN, compiled": lambda: Ours(vocab_size, weights, "torch", compiled=True),
    }
    if load_fastai() is not None:
        variants["fastai fp16"] = lambda: Fastai(vocab_size, weights)
    found = {name: measure(make, ids, repeats) for name, make in variants.items()}
    losses = [figures["loss"] for figures in found.values()]
    if max(losses) - min(losses) > LIMIT:
        sys.exit(f"V {vocab_size:,}: not the same loss: {dict(zip(found, losses, strict=True))}")
    ours, rows = found.pop("ulmkit"), []
    for name, figures in found.items():
        speeds = [STEPS * batch / figure["seconds"] for figure in (ours, figures)]
        rows.append(row(f"V {vocab_size:,}, B {batch}: training", "tokens/s", *speeds, name))
        memory = [figure["bytes"] / MIB for figure in (ours, figures)]
        rows.append(row(f"V {vocab_size:,}, B {batch}: peak memory", "MiB", *memory, name, lower_is_better=True))
    epoch = PTB_TOKENS / (STEPS * batch) * ours["seconds"]
    if vocab_size == 10_000:
        rows.append(row(f"an epoch of Penn Treebank, B {batch}", "s", epoch, 2.0, "goal", lower_is_better=True))
    return rows


class Trained:
    """A model and its optimizer. A subclass has `module`, and `loss`."""

    module: nn.Module

    def loss(self, ids: Tensor, targets: Tensor) -> Tensor:
        raise NotImplementedError

    def prepare(self) -> None:
        self.optimizer = torch.optim.AdamW(self.module.parameters(), lr=RATE, fused=True)

    def step(self, ids: Tensor, targets: Tensor) -> None:
        self.loss(ids, targets).backward()
        nn.utils.clip_grad_norm_(self.module.parameters(), CLIP)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


class Ours(Trained):
    """ulmkit's language model in bf16."""

    def __init__(self, vocab_size: int, weights: dict[str, Tensor], backend: str, *, compiled: bool = False) -> None:
        self.module = AWDLSTMLanguageModel(AWDLSTMConfig(vocab_size=vocab_size))
        self.module.load_state_dict(weights)
        self.module.cuda()
        self.module.encoder.precision, self.module.encoder.backend = "bf16", backend
        self._loss = torch.compile(self.module.loss) if compiled else self.module.loss
        self._state: State | None = None
        self.prepare()

    def loss(self, ids: Tensor, targets: Tensor) -> Tensor:
        result = self._loss(ids, targets, self._state, ar=AR, tar=TAR)
        self._state = result.state if self.module.training else None
        return result.total if self.module.training else result.nll


class Fastai(Trained):
    """fastai's, as its learner trains with to_fp16()."""

    def __init__(self, vocab_size: int, weights: dict[str, Tensor]) -> None:
        self._fastai: Any = load_fastai()
        self.module = self._fastai.get_language_model(self._fastai.AWD_LSTM, vocab_size)
        self.module.load_state_dict(to_fastai(weights))
        self.module.cuda()
        self.module.reset()
        self._scaler = torch.amp.GradScaler("cuda")
        self.prepare()

    def loss(self, ids: Tensor, targets: Tensor) -> Tensor:
        with torch.autocast("cuda", dtype=torch.float16):
            prediction = self.module(ids.T)
            if self.module.training:
                return regularized_loss(self._fastai, prediction, targets.T, AR, TAR)
            return nn.functional.cross_entropy(prediction[0].float().flatten(0, 1), targets.T.flatten())

    def step(self, ids: Tensor, targets: Tensor) -> None:
        self._scaler.scale(self.loss(ids, targets)).backward()
        self._scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.module.parameters(), CLIP)
        self._scaler.step(self.optimizer)
        self._scaler.update()
        self.optimizer.zero_grad(set_to_none=True)


def measure(make: Callable[[], Trained], ids: Tensor, repeats: int) -> dict[str, float]:
    """Loss in evaluation mode, seconds of a step, and most bytes held while training."""
    gc.collect()
    torch.cuda.empty_cache()
    trained = make()
    with torch.no_grad():
        trained.module.eval()
        loss = trained.loss(ids[:-1], ids[1:]).item()
        trained.module.train()
    torch.cuda.reset_peak_memory_stats()
    seconds = []
    for number in range(repeats + 5):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        trained.step(ids[:-1], ids[1:])
        end.record()
        torch.cuda.synchronize()
        if number >= 5:
            seconds.append(start.elapsed_time(end) / 1000.0)
    return {"loss": loss, "seconds": statistics.median(seconds), "bytes": float(torch.cuda.max_memory_allocated())}


if __name__ == "__main__":
    main()
