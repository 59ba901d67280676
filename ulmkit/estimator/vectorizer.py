"""`ULMFiTVectorizer`: texts to the features of a language model, as a scikit-learn transformer."""

from collections.abc import Iterable, Mapping
from typing import Any, Self

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from ulmkit.api import LanguageModel
from ulmkit.errors import ConfigError
from ulmkit.estimator.base import TextEstimator, folder_of, limited_threads
from ulmkit.estimator.inputs import check_texts
from ulmkit.model.config import feature_count


class ULMFiTVectorizer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, TextEstimator):
    """Turn texts into features: mean, maximum and last state of every layer of a language model.

    The features differ in scale, so put a `StandardScaler` after this step. For a language model of your own texts,
    fine-tune one with `LanguageModel.finetune`, save it and give its folder.

    Args:
        language_model: Name of a shipped or hub model, or a folder.
        device: "auto", "cpu", "cuda" or "cuda:N".
        n_jobs: CPU threads; -1 for one per processor, None for torch's setting.
        verbose: Not used: there is no training to show.

    Attributes:
        model_: The `LanguageModel`.
    """

    model_: LanguageModel

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags

    def fit(self, X: Iterable[object], y: object = None) -> Self:
        """Load the language model; nothing is learned from the texts.

        Args:
            X: (n,) texts: a list, an array, or a column of a pandas or polars table.
            y: Not used.

        Raises:
            ConfigError: If there is no language model.
            DataError: If an item is no text.
            FolderError: If there is no such language model.
        """
        check_texts(X)
        language_model = self._load_language_model()
        if language_model is None:
            raise ConfigError(f"language_model: expected a name or a folder, got {self.language_model!r}")
        self.model_ = language_model
        return self

    def transform(self, X: Iterable[object]) -> np.ndarray:
        """Compute the features of texts, (n, F) float32; each row is what it would be for that text alone."""
        check_is_fitted(self)
        texts = check_texts(X)
        with limited_threads(self.n_jobs):
            return self.model_.embed(texts)

    @property
    def _n_features_out(self) -> int:
        return sum(feature_count(member.model.encoder.config) for member in self.model_.members)

    def _load_files(self, files: Mapping[str, bytes]) -> LanguageModel:
        with folder_of(files) as folder:
            return LanguageModel.load(folder, self._run_options())
