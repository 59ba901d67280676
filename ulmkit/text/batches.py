"""Batches: a token stream cut into rows for language models, documents of similar length for classifiers."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from ulmkit.config import check_not_negative, check_whole
from ulmkit.errors import ConfigError, DataError
from ulmkit.text.corpus.encoded_corpus import EncodedCorpus
from ulmkit.text.corpus.token_stream import TokenStream, reversed_order

MIN_BPTT = 5
_SHORT_PROBABILITY = 0.05  # of a window of about half the length
_LENGTH_NOISE = 0.05  # documents of lengths within this factor may trade places from epoch to epoch


def variable_bptt(bptt: int, bptt_std: float, short_probability: float, generator: np.random.Generator) -> int:
    """Draw the length of one window of back-propagation through time.

    base = bptt with probability 1 - short_probability, else bptt / 2;  length = max(5, int(N(base, std)))

    Args:
        bptt: Usual length in steps.
        bptt_std: Standard deviation in steps.
        short_probability: Probability of a window of about half the length.
        generator: Source of randomness.

    Returns:
        The length in steps.

    Source: Merity, Keskar & Socher 2017, arXiv:1708.02182, section 4.1 (there p = 1 - short_probability; 0.95 and a
        standard deviation of 5 in section 5).
    """
    base = bptt if generator.random() < 1.0 - short_probability else bptt / 2
    return max(MIN_BPTT, int(generator.normal(base, bptt_std)))


@dataclass(frozen=True)
class LanguageModelBatch:
    """One window of all rows of a stream.

    Attributes:
        inputs: (T, B) int64 token ids.
        targets: (T, B) int64, targets[t] is the token after inputs[t].
        rate_scale: Factor on the learning rate, T / bptt for windows of variable length, else 1 (Merity et al. 2017,
            section 4.1).
        is_first: Whether the rows begin here, with a fresh state.
    """

    inputs: torch.Tensor
    targets: torch.Tensor
    rate_scale: float
    is_first: bool


class LanguageModelBatches:
    """A stream cut into `batch_size` rows, read window by window; each batch continues the one before.

    Row b reads tokens b * R to (b + 1) * R, where R = (tokens - 1) // batch_size, so that each epoch predicts
    every token exactly once, except the first and fewer than batch_size at the end.

    With several processes (`ranks`) each has a share of the rows, in order, and all have the same windows.

    Args:
        stream: The text.
        batch_size: Number of rows, of all processes together.
        bptt: Length of a window in steps.
        bptt_std: Standard deviation of a window's length in steps; 0 makes all windows `bptt` long. The lengths are
            drawn once from `seed` and shuffled each epoch, so every epoch has the same number of batches.
        seed: Seed of everything that is drawn.
        shuffle_documents: Put the documents in a new order each epoch.
        reverse: Read each document from its end, xxbos still first.
        rank: Number of this process, from 0.
        ranks: Number of processes.

    Raises:
        ConfigError: If an option is outside its range.
        DataError: If the stream is shorter than a row needs.
    """

    def __init__(
        self,
        stream: TokenStream,
        batch_size: int,
        bptt: int,
        *,
        bptt_std: float = 0.0,
        seed: int = 0,
        shuffle_documents: bool = False,
        reverse: bool = False,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        check_whole("batch_size", batch_size)
        check_whole("bptt", bptt)
        check_not_negative("bptt_std", bptt_std)
        if len(stream) < batch_size + 1:
            raise DataError(
                f"stream: expected at least {batch_size + 1} tokens for batch_size {batch_size}, got {len(stream)}; "
                "take a smaller batch_size or more text"
            )
        self.stream = stream.reversed() if reverse else stream
        self.batch_size = batch_size
        self.bptt = bptt
        self.bptt_std = bptt_std
        self.seed = seed
        self.shuffle_documents = shuffle_documents
        self.row_tokens = (len(stream) - 1) // batch_size
        self._rows = range(batch_size)[rank * batch_size // ranks : (rank + 1) * batch_size // ranks]
        self._lengths = self._draw_lengths()

    def _draw_lengths(self) -> np.ndarray:
        """Steps of each window of an epoch; they sum to a row, the last takes what is left."""
        if not self.bptt_std:
            whole, rest = divmod(self.row_tokens, self.bptt)
            return np.array([self.bptt] * whole + [rest] * (rest > 0))
        generator = np.random.default_rng([self.seed, 0])
        lengths: list[int] = []
        left = self.row_tokens
        while left:
            lengths.append(min(left, variable_bptt(self.bptt, self.bptt_std, _SHORT_PROBABILITY, generator)))
            left -= lengths[-1]
        return np.array(lengths)

    def __len__(self) -> int:
        return len(self._lengths)

    @property
    def tokens(self) -> int:
        """Targets in an epoch, of all processes together."""
        return self.row_tokens * self.batch_size

    def epoch(self, number: int, start: int = 0) -> Iterator[LanguageModelBatch]:
        """The batches of epoch `number` from batch `start` on: the same for the same seed, number and start."""
        generator = np.random.default_rng([self.seed, 1, number])
        stream = self.stream
        lengths = self._lengths
        if self.shuffle_documents:
            stream = stream.reordered(generator.permutation(stream.documents))
        if self.bptt_std:
            lengths = generator.permutation(lengths)
        begins = np.cumsum(lengths) - lengths
        for index in range(start, len(lengths)):
            steps, begin = int(lengths[index]), int(begins[index])
            offsets = [row * self.row_tokens + begin for row in self._rows]
            window = torch.from_numpy(np.stack([stream.read(offset, offset + steps + 1) for offset in offsets], axis=1))
            scale = steps / self.bptt if self.bptt_std else 1.0
            yield LanguageModelBatch(window[:-1], window[1:], scale, is_first=index == 0)


@dataclass(frozen=True)
class ClassifierBatch:
    """Documents of similar length, padded to one length.

    Attributes:
        ids: (T, B) int64 token ids, padded after the text; T is at least 1, also for documents without tokens.
        lengths: (B,) int64.
        targets: (B,) int64 class ids or -1 (single, pair), (B, C) float32 (soft targets of these), (B, C) bool (multi),
            (B,) float32 or NaN (number), (T, B) int64 or -1 (tokens), None (none).
        boundaries: (B,) int64 for pairs, else None: the tokens before it are one field, those from it on the other.
        rows: (B,) int64, the documents' indices in the corpus.
    """

    ids: torch.Tensor
    lengths: torch.Tensor
    targets: torch.Tensor | None
    boundaries: torch.Tensor | None
    rows: torch.Tensor


class ClassifierBatches:
    """Documents in batches of similar length, each document in exactly one batch of an epoch.

    With several processes (`ranks`) each has a share of every batch: of its documents, longest first, every ranks-th.

    Args:
        corpus: The corpus of the documents.
        rows: Indices of the documents.
        batch_size: Maximum number of documents per batch, over all processes. Batches differ by at most one document,
            so with a batch_size of at least 3 no document is alone unless it is the only one.
        seed: Seed of the shuffling: each epoch makes up and orders the batches anew.
        reverse: Read each document from its end, xxbos still first; the fields of a pair change places.
        soft_targets: (documents of the corpus, C) float32 probabilities of the classes to learn in place of the labels.
        rank: Number of this process, from 0.
        ranks: Number of processes.

    Raises:
        ConfigError: If batch_size is below 1, or a batch has fewer documents than there are processes.
        DataError: If there are no documents.
    """

    def __init__(
        self,
        corpus: EncodedCorpus,
        rows: Sequence[int] | np.ndarray,
        batch_size: int,
        *,
        seed: int = 0,
        reverse: bool = False,
        soft_targets: np.ndarray | None = None,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        check_whole("batch_size", batch_size)
        self.corpus = corpus
        self.rows = np.asarray(rows, dtype=np.int64)
        if not len(self.rows):
            raise DataError("documents: expected at least one for a batch, got none; is the split empty?")
        self.seed = seed
        self.reverse = reverse
        self._soft_targets = soft_targets
        self._share = slice(rank, None, ranks)
        self._lengths = np.asarray(corpus.table["length"][self.rows])
        parts = np.array_split(self.rows, math.ceil(len(self.rows) / batch_size))
        self._sizes = np.array([len(part) for part in parts])
        if self._sizes.min() < ranks:
            raise ConfigError(
                f"documents: expected at least {ranks} per batch, one per process, got {self._sizes.min()} of "
                f"{len(self.rows)}; take larger batches or fewer processes"
            )

    def __len__(self) -> int:
        return len(self._sizes)

    def epoch(self, number: int, start: int = 0) -> Iterator[ClassifierBatch]:
        """The batches of epoch `number` from batch `start` on: the same for the same seed, number and start."""
        generator = np.random.default_rng([self.seed, 2, number])
        noise = generator.uniform(-_LENGTH_NOISE, _LENGTH_NOISE, len(self._lengths))
        keys = np.log(np.maximum(self._lengths, 1)) + noise
        batches = np.split(self.rows[np.argsort(-keys, kind="stable")], np.cumsum(self._sizes)[:-1])
        for index in generator.permutation(len(batches))[start:]:
            rows = batches[index][self._share]
            batch = make_classifier_batch(self.corpus, rows, reverse=self.reverse)
            if self._soft_targets is not None:
                batch = replace(batch, targets=torch.from_numpy(self._soft_targets[rows]))
            yield batch


def make_classifier_batch(corpus: EncodedCorpus, rows: np.ndarray, reverse: bool = False) -> ClassifierBatch:
    """The documents `rows` of a corpus as one batch, in their order."""
    documents = [corpus.document(row) for row in rows]
    bos_id = corpus.vocabulary.bos_id
    lengths = np.array([len(document) for document in documents], dtype=np.int64)
    orders = [reversed_order(document, bos_id) if reverse else slice(None) for document in documents]
    targets = boundaries = None
    starts = corpus.table["boundary"][rows]
    if (starts >= 0).all():
        boundaries = torch.from_numpy(np.asarray(lengths - starts + 1 if reverse else starts, dtype=np.int64))
    if corpus.has_token_labels:
        labels = [corpus.token_labels(row)[order] for row, order in zip(rows, orders, strict=True)]
        targets = torch.from_numpy(pad_columns(labels, -1))
    elif "label" in corpus.table:
        targets = torch.from_numpy(corpus.labels(rows))
    ordered = [document[order] for document, order in zip(documents, orders, strict=True)]
    ids = torch.from_numpy(pad_columns(ordered, corpus.vocabulary.pad_id or 0))
    return ClassifierBatch(ids, torch.from_numpy(lengths), targets, boundaries, torch.from_numpy(rows))


def pad_columns(documents: Sequence[np.ndarray], fill: int = 0) -> np.ndarray:
    """Put documents side by side, `fill` after the shorter ones.

    Returns:
        (T, B) int64.
    """
    padded = np.full((max(1, *map(len, documents)), len(documents)), fill, dtype=np.int64)
    for column, document in enumerate(documents):
        padded[: len(document), column] = document
    return padded
