"""A document that arrives in parts gets the answers of its prefixes, and no part is read twice."""

import dataclasses
import functools
import tracemalloc

import numpy as np
import pytest
from support import tiny

from ulmkit.api import TextClassifier
from ulmkit.hub import EnsembleParts, FeatureParts, Member, TrainingFacts
from ulmkit.members.combiner import Combiner
from ulmkit.members.linear import LinearMember
from ulmkit.members.ngrams import NGrams, find_ngrams
from ulmkit.model.awd_lstm import Encoder
from ulmkit.pipeline import EnsemblePredictor, EnsembleReading, document_streams, network_streams
from ulmkit.tasks import TASKS
from ulmkit.text import ByteTokenizer, Tokenizer, Vocabulary, WhitespaceTokenizer, train_sentencepiece
from ulmkit.text.words import Unit, WordReader, join_words

TEXT = "The film wasn't good, not good at all, not good at-all;\n\n  a naïve  film film film film, GOOD?"


@functools.cache
def _tokenizer(name: str) -> tuple[Tokenizer, Vocabulary]:
    tokenizer: Tokenizer
    if name == "sentencepiece":
        tokenizer = train_sentencepiece([TEXT, "a good film, not at all naive"] * 20, pieces=300, byte_fallback=True)
    else:
        tokenizer = ByteTokenizer() if name == "bytes" else WhitespaceTokenizer()
    return tokenizer, tokenizer.closed_vocabulary() or Vocabulary(["<unk>", "<eos>", *dict.fromkeys(TEXT.split())])


def _linear(
    tokenizer: Tokenizer,
    vocabulary: Vocabulary,
    joins_tokens: bool,
    longest: int,
    weighting: str,
    unit: Unit = "words",
    text: str = TEXT,
    classes: int = 3,
) -> LinearMember:
    """A member that knows most words of a text and every other longer n-gram."""
    reader = WordReader(tokenizer, vocabulary, joins_tokens=joins_tokens, unit=unit, is_open=True)
    documents = [vocabulary.encode(tokenizer.tokenize(text))]
    read = join_words([reader.read(document) for document in documents])
    words = reader.words[::-1][1:]
    read = read.renumber(np.arange(len(words) - 1, -2, -1))
    found = find_ngrams(read, len(words), longest, (1, 1))
    ngrams = NGrams(len(words), tuple(codes[::2] for codes in found.codes))
    draw = np.random.default_rng(longest)
    return LinearMember(
        name=f"{weighting} {longest} {joins_tokens} {unit}",
        words=words,
        joins_tokens=joins_tokens,
        unit=unit,
        ngrams=ngrams,
        weighting=weighting,  # type: ignore[arg-type]
        feature_weights=None if weighting == "binary" else draw.uniform(0.01, 0.2, len(ngrams)).astype(np.float32),
        coefficients=draw.normal(size=(len(ngrams), classes)).astype(np.float32),
        intercept=draw.normal(size=classes).astype(np.float32),
        one_against_rest=longest == 2,
    )


def _ensemble(
    members: tuple[Member, ...], labels: tuple[str, ...], text: tuple[Tokenizer, Vocabulary]
) -> EnsembleParts:
    tokenizer, vocabulary = text
    combiner = Combiner(np.linspace(0.3, 0.6, len(members)), np.zeros(len(labels)))
    return EnsembleParts(TASKS["single"], vocabulary, tokenizer, labels, members, combiner, TrainingFacts())


@functools.cache
def _linear_ensemble(name: str) -> EnsembleParts:
    kinds = [(True, 3, "mean"), (True, 2, "tf-idf"), (True, 1, "binary"), (False, 3, "tf-idf")]
    words = [_linear(*_tokenizer(name), *kind) for kind in kinds]
    characters = [_linear(*_tokenizer(name), True, 1, weighting, "characters") for weighting in ("mean", "tf-idf")]
    members = (*words, *characters)
    return _ensemble(members, ("a", "b", "c"), _tokenizer(name))


@functools.cache
def _network_ensemble(*directions: str) -> EnsembleParts:
    """Features of language models, and networks, of some directions."""
    both = {"forward": tiny.language_model().parts, "backward": tiny.backward_language_model().parts}
    network = tiny.classifier().parts
    language_models = tuple(both[direction] for direction in directions)
    coefficients = np.random.default_rng(0).normal(0, 0.1, (224 * len(directions), 1)).astype(np.float32)
    features = FeatureParts(language_models, coefficients, np.zeros(1, dtype=np.float32))
    networks = tuple(dataclasses.replace(network, direction=direction) for direction in directions)
    return _ensemble((features, *networks), network.label_names, (network.tokenizer, network.vocabulary))


def _ids(parts: EnsembleParts, text: str) -> np.ndarray:
    return parts.vocabulary.encode(parts.tokenizer.tokenize(text)).astype(np.int64)


@pytest.mark.parametrize("name", ["sentencepiece", "bytes", "whitespace"])
def test_linear_members_answer_alike_wherever_a_text_is_cut(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit for bit, since counts are whole numbers; n-grams and words reach over every cut."""
    monkeypatch.setattr(document_streams, "_COUNTED_WORDS", 3)
    parts = _linear_ensemble(name)
    predictor = EnsemblePredictor(parts)
    ids = _ids(parts, TEXT)
    whole = predictor([ids])[0]
    in_steps = EnsembleReading(predictor)
    answers = set()
    step = 1 + len(ids) // 60
    for cut in range(0, len(ids) + 1, step):
        prefix = predictor([ids[:cut]])[0]
        reading = EnsembleReading(predictor)
        reading.read(ids[:cut])
        np.testing.assert_array_equal(reading.predict(), prefix)
        np.testing.assert_array_equal(in_steps.predict(), prefix)
        reading.read(ids[cut:])
        np.testing.assert_array_equal(reading.predict(), whole)
        in_steps.read(ids[cut : cut + step])
        answers.add(prefix.tobytes())
    assert len(answers) > 10


@pytest.mark.parametrize("name", ["sentencepiece", "bytes", "whitespace"])
def test_streams_of_text_answer_as_its_prefixes_do(name: str) -> None:
    classifier = TextClassifier(_linear_ensemble(name))
    for cut in range(0, len(TEXT), 7):
        stream = classifier.stream()
        stream.feed(TEXT[: cut // 2])
        stream.predict_proba()
        stream.feed(TEXT[cut // 2 : cut])
        np.testing.assert_array_equal(stream.finish(), classifier.predict_proba([TEXT[:cut]])[0])


@pytest.mark.parametrize("directions", [("forward",), ("backward",), ("backward", "forward")])
@pytest.mark.parametrize("seed", [0, 1])
def test_networks_answer_alike_wherever_a_text_is_cut(
    directions: tuple[str, ...], seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network_streams, "CHUNK_STEPS", 7)
    parts = _network_ensemble(*directions)
    predictor = EnsemblePredictor(parts)
    ids = _ids(parts, "\n".join(text for text, _ in tiny.reviews(4)))
    reading = EnsembleReading(predictor)
    np.testing.assert_allclose(reading.predict(), predictor([ids[:0]])[0], atol=1e-6)
    done, answers = 0, set()
    for part in np.split(ids, np.sort(np.random.default_rng(seed).integers(0, len(ids), 6))):
        reading.read(part)
        done += len(part)
        prefix = predictor([ids[:done]])[0]
        np.testing.assert_allclose(reading.predict(), prefix, atol=1e-6)
        answers.add(prefix.tobytes())
    assert done == len(ids)
    assert len(answers) > 3


def test_no_token_is_read_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often an answer is asked for, forward networks read each token once, and few words are counted again."""
    parts = _network_ensemble("forward")
    linear = _linear(parts.tokenizer, parts.vocabulary, True, 3, "tf-idf", text=tiny.review("pos", 0), classes=1)
    parts = _ensemble((linear, *parts.members), parts.label_names, (parts.tokenizer, parts.vocabulary))
    predictor = EnsemblePredictor(parts)
    ids = np.tile(_ids(parts, tiny.review("pos", 0)), 300)
    tokens: list[int] = []
    words: list[int] = []
    forward, counts = Encoder.forward, NGrams.counts
    monkeypatch.setattr(Encoder, "forward", lambda *given: tokens.append(len(given[1])) or forward(*given))
    monkeypatch.setattr(NGrams, "counts", lambda self, read: words.append(len(read.ids)) or counts(self, read))
    reading = EnsembleReading(predictor)
    for part in np.split(ids, 10):
        reading.read(part)
        reading.predict()
    assert sum(tokens) == 2 * len(ids)
    assert len(words) < 40
    assert max(words) < 2 * len(ids) / 10
    assert sum(words) < 2 * len(ids)


def test_memory_does_not_grow_with_a_text_that_repeats_itself() -> None:
    parts = _linear_ensemble("sentencepiece")
    reading = EnsembleReading(EnsemblePredictor(parts))
    ids = np.tile(_ids(parts, TEXT), 400)
    held = []
    tracemalloc.start()
    try:
        for _ in range(4):
            reading.read(ids.copy())
            reading.predict()
            held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert held[-1] - held[0] < ids.nbytes  # of three times as many that were read
