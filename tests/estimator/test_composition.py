"""The estimators inside of scikit-learn's."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import VotingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer
from support import tiny

from ulmkit import ULMFiTClassifier, ULMFiTVectorizer

TEXTS = [text for text, _ in tiny.reviews(30)]
LABELS = [label for _, label in tiny.reviews(30)]
NEW = [text for text, _ in tiny.reviews(8, 900)]


@pytest.fixture
def classifier(lm: Path) -> ULMFiTClassifier:
    return ULMFiTClassifier(lm, method="finetune", steps=2, recipe=tiny.CLASSIFY, random_state=0)


def _twice(texts: list[str]) -> list[str]:
    return [f"{text} {text}" for text in texts]


def test_pipeline(classifier: ULMFiTClassifier) -> None:
    pipeline = Pipeline([("twice", FunctionTransformer(_twice)), ("classify", classifier)])
    p = pipeline.set_params(classify__steps=3).fit(TEXTS, LABELS).predict_proba(NEW)
    np.testing.assert_array_equal(p, classifier.fit(_twice(TEXTS), LABELS).predict_proba(_twice(NEW)))
    assert pipeline.classes_.tolist() == ["neg", "pos"]


def test_cross_validation(classifier: ULMFiTClassifier) -> None:
    folds = KFold(2)
    scores = cross_val_score(classifier, pd.Series(TEXTS), np.array(LABELS), cv=folds, error_score="raise")
    assert scores[0] == clone(classifier).fit(TEXTS[15:], LABELS[15:]).score(TEXTS[:15], LABELS[:15])
    assert scores.shape == (2,)


def test_grid_search(classifier: ULMFiTClassifier) -> None:
    search = GridSearchCV(classifier, {"steps": [1, 3]}, cv=2, error_score="raise").fit(np.array(TEXTS), LABELS)
    best = clone(classifier).set_params(**search.best_params_).fit(TEXTS, LABELS)
    np.testing.assert_array_equal(search.predict_proba(NEW), best.predict_proba(NEW))


def test_calibration(classifier: ULMFiTClassifier) -> None:
    calibrated = CalibratedClassifierCV(classifier, cv=2).fit(TEXTS, LABELS)
    np.testing.assert_allclose(calibrated.predict_proba(NEW).sum(axis=1), 1.0)
    assert len(calibrated.calibrated_classifiers_) == 2
    assert set(calibrated.predict(NEW)) <= {"neg", "pos"}


def test_voting(classifier: ULMFiTClassifier) -> None:
    linear = make_pipeline(TfidfVectorizer(), LogisticRegression())
    voting = VotingClassifier([("network", classifier), ("linear", linear)], voting="soft").fit(TEXTS, LABELS)
    expected = (classifier.fit(TEXTS, LABELS).predict_proba(NEW) + linear.fit(TEXTS, LABELS).predict_proba(NEW)) / 2
    np.testing.assert_allclose(voting.predict_proba(NEW), expected, atol=1e-6)
    assert set(voting.predict(NEW)) <= {"neg", "pos"}


def test_a_column_of_a_table(lm: Path) -> None:
    table = pd.DataFrame({"text": TEXTS, "length": [len(text) for text in TEXTS]})
    columns = ColumnTransformer([("text", ULMFiTVectorizer(lm), "text"), ("kept", "passthrough", ["length"])])
    features = columns.set_output(transform="pandas").fit_transform(table)
    assert features.columns[[0, -1]].tolist() == ["text__ulmfitvectorizer0", "kept__length"]
    assert len(features) == 30
