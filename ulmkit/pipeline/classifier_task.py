"""Training task of a classifier: batches, loss and validation for the trainer."""

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor

from ulmkit.model.adversarial import adversarial_loss
from ulmkit.model.classifier import AWDLSTMClassifier
from ulmkit.model.copies import to_device
from ulmkit.model.layer_groups import classifier_groups
from ulmkit.text.batches import ClassifierBatch, ClassifierBatches
from ulmkit.training import StepResult


class ClassifierTask:
    """Trains a classifier on labelled documents in batches of similar length.

    Args:
        model: The classifier, on the device to train on.
        batches: The training documents.
        validate: Returns metrics on held-out documents; the first one is monitored.
        adversarial: Norm of the shifts of adversarial training, see `adversarial_loss`; 0 for none.
    """

    is_language_model = False

    def __init__(
        self,
        model: AWDLSTMClassifier,
        batches: ClassifierBatches,
        validate: Callable[[], dict[str, float]],
        adversarial: float = 0.0,
    ) -> None:
        self.model = model
        self.groups = classifier_groups(model)
        self.validate = validate
        self._batches = batches
        self._adversarial = adversarial

    def __len__(self) -> int:
        return len(self._batches)

    def batches(self, epoch: int, start: int = 0) -> Iterator[ClassifierBatch]:
        """Iterate over the batches of an epoch, from batch `start` on."""
        return self._batches.epoch(epoch, start)

    def start_epoch(self, epoch: int) -> None:
        """Do nothing: no state is carried from batch to batch."""

    def loss(self, batch: ClassifierBatch) -> StepResult:
        """Compute the loss of a batch, all of whose documents have labels."""
        assert batch.targets is not None
        device = self.model.encoder.device
        boundaries = None
        if self.model.head.reads_pairs and batch.boundaries is not None:
            boundaries = to_device(batch.boundaries, device)
        ids, targets = to_device(batch.ids, device), to_device(batch.targets, device)

        def batch_loss() -> Tensor:
            return self.model.head.loss(self.model(ids, batch.lengths, boundaries), targets)

        weight = self.model.head.loss_denominator(batch.targets)
        if self._adversarial:
            loss = adversarial_loss(self.model, batch_loss, self._adversarial, weight)
        else:
            loss = batch_loss()
        return StepResult(loss, int(batch.lengths.sum()), weight=weight)

    def state_dict(self) -> dict[str, Any]:
        """Return no state."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Do nothing: there is no state."""
