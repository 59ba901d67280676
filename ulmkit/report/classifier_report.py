"""Report on a classifier: how good it is beside a linear model, and where it errs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np

from ulmkit.api import TextClassifier
from ulmkit.config import check_choice, check_whole
from ulmkit.errors import ConfigError, DataError
from ulmkit.evaluation import PairedComparison, SingleLabelReport, compare_paired
from ulmkit.evaluation.metrics import ReliabilityBin, reliability
from ulmkit.explain import EXPLANATION_METHODS, Explanation, RunningPrediction
from ulmkit.files import json_safe
from ulmkit.hub import EnsembleParts, LadderFacts, member_name
from ulmkit.pipeline import (
    DataOptions,
    EvaluationData,
    baseline_rows,
    describe_baseline_rows,
    networks,
    select_evaluation_data,
)
from ulmkit.pipeline.baselines import texts_of
from ulmkit.report.costs import Predict, describe_machine, documents_per_second, size_on_disk
from ulmkit.report.linear_models import TFIDF, VECTORS, CurvePoint, LinearModels, label_curve
from ulmkit.report.verdict import Verdict, decide
from ulmkit.text import EncodedCorpus, Text
from ulmkit.text.read.documents import Data

_SPEED_TEXTS = 256
_RUNNING_POINTS = 100


@dataclass(frozen=True, kw_only=True)
class ModelScores:
    """A model on the scored documents.

    Attributes:
        name: The model.
        report: Its metrics.
        reliability: Its accuracy by the probability that it gives its answers.
        size_bytes: Its size on disk.
        documents_per_second: Documents that it labels in a second, their tokenization included.
        comparison: For a linear model, the paired comparison from it ("before") to the classifier ("after").
    """

    name: str
    report: SingleLabelReport
    reliability: tuple[ReliabilityBin, ...]
    size_bytes: int
    documents_per_second: float
    comparison: PairedComparison | None = None

    def to_dict(self) -> dict[str, Any]:
        """The figures as a JSON object."""
        return {
            "name": self.name,
            **self.report.to_dict(),
            "size_bytes": self.size_bytes,
            "documents_per_second": self.documents_per_second,
            "comparison": None if self.comparison is None else self.comparison.to_dict(),
        }


@dataclass(frozen=True, kw_only=True)
class ExplainedDocument:
    """A document that says much about a classifier, with the words that moved it.

    Attributes:
        row: Its place among the documents of the data, from 0.
        text: Its text.
        label: Its label.
        probability: Probability of the predicted label.
        label_probability: Probability of its own label.
        explanation: The predicted label, and the words' weights.
        running: The answers while it was read; None if the classifier cannot read in pieces.
    """

    row: int
    text: Text
    label: str
    probability: float
    label_probability: float
    explanation: Explanation
    running: RunningPrediction | None = None


@dataclass(frozen=True, kw_only=True)
class ClassifierReport:
    """All that the page on a classifier shows.

    Attributes:
        name: The classifier.
        made_of: The classifier's members, with their weights in a blend.
        scored_on: Documents that all models were scored on.
        labels: Number of labelled documents that the linear models were fitted to.
        fitted_to: These documents in a few words; empty if there are none.
        classifier: Figures of the classifier.
        linear: Figures of the linear models.
        curves: Accuracy by the number of labels of each linear model.
        ladder: The ladder that was climbed in training; None if there was none.
        uncertain: Documents whose two most probable labels are closest.
        wrong: Documents whose wrong label is surest.
        verdict: Which model to use.
        notes: What to know about the figures, a sentence each.
        machine: Where the speeds were measured.
        method: How words were weighed, one of `EXPLANATION_METHODS`.
    """

    name: str
    made_of: str
    scored_on: str
    labels: int
    fitted_to: str
    classifier: ModelScores
    linear: tuple[ModelScores, ...]
    curves: Mapping[str, tuple[CurvePoint, ...]]
    ladder: LadderFacts | None
    uncertain: tuple[ExplainedDocument, ...]
    wrong: tuple[ExplainedDocument, ...]
    verdict: Verdict
    notes: tuple[str, ...]
    machine: str
    method: str = "occlusion"

    def to_dict(self) -> dict[str, Any]:
        """The figures as a JSON object, without the text of documents."""
        return json_safe(
            {
                "name": self.name,
                "scored_on": self.scored_on,
                "labels": self.labels,
                "classifier": self.classifier.to_dict(),
                "linear": [model.to_dict() for model in self.linear],
                "curves": {name: list(points) for name, points in self.curves.items()},
                "uncertain_rows": [document.row for document in self.uncertain],
                "wrong_rows": [document.row for document in self.wrong],
                "verdict": self.verdict,
                "notes": list(self.notes),
                "machine": self.machine,
                "method": self.method,
            }
        )


def report_on(
    classifier: TextClassifier,
    data: Data | EncodedCorpus,
    *,
    name: str = "the classifier",
    split: str | None = None,
    data_options: DataOptions | None = None,
    draws: int = 3,
    documents: int = 5,
    seed: int = 0,
    method: str = "occlusion",
    say: Callable[[str], None] = lambda _: None,
) -> ClassifierReport:
    """Measure a classifier and linear models on labelled documents, and explain its errors.

    Args:
        classifier: A classifier of one label per text.
        data: Labelled documents as a path, a hub name or a list, or an encoded corpus. The linear models are fitted to
            its training part.
        name: Name of the classifier in the report.
        split: Split to score, or "all". None takes the validation split, else the test split, else all documents.
        data_options: How the documents are read and split.
        draws: Draws of labels for each point of the label curve.
        documents: Number of uncertain documents to show, and of wrong ones.
        seed: Seed of the draws.
        method: How words are weighed; see `TextClassifier.explain`.
        say: Called with each line of the account.

    Raises:
        ConfigError: If the classifier has another task, draws or documents is not above 0, or there is no such method.
        DataError: If there are no labelled documents, or the split of the training cannot be drawn again.
    """
    check_whole("draws", draws)
    check_whole("documents", documents)
    check_choice("method", method, EXPLANATION_METHODS)
    if not classifier.parts.task.has_ladder:
        raise ConfigError(
            f"report: expected a classifier of one label per text, got one of task {classifier.task!r}; "
            "use `ulmkit evaluate`, which takes every task"
        )
    selected = select_evaluation_data(
        classifier.parts, data, split, data_options, task=classifier.task, order=("valid", "test")
    )
    measured = _Measurements(classifier, name, selected, seed)
    say(f"score {len(measured.scored):,} documents")
    own_scores = measured.scores(name, measured.probabilities, classifier.predict_proba, size_on_disk(classifier))
    rows = baseline_rows(classifier.parts, selected)
    linear: list[ModelScores] = []
    curves: dict[str, tuple[CurvePoint, ...]] = {}
    notes = _notes_on(classifier, selected)
    if len(rows):
        say(f"fit linear models to {len(rows):,} labels, and to fewer in {draws} draws")
        linear, curves = measured.fit_linear(rows, draws, seed, notes)
    say(f"explain {2 * documents} documents")
    uncertain, wrong = measured.telling_documents(documents, method)
    return ClassifierReport(
        name=name,
        made_of=describe_members(classifier),
        scored_on=selected.describe().removeprefix("evaluated on: "),
        labels=len(rows),
        fitted_to=describe_baseline_rows(classifier.parts, selected, rows) if len(rows) else "",
        classifier=own_scores,
        linear=tuple(linear),
        curves=curves,
        ladder=classifier.parts.facts.ladder,
        uncertain=uncertain,
        wrong=wrong,
        verdict=decide(
            name,
            [(each.name, each.comparison) for each in linear if each.comparison is not None],
            is_linear=isinstance(classifier.parts, EnsembleParts) and not networks(classifier.members),
        ),
        notes=tuple(notes),
        machine=describe_machine(classifier),
        method=method,
    )


class _Measurements:
    """A classifier and its rivals on the same labelled documents."""

    def __init__(self, classifier: TextClassifier, name: str, selected: EvaluationData, seed: int) -> None:
        self._classifier = classifier
        self._task = classifier.parts.task
        self._name = name
        self._corpus = selected.corpus
        self.scored = selected.rows(labelled=True)
        self.probabilities = np.asarray(classifier.predict_labelled(selected), dtype=np.float64)
        self._texts = texts_of(selected.data, selected.corpus, selected.options)
        self._answers = self._corpus.labels(self.scored)
        order = np.random.default_rng(seed).permutation(self.scored)[:_SPEED_TEXTS]
        self._sample = [self._texts[row] for row in order]

    def scores(self, name: str, probabilities: np.ndarray, predict: Predict, size_bytes: int) -> ModelScores:
        """Score a model by its probabilities (n, C) for the scored documents."""
        is_right = probabilities.argmax(axis=1) == self._answers
        comparison = None
        if name != self._name:
            is_right_ours = self.probabilities.argmax(axis=1) == self._answers
            comparison = compare_paired(is_right.astype(float), is_right_ours.astype(float), "accuracy")
        return ModelScores(
            name=name,
            report=cast(SingleLabelReport, self._task.report(probabilities, self._corpus, self.scored)),
            reliability=reliability(probabilities.max(axis=1), is_right),
            size_bytes=size_bytes,
            documents_per_second=documents_per_second(predict, self._sample),
            comparison=comparison,
        )

    def fit_linear(
        self, rows: np.ndarray, draws: int, seed: int, notes: list[str]
    ) -> tuple[list[ModelScores], dict[str, tuple[CurvePoint, ...]]]:
        """Fit the linear models to labelled rows and to fewer; a model that cannot be fitted is noted."""
        models = LinearModels(self._corpus, self._texts, self.scored, seed)
        fits: dict[str, Callable[[np.ndarray], tuple[Any, np.ndarray]]] = {TFIDF: models.tfidf, VECTORS: models.vectors}
        scores: list[ModelScores] = []
        curves: dict[str, tuple[CurvePoint, ...]] = {}
        for name, fit in fits.items():
            try:
                model, probabilities = fit(rows)
            except DataError as error:
                notes.append(f"There is no linear model of {name}: {error}.")
                continue
            size = size_on_disk(model) if isinstance(model, TextClassifier) else model.size_bytes
            scores.append(self.scores(name, probabilities, model.predict_proba, size))
            points = label_curve(
                lambda chosen, fit=fit: fit(chosen)[1],  # type: ignore[misc]
                self._corpus,
                self.scored,
                len(rows),
                draws=draws,
                seed=seed,
            )
            last = CurvePoint(len(rows), scores[-1].report.accuracy, 0.0, 1)
            curves[name] = (*points, last)
        return scores, curves

    def telling_documents(
        self, count: int, method: str
    ) -> tuple[tuple[ExplainedDocument, ...], tuple[ExplainedDocument, ...]]:
        """Explain the documents that the classifier is least sure of, and those whose wrong label is surest."""
        ordered = np.sort(self.probabilities, axis=1)
        margins = ordered[:, -1] - ordered[:, -2]
        uncertain = np.argsort(margins, kind="stable")[:count]
        is_wrong = self.probabilities.argmax(axis=1) != self._answers
        surest = np.argsort(-ordered[:, -1], kind="stable")
        wrong = surest[is_wrong[surest]][:count]
        explain = partial(self._explained, method=method)
        return tuple(map(explain, uncertain)), tuple(map(explain, wrong))

    def _explained(self, place: int, method: str) -> ExplainedDocument:
        row = int(self.scored[place])
        names = self._corpus.label_names
        predicted = names[int(self.probabilities[place].argmax())]
        (explanation,) = self._classifier.explain([self._texts[row]], labels=[predicted], method=method)
        answer = int(self._answers[place])
        return ExplainedDocument(
            row=row,
            text=self._texts[row],
            label=names[answer],
            probability=float(self.probabilities[place].max()),
            label_probability=float(self.probabilities[place, answer]),
            explanation=explanation,
            running=self._running(self._texts[row]),
        )

    def _running(self, text: Text) -> RunningPrediction | None:
        """Answers while a text is read; None if the classifier cannot read in pieces."""
        if not self._classifier.can_stream:
            return None
        (running,) = self._classifier.running_probabilities([text], points=_RUNNING_POINTS)
        return running


def describe_members(classifier: TextClassifier) -> str:
    """Say what a classifier is made of."""
    parts = classifier.parts
    if not isinstance(parts, EnsembleParts):
        directions = [each.direction for each in (parts, classifier.backward) if each is not None]
        return "a fine-tuned network, " + " and ".join(directions)
    weights = parts.combiner.weights
    named = [f"{member_name(member)} ({weight:.2f})" for member, weight in zip(parts.members, weights, strict=True)]
    return member_name(parts.members[0]) if len(named) == 1 else "a blend of " + ", ".join(named)


def _notes_on(classifier: TextClassifier, selected: EvaluationData) -> list[str]:
    notes = list(classifier.parts.facts.limits)
    if selected.is_training_data and selected.split == "valid" and not isinstance(classifier.parts, EnsembleParts):
        notes.append("Training was validated on the scored documents, which flatters the classifier a little.")
    if selected.is_training_data and selected.split is None:
        notes.append("The classifier learned from some of the scored documents, which flatters it a lot.")
    if selected.split == "valid" and "test" in selected.corpus.split_names:
        notes.append("The test documents were not looked at; --split test scores them.")
    return notes
