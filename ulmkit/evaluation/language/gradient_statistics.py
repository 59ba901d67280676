"""Mean squared gradients of a trained model on its training text, which scale the steps of dynamic evaluation.

Source: Krause, Kahembwe, Murray & Renals 2018, "Dynamic evaluation of neural sequence models", arXiv:1709.07432.
"""

import hashlib
import itertools
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ulmkit.arrays import read_header
from ulmkit.errors import ConfigError, DataError, FolderError
from ulmkit.evaluation.language.modes import LearningCopy, unpadded_parameters
from ulmkit.files import expand_user
from ulmkit.model.awd_lstm import State
from ulmkit.model.language_model import AWDLSTMLanguageModel
from ulmkit.tensors import load_tensors, save_tensors
from ulmkit.text.batches import LanguageModelBatch


@dataclass(frozen=True, eq=False)
class GradientStatistics:
    """Mean squared gradients of a model's parameters.

    Attributes:
        mean_square: MS_g by parameter name, in the parameter's shape.
        batches: Number of batches averaged over.
        fingerprint: Fingerprint of model, text and settings; "" if unknown.
    """

    mean_square: dict[str, Tensor]
    batches: int
    fingerprint: str = ""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a safetensors file.

        Raises:
            FolderError: If the file cannot be written.
        """
        header = {"batches": str(self.batches), "fingerprint": self.fingerprint}
        save_tensors(expand_user(path), self.mean_square, header)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "GradientStatistics":
        """Read a file that `save` wrote.

        Raises:
            FolderError: If the file is missing or something else.
        """
        try:
            header = read_header(expand_user(path))
            return cls(load_tensors(expand_user(path)), int(header["batches"]), header.get("fingerprint", ""))
        except (OSError, KeyError, ValueError) as error:
            raise FolderError(
                f"{os.fspath(path)}: expected gradient statistics, got {error!r}; compute them again"
            ) from error

    def check_fits(self, model: AWDLSTMLanguageModel) -> None:
        """Check that a model has the parameters that the statistics belong to.

        Raises:
            ConfigError: If a parameter is missing or has another shape; names it.
        """
        expected = {name: tuple(tensor.shape) for name, tensor in unpadded_parameters(model).items()}
        actual = {name: tuple(tensor.shape) for name, tensor in self.mean_square.items()}
        for name in sorted(expected.keys() | actual):
            if expected.get(name) != actual.get(name):
                raise ConfigError(
                    f"statistics: expected {name} of shape {expected.get(name)}, got {actual.get(name)}; "
                    "compute them with this model"
                )


def gradient_statistics(
    model: AWDLSTMLanguageModel, batches: Iterable[LanguageModelBatch], max_batches: int | None = None
) -> GradientStatistics:
    """Mean squared gradient of each parameter over batches of the training text.

    MS_g = 1 / N_b sum_k (grad L_k)^2,  L_k: mean loss of batch k in nats per token

    Args:
        model: Trained model; it is not changed. Dropout is off; fp32 unless the encoder's precision is chosen.
        batches: Batches of the training text, for example `LanguageModelBatches(stream, 100, 5).epoch(0)`. The
            published results use 100 rows, and windows as long as the segments of dynamic evaluation.
        max_batches: Batches to read; None reads all.

    Raises:
        DataError: If there are no batches.
        ConfigError: If the model has int8 weights.

    Source: Krause et al. 2018, arXiv:1709.07432, section 5.
    """
    learner = LearningCopy(model)
    device = learner.model.encoder.device
    sums = [torch.zeros_like(value) for value in learner.parameters.values()]
    state: State | None = None
    count = 0
    for batch in itertools.islice(batches, max_batches):
        inputs, targets = batch.inputs.to(device), batch.targets.to(device)
        with torch.enable_grad():
            scores = learner.model.token_scores(inputs, targets, None if batch.is_first else state)
        gradients = learner.gradients(scores.mean_nll)
        torch._foreach_addcmul_(sums, gradients, gradients)
        state = scores.state
        count += 1
    if not count:
        raise DataError("batches: expected at least one, got none; use more text or fewer rows")
    torch._foreach_div_(sums, count)
    return GradientStatistics(dict(zip(learner.parameters, sums, strict=True)), count)


def weights_fingerprint(model: AWDLSTMLanguageModel) -> str:
    """Fingerprint of a model's parameters: equal for equal values."""
    return tensors_fingerprint(unpadded_parameters(model))


def tensors_fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """Fingerprint of named tensors: equal for equal names, shapes, types and values."""
    digest = hashlib.sha256()
    for name, value in tensors.items():
        digest.update(f"{name} {list(value.shape)} {value.dtype}".encode())
        digest.update(value.cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def rms_norm(mean_square: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Size of each parameter's gradients relative to the mean over all parameters.

    RMS_norm = sqrt(MS_g) / mean(sqrt(MS_g))

    Args:
        mean_square: MS_g by parameter name.

    Returns:
        RMS_norm by parameter name, in the same shapes.

    Raises:
        DataError: If all gradients were zero.

    Source: Krause et al. 2018, arXiv:1709.07432, section 5.
    Deviation: the mean is taken over the tensors' means, so that a bias counts as much as the embedding, as in the
        authors' code, which their hyperparameters belong to.
    """
    roots = {name: tensor.sqrt() for name, tensor in mean_square.items()}
    average = torch.stack([root.mean() for root in roots.values()]).mean()
    if not average > 0:
        raise DataError("statistics: expected gradients above zero, got only zeros; compute them with a trained model")
    return {name: root / average for name, root in roots.items()}
