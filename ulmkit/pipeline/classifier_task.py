"""A classifier as the trainer sees it."""

from collections.abc import Callable, Iterator
from typing import Any

from ulmkit.errors import DataError
from ulmkit.model.classifier import AWDLSTMClassifier
from ulmkit.model.copies import to_device
from ulmkit.model.layer_groups import classifier_groups
from ulmkit.text.batches import ClassifierBatch, ClassifierBatches
from ulmkit.training import StepResult


class ClassifierTask:
    """Labelled documents in batches of like length.

    Args:
        model: on the device to train on.
        batches: of the training documents.
        validate: metrics of the model on held-out documents, the first of which is monitored.
    """

    is_language_model = False

    def __init__(
        self, model: AWDLSTMClassifier, batches: ClassifierBatches, validate: Callable[[], dict[str, float]]
    ) -> None:
        self.model = model
        self.groups = [group.parameters for group in classifier_groups(model)]
        self.validate = validate
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches)

    def batches(self, epoch: int, start: int = 0) -> Iterator[ClassifierBatch]:
        return self._batches.epoch(epoch, start)

    def start_epoch(self, epoch: int) -> None:
        """Nothing is carried from batch to batch."""

    def loss(self, batch: ClassifierBatch) -> StepResult:
        device = self.model.encoder.device
        boundaries = batch.boundaries if self.model.head.reads_pairs else None
        boundaries = None if boundaries is None else to_device(boundaries, device)
        outputs = self.model(to_device(batch.ids, device), batch.lengths, boundaries)
        if batch.targets is None:
            raise DataError("labels: expected a corpus with labels, got one without; name the label column")
        loss = self.model.head.loss(outputs, to_device(batch.targets, device))
        return StepResult(loss, int(batch.lengths.sum()), weight=self.model.head.weight(batch.targets))

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing is carried."""
