"""The spaCy component: probabilities in `doc.cats`, batches, and pipelines that are saved and loaded."""

import configparser
import importlib
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import spacy
from spacy.language import Language
from support import tiny
from support.pages import ROOT
from support.untrained import untrained_classifier

from ulmkit import TextClassifier
from ulmkit.errors import ConfigError, FolderError, MissingPackageError
from ulmkit.model.heads import MultiLabelConfig, NumberConfig, PairConfig, TokenLabelConfig
from ulmkit.spacy_textcat import TextCategorizer

TEXTS = [text for text, _ in tiny.reviews(5, first=8000)]
CLASSIFIER = untrained_classifier()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a classifier's folder."""
    folder = tmp_path_factory.mktemp("models") / "classifier"
    CLASSIFIER.save(folder)
    return folder


def pipeline_with(model: Path, name: str = "ulmkit_textcat") -> Language:
    """A blank English pipeline with the component."""
    nlp = spacy.blank("en")
    nlp.add_pipe("ulmkit_textcat", name=name, config={"model": str(model)})
    return nlp


def test_the_categories_are_the_probabilities(folder: Path) -> None:
    nlp = pipeline_with(folder)
    expected = CLASSIFIER.predict_proba(TEXTS)
    document = nlp(TEXTS[0])
    assert list(document.cats) == ["neg", "pos"] == list(nlp.get_pipe("ulmkit_textcat").labels)
    np.testing.assert_allclose(list(document.cats.values()), expected[0], atol=1e-6)
    documents = list(nlp.pipe(iter(TEXTS), batch_size=2))
    assert [document.text for document in documents] == TEXTS
    np.testing.assert_allclose([list(document.cats.values()) for document in documents], expected, atol=1e-6)
    assert sum(nlp("").cats.values()) == pytest.approx(1.0)


def test_documents_of_a_stream_are_classified_in_batches(folder: Path) -> None:
    component = TextCategorizer("textcat", folder)
    sizes = []
    predict = component.classifier.predict_proba

    def counting(texts: list[str]) -> np.ndarray:
        sizes.append(len(texts))
        return np.asarray(predict(texts))

    with mock.patch.object(component.classifier, "predict_proba", counting):
        nlp = spacy.blank("en")
        assert len(list(component.pipe(map(nlp.make_doc, TEXTS), batch_size=2))) == 5
    assert sizes == [2, 2, 1]


def test_other_categories_stay(folder: Path) -> None:
    document = spacy.blank("en").make_doc(TEXTS[0])
    document.cats["long"] = 0.5
    assert set(TextCategorizer("textcat", folder)(document).cats) == {"long", "neg", "pos"}


def test_several_labels_have_a_probability_each(tmp_path: Path) -> None:
    classifier = untrained_classifier("multi", MultiLabelConfig(classes=2))
    classifier.save(tmp_path / "multi")
    expected = classifier.predict_proba(TEXTS)
    assert not np.allclose(np.asarray(expected).sum(axis=1), 1.0, atol=1e-3)
    cats = [list(document.cats.values()) for document in pipeline_with(tmp_path / "multi").pipe(TEXTS)]
    np.testing.assert_allclose(cats, expected, atol=1e-6)


def test_a_saved_pipeline_holds_the_classifier(folder: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    CLASSIFIER.save(model)
    (model / "notes.csv").write_text("not the model's")
    expected = pipeline_with(folder)(TEXTS[0]).cats
    pipeline_with(model, "sentiment").to_disk(tmp_path / "pipeline")
    model.rename(tmp_path / "elsewhere")
    assert not (tmp_path / "pipeline" / "sentiment" / "notes.csv").exists()
    loaded = spacy.load(tmp_path / "pipeline")
    assert loaded(TEXTS[0]).cats == expected
    loaded.to_disk(tmp_path / "pipeline")
    assert spacy.load(tmp_path / "pipeline")(TEXTS[0]).cats == expected
    TextClassifier.load(tmp_path / "pipeline" / "sentiment")


@pytest.mark.parametrize(
    ("classifier", "summary"),
    [
        (untrained_classifier("number", NumberConfig(value_range=(0.0, 1.0)), labels=()), "a number per text"),
        (untrained_classifier("pair", PairConfig(classes=2)), "one label per pair of texts"),
        (untrained_classifier("tokens", TokenLabelConfig(classes=2)), "a label per word"),
    ],
    ids=["number", "pair", "tokens"],
)
def test_other_tasks_are_refused(classifier: TextClassifier, summary: str, tmp_path: Path) -> None:
    classifier.save(tmp_path / "other")
    with pytest.raises(ConfigError, match=f"one or several labels per text, got .*other, which predicts {summary}"):
        pipeline_with(tmp_path / "other")("a text")


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    nlp = pipeline_with(tmp_path / "none")
    with pytest.raises(FolderError, match="none: no such folder"):
        nlp("a text")


def test_spacy_finds_the_component_by_its_entry_point() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    name, _, place = config["options.entry_points"]["spacy_factories"].strip().partition(" = ")
    module, _, attribute = place.partition(":")
    assert callable(getattr(importlib.import_module(module), attribute))
    assert Language.get_factory_meta(name).assigns == ["doc.cats"]


def test_without_spacy_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spacy.language", None)
    monkeypatch.delitem(sys.modules, "ulmkit.spacy_textcat")
    with pytest.raises(MissingPackageError, match="spacy: is not installed, and ulmkit_textcat needs it"):
        importlib.import_module("ulmkit.spacy_textcat")
