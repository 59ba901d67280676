"""A small training task with what makes an exact resume hard: dropout, batch norm, a carried state."""

from dataclasses import dataclass

import torch
from torch import nn

from ulmkit.training import Budget, Schedule, StepResult, full

CONSTANT = Schedule("constant")


@dataclass
class ToyBatch:
    inputs: torch.Tensor
    targets: torch.Tensor
    rate_scale: float = 1.0


class ToyModel(nn.Module):
    def __init__(self, dropout=0.3):
        super().__init__()
        self.bottom = nn.Linear(4, 6)
        self.norm = nn.BatchNorm1d(6)
        self.middle = nn.Linear(6, 6)
        self.top = nn.Linear(6, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x):
        x = self.norm(self.bottom(x))
        return self.top(self.dropout(torch.tanh(self.middle(x))))


class ToyTask:
    """Learn the sum of the inputs; `carry` is a state passed from batch to batch and reset at each epoch."""

    is_language_model = False

    def __init__(self, batches_per_epoch=6, size=8, dropout=0.3, rank=0, ranks=1, carry=0.1):
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.model = ToyModel(dropout)
        model = self.model
        self.groups = [
            [*model.bottom.parameters(), *model.norm.parameters()],
            list(model.middle.parameters()),
            list(model.top.parameters()),
        ]
        self.batches_per_epoch, self.size, self.rank, self.ranks = batches_per_epoch, size, rank, ranks
        self.carry, self.carry_share = torch.zeros(1), carry
        self.epochs_started = []
        self.seen = []
        self.validations = 0

    def __len__(self):
        return self.batches_per_epoch

    def make_batch(self, epoch, number):
        generator = torch.Generator().manual_seed(1000 * epoch + number)
        inputs = torch.randn(self.size, 4, generator=generator)
        share = slice(self.rank * self.size // self.ranks, (self.rank + 1) * self.size // self.ranks)
        return ToyBatch(inputs[share], inputs.sum(1, keepdim=True)[share])

    def batches(self, epoch, start=0):
        for number in range(start, self.batches_per_epoch):
            self.seen.append((epoch, number))
            yield self.make_batch(epoch, number)

    def start_epoch(self, epoch):
        self.epochs_started.append(epoch)
        self.carry = torch.zeros(1)

    def loss(self, batch):
        prediction = self.model(batch.inputs) + self.carry_share * self.carry
        self.carry = prediction.detach().mean().reshape(1)
        loss = nn.functional.mse_loss(prediction, batch.targets)
        return StepResult(loss, tokens=len(batch.inputs), metrics={"size": float(len(batch.inputs))})

    def validate(self):
        self.validations += 1
        with torch.random.fork_rng():
            x = torch.randn(32, 4, generator=torch.Generator().manual_seed(5))
            return {"mse": nn.functional.mse_loss(self.model(x), x.sum(1, keepdim=True)).item()}

    def state_dict(self):
        return {"carry": self.carry, "nested": {"list": [1, 2.5, None, "x"]}}

    def load_state_dict(self, state):
        assert state["nested"] == {"list": [1, 2.5, None, "x"]}
        self.carry = state["carry"]

    def weights(self):
        return torch.cat([tensor.flatten().double() for tensor in self.model.state_dict().values()])


class FakeClock:
    """A clock that only moves when a test sets it."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def one_phase(steps=12, rate=0.05, groups=3, schedule=CONSTANT):
    return full(groups, budget=Budget(steps=steps), peak_rate=rate, schedule=schedule)


def validation_rows(result):
    return [row for row in result.history if row["kind"] == "validation"]
