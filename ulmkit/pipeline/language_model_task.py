"""The training task of a language model."""

from collections.abc import Callable, Iterator
from typing import Any

import torch

from ulmkit.model.awd_lstm import State
from ulmkit.model.copies import to_device
from ulmkit.model.language_model import AWDLSTMLanguageModel
from ulmkit.model.layer_groups import language_model_groups
from ulmkit.text.batches import LanguageModelBatch, LanguageModelBatches
from ulmkit.training import StepResult


class LanguageModelTask:
    """Parallel streams of text, the recurrent state carried from batch to batch.

    Args:
        model: Model, on the device to train on.
        batches: Batches of the training text.
        validate: Computes metrics on held-out text; the first one is monitored.
        ar: Weight of activation regularization.
        tar: Weight of temporal activation regularization.
        reset_probability: See `LanguageModelRecipe`.
    """

    is_language_model = True

    def __init__(
        self,
        model: AWDLSTMLanguageModel,
        batches: LanguageModelBatches,
        validate: Callable[[], dict[str, float]],
        *,
        ar: float,
        tar: float,
        reset_probability: float = 0.0,
    ) -> None:
        self.model = model
        self.groups = language_model_groups(model)
        self.validate = validate
        self._batches = batches
        self._ar = ar
        self._tar = tar
        self._reset_probability = reset_probability
        self._state: State | None = None

    def __len__(self) -> int:
        return len(self._batches)

    def batches(self, epoch: int, start: int = 0) -> Iterator[LanguageModelBatch]:
        """Batches of an epoch, from the batch with number `start` on."""
        return self._batches.epoch(epoch, start)

    def start_epoch(self, epoch: int) -> None:
        """Reset the recurrent state."""
        self._state = None

    def loss(self, batch: LanguageModelBatch) -> StepResult:
        """Loss of a batch, regularization included; the state is carried on to the next batch."""
        device = self.model.encoder.device
        inputs, targets = to_device(batch.inputs, device), to_device(batch.targets, device)
        result = self.model.loss(inputs, targets, self._carried_state(), ar=self._ar, tar=self._tar)
        self._state = result.state
        return StepResult(result.total, result.tokens, {"nll": result.nll})

    def _carried_state(self) -> State | None:
        """The state that a batch begins with; rows whose turn it is begin from zeros."""
        if self._state is None or not self._reset_probability:
            return self._state
        h, _ = self._state[0]  # (B, H)
        is_kept = torch.rand(len(h), 1, device=h.device) >= self._reset_probability
        return [(torch.where(is_kept, h, 0.0), torch.where(is_kept, c, 0.0)) for h, c in self._state]

    def state_dict(self) -> dict[str, Any]:
        """The recurrent state, for a checkpoint."""
        if self._state is None:
            return {}
        return {"h": [h for h, _ in self._state], "c": [c for _, c in self._state]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the recurrent state from a checkpoint."""
        device = self.model.encoder.device
        if not state:
            self._state = None
            return
        pairs = zip(state["h"], state["c"], strict=True)
        self._state = [(torch.as_tensor(h, device=device), torch.as_tensor(c, device=device)) for h, c in pairs]
