"""Corpora in a cache folder, found again by what they were asked to be made from."""

import contextlib
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TypedDict, Unpack

from ulmkit.errors import FolderError
from ulmkit.files import fingerprint
from ulmkit.safe_writes import atomic_folder
from ulmkit.text.corpus.builder import DocumentCallback, build_corpus, source_names
from ulmkit.text.corpus.encoded_corpus import CORPUS_FILE, EncodedCorpus
from ulmkit.text.corpus.facts import FORMAT_VERSION
from ulmkit.text.corpus.fingerprints import data_fingerprint
from ulmkit.text.corpus.splits import SplitPolicy
from ulmkit.text.read.document import Document
from ulmkit.text.read.documents import DocumentSource
from ulmkit.text.read.labels import NO_LABELS, LabelKind
from ulmkit.text.tokens.rules import RULES_VERSION
from ulmkit.text.tokens.tokenizers import Tokenizer, TokenizerSettings
from ulmkit.text.tokens.vocabulary import Vocabulary


class CorpusOptions(TypedDict, total=False):
    """Options of `build_corpus` that change what the corpus is."""

    vocabulary: Vocabulary | None
    max_vocab: int | None
    min_freq: int | None
    split_policy: SplitPolicy | None
    label_kind: LabelKind
    label_names: Sequence[str] | None
    count_near_duplicates: bool
    drop_shared: bool


def request_key(
    documents: Sequence[Document] | DocumentSource,
    tokenizer: Tokenizer | TokenizerSettings,
    **options: Unpack[CorpusOptions],
) -> str:
    """Fingerprint what a corpus is asked to be made from, before any text is tokenized or any tokenizer trained.

    The key is made from the data's name and fingerprint (of files: their bytes and how they are read; else the content
    of all documents, see `data_fingerprint`), the tokenizer (of settings: their values and the versions of the packages
    they rely on), the vocabulary, the version of the clean-up rules, and all options. Equal keys give equal corpora.
    """
    vocabulary = options.get("vocabulary")
    policy = options.get("split_policy") or SplitPolicy()
    described = {
        **options,
        "vocabulary": None if vocabulary is None else vocabulary.fingerprint,
        "split_policy": asdict(policy),
        "label_kind": options.get("label_kind", NO_LABELS).name,
    }
    data = [source_names(documents), data_fingerprint(documents)]
    return fingerprint(FORMAT_VERSION, RULES_VERSION, data, tokenizer.fingerprint, described)


def cached_corpus(
    documents: Sequence[Document] | DocumentSource,
    cache: str | Path,
    *,
    tokenizer: Tokenizer | TokenizerSettings,
    folder: str | Path | None = None,
    overwrite: bool = False,
    workers: int | None = None,
    progress: DocumentCallback | None = None,
    **options: Unpack[CorpusOptions],
) -> EncodedCorpus:
    """Return the corpus of `documents`, from a cache if it was made before; else it is built.

    A corpus is found by its `request_key`, so any change makes another. Checksums of a corpus that is found are
    verified, which takes a second for 500 million tokens; a damaged one is built anew.

    Args:
        documents: Documents that can be read twice: for the key if they are not files, and to build.
        cache: Folder of corpora, where the corpus is looked for and built.
        tokenizer: A tokenizer, or the settings to make one from.
        folder: Where to write the corpus instead, copied from the cache if it is there; the cache then has a link to
            it. With `overwrite`, a folder that holds this very corpus is kept.
        overwrite: Replace the folder that is there.
        workers: Number of processes; None for one per processor.
        progress: Called with the number of documents done.
        options: See `build_corpus`.

    Raises:
        ConfigError: If `documents` can be read only once.
        DataError: As `build_corpus`.
        FolderError: If the folder cannot be written.
    """
    key = request_key(documents, tokenizer, **options)
    cached = Path(cache) / f"corpus-{key}"
    target = cached if folder is None else Path(folder)
    if (folder is None or overwrite) and (corpus := _find(target, key)) is not None:
        return _with_current_files(corpus, documents)
    if folder is not None and _find(cached, key) is not None:
        with atomic_folder(target, overwrite) as temporary:
            shutil.copytree(cached, temporary, dirs_exist_ok=True)
        return _with_current_files(EncodedCorpus.open(target), documents)
    if folder is None:
        _remove(cached)  # what is there is damaged
    try:
        corpus = build_corpus(
            documents,
            target,
            tokenizer=tokenizer,
            workers=workers,
            progress=progress,
            overwrite=overwrite,
            request=key,
            **options,
        )
    except FolderError:
        if folder is None and (corpus := _find(cached, key)) is not None:
            return corpus  # of another process, which was faster
        raise
    if folder is not None:
        with contextlib.suppress(OSError):  # failing to write the cache is not an error
            _remove(cached)
            cached.parent.mkdir(parents=True, exist_ok=True)
            cached.symlink_to(target.resolve(), target_is_directory=True)
    return corpus


def _with_current_files(corpus: EncodedCorpus, documents: Sequence[Document] | DocumentSource) -> EncodedCorpus:
    """Return the corpus with the names of the files as they are now, which its key does not depend on."""
    if isinstance(documents, DocumentSource) and corpus.facts.reading is not None:
        reading = documents.reading(corpus.facts.reading.layouts)
        corpus.facts = replace(corpus.facts, reading=reading)
    return corpus


def _remove(cached: Path) -> None:
    if cached.is_symlink():
        cached.unlink(missing_ok=True)
    shutil.rmtree(cached, ignore_errors=True)


def _find(folder: Path, key: str) -> EncodedCorpus | None:
    """Open the corpus in a folder if it is whole and was made from the request of this key."""
    if not (folder / CORPUS_FILE).is_file():
        return None
    try:
        corpus = EncodedCorpus.open(folder, verify=True)
    except FolderError:
        return None
    return corpus if corpus.facts.request == key else None
