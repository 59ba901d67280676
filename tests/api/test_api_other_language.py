"""A language written without spaces goes the whole way: SentencePiece, pretrain, fine-tune, train, predict, stream."""

import random
from pathlib import Path

import numpy as np
from support import tiny

from ulmkit import LanguageModel, TextClassifier
from ulmkit.pipeline import DataOptions

OPTIONS = DataOptions(tokenizer="sentencepiece", pieces=150, workers=1)


def _lexicon(seed: int, count: int) -> list[str]:
    """Made-up words of two or three of 30 CJK characters, 20 of them common to all lexicons."""
    draw = random.Random(seed)
    characters = [chr(0x4E8C + at) for at in (*range(20), *range(20 + 10 * seed, 30 + 10 * seed))]
    return ["".join(draw.choices(characters, k=draw.choice([2, 3]))) for _ in range(count)]


def _texts(count: int, seed: int) -> list[tuple[str, str]]:
    """Sentences of words joined without spaces, in two styles: each has words of its own among common ones."""
    draw, common = random.Random(seed), _lexicon(0, 30)
    styles = {"formal": _lexicon(1, 6), "plain": _lexicon(2, 6)}
    found = []
    for number in range(count):
        label = ("formal", "plain")[number % 2]
        words = [draw.choice(styles[label] if draw.random() < 0.4 else common) for _ in range(12)]
        found.append(("".join(words[:6]) + "。" + "".join(words[6:]) + "。", label))
    return found


def test_the_whole_path_without_spaces(tmp_path: Path) -> None:
    general = [text for text, _ in _texts(150, 1)]
    target = _texts(120, 2)
    base = LanguageModel.pretrain(
        general, steps=60, sizes=tiny.SIZES, recipe=tiny.LEARN, data_options=OPTIONS, run=tiny.RUN
    )
    tokens = base.parts.tokenizer.tokenize(general[0])
    assert any(len(token) > 1 for token in tokens[1:])
    assert base.parts.tokenizer.detokenize(tokens) == general[0]
    tuned = base.finetune([text for text, _ in target], steps=40, recipe=tiny.LEARN, data_options=OPTIONS, run=tiny.RUN)
    assert tuned.parts.vocabulary == base.parts.vocabulary
    before = tuned.parts.facts.validation_before["perplexity"]
    after = tuned.parts.facts.validation["perplexity"]
    assert after < before < 0.8 * len(base.parts.vocabulary)
    classifier = TextClassifier.train(
        target, tuned, method="finetune", steps=80, recipe=tiny.CLASSIFY, data_options=OPTIONS, run=tiny.RUN
    )
    unseen = _texts(60, 3)
    assert classifier.evaluate(unseen).accuracy >= 0.85
    classifier.save(tmp_path / "classifier")
    loaded = TextClassifier.load(tmp_path / "classifier", tiny.RUN)
    text = unseen[0][0]
    whole = classifier.predict_proba([text])[0]
    np.testing.assert_allclose(loaded.predict_proba([text])[0], whole, atol=1e-6)
    for cut in range(len(text) + 1):
        stream = loaded.stream()
        stream.feed(text[:cut])
        stream.feed(text[cut:])
        np.testing.assert_allclose(stream.finish(), whole, atol=1e-5)
    written = tuned.generate(text[:4], max_tokens=10, seed=0)[0]
    assert written.startswith(text[:4])
    assert " " not in written
