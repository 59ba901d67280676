"""Selective classification: answer where the error is bounded, abstain elsewhere."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ulmkit.config import check_fraction
from ulmkit.errors import ConfigError
from ulmkit.evaluation.labels.held_out_answers import HeldOutAnswers
from ulmkit.evaluation.metrics import Report, wilson_interval
from ulmkit.tables import text_table

COVERAGES = tuple(step / 20 for step in range(20, 0, -1))
"""Shares of the held-out documents to answer that are tried, largest first."""

SHOWN_COVERAGES = (1.0, 0.9, 0.75, 0.5, 0.25)
"""Shares of documents to answer whose error an evaluation shows."""


@dataclass(frozen=True)
class Selection:
    """A threshold of confidence, and what held-out documents say about it.

    Attributes:
        max_error: Error among answered documents that was asked for.
        certainty: Probability, over draws of the held-out documents, that the error stays below `bound`.
        threshold: Answers are given where the confidence is above it.
        documents: Number of held-out documents that it was chosen on.
        answered: Number of them that it answers.
        errors: Number of these whose answer is wrong.
        bound: Upper bound on the error among answered documents, at most `max_error`.
        source: The held-out documents, in a few words.
    """

    max_error: float
    certainty: float
    threshold: float
    documents: int
    answered: int
    errors: int
    bound: float
    source: str

    @property
    def coverage(self) -> float:
        """Share of the held-out documents that it answers."""
        return self.answered / self.documents

    def accepts(self, probabilities: np.ndarray) -> np.ndarray:
        """Tell which of (n, C) probabilities to answer. Returns: (n,) bool."""
        return np.asarray(np.asarray(probabilities).max(axis=1, initial=0.0) > self.threshold)

    def describe(self) -> str:
        """Describe the threshold and what it promises in one line."""
        return (
            f"answers above a confidence of {self.threshold:.4f}: {self.coverage:.1%} of {self.documents:,} "
            f"({self.source}), {self.errors} of {self.answered:,} wrong; "
            f"error at most {self.bound:.2%} with {self.certainty:.0%} certainty"
        )


def error_bound(errors: np.ndarray | int, documents: np.ndarray | int, certainty: float) -> np.ndarray:
    """Upper Clopper-Pearson bound on an error rate.

    b: sum_{j=0}^{e} C(n, j) b^j (1 - b)^(n - j) = 1 - certainty;  1 if all n documents are wrong

    Args:
        errors: Number of wrong answers, e.
        documents: Number of answers, n, at least 1.
        certainty: Probability that the error rate is at most b.

    Returns:
        The bound, of the shape of the arguments.

    Source: Clopper & Pearson 1934, Biometrika 26, 404. Geifman & El-Yaniv 2017, arXiv:1705.08500, section 3, lemma 3.1,
        use it for the error of a selective classifier.
    """
    from scipy.stats import beta

    errors, documents = np.asarray(errors), np.asarray(documents)
    is_all = errors >= documents
    return np.asarray(np.where(is_all, 1.0, beta.ppf(certainty, errors + 1, np.where(is_all, 1, documents - errors))))


def choose_selection(answers: HeldOutAnswers, max_error: float, certainty: float = 0.95) -> Selection:
    """Choose the threshold that answers most documents at an error of at most `max_error`.

    Thresholds answer the surest 100%, 95%, ..., 5% of the held-out documents. Each is a test, and all of their bounds
    hold at once with the certainty given (Bonferroni), so that the best of them may be kept. The bound is on new
    documents drawn as the held-out ones were, by a classifier that is not chosen on them.

    Args:
        answers: Answers for held-out documents.
        max_error: Largest error among answered documents.
        certainty: Probability that the bound holds.

    Raises:
        ConfigError: Unless 0 < max_error < 1 and 0 < certainty < 1, or if no threshold reaches the error.

    Source: selection with guaranteed risk: Geifman & El-Yaniv 2017, arXiv:1705.08500, section 3, algorithm 1.
    Deviation: a fixed set of coverages in place of a binary search, whose steps depend on the same documents; the
        document at the threshold is not counted, so that those above it are an independent sample.
    """
    check_fraction("max_error", max_error)
    check_fraction("certainty", certainty)
    candidates = list(_candidates(answers, certainty))
    chosen = max(
        (candidate for candidate in candidates if candidate[3] <= max_error), key=lambda each: each[1], default=None
    )
    if chosen is None:
        raise ConfigError(_refusal(answers, candidates, max_error, certainty))
    threshold, answered, errors, bound = chosen
    return Selection(max_error, certainty, threshold, len(answers), answered, errors, bound, answers.source)


def _candidates(answers: HeldOutAnswers, certainty: float) -> Iterator[tuple[float, int, int, float]]:
    """Yield threshold, documents answered, errors among them and their bound, for each coverage that answers some."""
    ordered = np.sort(answers.confidence)
    each_certainty = 1.0 - (1.0 - certainty) / len(COVERAGES)
    answered_at: list[tuple[float, int, int]] = []
    for coverage in COVERAGES:
        left_out = len(ordered) - math.floor(coverage * len(ordered) + 1e-9)
        threshold = 0.0 if left_out == 0 else float(ordered[left_out - 1])
        is_answered = answers.confidence > threshold
        if is_answered.any():
            answered_at.append((threshold, int(is_answered.sum()), int((is_answered & ~answers.is_right).sum())))
    columns = [np.array(column) for column in zip(*answered_at, strict=True)]
    bounds = error_bound(columns[2], columns[1], each_certainty)
    for (threshold, answered, errors), bound in zip(answered_at, bounds.tolist(), strict=True):
        yield threshold, answered, errors, bound


def documents_needed(max_error: float, certainty: float = 0.95) -> int:
    """Held-out documents without a single error that a selection with this error needs to answer at least."""
    return math.ceil(math.log((1.0 - certainty) / len(COVERAGES)) / math.log1p(-max_error))


def _refusal(
    answers: HeldOutAnswers, candidates: list[tuple[float, int, int, float]], max_error: float, certainty: float
) -> str:
    _, answered, errors, bound = min(candidates, key=lambda each: each[3])
    needed = documents_needed(max_error, certainty)
    advice = "allow that much, or give more labelled documents that it did not learn from (`held_out`)"
    if needed > len(answers):
        advice += f": {max_error:g} takes {needed:,} even without a mistake"
    return (
        f"max_error: expected at least {math.ceil(bound * 1000) / 1000:g}, the lowest error that {len(answers):,} "
        f"documents ({answers.source}) guarantee with {certainty:.0%} certainty, with {errors} of the surest "
        f"{answered:,} wrong, got {max_error:g}; {advice}"
    )


@dataclass(frozen=True)
class SelectiveReport(Report):
    """Coverage and error of a selection on labelled documents.

    Attributes:
        documents: Number of documents.
        answered: Number of them that were answered.
        coverage: Their share.
        errors: Number of wrong answers.
        error: Share of the answers that are wrong; None without an answer.
        error_interval: 95% Wilson interval of the error.
        selection: The threshold, and what it was chosen on.
    """

    documents: int
    answered: int
    coverage: float
    errors: int
    error: float | None
    error_interval: tuple[float, float] | None
    selection: Selection

    def validation_metrics(self) -> dict[str, float]:
        """The share of documents without an answer, and the error."""
        return {"abstained": 1.0 - self.coverage, "error": 0.0 if self.error is None else self.error}

    def table(self) -> str:
        """The metrics as plain text."""
        error = "no answers"
        if self.error is not None and self.error_interval is not None:
            error = f"{self.error:.4f} (95%: {self.error_interval[0]:.4f} to {self.error_interval[1]:.4f})"
        rows = [
            ("confidence above", f"{self.selection.threshold:.4f}"),
            ("coverage", f"{self.coverage:.4f} ({self.answered:,} of {self.documents:,})"),
            ("error among answers", error),
            ("error promised", f"at most {self.selection.bound:.4f}, {self.selection.certainty:.0%} certain"),
            ("chosen on", f"{self.selection.documents:,} documents ({self.selection.source})"),
        ]
        return text_table(("selective answers", "value"), rows)


def evaluate_selection(selection: Selection, answers: HeldOutAnswers) -> SelectiveReport:
    """Evaluate a threshold on labelled documents, others than those that it was chosen on."""
    is_answered = answers.confidence > selection.threshold
    answered = int(is_answered.sum())
    errors = int((is_answered & ~answers.is_right).sum())
    return SelectiveReport(
        documents=len(answers),
        answered=answered,
        coverage=answered / len(answers),
        errors=errors,
        error=errors / answered if answered else None,
        error_interval=wilson_interval(errors, answered) if answered else None,
        selection=selection,
    )


def errors_by_coverage(answers: HeldOutAnswers) -> dict[str, float]:
    """Error among the surest documents, by their share; ties are ordered as the documents are.

    Source: the risk-coverage curve: El-Yaniv & Wiener 2010, JMLR 11, 1605, section 2.
    """
    wrong = ~answers.is_right[np.argsort(-answers.confidence, kind="stable")]
    counts = {f"{share:.0%}": max(1, round(share * len(wrong))) for share in SHOWN_COVERAGES}
    return {share: float(wrong[:count].mean()) for share, count in counts.items()}


def coverage_table(answers: HeldOutAnswers) -> str:
    """Tabulate the error among the surest documents."""
    return text_table(("surest documents answered", "error"), list(errors_by_coverage(answers).items()))
