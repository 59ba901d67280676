"""Explanations by integrated gradients: captum's attributions, and weights that sum to the log-odds."""

import dataclasses
import functools
import itertools

import numpy as np
import pytest
import torch
from scipy.special import expit, log_softmax
from support import tiny

from ulmkit import TextClassifier
from ulmkit.errors import ConfigError
from ulmkit.explain import (
    ClassifierPath,
    Explanation,
    MeanProbability,
    WeightedSum,
    Word,
    explain_by_gradients,
    integrated_gradients,
)
from ulmkit.hub import ClassifierParts, EnsembleParts, FeatureParts, TrainingFacts
from ulmkit.members.combiner import Combiner
from ulmkit.members.linear import LinearMember, class_log_probabilities, score_slopes
from ulmkit.members.ngrams import find_ngrams
from ulmkit.model.copies import frozen_copy
from ulmkit.pipeline import network_path
from ulmkit.text import ByteTokenizer, Tokenizer, Vocabulary, WhitespaceTokenizer, train_sentencepiece
from ulmkit.text.corpus.token_stream import reversed_order
from ulmkit.text.words import Unit, WordReader, WordSequence, join_words

TEXT = "the film was lovely and music in it was dull"
METHOD = "integrated-gradients"
STRETCHES = list(itertools.pairwise(integrated_gradients.FIRST_BOUNDS))
FIRST_STEPS = 16  # two in each of the first stretches


def explain(classifier: TextClassifier, text: str = TEXT, label: str | None = None) -> Explanation:
    labels = None if label is None else [label]
    (explanation,) = classifier.explain([text], labels=labels, method=METHOD)
    return explanation


def weights(explanation: Explanation) -> np.ndarray:
    return np.array([word.weight for word in explanation.words])


def network(direction: str = "forward") -> TextClassifier:
    """A trained network; the backward one reads the same weights from the end."""
    return TextClassifier(dataclasses.replace(tiny.classifier().parts, direction=direction, temperature=1.0))


def features(*directions: str, classes: int = 2) -> FeatureParts:
    both = {"forward": tiny.language_model().parts, "backward": tiny.backward_language_model().parts}
    columns = 1 if classes == 2 else classes
    draw = np.random.default_rng(len(directions))
    return FeatureParts(
        tuple(both[each] for each in directions),
        draw.normal(0, 0.2, (224 * len(directions), columns)).astype(np.float32),
        draw.normal(size=columns).astype(np.float32),
    )


@functools.cache
def linear(weighting: str, classes: int = 2, one_against_rest: bool = False) -> LinearMember:
    parts = tiny.classifier().parts
    reader = WordReader(parts.tokenizer, parts.vocabulary, is_open=True)
    read = join_words([reader.read(parts.vocabulary.encode(TEXT.split()))])
    ngrams = find_ngrams(read, len(reader.words), 3, (1, 1))
    draw = np.random.default_rng(classes)
    columns = 1 if classes == 2 else classes
    return LinearMember(
        name=weighting,
        words=reader.words,
        joins_tokens=True,
        ngrams=ngrams,
        weighting=weighting,  # type: ignore[arg-type]
        feature_weights=None if weighting == "binary" else draw.uniform(0.5, 2.0, len(ngrams)).astype(np.float32),
        coefficients=draw.normal(size=(len(ngrams), columns)).astype(np.float32),
        intercept=draw.normal(size=columns).astype(np.float32),
        one_against_rest=one_against_rest,
    )


def ensemble(*members: LinearMember | FeatureParts | ClassifierParts, classes: int = 2) -> TextClassifier:
    parts = tiny.classifier().parts
    labels = parts.label_names if classes == 2 else tuple("abcde"[:classes])
    combiner = Combiner(np.linspace(0.4, 0.9, len(members)), np.linspace(-0.2, 0.3, classes))
    made = EnsembleParts(
        parts.task, parts.vocabulary, parts.tokenizer, labels, tuple(members), combiner, TrainingFacts()
    )
    return TextClassifier(made)


def captum_weights(parts: ClassifierParts, text: str, column: int) -> np.ndarray:
    """Attributions by captum of a network built from torch's own layers, with the weights of `parts`."""
    attr = pytest.importorskip("captum.attr", reason="captum is not installed")
    model = frozen_copy(parts.model)
    lstms = []
    for layer in model.encoder.layers:
        lstm = torch.nn.LSTM(layer.weight_ih.shape[1], layer.weight_hh.shape[1])
        lstm.load_state_dict({f"{name}_l0": value for name, value in layer.state_dict().items()})
        lstms.append(lstm)

    def log_odds(x: torch.Tensor) -> torch.Tensor:  # (n, T, E)
        y = x.transpose(0, 1)
        for lstm in lstms:
            y = lstm(y)[0]
        logs = model.head(torch.cat([y[-1], y.max(dim=0).values, y.mean(dim=0)], dim=1)).log_softmax(dim=1)
        return logs[:, column] - logs[:, 1 - column]

    tokens = parts.tokenizer.tokenize(text)
    ids = parts.vocabulary.encode(tokens).astype(np.int64)
    order = np.arange(len(ids))
    if parts.direction == "backward":
        order = reversed_order(ids, parts.vocabulary.bos_id)
    x = model.encoder.embedding.weight.detach()[torch.from_numpy(ids[order])].unsqueeze(0)
    baseline = x * torch.from_numpy(order == len(ids) - 1).view(1, -1, 1)  # the mark of the end belongs to no word
    found = torch.zeros_like(x)
    for first, last in STRETCHES:
        ends = (baseline + share * (x - baseline) for share in (last, first))
        found += attr.IntegratedGradients(log_odds).attribute(*ends, n_steps=2, method="gausslegendre")
    by_token = np.empty(len(ids))
    by_token[order] = found.sum(dim=2)[0].detach()
    return by_token[:-1]


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_attributions_of_a_network_are_those_of_captum(direction: str) -> None:
    classifier = network(direction)
    found = captum_weights(classifier.parts, TEXT, 1)
    tokens = classifier.parts.tokenizer.tokenize(TEXT)
    path = classifier._predictor.path(tokens, np.arange(len(tokens)) < len(tokens) - 1)
    by_token = path.integrate(1, STRETCHES).sum(axis=0)
    np.testing.assert_allclose(by_token[:-1], found, rtol=1e-4, atol=1e-5)
    assert by_token[-1] == 0.0
    assert np.abs(found).max() > 0.1


def attributions(classifier: TextClassifier, column: int = 0) -> np.ndarray:
    """Attributions (tokens,) of TEXT with as many steps as every text has."""
    path = classifier._predictor.path(TEXT.split(), np.ones(10, dtype=bool))
    return path.integrate(column, STRETCHES).sum(axis=0)


def test_the_temperature_and_a_pair_are_part_of_the_explanation() -> None:
    plain = attributions(network())
    scaled = attributions(TextClassifier(dataclasses.replace(network().parts, temperature=2.0)))
    np.testing.assert_allclose(scaled, plain / 2.0, rtol=1e-5, atol=1e-7)
    pair = attributions(TextClassifier(network().parts, network("backward").parts))
    assert not np.allclose(pair, plain, atol=1e-3)


EVERY_KIND = {
    "network": network,
    "backward": lambda: network("backward"),
    "pair": lambda: TextClassifier(network().parts, network("backward").parts),
    "linear": lambda: ensemble(linear("tf-idf")),
    "blend": lambda: ensemble(linear("mean"), network().parts, features("forward", "backward"), linear("binary")),
    "three classes": lambda: ensemble(
        linear("tf-idf", 3), features("backward", classes=3), linear("binary", 3, True), classes=3
    ),
}


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_weights_sum_to_the_log_odds_without_those_of_the_baseline(kind: str) -> None:
    classifier = EVERY_KIND[kind]()
    probabilities = classifier.predict_proba([TEXT])[0].astype(float)
    changes = []
    for column, label in enumerate(classifier.labels):
        explanation = explain(classifier, label=label)
        assert expit(explanation.log_odds) == pytest.approx(probabilities[column], abs=1e-5)
        assert explanation.baseline is not None
        change = explanation.log_odds - explanation.baseline
        assert weights(explanation).sum() == pytest.approx(change, abs=0.01 * max(1.0, abs(change)))
        assert explanation.gap == pytest.approx(change - weights(explanation).sum())
        changes.append(abs(change))
    assert max(changes) > 0.05


def test_linear_members_of_two_classes_are_explained_exactly_by_their_weights() -> None:
    member = linear("binary")
    explanation = explain(ensemble(member), label=tiny.classifier().labels[1])
    assert explanation.steps == FIRST_STEPS
    assert explanation.gap == pytest.approx(0.0, abs=1e-12)
    # By hand: the weights of each n-gram, shared by its occurrences and by their words.
    words = [member.words.index(word) for word in TEXT.split()]
    size = len(member.words)
    expected = np.zeros(len(words))
    for length in (1, 2, 3):
        grams = [tuple(words[place : place + length]) for place in range(len(words) - length + 1)]
        for place, gram in enumerate(grams):
            code = functools.reduce(lambda code, word: code * size + word, gram)
            feature = code
            if length > 1:
                before = size + sum(len(codes) for codes in member.ngrams.codes[: length - 2])
                feature = before + int(np.searchsorted(member.ngrams.codes[length - 2], code))
            expected[place : place + length] += member.coefficients[feature, 0] / grams.count(gram) / length
    np.testing.assert_allclose(weights(explanation), 0.4 * expected, rtol=1e-5)


def test_a_blend_of_two_classes_adds_its_members_weights_up() -> None:
    members = (linear("mean"), network().parts, features("forward"))
    by_member = [attributions(ensemble(member)) / 0.4 for member in members]
    expected = np.tensordot(np.linspace(0.4, 0.9, 3), np.stack(by_member), axes=1)
    np.testing.assert_allclose(attributions(ensemble(*members)), expected, rtol=1e-4, atol=1e-6)


def test_more_classes_are_explained_with_the_gradient_of_all_members() -> None:
    """The slope along the path is that of finite differences of the whole classifier."""
    classifier = EVERY_KIND["three classes"]()
    tokens = TEXT.split()
    path = classifier._predictor.path(tokens, np.ones(len(tokens), dtype=bool))
    share, step = 0.3, 1e-3

    def score(at: float) -> float:
        logs = log_softmax(path.scores(np.array([at])), axis=1)[0]
        return float(logs[2] - np.log(1.0 - np.exp(logs[2])))

    slope = path.slopes(2, np.array([share])).sum()
    assert slope == pytest.approx((score(share + step) - score(share - step)) / (2 * step), rel=5e-3)


def test_tokens_of_no_word_stay_in_the_baseline() -> None:
    member = linear("binary")
    path = ensemble(member)._predictor.path(TEXT.split(), np.arange(10) >= 4)
    whole = ensemble(member)._predictor.path(TEXT.split(), np.ones(10, dtype=bool))
    np.testing.assert_allclose(path.scores(np.ones(1)), whole.scores(np.ones(1)))
    tokens = path.integrate(1, STRETCHES)
    assert (tokens[:, :4] == 0).all()
    np.testing.assert_allclose(tokens[:, 4:], whole.integrate(1, STRETCHES)[:, 4:])


def test_steps_grow_until_the_weights_sum_up() -> None:
    class Bend:
        """Log-odds that rise by 2 in the last part of the path alone."""

        at_once = 5

        def along(self, shares):
            odds = 20.0 * np.maximum(0.0, shares - 0.9)
            logs = log_softmax(np.stack([np.zeros_like(odds), odds], axis=1), axis=1)
            slopes = 20.0 * (shares > 0.9)
            p = np.exp(logs[:, 1])
            return logs, lambda v: np.outer(slopes * (v[:, 1] * (1 - p) - v[:, 0] * p), [1.0, 0.0])

    words = [Word("a", 0, 1, None), Word("b", 1, 2, None)]
    path = ClassifierPath([Bend()], WeightedSum(np.ones(1)))
    explanation = explain_by_gradients(words, path, ("no", "yes"))
    assert (explanation.label, explanation.baseline) == ("yes", 0.0)
    assert explanation.steps is not None
    assert FIRST_STEPS < explanation.steps <= 100  # evenly spaced, it takes hundreds
    assert explanation.words[0].weight == pytest.approx(2.0, abs=0.02)
    assert abs(path.integrate(1, STRETCHES).sum() - 2.0) > 0.02


def test_long_documents_are_read_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = ensemble(network().parts, features("forward", "backward"))
    whole = attributions(classifier)
    monkeypatch.setattr(network_path, "_PIECE_STEPS", 4)
    monkeypatch.setattr(network_path, "_BATCH_STEPS", 9)
    np.testing.assert_allclose(attributions(classifier), whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("batch_steps", "points"), [(100, 10), (29, 2), (19, 4), (9, 4)])
def test_points_of_the_path_are_read_together(monkeypatch: pytest.MonkeyPatch, batch_steps: int, points: int) -> None:
    monkeypatch.setattr(network_path, "_BATCH_STEPS", batch_steps)
    path = network_path.NetworkPath(network().parts, np.zeros(10, dtype=np.int64), np.ones(10, dtype=bool))
    assert path.at_once == points


def test_an_explanation_does_not_depend_on_the_other_texts_or_on_the_models_state() -> None:
    classifier = ensemble(linear("mean"), network().parts)
    texts = [TEXT, "a story", ""]
    together = classifier.explain(texts, method=METHOD)
    assert together == [explain(classifier, text) for text in texts]
    assert together[2].words == ()
    assert together[2].gap == pytest.approx(0.0, abs=1e-6)
    model = tiny.classifier().parts.model
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


def test_int8_networks_are_explained_in_float() -> None:
    parts = network().parts
    int8 = TextClassifier(dataclasses.replace(parts, model=parts.model.to_int8()))
    np.testing.assert_allclose(weights(explain(int8)), weights(explain(network())), rtol=0.1, atol=0.05)


def test_slopes_of_scores_are_those_of_finite_differences() -> None:
    draw = np.random.default_rng(0)
    for columns, one_against_rest in ((1, False), (3, False), (3, True)):
        scores, v = draw.normal(size=(2, columns)), draw.normal(size=(2, max(2, columns)))
        slopes = score_slopes(scores, v, one_against_rest)
        for place in np.ndindex(scores.shape):
            moved = [scores.copy(), scores.copy()]
            moved[0][place] += 1e-5
            moved[1][place] -= 1e-5
            up, down = ((class_log_probabilities(each, one_against_rest) * v).sum() for each in moved)
            assert slopes[place] == pytest.approx((up - down) / 2e-5, rel=1e-5, abs=1e-8)


def test_contributions_sum_to_the_scores() -> None:
    for weighting in ("tf-idf", "binary", "mean"):
        member = linear(weighting, 3)
        words = WordSequence(np.array([0, 1, 0, 1, 2, -1, 0]), np.array([0, 7]))
        found = member.contributions(words)
        assert found.shape == (7, 3)
        assert (found[5] == 0).all()
        expected = class_log_probabilities((found.sum(axis=0) + member.intercept)[None])
        np.testing.assert_allclose(member.log_probabilities(words), expected, rtol=1e-5)


def test_mean_probabilities_share_slopes_out() -> None:
    logs = [np.log([[0.2, 0.8]]), np.log([[0.6, 0.4]])]
    scores = MeanProbability().scores(logs)
    np.testing.assert_allclose(np.exp(log_softmax(scores, axis=1)), [[0.4, 0.6]])
    first, second = MeanProbability().slopes(logs, scores, np.array([[1.0, 1.0]]))
    np.testing.assert_allclose(first, [[0.25, 2 / 3]])
    np.testing.assert_allclose(second, [[0.75, 1 / 3]])


def test_methods_are_checked() -> None:
    with pytest.raises(ConfigError, match="method: got 'gradient'; there are: occlusion, integrated-gradients"):
        tiny.classifier().explain(["a"], method="gradient")
    (explanation,) = tiny.classifier().explain(["a"])
    with pytest.raises(ConfigError, match="gap: only for integrated gradients, got occlusion"):
        _ = explanation.gap


@pytest.mark.parametrize("unit", ["words", "characters"])
@pytest.mark.parametrize("joins_tokens", [True, False])
@pytest.mark.parametrize("name", ["whitespace", "bytes", "sentencepiece"])
def test_places_of_words_are_those_of_their_tokens(name: str, joins_tokens: bool, unit: Unit) -> None:
    text = "don't, it is naïve film\u7535\u5f71 good-bye"
    tokenizer: Tokenizer = {"whitespace": WhitespaceTokenizer, "bytes": ByteTokenizer}.get(
        name, lambda: train_sentencepiece([text] * 20, pieces=300, byte_fallback=True)
    )()
    tokens = tokenizer.tokenize(text)
    vocabulary = tokenizer.closed_vocabulary() or Vocabulary([*dict.fromkeys(tokens)])
    reader = WordReader(tokenizer, vocabulary, joins_tokens=joins_tokens, unit=unit, is_open=True)
    document = vocabulary.encode(tokens)
    ids, owners = reader.read_places(document)
    np.testing.assert_array_equal(ids, reader.read(document))
    assert len(owners) == len(ids) > 5
    for word, places in zip(ids, owners, strict=True):
        written = tokenizer.spell([tokens[place] for place in places])
        if "\ufffd" not in written:  # a byte of a character
            assert reader.words[word].strip() in written
    covered = set(np.concatenate(owners).tolist())
    assert covered <= set(np.flatnonzero(reader.is_read[document]).tolist())
    assert all(len(places) <= 2 for places in owners) or name != "whitespace"
