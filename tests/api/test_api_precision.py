"""Answers in bf16: the same for a text alone, among others and as a stream, before and after saving."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support import tiny

from ulmkit import LanguageModel, TextClassifier
from ulmkit.hub import EnsembleParts, FeatureParts
from ulmkit.members.combiner import Combiner
from ulmkit.model.cells import QRNN, Mogrifier

BF16 = replace(tiny.RUN, precision="bf16")
TEXTS = [text for text, _ in tiny.reviews(12, first=5000)]
TEXTS += ["", " ".join(TEXTS), "great"]  # of no words, of more than one chunk, of one word
CELLS = {"qrnn": QRNN(), "mogrifier": Mogrifier()}


def _trained(cell: str) -> TextClassifier:
    sizes = replace(tiny.ENCODER, cell=CELLS[cell])
    options = {"sizes": sizes, "recipe": tiny.CLASSIFY, "data_options": tiny.WORDS, "run": BF16}
    return TextClassifier.train(tiny.reviews(40), None, method="finetune", steps=5, **options)


def _ensemble() -> TextClassifier:
    """Features of a pair of language models and a network."""
    network = tiny.classifier().parts
    base = (tiny.language_model().parts, tiny.backward_language_model().parts)
    coefficients = np.linspace(-1.0, 1.0, 448, dtype=np.float32)[:, None]
    members = (FeatureParts(base, coefficients, np.zeros(1, dtype=np.float32)), network)
    combiner = Combiner(np.array([0.5, 0.5]), np.zeros(2))
    return TextClassifier(
        EnsembleParts(
            network.task,
            network.vocabulary,
            network.tokenizer,
            network.label_names,
            members,
            combiner,
            network.facts,
        )
    )


MAKERS: dict[str, Callable[[], TextClassifier]] = {
    "network": tiny.classifier,
    "qrnn": lambda: _trained("qrnn"),
    "mogrifier": lambda: _trained("mogrifier"),
    "ensemble": _ensemble,
}


@pytest.mark.parametrize("kind", MAKERS)
def test_answers_in_bf16_depend_on_the_text_alone(tmp_path: Path, kind: str) -> None:
    trained = MAKERS[kind]()
    trained.save(tmp_path / "model")
    classifier = TextClassifier.load(tmp_path / "model", BF16)
    together = classifier.predict_proba(TEXTS)
    np.testing.assert_array_equal(classifier.predict_proba(TEXTS), together)
    for text, expected in zip(TEXTS, together, strict=True):
        np.testing.assert_allclose(classifier.predict_proba([text])[0], expected, atol=1e-5)
        stream = classifier.stream()
        for start in range(0, len(text), 5):
            stream.feed(text[start : start + 5])
        np.testing.assert_allclose(stream.finish(), expected, atol=1e-5)
    if kind in CELLS:  # trained in bf16
        np.testing.assert_array_equal(trained.predict_proba(TEXTS), together)
    exact = TextClassifier.load(tmp_path / "model", tiny.RUN).predict_proba(TEXTS)
    assert not np.array_equal(exact, together)
    np.testing.assert_allclose(exact, together, atol=2e-2)


def test_features_and_scores_in_bf16_depend_on_the_text_alone(tmp_path: Path) -> None:
    tiny.language_model().save(tmp_path / "lm")
    model = LanguageModel.load(tmp_path / "lm", BF16)
    features, scores = model.embed(TEXTS), model.score(TEXTS)
    for text, expected, score in zip(TEXTS, features, scores, strict=True):
        np.testing.assert_allclose(model.embed([text])[0], expected, atol=1e-5)
        assert model.score([text])[0].log_probability == pytest.approx(score.log_probability, rel=1e-5)
