"""Explanations by occlusion: what leaving out a word does to the prediction."""

import numpy as np
import pytest
from scipy.special import log_softmax
from support import tiny

from ulmkit import TextClassifier
from ulmkit.errors import ConfigError, DataError
from ulmkit.explain import Word, explain_prediction, occlusion

NAMES = ("no", "yes")


class Additive:
    """Log-odds of "yes" that are the sum of the weights of the tokens that are kept."""

    def __init__(self, weights):
        self.weights = np.asarray(weights, dtype=float)
        self.predictions = 0

    def __call__(self, kept):
        self.predictions += len(kept)
        odds = np.array([self.weights[places].sum() for places in kept])
        return log_softmax(np.stack([np.zeros(len(odds)), odds], axis=1), axis=1)


def explain(weights):
    predict = Additive(weights)
    words = [Word(f"w{place}", place, place + 1, None) for place in range(len(weights))]
    return explain_prediction(words, len(weights), predict, NAMES), predict


def test_weights_are_changes_of_the_log_odds_of_the_predicted_class():
    explanation, predict = explain([2.0, -1.0, 0.5])
    assert (explanation.label, explanation.log_odds) == ("yes", pytest.approx(1.5))
    assert [word.weight for word in explanation.words] == pytest.approx([2.0, -1.0, 0.5])
    assert predict.predictions == 4
    explanation, _ = explain([-2.0, 1.0])
    assert (explanation.label, explanation.log_odds) == ("no", pytest.approx(1.0))
    assert [word.weight for word in explanation.words] == pytest.approx([2.0, -1.0])


def test_another_label_can_be_explained(ensemble):
    text = "the film was lovely"
    (own,) = ensemble.explain([text])
    (other,) = ensemble.explain([text], labels=["neg"])
    assert (own.label, other.label) == ("pos", "neg")
    assert other.log_odds == pytest.approx(-own.log_odds)
    assert [word.weight for word in other.words] == pytest.approx([-word.weight for word in own.words])
    with pytest.raises(ConfigError, match="label: got 'good'; there are: neg, pos"):
        ensemble.explain([text], labels=["good"])
    with pytest.raises(DataError, match="labels: expected one for each of 1 texts, got 2"):
        ensemble.explain([text], labels=["pos", "neg"])


def test_log_odds_have_no_ceiling():
    explanation, _ = explain([60.0, 40.0])
    assert explanation.log_odds == pytest.approx(100.0)
    assert [word.weight for word in explanation.words] == pytest.approx([60.0, 40.0])


def test_the_strongest_words_come_first_and_those_without_weight_are_left_out():
    explanation, _ = explain([1.0, 0.0, -3.0, 2.0])
    assert [word.word for word in explanation.strongest(3)] == ["w2", "w3", "w0"]
    assert [word.word for word in explanation.strongest(9)] == ["w2", "w3", "w0"]


@pytest.mark.parametrize("count", [129, 500, 5000])
def test_long_texts_are_searched_at_a_bounded_cost(count):
    weights = np.full(count, 1e-4)
    places = np.random.default_rng(count).permutation(count)[:4]
    weights[places] = [5.0, -4.0, 3.0, 2.0]
    explanation, predict = explain(weights)
    assert predict.predictions <= 1 + 256
    found = {word.word: word.weight for word in explanation.strongest(4)}
    assert found == {f"w{place}": pytest.approx(weights[place]) for place in places}
    assert any(word.weight is None for word in explanation.words) == (count > 256)


def test_a_text_that_is_short_enough_is_measured_word_by_word():
    explanation, predict = explain(np.ones(occlusion.ONE_BY_ONE))
    assert predict.predictions == occlusion.ONE_BY_ONE + 1
    assert [word.weight for word in explanation.words] == pytest.approx([1.0] * occlusion.ONE_BY_ONE)


@pytest.fixture(scope="module")
def ensemble():
    return TextClassifier.train(
        tiny.reviews(),
        tiny.language_model(),
        method="features",
        data_options=tiny.WORDS,
        run=tiny.RUN,
    )


@pytest.fixture(scope="module")
def pair():
    backward = TextClassifier.train(
        tiny.reviews(),
        tiny.backward_language_model(),
        method="finetune",
        steps=40,
        recipe=tiny.CLASSIFY,
        data_options=tiny.WORDS,
        run=tiny.RUN,
    )
    return TextClassifier(tiny.classifier().parts, backward.parts)


@pytest.mark.parametrize("kind", ["network", "backward", "pair", "ensemble"])
def test_weights_are_what_predictions_without_the_word_say(kind, pair, ensemble):
    backward = TextClassifier(pair.backward)
    classifier = {"network": tiny.classifier(), "backward": backward, "pair": pair, "ensemble": ensemble}[kind]
    words = ["the", "film", "was", "lovely", "and", "music"]
    (explanation,) = classifier.explain([" ".join(words)])
    assert [word.word for word in explanation.words] == words
    shorter = [" ".join(words[:place] + words[place + 1 :]) for place in range(len(words))]
    outputs = classifier.predict_proba([" ".join(words), *shorter]).astype(float)
    column = classifier.labels.index(explanation.label)
    odds = np.log(outputs[:, column]) - np.log(outputs[:, 1 - column])
    assert [word.weight for word in explanation.words] == pytest.approx(odds[0] - odds[1:], rel=1e-3, abs=1e-3)


def test_the_telling_word_weighs_most(ensemble):
    (explanation,) = ensemble.explain(["the film was lovely and music in it"])
    assert explanation.label == "pos"
    assert explanation.strongest(1)[0].word == "lovely"
    assert explanation.strongest(1)[0].weight > 0


def test_an_explanation_does_not_depend_on_the_other_texts(pair):
    texts = [text for text, _ in tiny.reviews(4)]
    together = pair.explain(texts)
    assert together == [pair.explain([text])[0] for text in texts]


def test_texts_without_words_have_an_explanation(ensemble):
    for classifier in (tiny.classifier(), ensemble):
        (empty, one) = classifier.explain(["", "lovely"])
        assert empty.words == ()
        assert len(one.words) == 1


def test_other_tasks_are_refused():
    numbers = TextClassifier.train(
        [(text, float(label == "pos")) for text, label in tiny.reviews(40)],
        tiny.language_model(),
        task="number",
        steps=1,
        recipe=tiny.CLASSIFY,
        data_options=tiny.WORDS,
        run=tiny.RUN,
    )
    with pytest.raises(ConfigError, match="explain: expected a classifier of one label per text, got one of task 'nu"):
        numbers.explain(["a film"])
