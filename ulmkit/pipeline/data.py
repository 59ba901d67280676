"""DATA as people give it to an encoded corpus: read, split, tokenized, cached."""

import os
from collections.abc import Sequence
from typing import TypeGuard

from ulmkit.cache_folder import default_cache
from ulmkit.errors import ConfigError, DataError
from ulmkit.files import expand_user
from ulmkit.pipeline.data_options import DataOptions
from ulmkit.safe_writes import check_writable
from ulmkit.tasks import find_label_kind
from ulmkit.text import NO_LABELS, EncodedCorpus, Tokenizer, Vocabulary, cached_corpus
from ulmkit.text.corpus.builder import DocumentCallback
from ulmkit.text.corpus.cache import CorpusOptions
from ulmkit.text.corpus.encoded_corpus import CORPUS_FILE
from ulmkit.text.read.columns import column_names
from ulmkit.text.read.documents import Data
from ulmkit.training.world import World


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
    """Prepare the encoded corpus of `data`, or find it in the cache.

    Data that is not in the cache is read at most twice, files once; see `request_key` for how it is found there.

    Args:
        data: A corpus or the folder of one, used without change; or any form of documents (see `read_documents`).
        options: How the data is read, split and tokenized; None for the defaults.
        task: Kind of label; "none" for language models.
        tokenizer: Tokenizer of an existing model; None makes one from the data.
        vocabulary: Vocabulary of an existing model; None makes one from the data.
        label_names: Class names of an existing model, () for numbers; None takes those of the data.
        folder: Where to write it; None for the cache (see `default_cache`), where an equal corpus is found again.
        overwrite: Replace an existing folder that holds another corpus.
        progress: Called with the number of documents done.

    Raises:
        DataError: If a given corpus does not fit the model or the task, or the documents cannot be read.
        ConfigError: If a given corpus was prepared with another split or tokenizer than the options ask for.
        FolderError: If a folder is damaged or cannot be written.
    """
    options = options or DataOptions()
    if folder is not None:
        check_writable(folder, overwrite)
    if isinstance(data, EncodedCorpus) or is_corpus_folder(data):
        corpus = data if isinstance(data, EncodedCorpus) else EncodedCorpus.open(data, verify=True)
        if folder is not None:
            raise DataError(f"{corpus.folder}: expected text to prepare, got a prepared corpus; use it as it is")
        _check_prepared(corpus, options)
        _check_fits_model(corpus, task, vocabulary, label_names)
        return corpus
    options_of_corpus: CorpusOptions = {
        "vocabulary": vocabulary,
        "split_policy": options.split_policy(),
        "label_kind": find_label_kind(task),
        "label_names": label_names,
        "drop_shared": options.drop_shared,
    }
    if vocabulary is None and (tokenizer is None or tokenizer.closed_vocabulary() is None):
        options_of_corpus["max_vocab"] = options.max_vocab
        options_of_corpus["min_freq"] = options.min_freq
    return cached_corpus(
        options.source(data, task),
        default_cache(),
        tokenizer=options.tokenizer_settings() if tokenizer is None else tokenizer,
        folder=None if folder is None else expand_user(folder),
        overwrite=overwrite,
        workers=options.workers,
        progress=progress,
        **options_of_corpus,
    )


def prepare_once(
    world: World,
    data: Data | EncodedCorpus,
    options: DataOptions | None = None,
    *,
    task: str = "none",
    tokenizer: Tokenizer | None = None,
    vocabulary: Vocabulary | None = None,
    label_names: Sequence[str] | None = None,
    progress: DocumentCallback | None = None,
) -> EncodedCorpus:
    """The corpus that the first rank prepares, which the other ranks open; see `prepare` for the rest."""
    if not world.is_first:
        return EncodedCorpus.open(world.broadcast(None))
    corpus = prepare(
        data,
        options,
        task=task,
        tokenizer=tokenizer,
        vocabulary=vocabulary,
        label_names=label_names,
        progress=progress,
    )
    world.broadcast(os.path.abspath(corpus.folder))
    return corpus


def is_corpus_folder(data: Data | EncodedCorpus) -> TypeGuard[str | os.PathLike[str]]:
    """Tell whether `data` is the folder of an encoded corpus."""
    return isinstance(data, (str, os.PathLike)) and (expand_user(data) / CORPUS_FILE).is_file()


def _check_prepared(corpus: EncodedCorpus, options: DataOptions) -> None:
    """Raise ConfigError if the options ask for another split or tokenizer than a corpus was prepared with."""
    policy = corpus.facts.split_policy
    prepared = {
        "split_by": policy.kind,
        "valid_fraction": policy.valid_fraction,
        "tokenizer": corpus.facts.tokenizer.name,
    }
    for name, value in prepared.items():
        asked = getattr(options, name)
        if asked not in (value, None, "auto"):
            raise ConfigError(
                f"{name}: got {asked!r}, but {corpus.folder} was prepared with {value!r}; leave `{name}` out, or give "
                "the text itself"
            )
    _check_columns(corpus, options)


def _check_columns(corpus: EncodedCorpus, options: DataOptions) -> None:
    """Raise ConfigError if the options name other columns than those that a corpus was prepared from."""
    reading = corpus.facts.reading
    layouts = () if reading is None else reading.layouts
    for name, read in {
        "text_column": {column for layout in layouts for column in layout.text_columns},
        "label_column": {column for layout in layouts for column in layout.label_columns},
    }.items():
        asked = column_names(getattr(options, name))
        if layouts and not read.issuperset(asked):
            columns = " and ".join(map(repr, sorted(read))) or "none"
            raise ConfigError(
                f"{name}: got {', '.join(asked)}, but {corpus.folder} was prepared with {columns}; leave `{name}` out, "
                "or give the text itself"
            )


def _check_fits_model(
    corpus: EncodedCorpus, task: str, vocabulary: Vocabulary | None, label_names: Sequence[str] | None
) -> None:
    """Raise DataError if a corpus was prepared for another task, vocabulary or labels than a model's."""
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
