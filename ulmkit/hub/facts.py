"""Training facts: the record, in every model folder, of how the model was made and how well it does.

`TrainingFacts` and its parts are frozen. `facts_to_json` writes them into config.json and `facts_from_json` reads them
back; a training, an export or an evaluation that adds to the record makes a new one.
"""

import functools
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import metadata
from typing import Literal

from ulmkit.evaluation import PairedComparison
from ulmkit.json_records import record_from_json, record_to_json
from ulmkit.model.transfer_report import TransferReport
from ulmkit.text import TOKENIZERS, SplitPolicy
from ulmkit.text.corpus.facts import SharedDocuments
from ulmkit.training import Budget

_PACKAGES = ("ulmkit", "torch", "numpy", "safetensors")

Stage = Literal["pretraining", "fine-tuning", "classification"]
Cleanness = Literal["clean", "transductive", "mixed", "other data", "unknown"]
Metrics = Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class SplitFacts:
    """One split of the corpus that a model was trained on.

    Attributes:
        name: Name of the split, such as "train" or "valid".
        use: Whether the model learned from the split or it was held out.
        documents: Number of documents.
        labelled: Documents that have a label.
        words: Words before tokenization.
        tokens: Tokens, special ones included.
        unknown_rate: Share of the tokens that the vocabulary lacks, 0 to 1.
        fingerprint: Fingerprint of the documents' texts; None in folders of older versions.
    """

    name: str
    use: Literal["training", "held out"]
    documents: int
    labelled: int | None = None
    words: int | None = None
    tokens: int | None = None
    unknown_rate: float | None = None
    fingerprint: str | None = None


@dataclass(frozen=True, kw_only=True)
class DataFacts:
    """The corpus that a model was trained on and how it was split.

    Attributes:
        name: Files or data set that the corpus was made from.
        splits: The corpus's splits.
        cleanness: Whether the held-out documents are new to the model; see `ulmkit.pipeline.held_out.cleanness`.
        split_policy: How the validation split was chosen.
        near_duplicates: By held-out split and training split, how many documents they share.
    """

    name: str
    splits: tuple[SplitFacts, ...] = ()
    cleanness: Cleanness | None = None
    split_policy: SplitPolicy | None = None
    near_duplicates: Mapping[str, Mapping[str, SharedDocuments]] = field(default_factory=dict)

    @property
    def split_fingerprints(self) -> dict[str, str]:
        """Fingerprint of each split by name, without those that are not recorded."""
        return {split.name: split.fingerprint for split in self.splits if split.fingerprint is not None}


@dataclass(frozen=True, kw_only=True)
class MachineFacts:
    """The machine that a training ran on and what it ran with.

    Attributes:
        device: "cpu" or the name of the GPU.
        precision: "fp32" or "bf16".
        backend: LSTM backend.
        architecture: Instruction set, such as "x86_64".
        processors: Logical processors.
        threads: Threads that torch used.
        processes: Processes that shared each batch.
    """

    device: str
    precision: str
    backend: str
    architecture: str
    processors: int
    threads: int
    processes: int = 1


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """One training run: its budget and what it spent.

    Attributes:
        budget: The budget that was given.
        minutes: Minutes spent.
        steps: Optimizer steps.
        epochs: Passes over the training data.
        tokens: Tokens read.
        tokens_per_second: Mean speed.
        stopped_because: "budget" or "patience".
        weights_of_step: Step whose weights were kept, if that need not be the last one.
        averaged_steps: Steps that the weights are the mean of, for optimizers that average.
        seed: Random seed.
        machine: Where it ran.
    """

    budget: Budget
    minutes: float
    steps: int | None = None
    epochs: float | None = None
    tokens: int | None = None
    tokens_per_second: int | None = None
    stopped_because: str | None = None
    weights_of_step: int | None = None
    averaged_steps: int | None = None
    seed: int | None = None
    machine: MachineFacts | None = None


@dataclass(frozen=True, kw_only=True)
class ContinuationFacts:
    """Changes that further training made to a classifier.

    Attributes:
        kept: Classes of the earlier classifier that stayed.
        added: New classes.
        removed: Classes of the earlier classifier that were dropped.
        without_documents: Those of `kept` that no document was learned from.
        old_data: Documents that `old_documents` was computed on, in words; None if they were not to be had.
        old_documents: Scores of the earlier classifier ("before") and of this one on them, without those of removed
            classes.
        kept_held_out: Labelled documents that were not learned from, because they are among these.
        seen_before: Labelled documents of the validation split that were not validated on, because the earlier
            classifier had learned from them.
    """

    kept: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    without_documents: tuple[str, ...] = ()
    old_data: str | None = None
    old_documents: PairedComparison | None = None
    kept_held_out: int = 0
    seen_before: int = 0


@dataclass(frozen=True)
class LadderRow:
    """One rung of a ladder, as it was judged.

    Attributes:
        name: The rung.
        members: Names of its members.
        loss: Mean negative log-likelihood of the right class, on labelled documents that were held out, each counted
            with the weight of its class.
        accuracy: Share of them that it classifies correctly, unweighted.
        standard_error: Standard error of the accuracy.
        minutes: Minutes it took to fit and judge.
        is_kept: Whether it is the one that was kept.
    """

    name: str
    members: tuple[str, ...]
    loss: float
    accuracy: float
    standard_error: float
    minutes: float
    is_kept: bool


@dataclass(frozen=True, kw_only=True)
class LanguageModelGain:
    """Gain of a ladder by a language model, on the documents that its rungs were judged on.

    Attributes:
        row: The row that is kept if the language model reads the text in it, or else the best row in which it does.
        without: The row that would be kept if there were no such rows.
        is_kept: Whether `row` is kept.
        comparison: Accuracy of `without` (before) and of `row` (after).
    """

    row: str
    without: str
    is_kept: bool
    comparison: PairedComparison

    def describe(self) -> str:
        """Say in a sentence what the language model adds."""
        low, high = (100.0 * bound for bound in self.comparison.interval)
        points = f"{100.0 * self.comparison.difference:+.1f} points (95% interval {low:+.1f} to {high:+.1f})"
        if self.is_kept:
            return (
                f"Reading the text with the language model adds {points} to the accuracy of {self.without}, which "
                "would be kept without it."
            )
        return (
            f"Reading the text with the language model does not pay here: {self.row}, the best rung that does, differs "
            f"in accuracy from {self.without}, which is kept, by {points}."
        )


@dataclass(frozen=True, kw_only=True)
class LadderFacts:
    """The ladder that a classifier is a rung of; see `ulmkit.pipeline.train_automatically`.

    Attributes:
        rows: The rungs and their blends, simplest first.
        judged_on: What they were judged on, in a few words.
        is_cross_validated: Whether those were labelled training documents that were held out, rather than the
            validation documents.
        class_names: Whether the names of the classes were documents to learn from, too.
        word_vectors: Whether the document vectors are made of a language model's word vectors, too.
        language_model: What a language model adds, apart from its word vectors; None if none reads the text in any row.
    """

    rows: tuple[LadderRow, ...]
    judged_on: str
    is_cross_validated: bool
    class_names: bool = False
    word_vectors: bool = False
    language_model: LanguageModelGain | None = None

    @property
    def kept(self) -> LadderRow:
        """The row that was kept."""
        return next(row for row in self.rows if row.is_kept)


@dataclass(frozen=True, kw_only=True)
class TrainingFacts:
    """Facts about the making and the quality of a model; a fact that is not known is None or empty.

    Attributes:
        stage: The stage that made the model.
        description: One sentence on what the model is for.
        license: License identifier for the hub's search.
        language: Language code for the hub's search.
        data: What it was trained on.
        run: The training run.
        recipe: Settings of the training by name.
        base: Facts of the language model, or the classifier, it started from; None if it started from random weights.
        continuation: Changes to the classifier that it started from; None unless it started from one.
        vocabulary_transfer: How much of the vocabulary the base model knew.
        labelled_documents: Labelled documents that a classifier learned from.
        validation_before: Validation metrics before the training.
        validation: Validation metrics of the weights that were kept.
        validation_documents: Documents that these were computed on; None if it is a part of the split's text.
        baselines: Validation metrics of other models on the same documents, by the model's name.
        ladder: The ladder that the classifier is a rung of; None if it did not climb one.
        int8: Comparison of this int8 model with the float32 model that it was exported from.
        limits: Known limits, a sentence each.
        notes: Anything else worth recording, as JSON values.
    """

    stage: Stage | None = None
    description: str | None = None
    license: str | None = None
    language: str | None = None
    data: DataFacts | None = None
    run: RunFacts | None = None
    recipe: Mapping[str, object] = field(default_factory=dict)
    base: "TrainingFacts | None" = None
    continuation: ContinuationFacts | None = None
    vocabulary_transfer: TransferReport | None = None
    labelled_documents: int | None = None
    validation_before: Metrics = field(default_factory=dict)
    validation: Metrics = field(default_factory=dict)
    validation_documents: int | None = None
    baselines: Mapping[str, Metrics] = field(default_factory=dict)
    ladder: LadderFacts | None = None
    int8: PairedComparison | None = None
    limits: tuple[str, ...] = ()
    notes: Mapping[str, object] = field(default_factory=dict)

    @property
    def held_out_accuracy(self) -> float | None:
        """Accuracy on held-out labels: cross-validated if the training was, since validation documents may be few."""
        if self.ladder is not None and self.ladder.is_cross_validated:
            return self.ladder.kept.accuracy
        return self.validation.get("accuracy")

    def with_baselines(self, metrics: Mapping[str, Metrics]) -> "TrainingFacts":
        """The facts with the validation metrics of further baselines, by name."""
        return replace(self, baselines={**self.baselines, **metrics})

    def as_base(self) -> "TrainingFacts":
        """The part that a model started from this one keeps: stage, data, run, metrics and its own base."""
        return TrainingFacts(stage=self.stage, data=self.data, run=self.run, base=self.base, validation=self.validation)

    def lineage(self) -> "list[TrainingFacts]":
        """The facts of this model and of each that it descends from, the first model last."""
        return [self] if self.base is None else [self, *self.base.lineage()]


def facts_to_json(facts: TrainingFacts) -> dict[str, object]:
    """Facts as the JSON object of config.json and of `--json`.

    Raises:
        ConfigError: If a value is not JSON, such as NaN.
    """
    return record_to_json(facts, "facts")


def facts_from_json(values: object) -> TrainingFacts:
    """Facts from the JSON object that `facts_to_json` wrote.

    Raises:
        ConfigError: If a key is unknown or missing, or a value does not have the type of its field.
    """
    return record_from_json(TrainingFacts, values, "facts")


def package_versions() -> dict[str, str]:
    """Versions of Python, ulmkit and the installed packages that results depend on."""
    versions = {"python": platform.python_version()}
    tokenizer_packages = [package for kind in TOKENIZERS.values() for package in kind.packages]
    for name in (*_PACKAGES, *tokenizer_packages):
        version = _installed_version(name)
        if version is not None:
            versions[name] = version
    return versions


@functools.cache
def _installed_version(package: str) -> str | None:
    """Version of a package, None if it is not installed; kept, since its whole metadata is parsed for it."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
