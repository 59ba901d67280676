"""The trainer with the package's own models, small."""

import os
import signal

import pytest
import torch
from support.models import make_language_model

from ulmkit.model.layer_groups import language_model_groups
from ulmkit.training import (
    Budget,
    Schedule,
    StepResult,
    Trainer,
    TrainerConfig,
    TrainingInterrupted,
    gradual_unfreezing,
)


class CountingTask:
    """Predict the next of 0, 1, ..., 12, 0, 1, ..., the hidden state carried along a stream."""

    is_language_model = True

    def __init__(self, **options):
        torch.manual_seed(0)
        self.model = make_language_model(13, embedding_size=16, hidden_size=24, layers=2, **options)
        self.groups = language_model_groups(self.model)
        self.state = None

    def __len__(self):
        return 9

    def batches(self, epoch, start=0):
        ids = (torch.arange(9 * 7 + 1)[:, None] + torch.arange(4)[None]) % 13  # (T, B)
        for number in range(start, 9):
            yield ids[7 * number : 7 * number + 8]

    def start_epoch(self, epoch):
        self.state = None

    def loss(self, batch):
        found = self.model.loss(batch[:-1], batch[1:], self.state)
        self.state = found.state
        return StepResult(found.total, found.tokens, {"nll": found.nll})

    def validate(self):
        ids = torch.arange(27)[:, None] % 13
        return {"nll": self.model.token_nll(ids[:-1], ids[1:])[0].mean().item()}

    def state_dict(self):
        return {"state": self.state}

    def load_state_dict(self, state):
        self.state = None if state["state"] is None else [(h, c) for h, c in state["state"]]


def settings(task):
    phases = gradual_unfreezing(
        len(task.groups),
        budget=Budget(epochs=16),
        peak_rate=0.05,
        schedule=Schedule("one_cycle"),
        depths=(1, 3),
        shares=(1, 3),
        factor=1.3,
    )
    return TrainerConfig(clip=0.5, accumulation=2, validate_every=3, restore_best=True), phases


def weights(task):
    return {name: tensor.clone() for name, tensor in task.model.state_dict().items()}


MIXTURE = {"softmax_experts": 3, "latent_dropout": 0.1, "last_hidden_size": 20}


@pytest.mark.parametrize("options", [{}, MIXTURE], ids=["one softmax", "a mixture"])
def test_language_model_learns_and_resumes_exactly(tmp_path, options):
    task = CountingTask(**options)
    before = task.validate()["nll"]
    result = Trainer(task, *settings(task)).fit()
    assert result.best_value < 0.5 * before
    expected = weights(task)

    task = CountingTask(**options)
    loss = task.loss

    def stop(batch):
        task.calls = getattr(task, "calls", 0) + 1
        if task.calls == 58:
            os.kill(os.getpid(), signal.SIGINT)
        return loss(batch)

    task.loss = stop
    with pytest.raises(TrainingInterrupted, match="stopped at step 32"):
        Trainer(task, *settings(task), tmp_path).fit()
    task = CountingTask(**options)
    task.model.load_state_dict({name: tensor + 1 for name, tensor in weights(task).items()})
    Trainer(task, *settings(task), tmp_path).fit(resume=True)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights(task).items())
