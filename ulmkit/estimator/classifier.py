"""`ULMFiTClassifier`: a scikit-learn classifier of texts."""

import os
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Self

import numpy as np
from sklearn.base import ClassifierMixin

from ulmkit.config import check_choice
from ulmkit.errors import ConfigError
from ulmkit.estimator.base import TrainedTextEstimator
from ulmkit.estimator.inputs import UNLABELLED, ClassLabels, check_labels, check_texts
from ulmkit.pipeline import DEFAULT_MODEL, ClassifierRecipe
from ulmkit.text import Document

METHODS = ("auto", "features", "linear", "finetune")


class ULMFiTClassifier(ClassifierMixin, TrainedTextEstimator):
    """Classify texts from few labels, and as much text without labels as there is.

    A text has no label if its place in `y` holds None, NaN or the number -1, as in `sklearn.semi_supervised`.

    Args:
        language_model: Name of a shipped or hub model, or a folder, to start from. With "none", only linear
            models are trained.
        method: "auto" tries linear models, features of the language model, fine-tuned networks and blends, judges each
            on held-out labels and keeps one of the cheapest kind that is as good as any. "features" and "linear" leave
            out the networks, and "linear" the language model. "finetune" is gradual unfreezing (Howard & Ruder 2018).
        epochs: Length of the training of each network, in passes over the labelled texts.
        steps: Length in optimizer steps.
        minutes: Length in minutes of wall-clock time, all networks together. Give at most one of the three; without
            any, networks train for 5 minutes.
        class_weight: Weights of the classes in all that is trained and compared: None for equal ones; "balanced" for
            n / (C n_c), with n_c of n texts in class c; or a dict from class to weight, where classes left out weigh 1.
        recipe: Batch size, learning rates, dropout and so on of the networks; None for the default.
        validation_fraction: Share of the labelled texts that is held out of the training, for its validation.
        device: "auto", "cpu", "cuda" or "cuda:N".
        n_jobs: CPU threads for training and prediction; -1 for one per processor, None for torch's setting.
        random_state: Seed of all that is random, split included.
        verbose: 0 for silence, 1 for progress on standard error.

    Attributes:
        classes_: (C,) labels in the order of the probabilities, of the type that they were given in.
        model_: The fitted `TextClassifier`, which can be saved, streamed to, explained and evaluated.
    """

    classes_: np.ndarray

    def __init__(
        self,
        language_model: str | os.PathLike[str] | None = DEFAULT_MODEL,
        *,
        method: str = "auto",
        epochs: float | None = None,
        steps: int | None = None,
        minutes: float | None = None,
        class_weight: Mapping[Any, float] | str | None = None,
        recipe: ClassifierRecipe | None = None,
        validation_fraction: float = 0.1,
        device: str = "auto",
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(
            language_model,
            epochs=epochs,
            steps=steps,
            minutes=minutes,
            recipe=recipe,
            validation_fraction=validation_fraction,
            device=device,
            n_jobs=n_jobs,
            random_state=random_state,
            verbose=verbose,
        )
        self.method = method
        self.class_weight = class_weight

    def fit(self, X: Iterable[object], y: Iterable[object], unlabelled: Iterable[object] | None = None) -> Self:
        """Train on labelled texts.

        Args:
            X: (n,) texts: a list, an array, or a column of a pandas or polars table.
            y: (n,) labels: text, whole numbers or bools. None, NaN and the number -1: the text has no label.
            unlabelled: Further texts without labels. All but "finetune" learn from them which words occur together, and
                with few labels what the surest of them are.

        Returns:
            The fitted estimator.

        Raises:
            DataError: If an item of X is no text, or there are fewer than two classes.
            ConfigError: If a parameter is outside its range.
            FolderError: If there is no such language model.
        """
        check_choice("method", self.method, METHODS)
        texts = check_texts(X)
        labels = check_labels(y, texts, type(self).__name__)
        others = [] if unlabelled is None else check_texts(unlabelled, "unlabelled")
        recipe = self._weighted_recipe(labels)
        if others and self.method == "finetune":
            warnings.warn(
                "unlabelled: method='finetune' learns from labelled texts alone; take method='auto', or fine-tune the "
                "language model on these texts first",
                UserWarning,
                stacklevel=2,
            )
        documents = [
            Document(text, split="unsupervised") if code == UNLABELLED else Document(text, labels.names[code])
            for text, code in zip(texts, labels.codes, strict=True)
        ]
        documents += [Document(text, split="unsupervised") for text in others]
        self.model_ = self._train(documents, labels.names, task="single", method=self.method, recipe=recipe)
        self.classes_ = labels.classes
        return self

    def predict_proba(self, X: Iterable[object]) -> np.ndarray:
        """Predict the probability of each class.

        Args:
            X: (n,) texts.

        Returns:
            (n, C) float64, columns in the order of `classes_`; each row is what it would be for that text alone.
        """
        p = self._outputs(X)
        return np.asarray(p / p.sum(axis=1, keepdims=True))

    def predict_log_proba(self, X: Iterable[object]) -> np.ndarray:
        """Predict the logarithm of the probability of each class, (n, C); see `predict_proba`."""
        return np.asarray(np.log(self.predict_proba(X)))

    def predict(self, X: Iterable[object]) -> np.ndarray:
        """Predict the most probable class of each text, (n,) of the type of `classes_`."""
        p = self.predict_proba(X)
        return np.asarray(self.classes_[p.argmax(axis=1)])

    def _weighted_recipe(self, labels: ClassLabels) -> ClassifierRecipe:
        """Return the recipe with the weights of the classes, by their names.

        Raises:
            ConfigError: If `class_weight` is neither None, "balanced" nor a dict, or has a class that `y` lacks.
        """
        recipe = self._recipe(self.method, "single")
        class_weight = self.class_weight
        if class_weight is None:
            return recipe
        if isinstance(class_weight, str) and class_weight == "balanced":
            return replace(recipe, class_weights="balanced")
        if not isinstance(class_weight, Mapping):
            raise ConfigError(
                f"class_weight: expected None, 'balanced' or a dict from class to weight, got {class_weight!r}"
            )
        names = dict(zip(labels.classes.tolist(), labels.names, strict=True))
        unknown = [label for label in class_weight if label not in names]
        if unknown:
            raise ConfigError(f"class_weight: expected classes of y, {list(names)!r:.200}, got {unknown[0]!r}")
        return replace(recipe, class_weights={names[label]: weight for label, weight in class_weight.items()})
