"""Folders of ensembles."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support import tiny

from ulmkit import LanguageModel, TextClassifier
from ulmkit.errors import ConfigError, FolderError, TrainingError
from ulmkit.files import fingerprint
from ulmkit.hub import (
    EnsembleParts,
    FeatureParts,
    LadderFacts,
    facts_to_json,
    load_model,
    member_name,
    save_ensemble,
)
from ulmkit.hub.cards import ensemble_card
from ulmkit.members.combiner import Combiner
from ulmkit.members.linear import LinearMember
from ulmkit.pipeline import EnsemblePredictor, networks, train_automatically
from ulmkit.tasks import TASKS
from ulmkit.text import Vocabulary
from ulmkit.training import Budget

TEXTS = [text for text, _ in tiny.reviews(12, 4000)]


def _parts() -> EnsembleParts:
    """An ensemble of every kind of member."""
    both = [tiny.language_model().parts, tiny.backward_language_model().parts]
    linear = train_automatically(
        tiny.reviews(), both, method="features", budget=Budget(steps=1), data_options=tiny.WORDS, run=tiny.RUN
    )
    features = FeatureParts(tuple(both), np.full((448, 1), 0.01, dtype=np.float32), np.zeros(1, dtype=np.float32))
    network = tiny.classifier().parts
    members = (*[m for m in linear.members if not networks([m])], features, network)
    combiner = Combiner(np.linspace(0.2, 0.5, len(members)), np.array([0.1, -0.1]))
    return EnsembleParts(
        network.task, network.vocabulary, network.tokenizer, network.label_names, members, combiner, linear.facts
    )


@pytest.fixture(scope="module")
def parts() -> EnsembleParts:
    return _parts()


@pytest.fixture
def folder(parts: EnsembleParts, tmp_path: Path) -> Path:
    return save_ensemble(tmp_path / "model", parts)


def _predict(parts: EnsembleParts) -> np.ndarray:
    return EnsemblePredictor(parts)([parts.vocabulary.encode(parts.tokenizer.tokenize(text)) for text in TEXTS])


def test_a_saved_ensemble_answers_alike(parts: EnsembleParts, folder: Path) -> None:
    loaded = load_model(folder)
    assert isinstance(loaded, EnsembleParts)
    assert [member_name(member) for member in loaded.members] == [member_name(member) for member in parts.members]
    assert facts_to_json(loaded.facts) == facts_to_json(parts.facts)
    np.testing.assert_array_equal(_predict(loaded), _predict(parts))
    classifier = TextClassifier.load(folder)
    np.testing.assert_array_equal(classifier.predict_proba(TEXTS), _predict(parts))


def test_the_card_names_the_members(parts: EnsembleParts, folder: Path) -> None:
    card = (folder / "README.md").read_text(encoding="utf-8")
    for member in parts.members:
        assert f"- {member_name(member)}: weight" in card
    assert f"It reads text as words between white space ({len(parts.vocabulary)} tokens)." in card


def test_the_card_of_linear_members_tells_of_no_network(parts: EnsembleParts) -> None:
    linear = [number for number, member in enumerate(parts.members) if not networks([member])]
    members = tuple(parts.members[number] for number in linear)
    combiner = Combiner(parts.combiner.weights[linear], parts.combiner.bias)
    card = ensemble_card("mine", replace(parts, members=members, combiner=combiner))
    for wrong in ("awd-lstm", "It started from", "backend", "encoder"):
        assert wrong not in card
        assert wrong in ensemble_card("mine", parts)
    assert "Its linear models use the tokens of" in card
    alone = replace(parts, members=members, combiner=combiner, facts=replace(parts.facts, base=None))
    assert "random weights" not in ensemble_card("mine", alone)


def test_the_card_has_the_ladder(parts: EnsembleParts) -> None:
    ladder = replace(tiny.LADDER, class_names=False, word_vectors=False)
    linear = tuple(member for member in parts.members if isinstance(member, LinearMember))
    members = {"members": linear, "combiner": Combiner(np.ones(len(linear)), np.zeros(2))}

    def card(ladder: LadderFacts) -> str:
        return ensemble_card("mine", replace(parts, facts=replace(parts.facts, ladder=ladder), **members))

    plain = card(ladder)
    assert "(5-fold cross-validation of 80 labelled documents)" in plain
    assert "| TF-IDF | 0.5 | 0.8000 ± 0.0400 |\n| linear blend (kept) | 0.4 | 0.9000 ± 0.0300 |" in plain
    assert "word vectors" not in plain
    assert "name of each class" not in plain
    assert "use the tokens and the word vectors of a language model" in card(replace(ladder, word_vectors=True))
    assert "The name of each class was a document" in card(replace(ladder, class_names=True))
    blend = replace(parts, facts=replace(parts.facts, ladder=replace(ladder, word_vectors=True)))
    assert "made of that model's word vectors, too" in ensemble_card("mine", blend)


def test_streams_answer_as_whole_texts_do(parts: EnsembleParts) -> None:
    classifier = TextClassifier(parts)
    stream = classifier.stream()
    for text in TEXTS[:3]:
        for character in text:
            stream.feed(character)
        np.testing.assert_allclose(stream.finish(), classifier.predict_proba([text])[0], atol=1e-6)


@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_answers_that_are_not_finite_are_refused(parts: EnsembleParts) -> None:
    linear = next(member for member in parts.members if isinstance(member, LinearMember))
    opposite = [replace(linear, coefficients=np.full_like(linear.coefficients, value)) for value in (3e38, -3e38)]
    members = {"members": tuple(opposite), "combiner": Combiner(np.ones(2), np.zeros(2))}
    classifier = TextClassifier(replace(parts, **members))
    stream = classifier.stream()
    stream.feed(TEXTS[0] + "\n")
    for answer in (lambda: classifier.predict_proba(TEXTS[:1]), stream.predict_proba, stream.finish):
        with pytest.raises(TrainingError, match="the model's answers are not finite"):
            answer()


def test_weights_without_a_logarithm_are_refused(parts: EnsembleParts) -> None:
    linear = next(member for member in parts.members if isinstance(member, LinearMember))
    ngrams = np.arange(len(linear.ngrams))
    for weight in (0.0, -1.0):
        weights = np.where(ngrams == 3, np.float32(weight), np.float32(1.0))
        with pytest.raises(ConfigError, match=f"feature_weights: expected positive numbers, got {weight}"):
            replace(linear, weighting="tf-idf", feature_weights=weights)
        replace(linear, weighting="binary", feature_weights=weights)


def test_int8_networks_in_an_ensemble(parts: EnsembleParts, tmp_path: Path) -> None:
    rounded = TextClassifier(parts).to_int8()
    rounded.save(tmp_path / "int8")
    loaded = TextClassifier.load(tmp_path / "int8")
    np.testing.assert_allclose(loaded.predict_proba(TEXTS), TextClassifier(parts).predict_proba(TEXTS), atol=0.05)
    np.testing.assert_array_equal(loaded.predict_proba(TEXTS), rounded.predict_proba(TEXTS))


def test_networks_of_one_direction_have_folders_of_their_own(parts: EnsembleParts, tmp_path: Path) -> None:
    network = tiny.classifier().parts
    twice = replace(parts, members=(network, network), combiner=Combiner(np.array([0.5, 0.5]), np.zeros(2)))
    folder = save_ensemble(tmp_path / "twice", twice)
    assert sorted(path.name for path in (folder / "members").iterdir()) == [
        "fine-tuned-forward",
        "fine-tuned-forward-2",
    ]
    np.testing.assert_array_equal(
        TextClassifier.load(folder).predict_proba(TEXTS), TextClassifier(twice).predict_proba(TEXTS)
    )


def test_an_ensemble_is_no_language_model(folder: Path) -> None:
    with pytest.raises(FolderError, match="language model"):
        LanguageModel.load(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "members/features/model.safetensors", "vocabulary.json"])
def test_files_that_are_missing_or_altered_are_refused(folder: Path, name: str) -> None:
    path = folder / name.replace("features", "language-model-features")
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(FolderError, match="SHA-256"):
        load_model(folder)
    path.unlink()
    with pytest.raises(FolderError, match="no such file"):
        load_model(folder)


def _rewrite(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config.pop("fingerprint")
    config |= changes
    (folder / "config.json").write_text(json.dumps({**config, "fingerprint": fingerprint(config)}), encoding="utf-8")


def test_members_that_do_not_belong_together_are_refused(parts: EnsembleParts) -> None:
    linear = next(member for member in parts.members if isinstance(member, LinearMember))
    one = Combiner(np.ones(1), np.zeros(2))
    three = replace(linear, coefficients=np.tile(linear.coefficients, 3), intercept=np.tile(linear.intercept, 3))
    with pytest.raises(ConfigError, match=f"{linear.name}: expected scores of 2 classes"):
        replace(parts, members=(three,), combiner=one)
    network = tiny.classifier().parts
    with pytest.raises(ConfigError, match="fine-tuned forward: expected the ensemble's labels"):
        replace(parts, members=(replace(network, label_names=("a", "b")),), combiner=one)
    other = Vocabulary(reversed(network.vocabulary.tokens))
    with pytest.raises(ConfigError, match="fine-tuned forward: expected the ensemble's vocabulary"):
        replace(parts, members=(replace(network, vocabulary=other),), combiner=one)
    with pytest.raises(ConfigError, match="task: expected one that has a ladder, got 'multi'"):
        replace(parts, task=TASKS["multi"])


def test_folders_from_before_characters_hold_members_of_words(parts: EnsembleParts, tmp_path: Path) -> None:
    linear = [each for each in parts.members if isinstance(each, LinearMember)]
    words = tuple(each for each in linear if each.unit == "words")
    assert 0 < len(words) < len(linear)
    combiner = Combiner(np.ones(len(words)), np.zeros(2))
    folder = save_ensemble(tmp_path / "model", replace(parts, members=words, combiner=combiner, held_out=None))
    before = _predict(load_model(folder))  # type: ignore[arg-type]
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    _rewrite(folder, members=[{key: entry[key] for key in entry if key != "unit"} for entry in config["members"]])
    np.testing.assert_array_equal(_predict(load_model(folder)), before)  # type: ignore[arg-type]


def test_members_outside_the_folder_are_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    entry = {**config["members"][-1], "folder": "../../other"}
    _rewrite(folder, members=[*config["members"][:-1], entry])
    with pytest.raises(FolderError, match="expected the name of a folder in members"):
        load_model(folder)


def test_a_missing_member_is_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    _rewrite(folder, members=config["members"][:-1])
    with pytest.raises(FolderError, match="combiner: expected"):
        load_model(folder)
