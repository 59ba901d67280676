"""Building an encoded corpus: documents to tokens in several processes, tokens to ids, all into one folder.

Workers tokenize chunks and number each chunk's distinct tokens; this process joins the numbers to one provisional
numbering and spools them to disk. When all is read, splits are drawn, tokens of the training text are counted, the
vocabulary is built, and the spool is read once more to write the final ids. The data is read once; if the tokenizer
must be trained first, documents are spooled to disk. No text is tokenized twice, and the folder is the same whatever
the number of workers. Memory holds the distinct tokens, a few numbers per document, and a few chunks at a time.
Documents are never cut, so a single huge document needs about three times its size in memory, five times with workers.
"""

import contextlib
import importlib.metadata
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ulmkit.config import check_whole
from ulmkit.errors import DataError
from ulmkit.files import fingerprint, list_files
from ulmkit.safe_writes import atomic_folder, write_json
from ulmkit.text.corpus.encoded_corpus import (
    CORPUS_FILE,
    NAMES_FILE,
    TABLE_FOLDER,
    TOKENIZER_FOLDER,
    VOCABULARY_FILE,
    EncodedCorpus,
)
from ulmkit.text.corpus.facts import CorpusFacts, CorpusSplit, SharedDocuments, TokenizerFacts, VocabularyFacts
from ulmkit.text.corpus.fingerprints import joined_fingerprint
from ulmkit.text.corpus.near_duplicates import DuplicateIndex, blocks
from ulmkit.text.corpus.records import Records
from ulmkit.text.corpus.shards import SHARD_TOKENS, ShardWriter
from ulmkit.text.corpus.splits import DROPPED_SPLIT, TRAINING_SPLITS, SplitPolicy, Splits
from ulmkit.text.corpus.spool import DocumentSpool, TokenSpool, encode_documents
from ulmkit.text.corpus.vocabulary_counts import check_unknown, choose_vocabulary
from ulmkit.text.read.document import Document
from ulmkit.text.read.documents import DocumentSource
from ulmkit.text.read.labels import NO_LABELS, LabelKind
from ulmkit.text.read.layout import Reading
from ulmkit.text.tokens.rules import RULES_VERSION
from ulmkit.text.tokens.tokenizers import Text, Tokenizer, TokenizerSettings
from ulmkit.text.tokens.vocabulary import Vocabulary
from ulmkit.text.workers import available_processors

_MAX_COMPARED_TOKENS = 1 << 20
"""Longer documents, such as a corpus in one file, are not compared: they would be hashed whole in memory."""

_WORKERS_PER_PROCESSOR = 16

DocumentCallback = Callable[[int], None]
"""Called with the number of documents done."""


def build_corpus(
    documents: Iterable[Document],
    folder: str | os.PathLike[str],
    *,
    tokenizer: Tokenizer | TokenizerSettings,
    vocabulary: Vocabulary | None = None,
    max_vocab: int | None = None,
    min_freq: int | None = None,
    split_policy: SplitPolicy | None = None,
    label_kind: LabelKind = NO_LABELS,
    label_names: Sequence[str] | None = None,
    workers: int | None = None,
    progress: DocumentCallback | None = None,
    count_near_duplicates: bool = True,
    drop_shared: bool = False,
    overwrite: bool = False,
    request: str | None = None,
) -> EncodedCorpus:
    """Tokenize and encode documents to a corpus folder.

    Args:
        documents: Documents, read once; a `DocumentSource` also records their origin.
        folder: Written whole or not at all.
        tokenizer: A tokenizer, or the settings to make one from.
        vocabulary: One to use; None for the tokenizer's own, or one built from the training text (train and
            unsupervised).
        max_vocab: Maximum size of a built vocabulary, special tokens included; None for the tokenizer's default.
        min_freq: Minimum occurrences of a token in a built vocabulary; None for the tokenizer's default.
        split_policy: How validation documents are chosen; None uses the documents' own splits.
        label_kind: Kind of label; NO_LABELS drops the labels.
        label_names: Class names of a model that is to read the corpus, () for numbers; None for those of the train
            split.
        workers: Number of processes; None for one per processor. The corpus does not depend on it.
        progress: Called with the number of documents done.
        count_near_duplicates: Count the documents of each held-out split that have a near-duplicate in the training
            text; those of more than 2^20 tokens are left out on both sides.
        drop_shared: Move training documents that also occur, exactly or nearly, in a held-out split to the split
            "dropped". A SentencePiece model trained here has still counted them.
        overwrite: Replace the folder that is there.
        request: Recorded as `CorpusFacts.request`.

    Raises:
        DataError: If there is no text, labels are not of the kind or lack classes (check_classes), the split cannot
            be drawn, or the vocabulary is not the tokenizer's.
        FolderError: If the folder cannot be written.
    """
    workers = available_processors() if workers is None else workers
    check_whole("workers", workers, at_most=_WORKERS_PER_PROCESSOR * (os.cpu_count() or 1))
    policy = split_policy or SplitPolicy()
    with atomic_folder(folder, overwrite) as temporary:
        texts = documents
        if isinstance(tokenizer, TokenizerSettings) and tokenizer.is_trained:
            texts = DocumentSpool(documents, temporary / "documents.spool")
            tokenizer = tokenizer.make(training_texts(texts, texts.columns.assign(policy)))
        elif isinstance(tokenizer, TokenizerSettings):
            tokenizer = tokenizer.make()
        with contextlib.closing(_Build(temporary, tokenizer, label_kind, label_names)) as build:
            build.read(texts, workers, progress)
            if isinstance(texts, DocumentSpool):
                texts.remove()
            if isinstance(documents, DocumentSource) and label_kind is not NO_LABELS and not build.records.has_labels:
                documents.check_label_column()
            build.divide(policy, drop_shared)
            built = build.encode(vocabulary, max_vocab, min_freq)
            reading = documents.reading() if isinstance(documents, DocumentSource) else None
            facts = build.facts(built, source_names(documents), request, count_near_duplicates, reading)
            build.finish(facts)
        del build  # its columns, before those of the folder are read
    return EncodedCorpus.open(folder)


def training_texts(documents: Iterable[Document], splits: Iterable[str]) -> Iterator[Text]:
    """Yield the texts of the documents whose split is for training."""
    for document, split in zip(documents, splits, strict=True):
        if split in TRAINING_SPLITS:
            yield document.text


def source_names(documents: Iterable[Document]) -> list[str]:
    """Name what documents come from; nothing for a plain list."""
    return [documents.description] if isinstance(documents, DocumentSource) else []


class _Build:
    """One corpus being built in a temporary folder.

    The methods are called once each, in this order: `read`, `divide`, `encode`, `facts`, `finish`, `close`; `close`
    after an error, too.
    """

    def __init__(self, folder: Path, tokenizer: Tokenizer, kind: LabelKind, label_names: Sequence[str] | None) -> None:
        self.folder = folder
        self.tokenizer = tokenizer
        self.kind = kind
        tokenizer.save(folder / TOKENIZER_FOLDER)
        self.records = Records(kind, label_names, folder)
        self.spool = TokenSpool(folder, "spool")
        self.label_spool = TokenSpool(folder, "label_spool") if kind.per_word else None

    def read(self, documents: Iterable[Document], workers: int, progress: DocumentCallback | None) -> None:
        """Tokenize all documents to the spool."""
        encoding = encode_documents(documents, self.tokenizer, self.kind.per_word, workers)
        with contextlib.closing(encoding):  # ends the workers at once if a document does not fit
            for chunk, encoded in encoding:
                self.spool.add(encoded)
                codes = self.records.add(chunk, encoded)
                if self.label_spool is not None and codes is not None:
                    self.label_spool.write(codes)
                if progress is not None:
                    progress(len(self.records))
        if not len(self.records):
            raise DataError("documents: expected at least one, got none")
        if not self.records.numbers["words"].array().any():
            raise DataError(f"documents: expected text, got {len(self.records)} documents without any")

    def divide(self, policy: SplitPolicy, drop_shared: bool) -> None:
        """Give every document its split, and the classes their order."""
        records = self.records
        self.policy = policy.resolved(records.split_columns.split.values)
        self.splits = records.split_columns.assign(self.policy)
        if drop_shared:
            self._drop_shared()
        self.split_names = sorted(self.splits.occurring, key=lambda name: (name != "train", name))
        lengths = records.numbers["length"].array()
        self.label_counts = None
        if self.label_spool is not None:
            self.label_counts = self.label_spool.counts(lengths, self.splits, len(records.token_names) + 1)
        self.label_names = records.label_names(self.splits, self.label_counts)
        self.table = records.table(self.splits, self.split_names)
        self.label_rows = records.label_rows(self.label_names)
        self.counts = self.spool.counts(lengths, self.splits, len(self.spool.numbers))

    def _drop_shared(self) -> None:
        """Move training documents that also occur in a held-out split to DROPPED_SPLIT."""
        lengths = self.records.numbers["length"].array()
        offsets = np.cumsum(lengths, dtype=np.int64) - lengths
        is_training = self.splits.where(TRAINING_SPLITS)
        is_compared = lengths <= _MAX_COMPARED_TOKENS
        held_out = np.flatnonzero(~is_training & is_compared)
        if len(held_out):
            index = DuplicateIndex(blocks(self.spool.documents(offsets, lengths, held_out)))
            training = np.flatnonzero(is_training & is_compared)
            shared = index.find_others(blocks(self.spool.documents(offsets, lengths, training)))
            names = list(dict.fromkeys([*self.splits.names, DROPPED_SPLIT]))
            codes = self.splits.codes.copy()
            codes[training[shared]] = names.index(DROPPED_SPLIT)
            self.splits = Splits(names, codes)

    def encode(self, given: Vocabulary | None, max_vocab: int | None, min_freq: int | None) -> Vocabulary:
        """Choose the vocabulary and write the final ids and token labels."""
        types = self.spool.types
        training_counts = sum(
            (self.counts[name] for name in TRAINING_SPLITS if name in self.counts), np.zeros(len(types), dtype=np.int64)
        )
        vocabulary = choose_vocabulary(self.tokenizer, given, types, training_counts, max_vocab, min_freq)
        self.known = np.array([token in vocabulary for token in types], dtype=bool)
        if given is not None:
            total = np.sum(list(self.counts.values()), axis=0)
            check_unknown(self.tokenizer, int(total[~self.known].sum()), int(total.sum()))
        vocabulary.save(self.folder / VOCABULARY_FILE)
        ids = vocabulary.encode(types)
        self.dtypes = {"tokens": np.min_scalar_type(len(vocabulary) - 1)}
        self.spool.rewrite(ShardWriter(self.folder, "tokens", self.dtypes["tokens"]), ids)
        if self.label_spool is not None:
            number = {name: index for index, name in enumerate(self.label_names)}
            self.dtypes["token_labels"] = np.min_scalar_type(-len(self.label_names) - 1)
            codes = np.array([-1, *map(number.get, self.records.token_names)])
            self.label_spool.rewrite(ShardWriter(self.folder, "token_labels", self.dtypes["token_labels"]), codes)
        return vocabulary

    def facts(
        self,
        vocabulary: Vocabulary,
        sources: Sequence[str],
        request: str | None,
        count_near_duplicates: bool,
        reading: Reading | None,
    ) -> CorpusFacts:
        """Collect what corpus.json says; `finish` adds the files and their fingerprint."""
        return CorpusFacts(
            fingerprint="",
            request=request,
            sources=tuple(sources),
            task=self.kind.name,
            label_names=tuple(self.label_names),
            split_names=tuple(self.split_names),
            split_policy=self.policy,
            splits={name: self._split_facts(name, code) for code, name in enumerate(self.split_names)},
            near_duplicates=self._near_duplicates() if count_near_duplicates else None,
            tokenizer=TokenizerFacts(name=self.tokenizer.name, fingerprint=self.tokenizer.fingerprint),
            vocabulary=VocabularyFacts(tokens=len(vocabulary), fingerprint=vocabulary.fingerprint),
            versions={"ulmkit": importlib.metadata.version("ulmkit"), "rules": RULES_VERSION},
            table=tuple(sorted([*self.table, "offset", *(["label"] if self.label_rows is not None else [])])),
            dtypes={stem: dtype.name for stem, dtype in self.dtypes.items()},
            shard_tokens=SHARD_TOKENS,
            files={},
            reading=reading,
        )

    def _split_facts(self, name: str, code: int) -> CorpusSplit:
        is_member = self.table["split"] == code
        by_class: dict[str, int] = {}
        if self.label_names and self.label_rows is not None:
            codes = self.records.label.array()[is_member]
            occurrences = np.bincount(codes[codes >= 0], minlength=len(self.label_rows) - 1)
            if self.label_rows.ndim == 2:
                counts = occurrences @ self.label_rows[:-1].astype(np.int64)
            else:
                counts = np.bincount(self.label_rows[:-1], occurrences, len(self.label_names))
            by_class = dict(zip(self.label_names, map(int, counts), strict=True))
        elif self.label_counts is not None:
            counted = dict(zip(self.records.token_names, self.label_counts[name][1:].tolist(), strict=True))
            by_class = {label: counted.get(label, 0) for label in self.label_names}
        fingerprints = np.frombuffer(self.records.fingerprints, dtype=np.uint64)[is_member]
        return CorpusSplit(
            documents=int(is_member.sum()),
            labelled=int(self.table["labelled"][is_member].sum()),
            words=int(self.table["words"][is_member].sum()),
            characters=int(self.table["characters"][is_member].sum()),
            tokens=int(self.counts[name].sum()),
            unknown_tokens=int(self.counts[name][~self.known].sum()),
            fingerprint=joined_fingerprint([int(fingerprints.sum())]),  # uint64 wraps at 2^64 as it does
            labels=by_class,
            empty=int((self.table["words"][is_member] == 0).sum()),
        )

    def _near_duplicates(self) -> dict[str, dict[str, SharedDocuments]]:
        """Count, for each held-out split, the documents that also occur in each training split."""
        lengths, splits = self.table["length"], self.table["split"]
        offsets = np.cumsum(lengths, dtype=np.int64) - lengths
        training = [name for name in TRAINING_SPLITS if name in self.split_names]
        held_out = [name for name in self.split_names if name not in (*training, DROPPED_SPLIT)]
        is_compared = lengths <= _MAX_COMPARED_TOKENS
        rows = {name: np.flatnonzero(is_compared & (splits == code)) for code, name in enumerate(self.split_names)}
        held_rows = np.concatenate([np.zeros(0, np.int64), *(rows[name] for name in held_out)])
        index = DuplicateIndex(blocks(self.spool.documents(offsets, lengths, held_rows)))
        shared: dict[str, dict[str, SharedDocuments]] = {name: {} for name in held_out}
        for other in training if held_out else ():
            duplicates = index.find(blocks(self.spool.documents(offsets, lengths, rows[other])))
            for name in held_out:
                is_member = splits[held_rows] == self.split_names.index(name)
                shared[name][other] = SharedDocuments(**duplicates.select(is_member).counts())
        return shared

    def finish(self, facts: CorpusFacts) -> None:
        """Write the table, the names and corpus.json; remove the spool."""
        for spool in self._spools():
            spool.remove()
        (self.folder / TABLE_FOLDER).mkdir()
        self.records.save_table(self.folder / TABLE_FOLDER, self.table, self.label_rows)
        self.records.columns.write_names(self.folder / NAMES_FILE, self.records.split_columns.group.values)
        files = list_files(self.folder)
        content = fingerprint({name: file.sha256 for name, file in files.items()})
        write_json(self.folder / CORPUS_FILE, replace(facts, fingerprint=content, files=files).to_json())

    def close(self) -> None:
        """Close the files that are open."""
        for spool in self._spools():
            spool.close()

    def _spools(self) -> list[TokenSpool]:
        return [spool for spool in (self.spool, self.label_spool) if spool is not None]
