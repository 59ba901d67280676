"""Conformal sets: sets of labels that have the right one in a chosen share of documents."""

import math
from dataclasses import dataclass

import numpy as np

from ulmkit.config import check_fraction
from ulmkit.evaluation.labels.held_out_answers import HeldOutAnswers, mass_above
from ulmkit.evaluation.metrics import Report, wilson_interval
from ulmkit.tables import text_table

_ROUNDING = 1e-7  # of the held-out answers


@dataclass(frozen=True)
class ConformalSets:
    """A rule that turns probabilities into sets of labels.

    Attributes:
        miscoverage: Share of documents whose set may lack the right label.
        level: Largest probability that the classes above a label may have in all for it to be in the set; None puts
            all labels into each set.
        documents: Number of held-out documents that it was chosen on.
        source: The held-out documents, in a few words.
    """

    miscoverage: float
    level: float | None
    documents: int
    source: str

    def sets(self, probabilities: np.ndarray) -> np.ndarray:
        """Choose the labels of each document: those with little probability above them.

        Args:
            probabilities: (n, C).

        Returns:
            (n, C) bool; the most probable label is always in the set.
        """
        probabilities = np.asarray(probabilities, dtype=np.float64)
        if self.level is None:
            return np.ones(probabilities.shape, dtype=bool)
        above = [mass_above(probabilities, column) for column in probabilities.T]
        return np.asarray(np.stack(above, axis=1) <= self.level + _ROUNDING)

    def describe(self) -> str:
        """Describe the rule and what it promises in one line."""
        return (
            f"sets have the right label in at least {1.0 - self.miscoverage:.1%} of documents on average, chosen on "
            f"{self.documents:,} ({self.source})"
        )


def choose_conformal_sets(answers: HeldOutAnswers, miscoverage: float) -> ConformalSets:
    """Choose sets that lack the right label in at most a share of new documents.

    s_i: mass of the classes more probable than the right one;  level: the ceil((n + 1)(1 - miscoverage))-th smallest
    s_i.  With fewer documents than that, every set has all labels.

    The promise holds on average over held-out and new documents that are drawn alike; not for each class or kind of
    document.

    Args:
        answers: Answers for held-out documents.
        miscoverage: Share of sets that may lack the right label.

    Raises:
        ConfigError: Unless 0 < miscoverage < 1.

    Source: adaptive prediction sets: Romano, Sesia & Candès 2020, arXiv:2006.02544, section 2; split conformal:
        Papadopoulos et al. 2002.
    Deviation: no randomisation: a label's own probability does not count. Sets are the same each time, never empty,
        and a little larger than need be.
    """
    check_fraction("miscoverage", miscoverage)
    place = math.ceil((len(answers) + 1) * (1.0 - miscoverage) - 1e-9)
    level = None if place > len(answers) else float(np.sort(answers.mass_above)[place - 1])
    return ConformalSets(miscoverage, level, len(answers), answers.source)


@dataclass(frozen=True)
class ConformalReport(Report):
    """Coverage and size of conformal sets on labelled documents.

    Attributes:
        documents: Number of documents.
        coverage: Share of sets that have the right label.
        coverage_interval: Its 95% Wilson interval.
        mean_size: Labels in a set on average.
        singletons: Share of sets of one label.
        rule: The rule, and what it was chosen on.
    """

    documents: int
    coverage: float
    coverage_interval: tuple[float, float]
    mean_size: float
    singletons: float
    rule: ConformalSets

    def validation_metrics(self) -> dict[str, float]:
        """The share of sets without the right label, and their size."""
        return {"miscoverage": 1.0 - self.coverage, "mean_size": self.mean_size}

    def table(self) -> str:
        """The metrics as plain text."""
        low, high = self.coverage_interval
        rows = [
            ("sets with the right label", f"{self.coverage:.4f} (95%: {low:.4f} to {high:.4f})"),
            ("promised on average", f"at least {1.0 - self.rule.miscoverage:.4f}"),
            ("labels in a set", f"{self.mean_size:.2f}"),
            ("sets of one label", f"{self.singletons:.4f}"),
            ("chosen on", f"{self.rule.documents:,} documents ({self.rule.source})"),
        ]
        return text_table(("conformal sets", "value"), rows)


def evaluate_conformal_sets(rule: ConformalSets, probabilities: np.ndarray, labels: np.ndarray) -> ConformalReport:
    """Evaluate sets on labelled documents, others than those that the rule was chosen on.

    Args:
        rule: The rule.
        probabilities: (n, C), n at least 1.
        labels: (n,) int, the right classes.
    """
    sets = rule.sets(probabilities)
    covered = int(sets[np.arange(len(labels)), labels].sum())
    sizes = sets.sum(axis=1)
    return ConformalReport(
        documents=len(labels),
        coverage=covered / len(labels),
        coverage_interval=wilson_interval(covered, len(labels)),
        mean_size=float(sizes.mean()),
        singletons=float((sizes == 1).mean()),
        rule=rule,
    )
