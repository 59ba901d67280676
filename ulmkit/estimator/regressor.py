"""`ULMFiTRegressor`: a scikit-learn regressor on texts."""

import os
from collections.abc import Iterable
from typing import Self

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_is_fitted

from ulmkit.errors import DataError
from ulmkit.estimator.base import TrainedTextEstimator, limited_threads
from ulmkit.estimator.inputs import check_numbers, check_texts
from ulmkit.pipeline import DEFAULT_MODEL, ClassifierRecipe
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

    def __init__(
        self,
        language_model: str | os.PathLike[str] | None = DEFAULT_MODEL,
        *,
        epochs: float | None = None,
        steps: int | None = None,
        minutes: float | None = None,
        recipe: ClassifierRecipe | None = None,
        validation_fraction: float = 0.1,
        device: str = "auto",
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.language_model = language_model
        self.epochs = epochs
        self.steps = steps
        self.minutes = minutes
        self.recipe = recipe
        self.validation_fraction = validation_fraction
        self.device = device
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Iterable[object], y: Iterable[object]) -> Self:
        """Train on texts and their numbers.

        Args:
            X: (n,) texts: a list, an array, or a column of a pandas or polars table.
            y: (n,) numbers; texts with None or NaN are left out.

        Returns:
            The fitted estimator.

        Raises:
            DataError: If the texts or numbers are none.
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
        self.model_ = self._train(documents, (), task="number", method="finetune", recipe=self._recipe())
        return self

    def predict(self, X: Iterable[object]) -> np.ndarray:
        """Predict numbers, (n,) float64; each is what it would be for that text alone."""
        check_is_fitted(self)
        texts = check_texts(X)
        with limited_threads(self.n_jobs):
            return np.asarray(self.model_.predict_proba(texts), dtype=np.float64)
