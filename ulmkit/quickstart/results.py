"""Results of a quickstart, and the text that shows them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ulmkit.evaluation import SingleLabelReport
from ulmkit.files import json_safe
from ulmkit.tables import text_table

ULMKIT_ROW = "ulmkit"
NO_LANGUAGE_MODEL_ROW = "ulmkit without a language model"


@dataclass(frozen=True)
class Quickstart:
    """Results of a quickstart.

    Attributes:
        parameters: Number of parameters of the language model.
        labels: Number of labelled documents that the classifiers were trained on.
        perplexity_before: Perplexity of held-out target text before fine-tuning.
        perplexity_after: Perplexity of held-out target text after fine-tuning.
        members: What ulmkit's classifier is made of.
        reports: Report of each classifier on the same held-out documents, by name.
        seconds: Duration of everything, reading and tokenizing included.
        folder: Folder that holds the models and the plot.
    """

    parameters: int
    labels: int
    perplexity_before: float
    perplexity_after: float
    members: Sequence[str]
    reports: dict[str, SingleLabelReport]
    seconds: float
    folder: Path

    @property
    def verdict(self) -> str:
        """Advice which classifier to use, by accuracy on the held-out documents."""
        ours = self.reports[ULMKIT_ROW]
        baselines = [item for item in self.reports.items() if item[0] not in (ULMKIT_ROW, NO_LANGUAGE_MODEL_ROW)]
        best, baseline = max(baselines, key=lambda item: item[1].accuracy)
        points = 100.0 * (ours.accuracy - baseline.accuracy)
        lower, higher = sorted([ours.accuracy_interval, baseline.accuracy_interval])
        if lower[1] >= higher[0]:
            return (
                f"use {best}: it is simpler, and ulmkit's classifier is not clearly different "
                f"({points:+.1f} points; their 95% intervals overlap)."
            )
        if points > 0:
            return f"use ulmkit's classifier: it is {points:.1f} points more accurate than {best}."
        return f"use {best}: it is {-points:.1f} points more accurate than ulmkit's classifier."

    def summary(self) -> str:
        """Perplexities, accuracies beside the baselines', and the verdict as text."""
        rows: list[tuple[str, str, str]] = []
        for name, report in self.reports.items():
            low, high = report.accuracy_interval
            rows.append((name, f"{report.accuracy:.1%}", f"{low:.1%} to {high:.1%}"))
        documents = self.reports[ULMKIT_ROW].documents
        return "\n\n".join(
            [
                f"Language model: {self.parameters / 1e6:.1f} million parameters",
                f"Perplexity of held-out target text: {self.perplexity_before:,.0f} before fine-tuning, "
                f"{self.perplexity_after:,.0f} after",
                f"Accuracy on {documents:,} held-out documents after training on {self.labels:,} labels:",
                text_table(("classifier", "accuracy", "95% interval"), rows),
                f"The ladder kept: {', '.join(self.members)}. {self._gain()}\nVerdict: {self.verdict}",
                f"Plot, models and results: {self.folder} ({self.seconds / 60.0:.1f} minutes)",
            ]
        )

    def _gain(self) -> str:
        """Say what the language model is worth."""
        gain = 100.0 * (self.reports[ULMKIT_ROW].accuracy - self.reports[NO_LANGUAGE_MODEL_ROW].accuracy)
        if gain == 0:
            return "The language model adds nothing here."
        return f"The language model {'raises' if gain > 0 else 'lowers'} the accuracy by {abs(gain):.1f} points."

    def to_dict(self) -> dict[str, Any]:
        """All results as a JSON object."""
        return json_safe({**vars(self), "folder": str(self.folder)})
