"""An encoded corpus: token ids, a table with a row per document, vocabulary and tokenizer, in one folder."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ulmkit.errors import ConfigError, DataError, FolderError, did_you_mean
from ulmkit.files import check_files, expand_user, read_json
from ulmkit.json_records import record_from_json
from ulmkit.text.characters import normalise
from ulmkit.text.corpus.facts import CorpusFacts
from ulmkit.text.corpus.shards import ShardReader
from ulmkit.text.corpus.table import load_table
from ulmkit.text.corpus.token_stream import TokenStream
from ulmkit.text.read.document import normalise_split
from ulmkit.text.tokens.tokenizers import TOKENIZERS, Tokenizer, load_tokenizer
from ulmkit.text.tokens.vocabulary import Vocabulary

CORPUS_FILE = "corpus.json"
VOCABULARY_FILE = "vocabulary.json"
NAMES_FILE = "names.json"
TOKENIZER_FOLDER = "tokenizer"
TABLE_FOLDER = "table"


@dataclass(frozen=True, kw_only=True)
class _Names:
    """Content of names.json: the names of groups, and the values of each column, by code."""

    group: tuple[str, ...]
    columns: Mapping[str, tuple[str, ...]]


def _needed_files(facts: CorpusFacts) -> list[str]:
    """Names of the files that a corpus with these facts opens."""
    tokenizer = (f"{TOKENIZER_FOLDER}/{name}" for name in TOKENIZERS[facts.tokenizer.name].files)
    table = (f"{TABLE_FOLDER}/{name}.npy" for name in facts.table)
    return [VOCABULARY_FILE, NAMES_FILE, *tokenizer, *table]


class EncodedCorpus:
    """An encoded corpus on disk, memory-mapped. Open one with `EncodedCorpus.open`; `build_corpus` makes one.

    Attributes:
        folder: Folder of the corpus.
        facts: Content of corpus.json.
        vocabulary: Tokens by id.
        task: Name of the kind of labels, "none" if there are none.
        label_names: Classes in the order of their ids; empty if the labels are not classes.
        split_names: Splits in the order of their codes.
        table: (documents,) arrays: offset and length in tokens; words; characters; boundary, the token at which
            the second field begins, or -1; split, code of its name; group, code of its name, or -1; time, or NaN;
            labelled, bool; label, as the kind of labels encodes it, absent if the documents have no label of their own.
    """

    def __init__(self, folder: Path, facts: CorpusFacts) -> None:
        self.folder = folder
        self.facts = facts
        self.task = facts.task
        self.label_names = facts.label_names
        self.split_names = facts.split_names
        self.vocabulary = Vocabulary.load(folder / VOCABULARY_FILE)
        self._tokens = self._shards("tokens", len(self.vocabulary))
        self._token_labels = (
            self._shards("token_labels", len(self.label_names)) if "token_labels" in facts.dtypes else None
        )
        self.table = load_table(folder / TABLE_FOLDER, facts, len(self._tokens))

    @classmethod
    def open(cls, folder: str | os.PathLike[str], verify: bool = False) -> "EncodedCorpus":
        """Open a corpus folder and check the sizes of its files.

        Args:
            folder: What `build_corpus` wrote.
            verify: Check the files' checksums too.

        Raises:
            FolderError: If it is no corpus, of another format version, incomplete, truncated or altered.
        """
        path = expand_user(folder)
        facts = CorpusFacts.from_json(read_json(path / CORPUS_FILE), str(path / CORPUS_FILE))
        check_files(path, facts.files, "prepare the corpus again", needed=_needed_files(facts), checksums=verify)
        return cls(path, facts)

    def _shards(self, stem: str, limit: int) -> ShardReader:
        names = sorted(name for name in self.facts.files if name.startswith(f"{stem}-"))
        dtype = np.dtype(self.facts.dtypes[stem])
        return ShardReader([self.folder / name for name in names], dtype, self.facts.shard_tokens, limit)

    def __len__(self) -> int:
        return len(self.table["length"])

    def __repr__(self) -> str:
        return f"EncodedCorpus({str(self.folder)!r}: {len(self)} documents, {len(self._tokens)} tokens)"

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer that the corpus was made with, loaded when it is first asked for."""
        return load_tokenizer(self.folder / TOKENIZER_FOLDER, self.facts.tokenizer.name)

    @cached_property
    def _names(self) -> _Names:
        path = self.folder / NAMES_FILE
        try:
            return record_from_json(_Names, read_json(path), "names")
        except ConfigError as error:
            raise FolderError(f"{path}: {error}; it was altered: prepare the corpus again") from error

    def rows(self, split: str | Sequence[str] | None = None, labelled: bool = False) -> np.ndarray:
        """List the documents of a split, of several, or (None) of all.

        Args:
            split: Names of splits.
            labelled: Only documents with a label.

        Returns:
            (n,) int64 indices, ascending.

        Raises:
            DataError: If there is no such split; the message names those there are.
        """
        chosen = np.ones(len(self), dtype=bool)
        if split is not None:
            wanted = [normalise_split(name) for name in ([split] if isinstance(split, str) else split)]
            for name in wanted:
                if name not in self.split_names:
                    raise DataError(f"split: got {name!r}; {did_you_mean(name, self.split_names)}")
            chosen = np.isin(self.table["split"], [self.split_names.index(name) for name in wanted])
        return np.flatnonzero(chosen & self.table["labelled"] if labelled else chosen)

    def document(self, index: int) -> np.ndarray:
        """Read the token ids of a document, (length,) int64."""
        offset = int(self.table["offset"][index])
        return self._tokens.read(offset, offset + int(self.table["length"][index])).astype(np.int64)

    @property
    def has_token_labels(self) -> bool:
        """True if tokens have labels, rather than documents."""
        return self._token_labels is not None

    def labels(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Read the labels of documents.

        Returns:
            Class ids: (n,) int64, -1 for none; sets of classes: (n, C) bool; numbers: (n,) float32, NaN for none.

        Raises:
            DataError: If the corpus has no labels, or labels by token.
        """
        if "label" not in self.table:
            raise DataError(f'labels: expected a corpus with a label for each document, got task="{self.task}"')
        labels = self.table["label"][np.asarray(rows, dtype=np.int64)]
        return labels.astype(np.int64) if labels.dtype.kind == "i" else np.asarray(labels)

    def token_labels(self, index: int) -> np.ndarray:
        """Read the class id of each token of a document, -1 where there is none.

        Returns:
            (length,) int64.

        Raises:
            DataError: If the corpus has no labels by token.
        """
        if self._token_labels is None:
            raise DataError(f'token labels: expected a corpus with a label for each word, got task="{self.task}"')
        offset = int(self.table["offset"][index])
        return self._token_labels.read(offset, offset + int(self.table["length"][index])).astype(np.int64)

    def column(self, name: str, rows: Sequence[int] | np.ndarray) -> list[str]:
        """Read a further column of documents, "" for a document without a value.

        Raises:
            DataError: If it was not kept; the message names the columns that were.
        """
        name = normalise(name)
        kept = self._names.columns
        if name not in kept:
            raise DataError(f"column: got {name!r}; {did_you_mean(name, kept)}")
        column = f"column_{list(kept).index(name)}"
        if column not in self.table or self.table[column].max(initial=-1) >= len(kept[name]):
            raise FolderError(f"{self.folder}: column {name!r} does not fit its names; prepare the corpus again")
        codes = self.table[column][np.asarray(rows, dtype=np.int64)]
        return [kept[name][code] if code >= 0 else "" for code in codes]

    def stream(
        self, rows: Sequence[int] | np.ndarray, order: Sequence[int] | np.ndarray | None = None, reverse: bool = False
    ) -> TokenStream:
        """Join documents to one long sequence of tokens.

        Args:
            rows: Indices of the documents.
            order: Places in `rows`, the order of the documents; None for the order of `rows`.
            reverse: Read each document from its end, xxbos still first.
        """
        places = np.asarray(rows, dtype=np.int64)
        places = places if order is None else places[np.asarray(order, dtype=np.int64)]
        offsets, lengths = self.table["offset"][places], self.table["length"][places]
        return TokenStream(self._tokens, np.asarray(offsets), np.asarray(lengths), self.vocabulary.bos_id, reverse)
