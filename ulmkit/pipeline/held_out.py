"""Comparison of a corpus with those that the models before it were trained on: splits, and kind of text.

Documents are compared by the fingerprints of their texts: neither a file's name nor a split's policy makes it clean.
"""

from collections.abc import Iterable, Sequence

from ulmkit.hub import DataFacts, SplitFacts, TrainingFacts
from ulmkit.hub.facts import Cleanness
from ulmkit.pipeline.options import RunOptions
from ulmkit.tasks import find_label_kind
from ulmkit.text import EncodedCorpus
from ulmkit.text.corpus.facts import CorpusSplit
from ulmkit.text.corpus.fingerprints import joined_fingerprint
from ulmkit.text.corpus.splits import DROPPED_SPLIT, TRAINING_SPLITS

# In pieces of the English Wikipedia, docstrings have 1.5 times as many tokens per word as it has, German has 2.0 times.
_FOREIGN_RATIO = 1.75
_NAMED_CLASSES = 5


def data_facts(corpus: EncodedCorpus, training_splits: Sequence[str], base: TrainingFacts | None) -> DataFacts:
    """Facts about a training corpus: its splits, how validation was chosen, and whether it is clean.

    Args:
        corpus: The training corpus.
        training_splits: Splits that the model learned from.
        base: Facts of the model it started from; None if it started from random weights.
    """
    return DataFacts(
        name=corpus_name(corpus),
        splits=split_facts(corpus, training_splits),
        cleanness=cleanness(corpus, training_splits, base),
        split_policy=corpus.facts.split_policy,
        near_duplicates=corpus.facts.near_duplicates or {},
    )


def split_facts(corpus: EncodedCorpus, training_splits: Sequence[str]) -> tuple[SplitFacts, ...]:
    """Facts of each split of a corpus, of which a model learns from `training_splits`."""
    return tuple(
        SplitFacts(
            name=name,
            use="training" if name in training_splits else "held out",
            documents=split.documents,
            labelled=split.labelled,
            words=split.words,
            tokens=split.tokens,
            unknown_rate=round(split.unknown_rate, 5),
            fingerprint=split.fingerprint,
        )
        for name, split in corpus.facts.splits.items()
    )


def cleanness(corpus: EncodedCorpus, training_splits: Sequence[str], base: TrainingFacts | None) -> Cleanness:
    """Classify a split by whether all models that the training started from held out the same documents.

    Args:
        corpus: The training corpus.
        training_splits: Splits that the model learns from.
        base: Facts of the model it starts from; None if it starts from random weights.

    Returns:
        "clean": every earlier model held out the same documents, or there is none.
        "mixed": an earlier model learned from the same data under another split, so it may have read what is held
            out now.
        "unknown": an earlier model does not record what it learned from.
        "other data": an earlier model learned from other data, which may or may not contain what is held out now.
        "transductive": an evaluation split was learned from, now or earlier.
    """
    stages = [] if base is None else base.lineage()
    if stages and stages[-1].stage != "pretraining":
        stages.append(TrainingFacts())  # the first model is not recorded
    recorded = {stage.data.cleanness for stage in stages if stage.data is not None}
    if any(split not in TRAINING_SPLITS for split in training_splits) or "transductive" in recorded:
        return "transductive"
    current = split_facts(corpus, training_splits)
    outcomes = {compare_splits(() if stage.data is None else stage.data.splits, current) for stage in stages}
    if "unknown" in outcomes and "mixed" in recorded:
        return "mixed"
    worst_first: tuple[Cleanness, ...] = ("mixed", "unknown", "other data")
    return next((outcome for outcome in worst_first if outcome in outcomes), "clean")


def compare_splits(earlier: Sequence[SplitFacts], current: Sequence[SplitFacts]) -> Cleanness:
    """Compare the splits of two stages by the documents that they held out.

    Args:
        earlier: Splits of the earlier stage's corpus.
        current: Splits of this stage's corpus.

    Returns:
        "clean" if the earlier stage held out the same documents, "mixed" if it learned from the same corpus under
        another split, "other data" if its corpus was another one, "unknown" if fingerprints are missing.
    """
    earlier_fingerprint, current_fingerprint = corpus_fingerprint(earlier), corpus_fingerprint(current)
    if earlier_fingerprint is None or current_fingerprint is None:
        return "unknown"
    held_out = {split.fingerprint for split in earlier if split.use == "held out"}
    if held_out.issuperset(
        split.fingerprint for split in current if split.name not in (*TRAINING_SPLITS, DROPPED_SPLIT)
    ):
        return "clean"
    return "mixed" if earlier_fingerprint == current_fingerprint else "other data"


def warn_of_data(
    corpus: EncodedCorpus, training_splits: Sequence[str], base: TrainingFacts | None, run: RunOptions
) -> None:
    """Warn, before a training, of doubtful labels and splits, and of text unlike that of the language model.

    Args:
        corpus: The training corpus.
        training_splits: Splits that the model learns from.
        base: Facts of the model it starts from; None if it starts from random weights.
        run: Whose progress shows the warning, in the first of several processes.
    """
    if run.progress is None or not run.warn or not run.world.is_first:
        return
    for warning in data_warnings(corpus):
        run.progress.message(warning)
    if cleanness(corpus, training_splits, base) == "mixed":
        earlier = "classifier" if base is not None and base.stage == "classification" else "language model"
        run.progress.message(
            f"mixed splits: the {earlier} learned from {corpus_name(corpus)} under another split, so it may have "
            "read documents that are held out now; train it with the same --task, --split-by or --split-column "
            "(DataOptions(label_task=..., split_by=..., split_column=...))"
        )
    foreign = foreign_text_warning(corpus, training_splits, base)
    if foreign is not None:
        run.progress.message(foreign)


def data_warnings(corpus: EncodedCorpus) -> list[str]:
    """List what is doubtful in a corpus: labels, and documents that training and held-out splits share."""
    warnings = find_label_kind(corpus.task).name_warnings(corpus.label_names)
    if has_predictions(corpus):
        warnings.append(
            f"predicted labels: {corpus_name(corpus)} has the columns that predict writes, so what is learned from are "
            "answers of a model, which count as right; name a column of right labels with --label-column (label_column)"
        )
    if single := classes_of_one(corpus):
        listing = ", ".join(map(repr, single[:_NAMED_CLASSES])) + (", ..." if len(single) > _NAMED_CLASSES else "")
        warnings.append(
            f"classes with one document to learn from, too few to tell them: {len(single):,}: {listing}; label more of "
            "them, join classes, or leave them out"
        )
    shared = shared_documents_warning(corpus)
    return warnings if shared is None else [*warnings, shared]


def classes_of_one(corpus: EncodedCorpus) -> list[str]:
    """List the classes that a single training document has; none where words have labels of their own."""
    train = corpus.facts.splits.get("train")
    if train is None or find_label_kind(corpus.task).per_word:
        return []
    return [name for name in corpus.label_names if train.labels.get(name) == 1]


def has_predictions(corpus: EncodedCorpus) -> bool:
    """Tell whether the labels of a corpus seem to be predictions that ulmkit wrote."""
    reading = corpus.facts.reading
    return reading is not None and any(layout.has_predictions for layout in reading.layouts)


def shared_documents_warning(corpus: EncodedCorpus) -> str | None:
    """Say how many held-out documents also occur in the training text, and what to do; None if there are none."""
    counts = [
        f"{shared.near:,} of {shared.documents:,} in {held_out} are also in {name} ({shared.exact:,} exactly)"
        for held_out, by_split in (corpus.facts.near_duplicates or {}).items()
        for name, shared in by_split.items()
        if shared.near
    ]
    if not counts:
        return None
    return (
        f"shared documents: {'; '.join(counts)}, so figures measured on them flatter the model; drop them from "
        "training with --drop-shared-documents (DataOptions(drop_shared=True)), or correct the split"
    )


def foreign_text_warning(
    corpus: EncodedCorpus, training_splits: Sequence[str], base: TrainingFacts | None
) -> str | None:
    """Say that the text is cut into far more tokens than that of the language model, as another language would be.

    Args:
        corpus: The training corpus.
        training_splits: Splits that the model learns from.
        base: Facts of the model it starts from; None if it starts from random weights.

    Returns:
        The warning; None if the text is not that different, or the base does not record what it learned from.
    """
    if base is None or base.data is None:
        return None
    earlier = _tokens_per_word(split for split in base.data.splits if split.use == "training")
    current = _tokens_per_word(corpus.facts.splits[name] for name in training_splits)
    if earlier is None or current is None or current < _FOREIGN_RATIO * earlier:
        return None
    return (
        f"another language? the tokenizer makes {current:.1f} tokens of a word of this text, and {earlier:.1f} of one "
        "of the language model's; for another language, pretrain a model on its Wikipedia with 'ulmkit pretrain', or "
        "train the classifier from 'none'"
    )


def _tokens_per_word(splits: Iterable[SplitFacts | CorpusSplit]) -> float | None:
    tokens = words = 0
    for split in splits:
        tokens += split.tokens or 0
        words += split.words or 0
    return tokens / words if tokens and words else None


def corpus_fingerprint(splits: Sequence[SplitFacts]) -> str | None:
    """Fingerprint of all documents of a corpus; None if a split's fingerprint is not recorded."""
    fingerprints = [int(split.fingerprint, 16) for split in splits if split.fingerprint is not None]
    return joined_fingerprint(fingerprints) if splits and len(fingerprints) == len(splits) else None


def corpus_name(corpus: EncodedCorpus) -> str:
    """Names of the sources that a corpus was made from; without any, the name of its folder."""
    return ", ".join(corpus.facts.sources) or corpus.folder.name
