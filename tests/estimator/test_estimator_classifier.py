"""`ULMFiTClassifier`."""

import copy
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.utils import get_tags
from support import tiny

from ulmkit import TextClassifier, ULMFiTClassifier
from ulmkit.errors import ConfigError, DataError, FolderError
from ulmkit.estimator import base
from ulmkit.pipeline import automatic

TEXTS = [text for text, _ in tiny.reviews(40)]
LABELS = [label for _, label in tiny.reviews(40)]
NEW = [text for text, _ in tiny.reviews(8, 900)]


def make(lm: Path | str, **options: Any) -> ULMFiTClassifier:
    """Make an estimator that fine-tunes in two steps."""
    return ULMFiTClassifier(
        lm, **{"method": "finetune", "steps": 2, "recipe": tiny.CLASSIFY, "random_state": 0, **options}
    )


@pytest.fixture(scope="module")
def fitted(lm: Path) -> ULMFiTClassifier:
    return make(lm).fit(TEXTS, LABELS)


def test_it_learns(lm: Path) -> None:
    classifier = make(lm, steps=60).fit(*zip(*tiny.reviews(), strict=True))
    assert classifier.classes_.tolist() == ["neg", "pos"]
    assert classifier.score(*zip(*tiny.reviews(40, 900), strict=True)) > 0.9
    p = classifier.predict_proba(NEW)
    assert p.shape == (8, 2)
    np.testing.assert_allclose(p.sum(axis=1), 1.0, rtol=1e-12)
    np.testing.assert_array_equal(classifier.predict(NEW), classifier.classes_[p.argmax(axis=1)])
    np.testing.assert_allclose(classifier.predict_log_proba(NEW), np.log(p))


def test_columns_go_by_the_order_of_numbers_not_of_their_names(lm: Path) -> None:
    codes = {"pos": 9, "neg": 10}  # as text, "10" comes before "9"
    texts, labels = zip(*tiny.reviews(), strict=True)
    y = np.array([codes[label] for label in labels], dtype=np.int16)
    classifier = make(lm, steps=60).fit(np.array(texts), y)
    assert classifier.classes_.tolist() == [9, 10]
    assert classifier.predict(NEW).dtype == np.int16
    texts, labels = zip(*tiny.reviews(40, 900), strict=True)
    assert classifier.score(texts, [codes[label] for label in labels]) > 0.9
    assert classifier.model_.labels == ("9", "10")


@pytest.mark.parametrize("series", [pd.Series, pl.Series])
def test_columns_of_tables(lm: Path, fitted: ULMFiTClassifier, series: Any) -> None:
    classifier = make(lm).fit(series(TEXTS), series(LABELS))
    np.testing.assert_array_equal(classifier.predict_proba(series(NEW)), fitted.predict_proba(NEW))


def test_a_seed_repeats_the_training_and_leaves_torch_as_it_was(lm: Path, fitted: ULMFiTClassifier) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    again = make(lm).fit(TEXTS, LABELS).predict_proba(NEW)
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(again, fitted.predict_proba(NEW))
    assert np.abs(make(lm, random_state=1).fit(TEXTS, LABELS).predict_proba(NEW) - again).max() > 1e-4


def test_pickles_and_copies_hold_the_files_of_the_model_folder(fitted: ULMFiTClassifier, tmp_path: Path) -> None:
    expected = fitted.predict_proba(NEW)
    joblib.dump(fitted, tmp_path / "model.joblib")
    for again in (pickle.loads(pickle.dumps(fitted)), joblib.load(tmp_path / "model.joblib"), copy.deepcopy(fitted)):
        np.testing.assert_array_equal(again.predict_proba(NEW), expected)
        assert again.classes_.tolist() == fitted.classes_.tolist()
        assert again.get_params() == fitted.get_params()
    state = fitted.__getstate__()
    assert all(isinstance(content, bytes) for content in state["model_"].values())
    assert {"config.json", "model.safetensors", "vocabulary.json"} <= set(state["model_"])
    assert isinstance(fitted.model_, TextClassifier)


def test_files_outside_the_folder_are_refused() -> None:
    with (
        pytest.raises(ConfigError, match=r"state: expected the path of a file in a model folder, got '\.\./x'"),
        base.folder_of({"../x": b""}),
    ):
        pass


def test_clone_and_parameters(lm: Path, fitted: ULMFiTClassifier) -> None:
    copied = clone(fitted)
    assert not hasattr(copied, "model_")
    assert copied.get_params() == fitted.get_params()
    assert copied.set_params(steps=3, class_weight={"pos": 2.0}).steps == 3
    with pytest.raises(ValueError, match="Invalid parameter 'step'"):
        copied.set_params(step=3)
    with pytest.raises(NotFittedError):
        copied.predict(NEW)
    assert is_classifier(fitted)
    tags = get_tags(fitted)
    assert (tags.input_tags.string, tags.input_tags.one_d_array, tags.input_tags.two_d_array) == (True, True, False)
    assert ULMFiTClassifier().language_model == "en-small"


def test_texts_without_labels_are_learnt_from(lm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpora = []
    climb = automatic.climb_corpus

    def remember(text: Any, *given: Any, **options: Any) -> Any:
        corpora.append(text.corpus)
        return climb(text, *given, **options)

    monkeypatch.setattr(automatic, "climb_corpus", remember)
    numbers = [-1 if at >= 30 else int(label == "pos") for at, label in enumerate(LABELS)]
    classifier = make(lm, method="linear", steps=None, recipe=None).fit(TEXTS, numbers, unlabelled=NEW)
    assert classifier.classes_.tolist() == [0, 1]
    splits = corpora[0].facts.splits
    counts = {name: (split.documents, split.labelled) for name, split in splits.items()}
    assert counts == {"train": (27, 27), "valid": (3, 3), "unsupervised": (18, 0)}


def test_fine_tuning_says_that_it_reads_no_text_without_labels(lm: Path) -> None:
    with pytest.warns(UserWarning, match="unlabelled: method='finetune' learns from labelled texts alone"):
        make(lm).fit(TEXTS, LABELS, unlabelled=NEW)


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("linear", "method='linear' trains no networks; drop it, or take another method"),
        ("auto", "without a language model no networks are trained; drop it, or give a language model"),
    ],
)
def test_a_length_of_no_training_is_warned_of(method: str, said: str) -> None:
    with pytest.warns(UserWarning, match=f"^steps: has no effect: {said}"):
        make("none", method=method, recipe=None).fit(TEXTS, LABELS)
    with pytest.warns(UserWarning, match=f"^recipe: input_dropout has no effect: {said}"):
        make("none", method=method, steps=None).fit(TEXTS, LABELS)


@pytest.mark.parametrize("method", ["finetune", "linear"])
def test_class_weights_move_decisions(lm: Path, method: str) -> None:
    """Labels that the texts do not tell, a quarter of them rare."""
    rare = np.arange(40) % 4 == 0
    shares = []
    for weight in (None, {True: 200.0}):
        given = {"steps": 15} if method == "finetune" else {"steps": None, "recipe": None}
        classifier = make(lm, method=method, **given, class_weight=weight).fit(TEXTS[1:] + TEXTS[:1], rare)
        shares.append(classifier.predict([text for text, _ in tiny.reviews(40, 900)]).mean())
    assert shares[1] > shares[0] + 0.3
    pickle.loads(pickle.dumps(classifier))  # weights by name are part of the model folder


def test_weights_are_those_of_the_classes(lm: Path) -> None:
    y = (np.arange(40) % 4 == 0).astype(int)
    head = make(lm, class_weight="balanced").fit(TEXTS, y).model_.parts.model.head.config
    assert head.class_weights == pytest.approx((36 / (2 * 27), 36 / (2 * 9)))
    head = make(lm, class_weight={1: 5}).fit(TEXTS, y).model_.parts.model.head.config
    assert head.class_weights == (1.0, 5.0)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"method": "finetun"}, ConfigError, "method: got 'finetun'; did you mean 'finetune'"),
        ({"steps": 2, "epochs": 1}, ConfigError, "expected exactly one of `epochs`, `steps`, `minutes`"),
        ({"class_weight": "even"}, ConfigError, "class_weight: expected None, 'balanced' or a dict .*, got 'even'"),
        ({"class_weight": {"po": 2.0}}, ConfigError, r"class_weight: expected classes of y, \['neg', 'pos'\], got 'po"),
        ({"class_weight": {"pos": 0.0}}, ConfigError, r"class_weights\['pos'\]: expected"),
        ({"recipe": {"peak_rate": 1.0}}, ConfigError, "recipe: expected a ClassifierRecipe or None, got dict"),
        ({"language_model": "none"}, ConfigError, "language_model: expected one to fine-tune, got 'none'"),
        ({"language_model": 3}, ConfigError, "language_model: expected a name, a folder or 'none', got int"),
        ({"language_model": "no-such-folder"}, FolderError, "no-such-folder: no such folder"),
        ({"validation_fraction": 1.5}, ConfigError, "validation_fraction: expected 0 < fraction < 1, got 1.5"),
        ({"n_jobs": 0}, ValueError, "n_jobs == 0"),
    ],
)
def test_parameters_are_checked_when_fitting(
    lm: Path, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    classifier = make(lm).set_params(**options)
    with pytest.raises(error, match=message):
        classifier.fit(TEXTS, LABELS)


def test_no_texts(fitted: ULMFiTClassifier) -> None:
    assert fitted.predict_proba([]).shape == (0, 2)
    assert fitted.predict([]).shape == (0,)
    with pytest.raises(DataError, match="y: expected labels of at least 2 classes, got none"):
        clone(fitted).fit([], [])


def test_progress_only_when_asked_for(lm: Path, capfd: pytest.CaptureFixture[str]) -> None:
    make(lm).fit(TEXTS, LABELS)
    assert capfd.readouterr() == ("", "")
    make(lm, verbose=1).fit(TEXTS, LABELS)
    assert "loss" in capfd.readouterr().err


def test_threads_are_those_of_n_jobs_and_given_back(lm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    train = TextClassifier.train

    def remember(*given: Any, **options: Any) -> TextClassifier:
        seen.append((torch.get_num_threads(), options["run"].threads))
        return train(*given, **options)

    monkeypatch.setattr(TextClassifier, "train", remember)
    before = torch.get_num_threads()
    make(lm, n_jobs=before + 1).fit(TEXTS, LABELS)
    make(lm).fit(TEXTS, LABELS)
    assert seen == [(before + 1, before + 1), (before, None)]
    assert torch.get_num_threads() == before


def test_five_minutes_unless_a_budget_is_given(lm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[dict[str, Any]] = []

    def train(*_: Any, **options: Any) -> None:
        given.append(options)

    monkeypatch.setattr(TextClassifier, "train", train)
    for options in ({}, {"minutes": 1}, {"epochs": 2}):
        ULMFiTClassifier(lm, **options).fit(TEXTS, LABELS)
    budgets = [
        {name: each[name] for name in ("epochs", "steps", "minutes") if each[name] is not None} for each in given
    ]
    assert budgets == [{"minutes": 5.0}, {"minutes": 1}, {"epochs": 2}]
    assert [each["method"] for each in given] == ["auto"] * 3


def test_a_share_of_the_labelled_texts_validates(lm: Path) -> None:
    for fraction, expected in ((0.1, 36), (0.25, 30)):
        facts = make(lm, validation_fraction=fraction).fit(TEXTS, LABELS).model_.parts.facts
        assert facts.labelled_documents == expected


def test_a_recipe_reaches_the_networks(lm: Path) -> None:
    head = make(lm, recipe=replace(tiny.CLASSIFY, head_hidden=7)).fit(TEXTS, LABELS).model_.parts.model.head.config
    assert head.hidden_size == 7


def test_training_leaves_nothing_in_the_cache(lm: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ULMKIT_CACHE", str(tmp_path / "cache"))
    make(lm).fit(TEXTS, LABELS)
    assert not (tmp_path / "cache").exists()
