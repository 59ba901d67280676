"""A task: what a classifier predicts, and everything that depends on it."""

from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from ulmkit.errors import ConfigError, DataError
from ulmkit.evaluation.metrics import Report
from ulmkit.model.head_options import HeadOptions
from ulmkit.text import EncodedCorpus, LabelKind, Text, Tokenizer
from ulmkit.text.read.document import Label
from ulmkit.text.read.labels import choose_label_names, plain_value

if TYPE_CHECKING:
    from ulmkit.evaluation.baselines.classifiers import Baseline
    from ulmkit.evaluation.baselines.ngrams import Tokenize
    from ulmkit.model.heads import HeadConfig

_OPTIONS_OF_SOME_HEADS = ("label_smoothing", "value_range", "number_loss")

Outputs = np.ndarray | list[np.ndarray]
"""Predictions for n texts: (n, C) probabilities, (n,) numbers, or (words, C) probabilities for each text."""


class TokenizedTexts(NamedTuple):
    """Texts as tokens.

    Attributes:
        tokens: The tokens of each text.
        boundaries: For pairs, the position of the first token of each second text.
        words: For a label per word, (words,) position of the last token of each word, for each text.
    """

    tokens: list[list[str]]
    boundaries: list[int] | None = None
    words: list[np.ndarray] | None = None


class Task(LabelKind):
    """A kind of label that classifiers predict, with its head, decisions, metrics and baselines.

    Attributes:
        summary: What is predicted, in a few words.
        example: A text in Python, as `predict` takes it.
        min_classes: Number of classes that the train split needs.
        is_one_class: Whether a document has exactly one class, so that samples can keep the classes in proportion.
        has_independent_labels: Whether a document has any number of labels, each judged on its own.
        has_errors_by_column: Whether the error rate can be broken down by a column.
        has_bounded_scores: Whether the score of a document is between 0 and 1.
        has_ladder: Whether linear models and blends can predict it, too; other tasks are always fine-tuned.
    """

    summary: ClassVar[str]
    example: ClassVar[str] = '"a text"'
    min_classes: ClassVar[int] = 2
    is_one_class: ClassVar[bool] = False
    has_independent_labels: ClassVar[bool] = False
    has_errors_by_column: ClassVar[bool] = False
    has_bounded_scores: ClassVar[bool] = True
    has_ladder: ClassVar[bool] = False

    def label_names(self, by_split: Mapping[str, set[str]], known: Sequence[str] | None) -> tuple[str, ...]:
        """Name the classes in the order of their ids; see `LabelKind.label_names`."""
        return choose_label_names(by_split, known, self.min_classes)

    @property
    @abstractmethod
    def head_type(self) -> "type[HeadConfig]":
        """Config of the task's head. Imported here, because it needs torch, which `--help` does not."""

    @abstractmethod
    def head_config(self, corpus: EncodedCorpus, rows: np.ndarray, options: HeadOptions) -> "HeadConfig":
        """Configure the head for the training documents `rows`, from the statistics of their labels.

        Raises:
            ConfigError: If an option is outside its range, or balanced weights are not defined for the task.
        """

    def class_weights(self, corpus: EncodedCorpus, rows: np.ndarray, options: HeadOptions) -> tuple[float, ...] | None:
        """Weight of each class in the loss, in the order of the labels; None for equal ones.

        Args:
            corpus: The documents.
            rows: (n,) the labelled ones to learn from.
            options: Options of the head.

        Raises:
            ConfigError: If the task has no class weights but some are given, or there is no class of a name.
        """
        if options.class_weights != "none":
            weights = repr(options.class_weights) if options.is_balanced else "a weight by class"
            raise ConfigError(
                f"class_weights: {weights} needs one or several labels per document, got task {self.name!r}"
            )
        return None

    def check_options(self, options: HeadOptions) -> None:
        """Raise ConfigError if an option is set that the task's head does not have."""
        known = {field.name for field in fields(self.head_type)}
        for field in fields(HeadOptions):
            is_set = getattr(options, field.name) != field.default
            if field.name in _OPTIONS_OF_SOME_HEADS and field.name not in known and is_set:
                raise ConfigError(f"{field.name}: has no effect on task {self.name!r}; drop it")

    def label_count(self, head: "HeadConfig") -> int:
        """Number of label names that belong to a head: its classes; 0 for a number."""
        return head.classes

    @abstractmethod
    def report(self, outputs: Outputs, corpus: EncodedCorpus, rows: np.ndarray, by: Sequence[str] = ()) -> Report:
        """Evaluate predictions for labelled documents of a corpus.

        Args:
            outputs: Predictions for `rows`.
            corpus: The documents.
            rows: (n,) their rows in the corpus.
            by: Columns to break the error rate down by; ignored unless `has_errors_by_column`.
        """

    @abstractmethod
    def document_scores(self, outputs: Outputs, corpus: EncodedCorpus, rows: np.ndarray) -> tuple[str, np.ndarray]:
        """Score each prediction for labelled documents of a corpus; higher is better.

        Returns:
            The name of the scores' mean, and (n,) scores.
        """

    @abstractmethod
    def decide(
        self, outputs: Outputs, texts: Sequence[Text], label_names: Sequence[str], threshold: float = 0.5
    ) -> list[Any]:
        """Turn predictions into answers, one per text.

        Args:
            outputs: Predictions for `texts`.
            texts: The texts.
            label_names: The classes by id.
            threshold: Least probability of a label, where a text can have several.
        """

    def answer_fields(self, output: np.ndarray, label_names: Sequence[str]) -> dict[str, Any]:
        """Fields that the `predict` command writes for a text besides its answer: name to JSON value."""
        return {}

    def count_answers(self, answers: Sequence[Any], label_names: Sequence[str]) -> dict[str, int]:
        """Count how often each label was predicted; {} if the answers are no labels."""
        counts = Counter(answers)
        return {name: counts[name] for name in label_names}

    def baselines(self, classes: int, tokenize: "Tokenize | None" = None) -> "list[Baseline]":
        """Make linear baselines, not fitted yet; there are none for a label per word.

        Args:
            classes: Number of classes.
            tokenize: Splits a text into words; None takes runs of word characters.
        """
        from ulmkit.evaluation.baselines.classifiers import class_baselines

        return [] if self.per_word else class_baselines(classes, tokenize)

    def as_text(self, value: Any, place: str) -> Text:
        """Check a text as users give it, and convert it into the form that `tokenize` takes.

        Raises:
            DataError: If it is no text of this task; `place` names it.
        """
        return as_text(value, place)

    def tokenize(self, tokenizer: Tokenizer, texts: Sequence[Text]) -> TokenizedTexts:
        """Tokenize texts, as `as_text` returns them."""
        return TokenizedTexts(tokenizer.tokenize_many(texts))

    def _check_label(self, label: Label | None, label_type: type, expected: str, place: str) -> None:
        if label is not None and not isinstance(label, label_type):
            raise DataError(f'{place}: expected {expected} as label (task="{self.name}"), got {label!r}')


def as_text(value: Any, place: str) -> Text:
    """Check that a value is a str, or several as a list or tuple, which becomes a tuple.

    Raises:
        DataError: If it is not; `place` names it.
    """
    text = plain_value(value)
    if isinstance(text, str):
        return text
    fields = tuple(text) if isinstance(text, (list, tuple)) else ()
    if not fields or not all(isinstance(field, str) for field in fields):
        advice = "; leave it out, or give an empty text" if text is None else ""
        raise DataError(f"{place}: expected a str or a tuple of str, got {value!r:.60}{advice}")
    return fields


def named_probabilities(output: np.ndarray, label_names: Sequence[str]) -> dict[str, float]:
    """Probabilities by label, rounded to six digits for output."""
    return {name: round(float(p), 6) for name, p in zip(label_names, output, strict=True)}
