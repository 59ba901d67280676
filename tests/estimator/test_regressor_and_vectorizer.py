"""`ULMFiTRegressor` and `ULMFiTVectorizer`."""

import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from sklearn.base import is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.fixes import parse_version
from support import tiny

from ulmkit import LanguageModel, ULMFiTRegressor, ULMFiTVectorizer
from ulmkit.errors import ConfigError, DataError

TEXTS = [text for text, _ in tiny.reviews(40)]
LABELS = [label for _, label in tiny.reviews(40)]
NEW = [text for text, _ in tiny.reviews(8, 900)]


def _numbers(labels: Sequence[str]) -> np.ndarray:
    return np.array([3.0 if label == "pos" else -1.0 for label in labels])


def test_a_regressor_learns_numbers_of_which_minus_one_is_one(lm: Path) -> None:
    texts, labels = zip(*tiny.reviews(), strict=True)
    y = _numbers(labels)
    y[3] = np.nan
    regressor = ULMFiTRegressor(lm, steps=60, recipe=tiny.CLASSIFY, random_state=0).fit(pd.Series(texts), y)
    texts, labels = zip(*tiny.reviews(40, 900), strict=True)
    assert regressor.score(texts, _numbers(labels)) > 0.6
    predicted = regressor.predict(NEW)
    assert predicted.dtype == np.float64
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(regressor)).predict(NEW), predicted)
    assert regressor.model_.parts.facts.labelled_documents == 107  # of 119; the others validate
    assert is_regressor(regressor)
    assert regressor.predict([]).shape == (0,)


def test_what_a_regressor_refuses(lm: Path) -> None:
    with pytest.raises(ConfigError, match="language_model: expected one to fine-tune, got 'none'"):
        ULMFiTRegressor("none", steps=1).fit(TEXTS, _numbers(LABELS))
    with pytest.raises(DataError, match="y: expected at least 2 numbers to learn from, got n_samples=1"):
        ULMFiTRegressor(lm, steps=1).fit(TEXTS[:2], [1.0, None])
    with pytest.raises(NotFittedError):
        ULMFiTRegressor(lm).predict(TEXTS)


def test_vectors_are_those_of_the_language_model(lm: Path) -> None:
    vectorizer = ULMFiTVectorizer(lm)
    with pytest.raises(NotFittedError):
        vectorizer.transform(TEXTS)
    features = vectorizer.fit_transform(TEXTS)
    np.testing.assert_array_equal(features, LanguageModel.load(lm).embed(TEXTS))
    assert features.shape == (40, len(vectorizer.get_feature_names_out()))
    assert vectorizer.get_feature_names_out()[0] == "ulmfitvectorizer0"
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(vectorizer)).transform(TEXTS), features)
    assert vectorizer.transform([]).shape == (0, features.shape[1])


def test_vectors_of_a_pair(tmp_path: Path) -> None:
    pair = LanguageModel(tiny.language_model().parts, tiny.backward_language_model().parts)
    pair.save(tmp_path / "pair")
    vectorizer = ULMFiTVectorizer(tmp_path / "pair").fit(TEXTS)
    assert vectorizer.transform(NEW).shape == (8, len(vectorizer.get_feature_names_out()))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(vectorizer)).transform(NEW), pair.embed(NEW))


def test_vectors_as_tables(lm: Path) -> None:
    column = pd.Series(NEW, index=range(100, 108))
    vectorizer = ULMFiTVectorizer(lm).fit(column)
    table = vectorizer.set_output(transform="pandas").transform(column)
    assert table.columns.tolist() == vectorizer.get_feature_names_out().tolist()
    if parse_version(sklearn.__version__) >= parse_version("1.8"):  # before, scikit-learn drops the index of a Series
        assert table.index.tolist() == column.index.tolist()
    assert isinstance(vectorizer.set_output(transform="polars").transform(NEW), pl.DataFrame)


def test_vectors_in_front_of_a_linear_model(lm: Path) -> None:
    model = make_pipeline(ULMFiTVectorizer(lm), StandardScaler(), LogisticRegression())
    model.fit(*zip(*tiny.reviews(), strict=True))
    assert model.score(*zip(*tiny.reviews(40, 900), strict=True)) > 0.7


@pytest.mark.parametrize("name", ["none", None])
def test_a_vectorizer_needs_a_language_model(name: str | None) -> None:
    with pytest.raises(ConfigError, match=f"language_model: expected a name or a folder, got {name!r}"):
        ULMFiTVectorizer(name).fit(TEXTS)
