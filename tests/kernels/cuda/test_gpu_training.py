"""Steps of training on a GPU, from batches on the CPU: the host does not wait for the device. Run with -m gpu."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from support.heads import head_config

from ulmkit.model.awd_lstm import AWDLSTMConfig
from ulmkit.model.classifier import AWDLSTMClassifier
from ulmkit.model.language_model import AWDLSTMLanguageModel, LanguageModelConfig
from ulmkit.pipeline.classifier_task import ClassifierTask
from ulmkit.pipeline.language_model_task import LanguageModelTask
from ulmkit.text.batches import ClassifierBatch, LanguageModelBatch
from ulmkit.training import OptimizerConfig
from ulmkit.training.step import StepRunner
from ulmkit.training.world import World

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]

V = 101
SIZES = AWDLSTMConfig(embedding_size=40, hidden_size=64)


@contextlib.contextmanager
def no_waiting() -> Iterator[None]:
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def steps(task: Any, batches: list[Any]) -> None:
    """One to compile kernels, the others without waiting."""
    runner = StepRunner(task, OptimizerConfig(), 0.25, World())
    task.model.train()
    runner.train_groups(range(len(task.groups)))
    rates = [1e-3] * len(task.groups)
    runner.run(batches[:1], rates, 0.9)
    with no_waiting():
        for batch in batches[1:]:
            outcome = runner.run([batch], rates, 0.9)
    assert torch.isfinite(outcome.results[0].loss)


@pytest.mark.parametrize("backend", ["fused", "torch"])
def test_of_a_language_model(backend):
    model = AWDLSTMLanguageModel(LanguageModelConfig(encoder=SIZES), V).cuda()
    model.encoder.backend = backend
    windows = [torch.randint(V, (13, 4)) for _ in range(3)]
    batches = [LanguageModelBatch(ids[:-1], ids[1:], 1.0, is_first=n == 0) for n, ids in enumerate(windows)]
    steps(LanguageModelTask(model, batches, dict, ar=2.0, tar=1.0), batches)


@pytest.mark.parametrize("kind", ["single", "multi", "number", "tokens", "pair"])
@pytest.mark.parametrize("backend", ["fused", "torch"])
def test_of_a_classifier(backend, kind):
    head = head_config(kind)
    model = AWDLSTMClassifier(SIZES, V, head, chunk_steps=5, gradient_steps=10).cuda()
    model.encoder.backend = backend
    ids, lengths, rows = torch.randint(V, (17, 4)), torch.tensor([3, 17, 0, 9]), torch.arange(4)
    boundaries = lengths // 2 if kind == "pair" else None
    shapes = {"tokens": (17, 4), "multi": (4, 3)}
    targets = torch.randint(2, shapes.get(kind, (4,)))
    batches = [ClassifierBatch(ids, lengths, targets, boundaries, rows) for _ in range(3)]
    steps(ClassifierTask(model, batches, dict), batches)
