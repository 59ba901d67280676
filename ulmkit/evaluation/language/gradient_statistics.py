"""How large a trained model's gradients are on its training text: what scales the steps of dynamic evaluation.

Source: Krause, Kahembwe, Murray & Renals 2018, "Dynamic evaluation of neural sequence models", arXiv:1709.07432.
"""

import hashlib
import itertools
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from ulmkit.errors import ConfigError, DataError, FolderError
from ulmkit.evaluation.language.learning_copy import LearningCopy, named_values
from ulmkit.files import atomic_write
from ulmkit.model.awd_lstm import State
from ulmkit.model.language_model import AWDLSTMLanguageModel
from ulmkit.text.batches import LanguageModelBatch


@dataclass(frozen=True, eq=False)
class GradientStatistics:
    """Attributes: mean_square: MS_g by parameter name, in the parameter's shape; batches: that it was averaged over;
    origin: a fingerprint of what it was computed from, "" if that is not known."""

    mean_square: dict[str, Tensor]
    batches: int
    origin: str = ""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a safetensors file. Raises: FolderError if it cannot be written."""
        tensors = {name: tensor.cpu() for name, tensor in self.mean_square.items()}
        with atomic_write(path, "wb") as file:
            file.write(save(tensors, {"batches": str(self.batches), "origin": self.origin}))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "GradientStatistics":
        """Read what `save` wrote. Raises: FolderError if the file is missing or another."""
        try:
            with safe_open(path, framework="pt") as file:
                batches, origin = int(file.metadata()["batches"]), file.metadata().get("origin", "")
            return cls(load_file(path), batches, origin)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise FolderError(
                f"{os.fspath(path)}: expected gradient statistics, got {error!r}; compute them anew"
            ) from error

    def check(self, model: AWDLSTMLanguageModel) -> None:
        """Raise ConfigError unless these are statistics of a model of the same parameters."""
        expected = {name: tuple(tensor.shape) for name, tensor in named_values(model).items()}
        given = {name: tuple(tensor.shape) for name, tensor in self.mean_square.items()}
        for name in sorted(expected.keys() | given):
            if expected.get(name) != given.get(name):
                raise ConfigError(
                    f"statistics: expected {name} of shape {expected.get(name)}, got {given.get(name)}; "
                    "compute them with this model"
                )


def gradient_statistics(
    model: AWDLSTMLanguageModel, batches: Iterable[LanguageModelBatch], max_batches: int | None = None
) -> GradientStatistics:
    """The mean over batches of the squared gradient of a batch's mean loss, in nats a token, in each parameter.

    MS_g = 1 / N_b sum_k (grad L_k)^2

    Args:
        model: trained; it is not changed. Dropout is off; fp32 unless the encoder's precision is chosen.
        batches: of the training text, for example `LanguageModelBatches(stream, 100, 5).epoch(0)`; the published
            figures have 100 rows, and windows as long as dynamic evaluation's segments.
        max_batches: to read; None: all.
    Raises: DataError for no batches; ConfigError for a model of bytes.
    Source: Krause et al. 2018, arXiv:1709.07432, section 5.
    """
    learner = LearningCopy(model)
    device = learner.model.encoder.device
    sums = [torch.zeros_like(value) for value in learner.values.values()]
    state: State | None = None
    count = 0
    for batch in itertools.islice(batches, max_batches):
        inputs, targets = batch.inputs.to(device), batch.targets.to(device)
        with torch.enable_grad():
            scores = learner.model.token_scores(inputs, targets, None if batch.is_first else state)
        gradients = learner.gradients(scores.mean_nll)
        torch._foreach_addcmul_(sums, gradients, gradients)
        state, count = scores.state, count + 1
    if not count:
        raise DataError("batches: expected at least one, got none; take more text or fewer rows")
    torch._foreach_div_(sums, count)
    return GradientStatistics(dict(zip(learner.values, sums, strict=True)), count)


def weights_fingerprint(model: AWDLSTMLanguageModel) -> str:
    """A name for a model's parameters, the same for the same values."""
    return tensors_fingerprint(named_values(model))


def tensors_fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """A name for tensors by name, the same for the same values."""
    digest = hashlib.sha256()
    for name, value in tensors.items():
        digest.update(f"{name} {list(value.shape)} {value.dtype}".encode())
        digest.update(value.cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def rms_norm(mean_square: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """How large each parameter's gradients are beside those of all.

    RMS_norm = sqrt(MS_g) / mean(sqrt(MS_g))

    Args: mean_square: MS_g by parameter name. Returns: by name, in the same shapes.
    Raises: DataError if all gradients were zero.
    Source: Krause et al. 2018, arXiv:1709.07432, section 5.
    Deviation: the mean is of each tensor's mean, a bias counting as much as the embedding: so has it the authors'
        code, for which their hyperparameters hold.
    """
    roots = {name: tensor.sqrt() for name, tensor in mean_square.items()}
    average = torch.stack([root.mean() for root in roots.values()]).mean()
    if not average > 0:
        raise DataError("statistics: expected gradients above zero, got zeros alone; compute them with a trained model")
    return {name: root / average for name, root in roots.items()}
