"""Building an encoded corpus: documents to tokens in several processes, tokens to ids, all to one folder.

Workers tokenize chunks and number each chunk's distinct tokens; this process joins the numbers to one provisional
numbering and spools them to disk. When all is read, splits are drawn, tokens of the training text are counted, the
vocabulary is built, and the spool is read once more to write the final ids. No text is tokenized twice, and the folder
is the same whatever the number of workers. Memory holds the distinct tokens, a few numbers a document, and few chunks
at a time. A document is never cut: one that is a whole corpus, such as a .txt file of lines, takes three times its
size, with workers five times.
"""

import contextlib
import importlib.metadata
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from ulmkit.config import check_whole
from ulmkit.errors import ConfigError, DataError, FolderError
from ulmkit.files import atomic_folder, fingerprint, sha256_file, write_json
from ulmkit.text.corpus.encoded_corpus import (
    CORPUS_FILE,
    NAMES_FILE,
    TABLE_FOLDER,
    TOKENIZER_FOLDER,
    VOCABULARY_FILE,
    EncodedCorpus,
)
from ulmkit.text.corpus.facts import FORMAT_VERSION, CorpusFacts, CorpusSplit, SharedDocuments
from ulmkit.text.corpus.fingerprints import fingerprint_documents, joined_fingerprint
from ulmkit.text.corpus.near_duplicates import DuplicateIndex, blocks
from ulmkit.text.corpus.records import Records
from ulmkit.text.corpus.shards import SHARD_TOKENS, ShardWriter
from ulmkit.text.corpus.splits import TRAINING_SPLITS, SplitPolicy, assign_splits
from ulmkit.text.corpus.spool import TokenSpool, encode_documents
from ulmkit.text.corpus.vocabulary_counts import check_unknown, choose_vocabulary
from ulmkit.text.corpus.workers import available_processors
from ulmkit.text.read.document import Document
from ulmkit.text.read.documents import DocumentSource
from ulmkit.text.read.labels import NO_LABELS, LabelKind
from ulmkit.text.tokens.rules import RULES_VERSION
from ulmkit.text.tokens.tokenizer import Tokenizer
from ulmkit.text.tokens.vocabulary import Vocabulary

_MAX_COMPARED_TOKENS = 1 << 20
"""A longer document, such as a corpus in one file, is no near-duplicate of any, and would be hashed whole in memory."""

DocumentCallback = Callable[[int], None]
"""Called with the number of documents done."""


def build_corpus(
    documents: Iterable[Document],
    folder: str | os.PathLike[str],
    *,
    tokenizer: Tokenizer,
    vocabulary: Vocabulary | None = None,
    max_vocab: int | None = None,
    min_freq: int | None = None,
    split_policy: SplitPolicy | None = None,
    label_kind: LabelKind = NO_LABELS,
    label_names: Sequence[str] | None = None,
    workers: int | None = None,
    progress: DocumentCallback | None = None,
    count_near_duplicates: bool = True,
    overwrite: bool = False,
) -> EncodedCorpus:
    """Tokenize and encode documents to a corpus folder.

    Args:
        documents: gone through once, each held in memory whole; a DocumentSource also tells where they come from.
        folder: made whole or not at all. overwrite: replace the one that is there.
        vocabulary: one to use; None: the tokenizer's own, or built from the training text (train and unsupervised).
        max_vocab, min_freq: for a vocabulary that is built, special tokens included; None: see choose_vocabulary.
        split_policy: how validation documents are chosen; None: as the documents say.
        label_kind: what the labels are; NO_LABELS drops them.
        label_names: the classes of a model there is, () for numbers; None: those of the train split.
        workers: processes; None: one a processor. The corpus does not depend on it.
        progress: called with the number of documents done.
        count_near_duplicates: look in each held-out split for documents that have a like in the training text, those
            of more than 2^20 tokens left out on both sides.
    Raises: DataError if there is no text, labels are not of the kind or lack classes (check_classes), the split cannot
        be drawn, or the vocabulary is not the tokenizer's; FolderError if the folder cannot be written.
    """
    workers = available_processors() if workers is None else workers
    check_whole("workers", workers)
    policy = split_policy or SplitPolicy()
    with atomic_folder(folder, overwrite) as temporary:
        build = _Build(temporary, tokenizer, label_kind, label_names)
        build.read(documents, workers, progress)
        build.divide(policy)
        built = build.encode(vocabulary, max_vocab, min_freq)
        build.finish(build.facts(built, policy, _sources(documents), count_near_duplicates))
    return EncodedCorpus.open(folder)


def cached_corpus(
    documents: Sequence[Document] | DocumentSource,
    cache: str | os.PathLike[str],
    *,
    tokenizer: Tokenizer,
    vocabulary: Vocabulary | None = None,
    workers: int | None = None,
    progress: DocumentCallback | None = None,
    **options: Any,
) -> EncodedCorpus:
    """The corpus of `documents` from the folder `cache`, built there if it is not there yet.

    Its folder is named by a fingerprint of all documents, where they come from, tokenizer, rules, vocabulary and
    options, so any change makes another. Checksums are verified, which takes a second for 500 million tokens; a damaged
    one is built anew.

    Args: documents: gone through twice. options: the others of build_corpus.
    Raises: as build_corpus; ConfigError if `documents` can be gone through only once.
    """
    if isinstance(documents, Iterator):
        raise ConfigError("documents: expected a list or a DocumentSource, which can be read twice, got an iterator")
    policy = options.get("split_policy") or SplitPolicy()
    kind: LabelKind = options.get("label_kind", NO_LABELS)
    described = {**options, "split_policy": asdict(policy), "label_kind": kind.name}
    known = None if vocabulary is None else vocabulary.fingerprint
    text = [_sources(documents), fingerprint_documents(documents)]
    name = fingerprint(FORMAT_VERSION, RULES_VERSION, text, tokenizer.fingerprint, known, described)
    folder = Path(cache) / f"corpus-{name}"
    if folder.exists():
        try:
            return EncodedCorpus.open(folder, verify=True)
        except FolderError:
            shutil.rmtree(folder, ignore_errors=True)
    try:
        return build_corpus(
            documents, folder, tokenizer=tokenizer, vocabulary=vocabulary, workers=workers, progress=progress, **options
        )
    except FolderError as error:
        try:
            return EncodedCorpus.open(folder, verify=True)  # of another process, which was faster
        except FolderError:
            raise error from None


def _sources(documents: Iterable[Document]) -> list[str]:
    return [documents.description] if isinstance(documents, DocumentSource) else []


class _Build:
    """One corpus on its way, in a temporary folder."""

    def __init__(self, folder: Path, tokenizer: Tokenizer, kind: LabelKind, label_names: Sequence[str] | None) -> None:
        self.folder, self.tokenizer, self.kind = folder, tokenizer, kind
        tokenizer.save(folder / TOKENIZER_FOLDER)
        self.records = Records(kind, label_names)
        self.spool = TokenSpool(folder, "spool")
        self.label_spool = TokenSpool(folder, "label_spool") if kind.per_word else None

    def read(self, documents: Iterable[Document], workers: int, progress: DocumentCallback | None) -> None:
        """Tokenize all documents to the spool."""
        tokenizer_folder = self.folder / TOKENIZER_FOLDER
        encoding = encode_documents(documents, self.tokenizer, tokenizer_folder, self.kind.per_word, workers)
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
        if not sum(self.records.numbers["words"]):
            raise DataError(f"documents: expected text, got {len(self.records)} documents without any")

    def divide(self, policy: SplitPolicy) -> None:
        """Give every document its split, and the classes their order."""
        records = self.records
        self.splits = assign_splits(
            policy,
            given=records.split.listed(),
            strata=records.stratum.listed(),
            groups=records.group.listed(),
            times=[None if np.isnan(time) else time for time in records.time],
        )
        self.split_names = sorted(set(self.splits), key=lambda name: (name != "train", name))
        lengths = np.array(records.numbers["length"], dtype=np.int64)
        label_counts = None
        if self.label_spool is not None:
            label_counts = self.label_spool.counts(lengths, self.splits, len(records.token_names) + 1)
        self.label_names = records.label_names(self.splits, label_counts)
        self.table = records.table(self.splits, self.split_names, self.label_names)
        self.counts = self.spool.counts(lengths, self.splits, len(self.spool.numbers))

    def encode(self, given: Vocabulary | None, max_vocab: int | None, min_freq: int | None) -> Vocabulary:
        """Choose the vocabulary and write the final ids and labels by token."""
        types = self.spool.types
        learnt = sum((self.counts[name] for name in TRAINING_SPLITS if name in self.counts), np.zeros(len(types), int))
        vocabulary = choose_vocabulary(self.tokenizer, given, types, learnt, max_vocab, min_freq)
        self.known = np.array([token in vocabulary for token in types], dtype=bool)
        if given is not None:
            total = np.sum(list(self.counts.values()), axis=0)
            check_unknown(self.tokenizer, given, int(total[~self.known].sum()), int(total.sum()))
        vocabulary.save(self.folder / VOCABULARY_FILE)
        ids = vocabulary.encode(types)
        self.dtypes = {"tokens": np.min_scalar_type(len(vocabulary) - 1)}
        self._write("tokens", self.spool, ids)
        if self.label_spool is not None:
            number = {name: at for at, name in enumerate(self.label_names)}
            self.dtypes["token_labels"] = np.min_scalar_type(-len(self.label_names) - 1)
            self._write("token_labels", self.label_spool, np.array([-1, *map(number.get, self.records.token_names)]))
        return vocabulary

    def _write(self, stem: str, spool: TokenSpool, ids: np.ndarray) -> None:
        with ShardWriter(self.folder, stem, self.dtypes[stem]) as writer:
            spool.rewrite(writer, ids)

    def facts(
        self, vocabulary: Vocabulary, policy: SplitPolicy, sources: Sequence[str], count_near_duplicates: bool
    ) -> CorpusFacts:
        """Collect what corpus.json says; `finish` adds the files and their fingerprint."""
        return CorpusFacts(
            fingerprint="",
            request=None,
            sources=tuple(sources),
            task=self.kind.name,
            label_names=tuple(self.label_names),
            split_names=tuple(self.split_names),
            split_policy=policy,
            splits={name: self._split_facts(name, code) for code, name in enumerate(self.split_names)},
            near_duplicates=self._near_duplicates() if count_near_duplicates else None,
            tokenizer={"name": self.tokenizer.name, "fingerprint": self.tokenizer.fingerprint},
            vocabulary={"tokens": len(vocabulary), "fingerprint": vocabulary.fingerprint},
            versions={"ulmkit": importlib.metadata.version("ulmkit"), "rules": RULES_VERSION},
            table=tuple(sorted(self.table)),
            dtypes={stem: dtype.name for stem, dtype in self.dtypes.items()},
            shard_tokens=SHARD_TOKENS,
            files={},
        )

    def _split_facts(self, name: str, code: int) -> CorpusSplit:
        is_member = self.table["split"] == code
        by_class: dict[str, int] = {}
        if self.label_names and "label" in self.table:
            labels = self.table["label"][is_member]
            classes = len(self.label_names)
            counts = labels.sum(axis=0) if labels.ndim == 2 else np.bincount(labels[labels >= 0], minlength=classes)
            by_class = dict(zip(self.label_names, map(int, counts), strict=True))
        fingerprints = np.array(self.records.fingerprints, dtype=np.uint64)[is_member]
        return CorpusSplit(
            documents=int(is_member.sum()),
            labelled=int(self.table["labelled"][is_member].sum()),
            words=int(self.table["words"][is_member].sum()),
            characters=int(self.table["characters"][is_member].sum()),
            tokens=int(self.counts[name].sum()),
            unknown_tokens=int(self.counts[name][~self.known].sum()),
            fingerprint=joined_fingerprint(fingerprints.tolist()),
            labels=by_class,
        )

    def _near_duplicates(self) -> dict[str, dict[str, SharedDocuments]]:
        """Count, for each held-out split, the documents that each training split has too."""
        offsets, lengths, splits = self.table["offset"], self.table["length"], self.table["split"]
        training = [name for name in TRAINING_SPLITS if name in self.split_names]
        held_out = [name for name in self.split_names if name not in training]
        is_compared = lengths <= _MAX_COMPARED_TOKENS
        rows = {name: np.flatnonzero(is_compared & (splits == code)) for code, name in enumerate(self.split_names)}
        held_rows = np.concatenate([np.zeros(0, np.int64), *(rows[name] for name in held_out)])
        index = DuplicateIndex(blocks(self.spool.documents(offsets, lengths, held_rows)))
        shared: dict[str, dict[str, SharedDocuments]] = {name: {} for name in held_out}
        for other in training if held_out else ():
            likes = index.find(blocks(self.spool.documents(offsets, lengths, rows[other])))
            for name in held_out:
                counts = likes.of(splits[held_rows] == self.split_names.index(name)).counts()
                shared[name][other] = SharedDocuments(**counts)
        return shared

    def finish(self, facts: CorpusFacts) -> None:
        """Write the table, the names and corpus.json; remove the spool."""
        for spool in (self.spool, self.label_spool):
            if spool is not None:
                spool.remove()
        (self.folder / TABLE_FOLDER).mkdir()
        for name, column in self.table.items():
            np.save(self.folder / TABLE_FOLDER / f"{name}.npy", column, allow_pickle=False)
        columns = {name: column.values for name, column in self.records.columns.items()}
        write_json(self.folder / NAMES_FILE, {"group": self.records.group.values, "columns": columns})
        files = {}
        for path in sorted(path for path in self.folder.rglob("*") if path.is_file()):
            name = path.relative_to(self.folder).as_posix()
            files[name] = {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
        content = fingerprint({name: file["sha256"] for name, file in files.items()})
        write_json(self.folder / CORPUS_FILE, replace(facts, fingerprint=content, files=files).to_json())
