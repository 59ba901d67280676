"""One tokenizer used by many threads at once."""

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from ulmkit.text import SpacyTokenizer, StreamingTokens, Tokenizer, train_sentencepiece
from ulmkit.text.tokens import chunked_tokenizer
from ulmkit.text.tokens.tokenizers import load_tokenizer

THREADS = 8
TEXTS_OF_EACH_THREAD = 120


def _texts(seed: int) -> list[str]:
    """Texts with words common to all threads, rare words, capitals, repetitions and runs too long to be cached."""
    draw = random.Random(seed)
    texts = []
    for _ in range(TEXTS_OF_EACH_THREAD):
        words = [f"word{draw.randrange(300)}" for _ in range(12)] + [f"Rare{draw.randrange(10**6)}'s", "Sooo!", "e.g."]
        draw.shuffle(words)
        texts.append(" ".join(words) + draw.choice(["", " no no no", " " + "長い文字列" * 60]))
    return texts


def _tokens(tokenizer: Tokenizer, texts: list[str]) -> list[list[str]]:
    """Tokens of the texts by all three ways: one at a time, several at once, and streamed."""
    third = len(texts) // 3
    tokens = [tokenizer.tokenize(text) for text in texts[:third]]
    tokens += tokenizer.tokenize_many(texts[third : 2 * third])
    for text in texts[2 * third :]:
        streaming = StreamingTokens(tokenizer)
        tokens.append([*streaming.feed(text[:40]), *streaming.feed(text[40:]), *streaming.finish()])
    return tokens


@pytest.mark.parametrize("name", ["spacy", "sentencepiece"])
def test_eight_threads_get_the_tokens_that_one_thread_gets(name, tmp_path, monkeypatch):
    made = SpacyTokenizer("en") if name == "spacy" else train_sentencepiece(_texts(0), 200)
    made.save(tmp_path)
    parts = [_texts(seed) for seed in range(THREADS)]
    expected = [_tokens(load_tokenizer(tmp_path), texts) for texts in parts]
    monkeypatch.setattr(chunked_tokenizer, "MAX_CACHED_CHARACTERS", 20_000)  # the caches are emptied again and again
    monkeypatch.setattr(chunked_tokenizer, "TEXTS_AT_ONCE", 8)
    shared = load_tokenizer(tmp_path)
    with ThreadPoolExecutor(THREADS) as threads:
        answers = list(threads.map(lambda texts: _tokens(shared, texts), parts))
    assert answers == expected
