"""Every task learns through TextClassifier.train, from text made on the spot."""

import random
import re
from dataclasses import replace

import numpy as np
import pytest
from support import tiny

from ulmkit import LanguageModel, TextClassifier
from ulmkit.errors import ConfigError, DataError
from ulmkit.hub import save_pair
from ulmkit.pipeline import ClassifierRecipe, DataOptions, predict_outputs, predict_rows, prepare
from ulmkit.text import Document
from ulmkit.training import OptimizerConfig

SPACY_FREE = DataOptions(tokenizer="bytes", workers=1)


def _train(data: list, task: str, steps: int = 60, base: LanguageModel | None = None, **options: object):
    given = {"sizes": tiny.ENCODER, "data_options": tiny.WORDS, "run": tiny.RUN, "recipe": tiny.CLASSIFY} | options
    return TextClassifier.train(data, base, method="finetune", steps=steps, task=task, **given)


def test_single_label_predicts_and_evaluates_unseen_text() -> None:
    classifier, unseen = tiny.classifier(), tiny.reviews(40, first=1000)
    texts, labels = [text for text, _ in unseen], [label for _, label in unseen]
    probabilities = classifier.predict_proba(texts)
    assert classifier.labels == ("neg", "pos")
    assert probabilities.shape == (40, 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-5)
    predicted = classifier.predict(texts)
    right = sum(map(str.__eq__, predicted, labels)) / 40
    assert right >= 0.9
    report = classifier.evaluate(unseen)
    assert report.accuracy == right
    assert report.documents == 40


def test_training_fits_the_baselines_on_the_same_documents() -> None:
    classifier = _train(tiny.reviews(), "single", steps=2, baselines=True, labels=60)
    baselines = classifier.parts.facts.baselines
    assert list(baselines) == ["majority class", "TF-IDF + logistic regression", "NB-SVM"]
    assert baselines["NB-SVM"]["accuracy"] > baselines["majority class"]["accuracy"]
    assert not _train(tiny.reviews(), "single", steps=2).parts.facts.baselines


def test_only_networks_need_a_budget() -> None:
    options = {"data_options": tiny.WORDS, "run": tiny.RUN}
    classifier = TextClassifier.train(tiny.reviews(30), None, method="linear", **options)
    assert classifier.predict(["a fine, happy, lovely film"]) == ["pos"]
    for method in ("finetune", "auto"):
        base = None if method == "finetune" else tiny.language_model()
        with pytest.raises(ConfigError, match="budget: expected exactly one of `epochs`, `steps`, `minutes`, got none"):
            TextClassifier.train(tiny.reviews(30), base, method=method, **options)
    with pytest.raises(ConfigError, match="method: task 'multi' is fine-tuned, got 'features'"):
        TextClassifier.train(tiny.reviews(30), tiny.language_model(), method="features", task="multi", **options)


@pytest.mark.parametrize("given", [{"steps": 5}, {"epochs": 2}])
@pytest.mark.parametrize(
    ("method", "has_language_model", "said"),
    [
        ("linear", True, "has no effect: method='linear' trains no networks; drop it, or take another method"),
        ("features", True, "has no effect: method='features' trains no networks; drop it, or take another method"),
        ("auto", False, "has no effect: without a language model no networks are trained; drop it, or take"),
    ],
)
def test_a_length_of_no_training_is_refused(
    given: dict[str, int], method: str, has_language_model: bool, said: str
) -> None:
    base = tiny.language_model() if has_language_model else None
    with pytest.raises(ConfigError, match=f"^{next(iter(given))}: {said}"):
        TextClassifier.train(tiny.reviews(30), base, method=method, data_options=tiny.WORDS, run=tiny.RUN, **given)


@pytest.mark.parametrize(
    ("recipe", "name"),
    [
        (ClassifierRecipe(peak_rate=0.1), "peak_rate"),
        (ClassifierRecipe(optimizer=OptimizerConfig(name="sgd", betas=(0.7, 0.99), weight_decay=0.01)), "optimizer"),
        (ClassifierRecipe(optimizer=OptimizerConfig(betas=(0.7, 0.99), weight_decay=0.5)), "weight_decay"),
    ],
)
def test_settings_of_networks_are_refused_where_none_are_trained(recipe: ClassifierRecipe, name: str) -> None:
    with pytest.raises(ConfigError, match=f"^{name}: has no effect: method='linear' trains no networks"):
        TextClassifier.train(tiny.reviews(30), None, method="linear", recipe=recipe)


def test_range_of_a_classifier_of_numbers_is_kept() -> None:
    numbers = [(text, len(text)) for text, _ in tiny.reviews(30)]
    earlier = _train(numbers, "number", steps=1)
    options = {"steps": 1, "data_options": DataOptions(workers=1), "run": tiny.RUN}
    with pytest.raises(ConfigError, match="value_range: the classifier has its own, None; drop it"):
        TextClassifier.train(numbers, earlier, recipe=ClassifierRecipe(value_range=(0.0, 99.0)), **options)


def test_minutes_that_limit_nothing_are_warned_of() -> None:
    options = {"data_options": tiny.WORDS, "run": tiny.RUN}
    with pytest.warns(UserWarning, match="^minutes: limits nothing: method='linear' trains no networks"):
        TextClassifier.train(tiny.reviews(30), None, method="linear", minutes=1, **options)


def test_several_labels() -> None:
    draw = random.Random(0)
    topics = {
        "sea": ["boat", "wave", "fish", "salt"],
        "sky": ["cloud", "bird", "wing", "sun"],
        "rock": ["stone", "cliff"],
    }
    data = []
    for _ in range(150):
        chosen = [name for name in topics if draw.random() < 0.5]
        words = [draw.choice(topics[name]) for name in chosen for _ in range(3)] + ["and", "the"]
        draw.shuffle(words)
        data.append((" ".join(words), tuple(chosen)))
    classifier = _train(data, "multi", steps=130)
    assert classifier.labels == ("rock", "sea", "sky")
    assert classifier.evaluate(data).subset_accuracy >= 0.8
    assert classifier.predict(["boat wave and fish cloud sun the bird"]) == [["sea", "sky"]]
    assert classifier.predict(["boat wave and fish the"], threshold=0.0) == [["rock", "sea", "sky"]]
    with pytest.raises(ConfigError, match=r"threshold: expected 0 <= p < 1, got 1\.5"):
        classifier.predict(["boat"], threshold=1.5)


def test_a_number() -> None:
    draw = random.Random(1)
    data = []
    for _ in range(150):
        share = draw.random()
        words = ["up" if draw.random() < share else "down" for _ in range(20)]
        data.append((" ".join(words), words.count("up") / 20))
    classifier = _train(data, "number", steps=100)
    assert classifier.labels == ()
    assert repr(classifier) == "TextClassifier(number: a number per text)"
    report = classifier.evaluate(data)
    assert (report.r2 or 0.0) > 0.6
    assert classifier.predict_proba([]).shape == (0,)
    low, high = classifier.predict(["down " * 20, "up " * 20])
    assert low < 0.4 < 0.6 < high


def _tagged(count: int, seed: int) -> list[Document]:
    draw = random.Random(seed)
    names, places, plain = ["anna", "bert", "carla"], ["paris", "rome"], ["sees", "goes", "to", "with", "the", "in"]
    documents = []
    for _ in range(count):
        words, tags = [], []
        for _ in range(8):
            kind = draw.choice(["name", "place", "plain", "plain"])
            words.append(draw.choice({"name": names, "place": places, "plain": plain}[kind]))
            tags.append({"name": "B-PER", "place": "B-LOC", "plain": "O"}[kind])
        documents.append(Document(" ".join(words), tuple(tags), tokens=tuple(words)))
    return documents


@pytest.mark.parametrize("tokenizer", ["whitespace", "bytes"])
def test_a_label_for_each_token(tokenizer: str) -> None:
    options = DataOptions(tokenizer=tokenizer, workers=1)
    classifier = _train(_tagged(60, 0), "tokens", steps=80, data_options=options)
    assert classifier.labels == ("B-LOC", "B-PER", "O")
    report = classifier.evaluate(_tagged(20, 1))
    assert (report.micro_f1 or 0.0) > 0.8
    expected = [("anna", "B-PER"), ("goes", "O"), ("to", "O"), ("rome", "B-LOC")]
    assert classifier.predict(["anna goes to\nrome ", ["anna", "goes", "to", "rome"]]) == [expected, expected]
    assert classifier.predict(["", []]) == [[], []]
    with pytest.raises(DataError, match="text 1: expected a str or a list of words, got \\['anna', None\\]"):
        classifier.predict(["rome", ["anna", None]])
    place = [np.array([0])]
    for model, words, got in ((classifier, None, "none"), (tiny.classifier(), place, "them for a SingleLabelHead")):
        with pytest.raises(DataError, match=f"words: expected the positions of words for token .* alone, got {got}"):
            predict_outputs(model.parts.model, place, words=words)


@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("tokenizer", ["spacy", "sentencepiece", "whitespace", "bytes"])
def test_token_labels_are_predicted_for_the_words_that_are_judged(tokenizer: str, direction: str) -> None:
    options = tiny.data_options(tokenizer)
    settings = {"sizes": tiny.SIZES, "recipe": tiny.LEARN, "data_options": options, "run": tiny.RUN}
    odd = () if tokenizer == "whitespace" else (" ", "a b")  # words of this tokenizer have no white space
    words = [("John", "don't", "SEE", "Paris", "."), ("\u4f60\u597d", "x" * 9, *odd), ("Rome",)]
    data = [
        Document(" ".join(each), tuple("AB"[at % 2] for at in range(len(each))), tokens=each, split=split)
        for split in ("train", "valid")
        for each in words * 4
    ]
    base = LanguageModel.pretrain(data, steps=1, direction=direction, **settings)
    classifier = _train(data, "tokens", steps=4, base=base, data_options=replace(options, split_by="given"))
    corpus = prepare(
        data, options, task="tokens", tokenizer=classifier.parts.tokenizer, vocabulary=classifier.parts.vocabulary
    )
    judged = predict_rows(classifier.parts.model, corpus, range(3), reverse=direction == "backward")
    for mine, its in zip(classifier.predict_proba(words), judged, strict=True):
        np.testing.assert_allclose(mine, its, atol=1e-6)
    assert [[word for word, _ in each] for each in classifier.predict(words)] == [list(each) for each in words]


def _pairs(count: int, seed: int) -> list[tuple[tuple[str, str], str]]:
    """Pairs of texts, of which the first or the second has a z, as the label says."""
    draw, found = random.Random(seed), []
    for _ in range(count):
        with_z, without = ("".join(draw.choices("abcd", k=6)) for _ in range(2))
        with_z = with_z[:3] + "z" + with_z[3:]
        is_first = draw.random() < 0.5
        found.append(((with_z, without), "first") if is_first else ((without, with_z), "second"))
    return found


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_a_pair_of_texts(direction: str) -> None:
    options = {"sizes": tiny.SIZES, "recipe": tiny.LEARN, "data_options": SPACY_FREE, "run": tiny.RUN}
    data = _pairs(200, 0)
    texts = [text for text, _ in data]
    base = LanguageModel.pretrain(texts, steps=10, direction=direction, **options)
    classifier = _train(data, "pair", steps=100, base=base, data_options=SPACY_FREE)
    assert classifier.parts.direction == direction
    unseen = _pairs(40, 1)
    assert classifier.evaluate(unseen).accuracy >= 0.9
    predicted = classifier.predict([text for text, _ in unseen])
    assert (
        np.mean([a == b for a, (_, b) in zip(predicted, unseen, strict=True)]) == classifier.evaluate(unseen).accuracy
    )
    with pytest.raises(DataError, match="text 1: expected two texts .task=.pair.., got 'one'"):
        classifier.predict([("a", "b"), "one"])
    assert classifier.predict([["a", "zb"]]) == classifier.predict([("a", "zb")])
    assert classifier.predict_proba([]).shape == (0, 2)


def test_backward_token_labels_are_in_the_order_of_the_text() -> None:
    settings = {"sizes": tiny.SIZES, "recipe": tiny.LEARN, "data_options": tiny.WORDS, "run": tiny.RUN}
    texts = [document.text for document in _tagged(60, 0)]
    base = LanguageModel.pretrain(texts, steps=5, direction="backward", **settings)
    classifier = _train(_tagged(60, 0), "tokens", steps=80, base=base)
    unseen = _tagged(20, 1)
    report = classifier.evaluate(unseen)
    assert report.token_accuracy > 0.85
    for document in unseen[:3]:
        (tagged,) = classifier.predict([document.text])
        assert document.tokens is not None
        assert [word for word, _ in tagged] == list(document.tokens)
        assert np.mean([label == true for (_, label), true in zip(tagged, document.label, strict=True)]) > 0.6


def test_forward_and_backward_make_a_pair_that_averages(tmp_path) -> None:
    forward = tiny.classifier()
    backward = _train(tiny.reviews(), "single", base=tiny.backward_language_model(), steps=100)
    unseen = tiny.reviews(40, first=1000)
    texts = [text for text, _ in unseen]
    assert backward.parts.direction == "backward"
    assert backward.evaluate(unseen).accuracy >= 0.9
    both = TextClassifier(forward.parts, backward.parts)
    members = [TextClassifier(replace(each.parts, temperature=1.0)) for each in (forward, backward)]
    mean = np.mean([member.predict_proba(texts) for member in members], axis=0)
    np.testing.assert_allclose(both.predict_proba(texts), mean, atol=1e-6)
    assert both.evaluate(unseen).accuracy == np.mean(
        [both.labels[row.argmax()] == label for row, (_, label) in zip(mean, unseen, strict=True)]
    )
    selected = both.evaluation_data(unseen, split="all")
    assert both.evaluate(selected).to_dict() == both.evaluate(unseen).to_dict()
    with pytest.raises(ConfigError, match="split, data_options: expected none with selected evaluation data"):
        both.evaluate(selected, split="all")
    for classifier, name in ((forward, "f"), (backward, "b")):
        classifier.save(tmp_path / name)
    save_pair(tmp_path / "pair", tmp_path / "f", tmp_path / "b")
    loaded = TextClassifier.load(tmp_path / "pair", tiny.RUN)
    np.testing.assert_allclose(loaded.predict_proba(texts), mean, atol=1e-6)
    both.save(tmp_path / "again")
    np.testing.assert_array_equal(
        TextClassifier.load(tmp_path / "again", tiny.RUN).predict_proba(texts), loaded.predict_proba(texts)
    )
    with pytest.raises(ConfigError, match="stream: expected a forward classifier, got a pair"):
        both.stream()
    with pytest.raises(ConfigError, match="stream: expected a forward classifier, got a backward one"):
        backward.stream()


def test_a_pair_of_token_classifiers_averages_documents_of_different_lengths() -> None:
    classifier = _train(_tagged(30, 0), "tokens", steps=20)
    both = TextClassifier(classifier.parts, classifier.parts)
    unseen = [*_tagged(3, 1), Document("anna", ("B-PER",), tokens=("anna",))]
    assert both.evaluate(unseen).token_accuracy == classifier.evaluate(unseen).token_accuracy


def test_members_of_a_pair_have_the_same_labels() -> None:
    other = _train([("a b", "x"), ("b a", "y")] * 10, "single", steps=1)
    with pytest.raises(ConfigError, match="backward: expected the labels neg, pos, got x, y"):
        TextClassifier(tiny.classifier().parts, other.parts)


def test_bf16_learns_and_agrees_with_fp32() -> None:
    run = replace(tiny.RUN, precision="bf16")
    classifier = _train(tiny.reviews(), "single", base=tiny.language_model(), steps=40, run=run)
    texts = [text for text, _ in tiny.reviews(40, first=1000)]
    assert classifier.parts.model.encoder.precision == "bf16"
    assert classifier.evaluate(tiny.reviews(40, first=1000)).accuracy >= 0.9
    low = classifier.predict_proba(texts)
    classifier.parts.model.encoder.precision = "fp32"
    np.testing.assert_allclose(low, classifier.predict_proba(texts), atol=2e-2)


def test_one_text_in_place_of_a_list_is_refused() -> None:
    with pytest.raises(
        DataError, match=r"texts: expected a list of texts, got one str \('the film'\); put it in a list"
    ):
        tiny.classifier().predict("the film")


@pytest.mark.parametrize("bad", [None, float("nan"), 3, b"film", ("the film", None), ()])
def test_values_that_are_not_texts_are_named_by_position(bad: object) -> None:
    for ask in (tiny.classifier().predict, tiny.classifier().predict_proba, tiny.language_model().score):
        with pytest.raises(DataError, match=re.escape(f"text 1: expected a str or a tuple of str, got {bad!r}")):
            ask(["the film", bad])


def test_nothing_to_predict() -> None:
    assert tiny.classifier().predict([]) == tiny.language_model().score([]) == []
    nothing = tiny.classifier().predict_proba([])
    assert (nothing.shape, nothing.dtype) == ((0, 2), tiny.classifier().predict_proba(["the film"]).dtype)
    both = TextClassifier(tiny.classifier().parts, tiny.classifier().parts)
    assert both.predict_proba([]).shape == (0, 2)


@pytest.mark.parametrize(("name", "give"), [("en-small", r"LanguageModel.load\('en-small'\)"), ("none", "None")])
def test_a_name_in_place_of_a_language_model_is_refused_with_what_to_give(name: str, give: str) -> None:
    with pytest.raises(ConfigError, match=f"language_model: expected a LanguageModel, .*, got '{name}'; give {give}"):
        TextClassifier.train(tiny.reviews(8), name, method="linear")  # type: ignore[arg-type]
