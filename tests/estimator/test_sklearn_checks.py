"""scikit-learn's own checks of the estimators.

The estimators say in their tags that they take a list of texts, and scikit-learn then leaves out the checks whose data
are tables of numbers: nearly all. So they run a second time on subclasses that write each number as a word.
"""

from typing import Any

import numpy as np
import pytest
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks
from sklearn.utils.validation import check_is_fitted, validate_data
from support import tiny

from ulmkit import LanguageModel, ULMFiTClassifier, ULMFiTRegressor, ULMFiTVectorizer
from ulmkit.pipeline import ClassifierRecipe

_WORDS = sorted({word for text, _ in tiny.reviews() for word in text.split()})
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


class _OnNumbers:
    """Rows of numbers as texts: the language model knows `_WORDS`, and others are made up for the linear models."""

    knows_words = True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.input_tags.string = False
        tags.input_tags.one_d_array = False
        tags.input_tags.two_d_array = True
        return tags

    def _load_language_model(self) -> LanguageModel | None:
        return tiny.language_model() if self.knows_words else None

    def fit(self, X: Any, y: Any = None) -> Any:
        return super().fit(self._texts(X, reset=True), y)  # type: ignore[misc]

    def _texts(self, X: Any, reset: bool = False) -> list[str]:
        if not reset:
            check_is_fitted(self)
        numbers = np.clip(np.round(2 * validate_data(self, X, reset=reset)), -12, 13).astype(int) + 12
        return [" ".join(self._word(column, value) for column, value in enumerate(row)) for row in numbers]

    def _word(self, column: int, value: int) -> str:
        if self.knows_words:
            return _WORDS[(7 * column + value) % len(_WORDS)]
        return f"w{_LETTERS[column % 26]}{_LETTERS[value]}"


class ClassifierOnNumbers(_OnNumbers, ULMFiTClassifier):
    knows_words = False

    def predict_proba(self, X: Any) -> np.ndarray:
        return super().predict_proba(self._texts(X))


class RegressorOnNumbers(_OnNumbers, ULMFiTRegressor):
    def _recipe(self, method: str, task: str) -> ClassifierRecipe:
        return tiny.CLASSIFY

    def predict(self, X: Any) -> np.ndarray:
        return super().predict(self._texts(X))


class VectorizerOnNumbers(_OnNumbers, ULMFiTVectorizer):
    def transform(self, X: Any) -> np.ndarray:
        return super().transform(self._texts(X))


@pytest.mark.filterwarnings("ignore:Can't test estimator")
@pytest.mark.parametrize("estimator", [ULMFiTClassifier, ULMFiTRegressor, ULMFiTVectorizer])
def test_estimators_of_texts(estimator: Any) -> None:
    check_estimator(estimator())


@parametrize_with_checks([VectorizerOnNumbers()])
def test_vectorizer_on_numbers(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks(
    [RegressorOnNumbers(steps=2)],
    expected_failed_checks=lambda _: {
        "check_regressors_train": "two steps, which keep the checks fast, fit no numbers; another test shows it learn"
    },
)
def test_regressor_on_numbers(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks(
    [ClassifierOnNumbers("none", method="linear")],
    expected_failed_checks=lambda _: {
        "check_classifiers_classes": "its classes are -1 and 1, and -1 is no class: it says that a text has no label"
    },
)
def test_classifier_on_numbers(estimator: Any, check: Any) -> None:
    check(estimator)
