"""Metrics of a label per token: F1 by span where labels mark spans (BIO), by token otherwise."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from ulmkit.errors import DataError
from ulmkit.evaluation.metrics import ClassMetrics, Report, class_table, macro_f1, metrics_from_counts
from ulmkit.tables import text_table


class Span(NamedTuple):
    """Tokens start to stop (exclusive) that carry an entity of type `kind`."""

    kind: str
    start: int
    stop: int


@dataclass(frozen=True)
class TokenLabelReport(Report):
    """Metrics of a token labeller on labelled documents.

    Attributes:
        documents: Number of documents.
        tokens: Number of labelled tokens.
        unit: "span" if labels are O, B-x, I-x: a span is right if its type and both ends are; else "token".
        precision: Over all units together; None where undefined.
        recall: Over all units together; None where undefined.
        micro_f1: Over all units together; None where undefined.
        macro_f1: Mean F1 over the types; None where undefined.
        token_accuracy: Share of labelled tokens with the right label.
        majority_label: Most frequent label of these tokens.
        majority_accuracy: Token accuracy of always answering `majority_label`.
        classes: Metrics of each type.
    """

    documents: int
    tokens: int
    unit: Literal["span", "token"]
    precision: float | None
    recall: float | None
    micro_f1: float | None
    macro_f1: float | None
    token_accuracy: float
    majority_label: str
    majority_accuracy: float
    classes: tuple[ClassMetrics, ...]

    def validation_metrics(self) -> dict[str, float]:
        """The metrics to show during training: the error rate first."""
        return {"error": 1.0 - self.token_accuracy, "f1": self.micro_f1 or 0.0}

    def table(self) -> str:
        """The metrics as plain text."""
        summary = [
            ("documents", self.documents),
            ("tokens", self.tokens),
            (f"F1 by {self.unit}", self.micro_f1),
            ("precision", self.precision),
            ("recall", self.recall),
            ("macro F1", self.macro_f1),
            ("token accuracy", self.token_accuracy),
            ("majority label", f"{self.majority_accuracy:.4f} ({self.majority_label})"),
        ]
        return "\n\n".join([text_table(("metric", "value"), summary), class_table(self.classes)])


def is_span_labelling(label_names: Sequence[str]) -> bool:
    """True if all labels are O, B, I, B-x or I-x, and at least one is not O."""
    prefixes = {name.split("-", 1)[0] for name in label_names}
    return prefixes <= {"O", "B", "I"} and prefixes != {"O"}


def spans(labels: Sequence[str]) -> list[Span]:
    """Find the spans that BIO labels mark in one document.

    A span begins at B-x, and at an I-x that does not continue a span of type x (after O, the start, or another type).
    It ends before the next O, B or other type. IOB1, IOB2 and slightly broken sequences are all read this way, as
    CoNLL's scorer and seqeval's default mode do.

    Args:
        labels: One per token: "O", "B-x" or "I-x"; bare "B" and "I" have the type "_".
    """
    marked: list[Span] = []
    kind, start = "", -1
    for position, label in enumerate([*labels, "O"]):
        prefix, _, name = label.partition("-")
        name = "" if prefix == "O" else name or "_"
        if start >= 0 and (prefix != "I" or name != kind):
            marked.append(Span(kind, start, position))
            start = -1
        if name and start < 0:
            kind, start = name, position
    return marked


def _single_tokens(labels: Sequence[str]) -> list[Span]:
    """Make a span of each token."""
    return [Span(label, position, position + 1) for position, label in enumerate(labels)]


def evaluate_tokens(
    predictions: Sequence[np.ndarray], targets: Sequence[np.ndarray], label_names: Sequence[str]
) -> TokenLabelReport:
    """Evaluate a label per token.

    Args:
        predictions: (T,) int labels of each document.
        targets: (T,) int true labels of each document, -1 for tokens without a label (special tokens, later pieces of
            a word), which are taken out before spans are read.
        label_names: C names.

    Raises:
        DataError: If documents, lengths or labels do not agree, or no token has a label.
    """
    true, predicted = _labelled(predictions, targets, label_names)
    spanned = is_span_labelling(label_names)
    find_units = spans if spanned else _single_tokens
    true_units = [set(find_units(labels)) for labels in true]
    predicted_units = [set(find_units(labels)) for labels in predicted]
    support = Counter(span.kind for units in true_units for span in units)
    predicted_counts = Counter(span.kind for units in predicted_units for span in units)
    hits = Counter(span.kind for a, b in zip(true_units, predicted_units, strict=True) for span in a & b)
    kinds = sorted(support | predicted_counts) if spanned else label_names
    classes = tuple(metrics_from_counts(kind, hits[kind], predicted_counts[kind], support[kind]) for kind in kinds)
    overall = metrics_from_counts("all", hits.total(), predicted_counts.total(), support.total())
    tokens = sum(len(d) for d in true)
    right = sum(a == b for d, e in zip(true, predicted, strict=True) for a, b in zip(d, e, strict=True))
    majority, frequency = Counter(label for d in true for label in d).most_common(1)[0]
    return TokenLabelReport(
        documents=len(true),
        tokens=tokens,
        unit="span" if spanned else "token",
        precision=overall.precision,
        recall=overall.recall,
        micro_f1=overall.f1,
        macro_f1=macro_f1(classes),
        token_accuracy=right / tokens,
        majority_label=majority,
        majority_accuracy=frequency / tokens,
        classes=classes,
    )


def _labelled(
    predictions: Sequence[np.ndarray], targets: Sequence[np.ndarray], label_names: Sequence[str]
) -> tuple[list[list[str]], list[list[str]]]:
    """Name the true and the predicted labels of the tokens that have a label."""
    if len(predictions) != len(targets):
        raise DataError(f"predictions: expected {len(targets)} documents, got {len(predictions)}")
    true, predicted = [], []
    C = len(label_names)
    for document, (guess, target) in enumerate(zip(predictions, targets, strict=True)):
        guess, target = np.asarray(guess), np.asarray(target)
        if guess.shape != target.shape:
            raise DataError(f"predictions: expected {len(target)} labels for document {document}, got {len(guess)}")
        guess, target = guess[target != -1], target[target != -1]
        for name, labels in (("predictions", guess), ("targets", target)):
            bad = labels[(labels < 0) | (labels >= C)]
            if len(bad):
                raise DataError(f"{name}: expected labels 0 to {C - 1}, got {bad[0]} in document {document}")
        true.append([label_names[k] for k in target])
        predicted.append([label_names[k] for k in guess])
    if not any(true):
        raise DataError("targets: expected at least one labelled token, got none")
    return true, predicted
