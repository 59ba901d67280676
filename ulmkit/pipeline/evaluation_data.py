"""Which documents a model is judged by, and whether they are of the data that it learnt from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ulmkit.errors import DataError
from ulmkit.hub import ClassifierParts, LanguageModelParts
from ulmkit.pipeline.data import SPLIT_COLUMNS, DataOptions, is_corpus_folder, prepare
from ulmkit.pipeline.held_out import Facts, corpus_name, whole_digest
from ulmkit.text import EncodedCorpus
from ulmkit.text.corpus.fingerprints import joined_fingerprint, text_fingerprint
from ulmkit.text.read.documents import GIVEN_IN_PYTHON, Data

ALL = "all"
"""In place of the name of a split: every document."""


@dataclass(frozen=True)
class EvaluationData:
    """Documents that a model is judged by.

    Attributes:
        corpus: the data, in the model's vocabulary. split: which part of it; None: all.
        options: how it was read and split.
        is_own: whether it is the data of the model's own training.
    """

    corpus: EncodedCorpus
    split: str | None
    options: DataOptions
    is_own: bool

    def rows(self, labelled: bool = False) -> np.ndarray:
        """Their indices in the corpus; only those with a label if `labelled`. Returns: (n,) int64."""
        return self.corpus.rows(self.split, labelled)

    def text(self) -> str:
        """What is judged, in a line."""
        part = "all" if self.split is None else f"split {self.split}"
        own = "" if self.is_own else "not "
        return (
            f"judged: {part} of {corpus_name(self.corpus)}, {len(self.rows()):,} documents; {own}the data of the "
            "model's last training"
        )


def select_evaluation_data(
    parts: LanguageModelParts | ClassifierParts,
    data: Data | EncodedCorpus,
    split: str | None,
    options: DataOptions | None,
    *,
    task: str = "none",
    order: Sequence[str] = ("test", "valid"),
) -> EvaluationData:
    """The part of `data` that is to judge a model.

    Args:
        data: see `prepare`. options: how it is read; see `evaluation_options` for how it is split.
        split: which part; "all" for all. None: the first of `order` that there is; of the data that the model learnt
            from, that was held out; else all.
        task: the classifier's, "none" for a language model.
    Raises: DataError if there is no such part, or if the data is what the model learnt from and its split cannot be
        drawn again; as `prepare`.
    """
    read = evaluation_options(options, data, parts.facts, task)
    names = parts.label_names if isinstance(parts, ClassifierParts) else None
    corpus = prepare(data, read, task=task, tokenizer=parts.tokenizer, vocabulary=parts.vocabulary, label_names=names)
    own = _is_own(corpus, parts.facts)
    learnt = {row.get("split") for row in parts.facts.get("data", []) if own and row.get("use") == "training"}
    present = [name for name in order if name in corpus.split_names and name not in learnt]
    chosen = {None: next(iter(present), None), ALL: None}.get(split, split)
    if chosen not in (None, "train") and corpus.split_names == ("train",):
        raise DataError(
            f"split: got {chosen!r}, but no split is said by {corpus_name(corpus)}; leave it out to judge by all, or "
            "name the split_column"
        )
    corpus.rows(chosen)
    if own and split != ALL and (options is None or options.split_by == "auto"):
        _check_split(corpus, chosen, parts.facts)
    return EvaluationData(corpus, chosen, read, own)


def evaluation_options(
    options: DataOptions | None, data: Data | EncodedCorpus, facts: Facts, task: str = "none"
) -> DataOptions:
    """How to read and split `data` to judge a model by it.

    Args: options: as given; None: the defaults. facts: of the model. task: as `prepare`.
    Returns: the options; where they leave the split open, with the split that the model learnt by if this is the very
        data it learnt from, told by the documents' texts (by its name, for a model that does not record them); for
        other data, with the split that the data says: none is drawn.
    """
    options = options or DataOptions()
    if isinstance(data, EncodedCorpus) or is_corpus_folder(data) or options.split_by != "auto":
        return options
    split = facts.get("splits", {})
    if "policy" in split:
        recorded = {key: split[key] for key in ("valid_fraction", "seed") if key in split}
        if split.get("column") is not None:
            recorded[SPLIT_COLUMNS[split["policy"]]] = split["column"]
        as_learnt = replace(options, split_by=split["policy"], **recorded)
        if _has_learnt_from(data, as_learnt, facts, task):
            return as_learnt
    return replace(options, split_by="given")


def is_training_part(corpus: EncodedCorpus, facts: Facts) -> bool:
    """Whether the train split of a corpus has the very texts that a classifier learnt from."""
    return _digest(corpus, "train") is not None and _digest(corpus, "train") == _recorded(facts).get("train")


def _has_learnt_from(data: Data, options: DataOptions, facts: Facts, task: str) -> bool:
    source, rows = options.source(data, task), facts.get("data", [])
    recorded = whole_digest(rows)
    if recorded is not None:
        try:
            return joined_fingerprint(map(text_fingerprint, source)) == recorded
        except DataError:  # it lacks a column that the model's data had
            return False
    return source.description != GIVEN_IN_PYTHON and any(row.get("name") == source.description for row in rows)


def _is_own(corpus: EncodedCorpus, facts: Facts) -> bool:
    rows = facts.get("data", [])
    recorded = whole_digest(rows)
    if recorded is not None:
        return recorded == joined_fingerprint(int(split.fingerprint, 16) for split in corpus.facts.splits.values())
    name = corpus_name(corpus)
    return name != GIVEN_IN_PYTHON and any(row.get("name") == name for row in rows)


def _check_split(corpus: EncodedCorpus, split: str | None, facts: Facts) -> None:
    """Raise DataError if a split of the data that a model learnt from is not the one of that name in its training."""
    recorded = _recorded(facts)
    if recorded and (split is None or _digest(corpus, split) != recorded.get(split)):
        raise DataError(
            f"{corpus_name(corpus)}: the model learnt from it under another split than is found now; read and split "
            "it as then (the same --task, --split-column, --split-by), or judge by all of it with --split all"
        )


def _digest(corpus: EncodedCorpus, split: str) -> str | None:
    counts = corpus.facts.splits.get(split)
    return None if counts is None else counts.fingerprint


def _recorded(facts: Facts) -> dict[str, str]:
    """The digests of the splits of a model's training, by name; those not recorded are left out."""
    return {row["split"]: row["digest"] for row in facts.get("data", []) if "digest" in row}
