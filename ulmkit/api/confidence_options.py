"""Promises asked of a classifier; light to import, since the help of the command line shows them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ulmkit.errors import ConfigError

if TYPE_CHECKING:
    from ulmkit.api.confidence import ConformalClassifier, SelectiveClassifier
    from ulmkit.api.text_classifier import TextClassifier
    from ulmkit.evaluation import HeldOutAnswers


@dataclass(frozen=True)
class Confidence:
    """Promises that a classifier makes of its answers; see `TextClassifier.selective` and `TextClassifier.conformal`.

    Attributes:
        max_error: Largest error among answered documents; None answers all.
        certainty: Probability that it holds; None takes the default.
        miscoverage: Share of sets that may lack the right label; None makes no sets.
        held_out: Labelled documents that the promise rests on, or answers for them; None takes those of the training.
    """

    max_error: float | None = None
    certainty: float | None = None
    miscoverage: float | None = None
    held_out: "str | HeldOutAnswers | None" = None

    def __post_init__(self) -> None:
        if self.certainty is not None and self.max_error is None:
            raise ConfigError("certainty: has no effect without `max_error`; add it or drop this")
        if self.held_out is not None and self.max_error is None and self.miscoverage is None:
            raise ConfigError("held_out: has no effect without `max_error` or `miscoverage`; add one or drop this")

    def classifiers(
        self, classifier: "TextClassifier"
    ) -> "tuple[SelectiveClassifier | None, ConformalClassifier | None]":
        """Choose a threshold and a rule for sets, as far as they are asked for."""
        from ulmkit.api.confidence import ConformalClassifier, SelectiveClassifier

        if self.max_error is None and self.miscoverage is None:
            return None, None
        answers: HeldOutAnswers = classifier.held_out_answers(self.held_out)
        selective = conformal = None
        if self.max_error is not None:
            certainty = 0.95 if self.certainty is None else self.certainty
            selective = SelectiveClassifier(classifier, answers, self.max_error, certainty)
        if self.miscoverage is not None:
            conformal = ConformalClassifier(classifier, answers, self.miscoverage)
        return selective, conformal
