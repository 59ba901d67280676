"""`ULMFiTRegressor`: a scikit-learn regressor on texts."""

from collections.abc import Iterable
from typing import Self

import numpy as np
from sklearn.base import RegressorMixin

from ulmkit.errors import DataError
from ulmkit.estimator.base import TrainedTextEstimator
from ulmkit.estimator.inputs import check_numbers, check_texts
from ulmkit.text import Document

_LEAST_NUMBERS = 2


class ULMFiTRegressor(RegressorMixin, TrainedTextEstimator):
    """Predict a number for each text with a fine-tuned language model.

    Args:
        language_model: Name of a shipped or hub model, or a folder, to start from.
        epochs: Length of the training, in passes over the texts.
        steps: Length in optimizer steps.
        minutes: Length in minutes of wall-clock time. Give at most one of the three; without any, the network trains
            for 5 minutes.
        recipe: Batch size, learning rates, loss (`number_loss`) and range (`value_range`); None for the default.
        validation_fraction: Share of the texts that is held out of the training, for its validation.
        device: "auto", "cpu", "cuda" or "cuda:N".
        n_jobs: CPU threads for training and prediction; -1 for one per processor, None for torch's setting.
        random_state: Seed of all that is random, split included.
        verbose: 0 for silence, 1 for progress on standard error.

    Attributes:
        model_: The fitted `TextClassifier`, which can be saved, streamed to and evaluated.
    """

    def fit(self, X: Iterable[object], y: Iterable[object]) -> Self:
        """Train on texts and their numbers.

        Args:
            X: (n,) texts: a list, an array, or a column of a pandas or polars table.
            y: (n,) numbers; texts with None or NaN are left out.

        Returns:
            The fitted estimator.

        Raises:
            DataError: If an item of X is no text or one of y no number, or there are fewer than two numbers.
            ConfigError: If a parameter is outside its range, or there is no language model.
            FolderError: If there is no such language model.
        """
        texts = check_texts(X)
        numbers = check_numbers(y, texts, type(self).__name__)
        documents = [
            Document(text, float(number)) for text, number in zip(texts, numbers, strict=True) if not np.isnan(number)
        ]
        if len(documents) < _LEAST_NUMBERS:
            raise DataError(
                f"y: expected at least {_LEAST_NUMBERS} numbers to learn from, got n_samples={len(documents)}"
            )
        self.model_ = self._train(
            documents, (), task="number", method="finetune", recipe=self._recipe("finetune", "number")
        )
        return self

    def predict(self, X: Iterable[object]) -> np.ndarray:
        """Predict numbers, (n,) float64; each is what it would be for that text alone."""
        return self._outputs(X)
