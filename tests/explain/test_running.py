"""Running predictions: the answers of a stream after each word, from one reading."""

import numpy as np
import pytest
from support import tiny

from ulmkit import TextClassifier
from ulmkit.errors import ConfigError
from ulmkit.explain import Word, running_prediction
from ulmkit.model.awd_lstm import Encoder
from ulmkit.pipeline import EnsemblePredictor, predict_outputs

TEXT = "the film was lovely and music in it was dull"


@pytest.fixture(scope="module")
def linear() -> TextClassifier:
    return TextClassifier.train(tiny.reviews(), None, method="linear", data_options=tiny.WORDS, run=tiny.RUN)


@pytest.mark.parametrize("kind", ["network", "linear"])
def test_answers_are_those_of_the_text_up_to_each_word(kind: str, linear: TextClassifier) -> None:
    classifier = {"network": tiny.classifier(), "linear": linear}[kind]
    (running,) = classifier.running_probabilities([TEXT])
    words = TEXT.split()
    assert [word.text for word in running.words] == words
    assert running.read.tolist() == list(range(1, 11))
    tokens = classifier.parts.tokenizer.tokenize(TEXT)
    ids = classifier.parts.vocabulary.encode(tokens)
    prefixes = [ids[:count] for count in (*range(1, 10), len(ids))]
    if kind == "network":
        expected = classifier.parts.calibrated(predict_outputs(classifier.parts.model, prefixes))
    else:
        expected = EnsemblePredictor(classifier.parts)(prefixes)
    np.testing.assert_allclose(running.outputs, expected, atol=1e-6)
    np.testing.assert_allclose(running.outputs[-1], classifier.predict_proba([TEXT])[0], atol=1e-6)
    assert running.labels == classifier.labels
    assert np.ptp(running.outputs[:, 0]) > 0.05


def test_each_token_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens: list[int] = []
    encode = Encoder.encode
    monkeypatch.setattr(Encoder, "encode", lambda *given: tokens.append(len(given[1])) or encode(*given))
    tiny.classifier().running_probabilities([TEXT])
    assert sum(tokens) == len(tiny.classifier().parts.tokenizer.tokenize(TEXT))


def test_points_are_evenly_spaced_and_end_with_the_text() -> None:
    classifier = tiny.classifier()
    (every,) = classifier.running_probabilities([TEXT])
    (some,) = classifier.running_probabilities([TEXT], points=4)
    assert some.read.tolist() == [2, 5, 8, 10]
    np.testing.assert_allclose(some.outputs, every.outputs[some.read - 1], atol=1e-6)
    (one,) = classifier.running_probabilities([TEXT], points=1)
    np.testing.assert_allclose(one.outputs, classifier.predict_proba([TEXT]), atol=1e-6)
    with pytest.raises(ConfigError, match="points: expected"):
        classifier.running_probabilities([TEXT], points=0)


def test_a_text_without_words_has_one_answer() -> None:
    classifier = tiny.classifier()
    (running,) = classifier.running_probabilities([""])
    assert (running.words, running.read.tolist()) == ((), [0])
    np.testing.assert_allclose(running.outputs, classifier.predict_proba([""]), atol=1e-6)


def test_tokens_of_no_word_are_read_with_the_word_before() -> None:
    read: list[list[int]] = []
    words = [Word("a", 1, 2, None), Word("b", 3, 4, None)]
    running_prediction(("x",), words, np.arange(5), lambda ids: read.append(ids.tolist()), lambda: np.zeros(2))
    assert read == [[0, 1, 2], [3, 4]]


def test_classifiers_that_cannot_read_in_pieces_are_refused() -> None:
    pair = TextClassifier(tiny.classifier().parts, tiny.classifier().parts)
    with pytest.raises(ConfigError, match="stream: expected a forward classifier, got a pair"):
        pair.running_probabilities([TEXT])
