"""From DATA as people give it to an encoded corpus: read, split, tokenized, cached."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ulmkit.config import check_choice, check_whole
from ulmkit.errors import ConfigError, DataError
from ulmkit.files import check_writable
from ulmkit.tasks import find_label_kind
from ulmkit.text import (
    NO_LABELS,
    ByteTokenizer,
    DocumentSource,
    EncodedCorpus,
    SpacyTokenizer,
    SplitPolicy,
    Text,
    Tokenizer,
    Vocabulary,
    WhitespaceTokenizer,
    build_corpus,
    cached_corpus,
    train_sentencepiece,
)
from ulmkit.text.corpus.builder import DocumentCallback
from ulmkit.text.corpus.encoded_corpus import CORPUS_FILE
from ulmkit.text.corpus.splits import SPLIT_KINDS, TRAINING_SPLITS, assign_splits, stratum
from ulmkit.text.read.documents import Data
from ulmkit.training import World

TOKENIZERS = ("spacy", "sentencepiece", "whitespace", "bytes")

SPLIT_COLUMNS = {"given": "split_column", "group": "group_column", "time": "time_column"}
"""The option that names the column which each kind of split goes by."""


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """How DATA is read, split and tokenized.

    Attributes:
        text_column, label_column, group_column, time_column, split_column, columns, lines: see `ReadOptions`.
        split_by: "auto" (the data's own validation part if it has one, else random), "given", "random", "time" or
            "group"; see `SplitPolicy`.
        valid_fraction: part of the documents that validates, where the data has no validation part of its own.
        tokenizer: "spacy" (words), "sentencepiece" (pieces, trained on the training text), "whitespace" (word-level
            corpora as they stand) or "bytes".
        language: spaCy's code for the language, for "spacy".
        max_vocab, min_freq: tokens at most, special tokens included, and occurrences at least, for "spacy" and
            "whitespace". None: 60,000 and 3 for "spacy", every word for "whitespace".
        pieces, pieces_kind: number of pieces, and "unigram" or "bpe", for "sentencepiece".
        workers: processes that tokenize; None for one a processor.
        seed: of the random split.
        label_task: what the labels are, if there are any, when the text is for a language model: a random split keeps
            their classes in proportion, so that documents held out from the language model are those that a
            classifier of this task, trained on the same data, is judged by. "none" leaves labels unread.
    Raises: ConfigError if a choice is unknown, or max_vocab or min_freq is not positive.
    """

    text_column: str | Sequence[str] | None = None
    label_column: str | None = None
    group_column: str | None = None
    time_column: str | None = None
    split_column: str | None = None
    columns: Sequence[str] = ()
    lines: bool = False
    split_by: str = "auto"
    valid_fraction: float = 0.1
    tokenizer: str = "spacy"
    language: str = "en"
    max_vocab: int | None = None
    min_freq: int | None = None
    pieces: int = 16_000
    pieces_kind: str = "unigram"
    workers: int | None = None
    seed: int = 0
    label_task: str = "single"

    def __post_init__(self) -> None:
        check_choice("split_by", self.split_by, ("auto", *SPLIT_KINDS))
        for kind in ("group", "time"):
            if self.split_by == "auto" and getattr(self, f"{kind}_column") is not None:
                raise ConfigError(f"split_by: expected a choice beside {kind}_column; say {kind!r}, or leave it out")
        check_choice("tokenizer", self.tokenizer, TOKENIZERS)
        find_label_kind(self.label_task, "label_task")
        for name, limit in (("max_vocab", self.max_vocab), ("min_freq", self.min_freq)):
            if limit is not None:
                check_whole(name, limit)

    def keeping(self, columns: Sequence[str]) -> "DataOptions":
        """The same, with further columns to keep."""
        return replace(self, columns=tuple(dict.fromkeys([*self.columns, *columns])))

    def source(self, data: Data, task: str, split: str | None = None) -> DocumentSource:
        """The documents of `data`, or of a split of it, read with these columns; for task "none", a language model's,
        with the labels of `label_task`."""
        return DocumentSource(
            data,
            split=split,
            text_column=self.text_column,
            label_column=self.label_column,
            group_column=self.group_column,
            time_column=self.time_column,
            split_column=self.split_column,
            columns=tuple(self.columns),
            lines=self.lines,
            label_kind=find_label_kind(self.label_task if task == NO_LABELS.name else task),
        )


def default_cache() -> Path:
    """Where encoded corpora are kept: $ULMKIT_CACHE, else `ulmkit` in the user's cache folder."""
    given = os.environ.get("ULMKIT_CACHE")
    return Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ulmkit"


def prepare(
    data: Data | EncodedCorpus,
    options: DataOptions | None = None,
    *,
    task: str = "none",
    tokenizer: Tokenizer | None = None,
    vocabulary: Vocabulary | None = None,
    label_names: Sequence[str] | None = None,
    folder: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    progress: DocumentCallback | None = None,
) -> EncodedCorpus:
    """The encoded corpus of `data`.

    Args:
        data: a corpus or the folder of one, taken as it is; or any form of documents (see `read_documents`).
        task: what its labels are; "none" for language models.
        tokenizer, vocabulary: those of a model that is to read it; None makes them from the data.
        label_names: the classes of a model that is to be evaluated on it, () for numbers; None: the data's own.
        folder: where to write it; None: the cache (see `default_cache`), where an equal corpus is found again.
    Raises: DataError if a given corpus does not fit the model or the task, or the documents cannot be read;
        ConfigError if it was prepared with another split or tokenizer than the options ask for; FolderError if a
        folder is damaged or cannot be written.
    """
    options = options or DataOptions()
    if folder is not None:
        check_writable(folder, overwrite)
    if isinstance(data, EncodedCorpus) or is_corpus_folder(data):
        corpus = data if isinstance(data, EncodedCorpus) else EncodedCorpus.open(data, verify=True)  # type: ignore[arg-type]
        if folder is not None:
            raise DataError(f"{corpus.folder}: expected text to prepare, got a prepared corpus; use it as it is")
        _check_prepared(corpus, options)
        return _fitting(corpus, task, vocabulary, label_names)
    source = options.source(data, task)
    if task != NO_LABELS.name:
        _check_labels(source, data, options, task)
    policy = _split_policy(source, options)
    if tokenizer is None:
        tokenizer = _make_tokenizer(source, policy, options)
    common: dict[str, Any] = {
        "tokenizer": tokenizer,
        "vocabulary": vocabulary,
        "split_policy": policy,
        "label_kind": find_label_kind(task),
        "label_names": label_names,
        "workers": options.workers,
        "progress": progress,
    }
    if vocabulary is None and tokenizer.closed_vocabulary() is None:
        common |= {"max_vocab": options.max_vocab, "min_freq": options.min_freq}
    if folder is not None:
        return build_corpus(source, folder, overwrite=overwrite, **common)
    return cached_corpus(source, default_cache(), **common)


def prepare_once(
    world: World, data: Data | EncodedCorpus, options: DataOptions | None = None, **others: Any
) -> EncodedCorpus:
    """The corpus that the first rank prepares, which the other ranks open; args and errors: see `prepare`."""
    if not world.is_first:
        return EncodedCorpus.open(world.from_first(None))
    corpus = prepare(data, options, **others)
    world.from_first(os.path.abspath(corpus.folder))
    return corpus


def is_corpus_folder(data: Data | EncodedCorpus) -> bool:
    """Whether `data` is the folder of an encoded corpus."""
    return isinstance(data, (str, os.PathLike)) and (Path(data) / CORPUS_FILE).is_file()


def _check_labels(source: DocumentSource, data: Data, options: DataOptions, task: str) -> None:
    """Raise DataError naming the columns there are if no document has a label for want of the default column."""
    if options.label_column is None and all(document.label is None for document in source):
        default = find_label_kind(task).label_columns[0]
        next(iter(replace(options, label_column=default).source(data, task)), None)


def _check_prepared(corpus: EncodedCorpus, options: DataOptions) -> None:
    """Raise ConfigError if the options ask for another split or tokenizer than a corpus was prepared with."""
    policy = corpus.facts.split_policy
    found = {
        "split_by": policy.kind,
        "valid_fraction": policy.valid_fraction,
        "tokenizer": corpus.tokenizer.name,
    }
    for name, value in found.items():
        asked = getattr(options, name)
        if asked not in (value, getattr(DataOptions(), name)):
            raise ConfigError(
                f"{name}: got {asked!r}, but {corpus.folder} was prepared with {value!r}; leave {name} out, or give "
                "the text itself"
            )


def _fitting(
    corpus: EncodedCorpus, task: str, vocabulary: Vocabulary | None, label_names: Sequence[str] | None
) -> EncodedCorpus:
    if task not in (NO_LABELS.name, corpus.task):
        raise DataError(
            f"{corpus.folder}: expected a corpus prepared with task {task!r}, got {corpus.task!r}; prepare it again"
        )
    if vocabulary is not None and corpus.vocabulary != vocabulary:
        raise DataError(
            f"{corpus.folder}: its vocabulary ({len(corpus.vocabulary)} tokens) is not the model's "
            f"({len(vocabulary)}); give the text itself, or prepare it with the model's tokenizer and vocabulary"
        )
    if label_names is not None and corpus.label_names != tuple(label_names):
        raise DataError(
            f"{corpus.folder}: its labels ({', '.join(corpus.label_names)}) are not the model's "
            f"({', '.join(label_names)}); give the text itself"
        )
    return corpus


def _split_policy(source: DocumentSource, options: DataOptions) -> SplitPolicy:
    kind = options.split_by
    if kind == "auto":
        kind = "given" if any(document.split == "valid" for document in source) else "random"
    column = getattr(options, SPLIT_COLUMNS[kind]) if kind in SPLIT_COLUMNS else None
    return SplitPolicy(kind=kind, valid_fraction=options.valid_fraction, seed=options.seed, column=column)


def _make_tokenizer(source: DocumentSource, policy: SplitPolicy, options: DataOptions) -> Tokenizer:
    if options.tokenizer == "whitespace":
        return WhitespaceTokenizer()
    if options.tokenizer == "bytes":
        return ByteTokenizer()
    if options.tokenizer == "spacy":
        return SpacyTokenizer(options.language)
    texts = _learnable(source, policy)
    return train_sentencepiece(texts, vocab_size=options.pieces, kind=options.pieces_kind)


def training_texts(data: Data, options: DataOptions, task: str) -> Iterator[Text]:
    """The texts of `data` that a model may learn from: those that the options leave in a training split."""
    source = options.source(data, task)
    return _learnable(source, _split_policy(source, options))


def _learnable(source: DocumentSource, policy: SplitPolicy) -> Iterator[Text]:
    """The texts that the policy leaves in a training split. Reads the source twice."""
    known = [(document.split, stratum(document), document.group, document.time) for document in source]
    given, strata, groups, times = (list(column) for column in zip(*known, strict=True))
    splits = assign_splits(policy, given=given, strata=strata, groups=groups, times=times)
    for document, split in zip(source, splits, strict=True):
        if split in TRAINING_SPLITS:
            yield document.text
