"""How fast is one training step of a full-size language model on this GPU, and how much memory does it take?

A step is forward, backward, clipping and a fused AdamW of an AWD-LSTM (400, 1152 x 3) on windows of 70 steps of 80
streams, with fastai's default dropouts, AR 2, TAR 1 and the state carried; token ids are drawn by Zipf's law. ulmkit
with its own kernels stands beside ulmkit on cuDNN, where it draws masks with torch's operations (up to 48 launches a
layer), and beside fastai's model with its own loss and torch's fused AdamW under fp16 autocast with loss scaling. First
all compute the loss of the same weights in evaluation mode. Times are medians by device events; one row is the time of
an epoch of Penn Treebank: its 929,589 tokens at the speed of a step.

With --compiled, the only peer is ulmkit on cuDNN compiled by torch.compile, which takes a minute or more for each
vocabulary; cuDNN's layers remain calls between the graphs.

    python benchmarks/train_cuda.py [--vocab-sizes N ...] [--batch N] [--repeats N] [--quick] [--compiled] [--json FILE]
"""

import argparse
import functools
import gc
import statistics
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from common import DifferentError, report_as_they_come, row
from fastai_peer import load_fastai, regularized_loss, to_fastai, zipf_ids
from torch import Tensor, nn

from ulmkit.model.awd_lstm import State
from ulmkit.model.language_model import AWDLSTMLanguageModel, LanguageModelConfig

STEPS = 70
BATCH = 80
CLIP = 0.4
RATE = 1e-3
AR = 2.0
TAR = 1.0
PTB_TOKENS = 929_589
PTB_VOCABULARY = 10_000
LIMIT = 2e-2  # nats per token, between any two
MIB = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocab-sizes", type=int, nargs="+", default=[10_000, 60_000], help="vocabulary sizes")
    parser.add_argument("--batch", type=int, default=BATCH, help=f"streams (default: {BATCH})")
    parser.add_argument("--repeats", type=int, default=30, help="timed steps (default: 30)")
    parser.add_argument("--quick", action="store_true", help="V 10,000 and 5 steps")
    parser.add_argument("--compiled", action="store_true", help="compare only with torch.compile")
    parser.add_argument("--json", metavar="FILE", help="write the results to this file")
    options = parser.parse_args()
    if options.quick:
        options.vocab_sizes = [10_000]
        options.repeats = 5
    if not torch.cuda.is_available():
        sys.exit("this benchmark needs a CUDA device; torch finds none here")
    print(f"torch {torch.__version__}, {torch.cuda.get_device_name()}")
    peers = ["ulmkit on cuDNN, compiled"] if options.compiled else ["ulmkit on cuDNN", "fastai fp16"]
    comparisons = [Comparison(vocab_size, options.batch, options.repeats) for vocab_size in options.vocab_sizes]
    cases: list[Callable[[], list[dict[str, Any]]]] = [
        comparison.epoch for comparison in comparisons if comparison.vocab_size == PTB_VOCABULARY
    ]
    cases += [partial(comparison.compare, peer) for peer in peers for comparison in comparisons]
    name = "train_cuda_compiled" if options.compiled else "train_cuda"
    sys.exit(not report_as_they_come(name, cases, options.json))


class Comparison:
    """ulmkit with its own kernels, measured once, beside peers with the same weights on the same tokens."""

    def __init__(self, vocab_size: int, batch: int, repeats: int) -> None:
        torch.manual_seed(0)
        self.vocab_size = vocab_size
        self.batch = batch
        self.repeats = repeats
        self._weights = AWDLSTMLanguageModel(LanguageModelConfig(), vocab_size).state_dict()
        self._ids = zipf_ids(vocab_size, (STEPS + 1) * batch).view(STEPS + 1, batch)

    @functools.cached_property
    def ours(self) -> dict[str, float]:
        """Measurements of ulmkit with its own kernels."""
        return measure(lambda: Ours(self.vocab_size, self._weights, "fused"), self._ids.cuda(), self.repeats)

    def epoch(self) -> list[dict[str, Any]]:
        """The time of an epoch of Penn Treebank."""
        seconds = PTB_TOKENS * self.ours["seconds"] / (STEPS * self.batch)
        return [row(f"an epoch of Penn Treebank, B {self.batch}", "s", seconds, 2.0, "goal", lower_is_better=True)]

    def compare(self, name: str) -> list[dict[str, Any]]:
        """Speed and memory beside one of them. Raises: DifferentError where the losses are not the same."""
        case = f"V {self.vocab_size:,}, B {self.batch}"
        theirs = None
        if name.startswith("fastai") and load_fastai() is None:
            name += " (not installed)"
        else:
            theirs = measure(lambda: self._make(name), self._ids.cuda(), self.repeats)
            if abs(self.ours["loss"] - theirs["loss"]) > LIMIT:
                raise DifferentError(f"{case}: not the same loss: {self.ours['loss']}, {name} {theirs['loss']}")
        speeds = [None if found is None else STEPS * self.batch / found["seconds"] for found in (self.ours, theirs)]
        memory = [None if found is None else found["bytes"] / MIB for found in (self.ours, theirs)]
        return [
            row(f"{case}: training", "tokens/s", *speeds, name),
            row(f"{case}: peak memory", "MiB", *memory, name, lower_is_better=True),
        ]

    def _make(self, name: str) -> "Trained":
        if name.startswith("fastai"):
            return Fastai(self.vocab_size, self._weights)
        return Ours(self.vocab_size, self._weights, "torch", compiled="compiled" in name)


class Trained:
    """A model and its optimizer; subclasses define `module` and `loss`."""

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
        self.module = AWDLSTMLanguageModel(LanguageModelConfig(), vocab_size)
        self.module.load_state_dict(weights)
        self.module.cuda()
        self.module.encoder.precision = "bf16"
        self.module.encoder.backend = backend
        torch.compiler.reset()  # drop what was compiled for another vocabulary
        self._training_loss = torch.compile(self.module.loss) if compiled else self.module.loss
        self._state: State | None = None
        self.prepare()

    def loss(self, ids: Tensor, targets: Tensor) -> Tensor:
        if not self.module.training:
            return self.module.loss(ids, targets).nll
        result = self._training_loss(ids, targets, self._state, ar=AR, tar=TAR)
        self._state = result.state
        return result.total


class Fastai(Trained):
    """fastai's language model, trained like by its learner with to_fp16()."""

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
    """Loss in evaluation mode, seconds of a step, and peak bytes while training."""
    gc.collect()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    trained = make()
    with torch.no_grad():
        trained.module.eval()
        loss = trained.loss(ids[:-1], ids[1:]).item()
        trained.module.train()
    torch.cuda.reset_peak_memory_stats()
    for _ in range(5):
        trained.step(ids[:-1], ids[1:])
    events = [tuple(torch.cuda.Event(enable_timing=True) for _ in range(2)) for _ in range(repeats)]
    for start, end in events:
        start.record()
        trained.step(ids[:-1], ids[1:])
        end.record()
    torch.cuda.synchronize()
    seconds = [start.elapsed_time(end) / 1000.0 for start, end in events]
    most = torch.cuda.max_memory_allocated() - before
    return {"loss": loss, "seconds": statistics.median(seconds), "bytes": float(most)}


if __name__ == "__main__":
    main()
