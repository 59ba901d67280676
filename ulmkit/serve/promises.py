"""Promises about answers: whether the classifier is sure enough of one, and which labels may be right."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ulmkit.api import ConformalClassifier, SelectiveClassifier, TextClassifier
from ulmkit.api.confidence_options import Confidence
from ulmkit.serve.schemas import AbstainingAnswer
from ulmkit.tasks import Outputs


@dataclass(frozen=True)
class Promises:
    """Promises of a classifier about its answers.

    Attributes:
        selective: Abstains where the classifier is not sure; None if it never does.
        conformal: Makes sets of labels; None makes none.
    """

    selective: SelectiveClassifier | None
    conformal: ConformalClassifier | None

    @classmethod
    def of(cls, classifier: TextClassifier, options: Confidence) -> "Promises":
        """Choose the threshold and the rule for sets that the options ask for.

        Raises:
            ConfigError: If no threshold reaches the error, or the task has not one label per text.
            FolderError: If the classifier keeps no held-out answers, and the options name no documents.
        """
        if options.miscoverage is None:  # who gets no label should learn which ones are possible
            options = replace(options, miscoverage=options.max_error)
        return cls(*options.classifiers(classifier))

    def describe(self) -> list[str]:
        """Describe each promise in a line."""
        lines = [] if self.selective is None else [self.selective.selection.describe()]
        return lines if self.conformal is None else [*lines, self.conformal.rule.describe()]

    @property
    def abstains(self) -> AbstainingAnswer | None:
        """Rule by which the classifier abstains; None if it never does."""
        if self.selective is None:
            return None
        chosen = self.selective.selection
        return AbstainingAnswer(
            max_error=chosen.max_error,
            certainty=chosen.certainty,
            threshold=chosen.threshold,
            coverage=chosen.coverage,
        )

    @property
    def miscoverage(self) -> float | None:
        """Share of label sets that may lack the right label."""
        return None if self.conformal is None else self.conformal.rule.miscoverage

    def fields(self, outputs: Outputs) -> Iterator[dict[str, Any]]:
        """Yield for each answer the fields that a promise adds or changes.

        Args:
            outputs: What the classifier's `predict_proba` says, one for each answer.
        """
        if self.selective is None and self.conformal is None:
            yield from ({} for _ in outputs)
            return
        probabilities = np.asarray(outputs)
        is_sure = np.ones(len(probabilities), dtype=bool)
        if self.selective is not None:
            is_sure = self.selective.selection.accepts(probabilities)
        sets = [None] * len(probabilities) if self.conformal is None else self.conformal.decide(probabilities)
        for sure, chosen in zip(is_sure.tolist(), sets, strict=True):
            fields: dict[str, Any] = {} if sure else {"label": None, "abstained": True}
            yield fields | ({} if chosen is None else {"label_set": list(chosen)})
