"""Texts of which a classifier of linear models knows no word: an empty one, or one of another language."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.command import ulmkit

from ulmkit import DataOptions, TextClassifier
from ulmkit.errors import ConfigError
from ulmkit.pipeline import CLASSIFY

UNKNOWN = ["", "  ", "\u200b", "\u96fb\u5f71"]


def train(**options: object) -> TextClassifier:
    """Train linear models on 54 documents of one class and 6 of the other, which every word tells apart."""
    documents = [(f"fine lovely story {at % 7}", "pos") for at in range(54)]
    documents += [(f"poor dull plot {at}", "neg") for at in range(6)]
    recipe = replace(CLASSIFY, class_weights=options.pop("class_weights", "none"))
    data_options = DataOptions(tokenizer="whitespace", min_freq=1, workers=1)
    return TextClassifier.train(
        documents, None, method="linear", recipe=recipe, baselines=False, data_options=data_options, **options
    )


@pytest.fixture(scope="module")
def classifier() -> TextClassifier:
    return train()


def test_the_answer_is_the_share_of_each_class(tmp_path: Path, classifier: TextClassifier) -> None:
    learned = [int(classifier.parts.facts.labelled_documents * share + 0.5) for share in (0.1, 0.9)]
    shares = (np.array(learned) + 0.5) / (sum(learned) + 1)
    expected = np.broadcast_to(shares, (len(UNKNOWN), 2))
    np.testing.assert_allclose(classifier.predict_proba(UNKNOWN), expected, atol=0.01)
    classifier.save(tmp_path / "c")
    loaded = TextClassifier.load(tmp_path / "c")
    assert np.array_equal(
        loaded.predict_proba([*UNKNOWN, "poor plot"]), classifier.predict_proba([*UNKNOWN, "poor plot"])
    )
    assert classifier.predict(["poor plot", "fine story"]) == ["neg", "pos"]


def test_a_stream_begins_with_the_shares_and_goes_on_with_what_it_reads(classifier: TextClassifier) -> None:
    stream = classifier.stream()
    for piece in ("", "\u96fb\u5f71 "):
        stream.feed(piece)
        np.testing.assert_allclose(stream.predict_proba(), classifier.predict_proba([""])[0], atol=1e-6)
    stream.feed("poor plot")
    np.testing.assert_allclose(stream.finish(), classifier.predict_proba(["\u96fb\u5f71 poor plot"])[0], atol=1e-6)


@pytest.mark.parametrize("method", ["occlusion", "integrated-gradients"])
def test_explanations_agree_with_the_answer(method: str, classifier: TextClassifier) -> None:
    (explanation,) = classifier.explain(["\u96fb\u5f71 film"], method=method)
    ((neg, pos),) = classifier.predict_proba(["\u96fb\u5f71 film"])
    assert explanation.log_odds == pytest.approx(np.log(pos / neg), abs=1e-4)
    assert [word.weight for word in explanation.words] == pytest.approx([0.0, 0.0], abs=1e-6)


def test_weights_of_classes_count() -> None:
    np.testing.assert_allclose(train(class_weights="balanced").predict_proba([""]), [[0.5, 0.5]], atol=0.03)


def test_folders_without_shares_answer_as_before(tmp_path: Path, classifier: TextClassifier) -> None:
    TextClassifier(replace(classifier.parts, class_shares=None)).save(tmp_path / "old")
    old = TextClassifier.load(tmp_path / "old")
    assert old.parts.class_shares is None
    assert old.predict_proba([""]).shape == (1, 2)
    assert np.array_equal(old.predict_proba(["poor plot"]), classifier.predict_proba(["poor plot"]))


@pytest.mark.parametrize("shares", [[0.5, 0.6], [1.0, 0.0], [0.2, 0.3, 0.5]])
def test_shares_that_are_none_are_refused(shares: list[float], classifier: TextClassifier) -> None:
    with pytest.raises(ConfigError, match="class_shares: expected"):
        replace(classifier.parts, class_shares=np.array(shares))


def test_texts_without_words_are_told_on_the_command_line(tmp_path: Path, classifier: TextClassifier) -> None:
    classifier.save(tmp_path / "c")
    told = ulmkit("predict", tmp_path / "c", "--text", "", "--text", "fine story")
    assert told.err == "without text: 1 of 2 rows, whose results mean nothing\n"
    assert '"label": "pos", "probability": 0.9,' in told.out.splitlines()[0]
    told = ulmkit("predict", tmp_path / "c", "--text", "")
    assert told.err == "without text: 1 of 1 rows, whose results mean nothing\n"
