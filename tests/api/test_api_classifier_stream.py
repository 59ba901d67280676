"""A streamed text gives the whole text's answer, wherever it is cut."""

import numpy as np
import pytest
from support import tiny

from ulmkit import LanguageModel, TextClassifier
from ulmkit.errors import ConfigError
from ulmkit.text import Document

TRICKY = (
    "He saaaaid   &quot;NO!!!!<br />NASA's AT&amp;T... don't e.g. 3.14 \n\n l\u2019e\u0301t\u00e9 "
    "\u4f60\u597d\u554a\u554a\u554a\u554a \U0001f600 wow wow wow wow http://a.b?c=d I\u0307  "
)


def _make(tokenizer: str) -> TextClassifier:
    options = tiny.data_options(tokenizer, pieces=120)
    data = [(TRICKY + " and more", "a"), ("He said NASA don't", "b"), ("wow 3.14 \u4f60\u597d", "c")] * 6
    data = [(f"{text} {number}", label) for number, (text, label) in enumerate(data)]
    settings = {"sizes": tiny.SIZES, "data_options": options, "run": tiny.RUN}
    base = LanguageModel.pretrain([text for text, _ in data], steps=3, recipe=tiny.LEARN, **settings)
    return TextClassifier.train(
        data, base, method="finetune", steps=4, recipe=tiny.CLASSIFY, data_options=options, run=tiny.RUN
    )


@pytest.mark.parametrize("tokenizer", ["spacy", "sentencepiece", "bytes"])
def test_cut_at_every_character(tokenizer: str) -> None:
    classifier = _make(tokenizer)
    whole = classifier.predict_proba([TRICKY])[0]
    for cut in range(len(TRICKY) + 1):
        stream = classifier.stream()
        stream.feed(TRICKY[:cut])
        stream.feed(TRICKY[cut:])
        np.testing.assert_allclose(stream.finish(), whole, atol=1e-5, err_msg=f"cut at {cut}: {TRICKY[:cut]!r}")
    stream = classifier.stream()
    for character in TRICKY:
        stream.feed(character)
    np.testing.assert_allclose(stream.finish(), whole, atol=1e-5)
    assert not np.allclose(whole, classifier.predict_proba([TRICKY[:20]])[0], atol=1e-4)


def test_answers_on_the_way_and_after_nothing_at_all() -> None:
    classifier = tiny.classifier()
    stream = classifier.stream()
    stream.feed("the film was great\n")
    first_line = classifier.predict_proba(["the film was great\n"])[0]
    np.testing.assert_allclose(stream.predict_proba(), first_line, atol=1e-5)
    stream.feed("the film was")
    assert np.abs(stream.predict_proba() - first_line).max() > 1e-3
    np.testing.assert_allclose(
        stream.finish(), classifier.predict_proba(["the film was great\nthe film was"])[0], atol=1e-5
    )
    np.testing.assert_allclose(classifier.stream().finish(), classifier.predict_proba([""])[0], atol=1e-5)


def test_after_the_end_the_next_text_begins() -> None:
    classifier, texts = tiny.classifier(), ["the film was great\n", "a dull story", ""]
    stream = classifier.stream()
    for text in texts:
        stream.feed(text)
        np.testing.assert_allclose(stream.finish(), classifier.predict_proba([text])[0], atol=1e-5)


def test_a_number_streams_too() -> None:
    data = [(text, float(label == "pos")) for text, label in tiny.reviews(40)]
    options = {"sizes": tiny.ENCODER, "recipe": tiny.CLASSIFY, "data_options": tiny.WORDS, "run": tiny.RUN}
    classifier = TextClassifier.train(data, None, method="finetune", steps=3, task="number", **options)
    stream = classifier.stream()
    stream.feed(data[0][0])
    np.testing.assert_allclose(stream.finish(), classifier.predict_proba([data[0][0]])[0], atol=1e-5)
    words = [Document("a b", ("x", "y"), tokens=("a", "b"))] * 20
    tagger = TextClassifier.train(words, None, method="finetune", steps=1, task="tokens", **options)
    with pytest.raises(ConfigError, match="stream: task 'tokens' needs the whole text at once"):
        tagger.stream()
