"""A served classifier, with what it promises and how it answers; a new one takes its place as a whole."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

import ulmkit
from ulmkit.api import TextClassifier
from ulmkit.api.confidence_options import Confidence
from ulmkit.errors import ConfigError, FolderError
from ulmkit.hub import member_name
from ulmkit.serve.drift import ServedTexts
from ulmkit.serve.options import ServeOptions
from ulmkit.serve.promises import Promises
from ulmkit.serve.refusals import RefusalError
from ulmkit.serve.schemas import (
    ExplainAnswer,
    InfoAnswer,
    Prediction,
    RunningAnswer,
    RunningPoint,
    WeighedWord,
)
from ulmkit.tasks import Outputs
from ulmkit.text import Text

_LIMITS = ("max_texts", "max_characters", "max_bytes", "max_streams", "stream_seconds", "timeout_seconds")


@dataclass(frozen=True)
class Served:
    """A classifier that is served, and what belongs to it alone.

    A request keeps to one of these from its start to its end, so that its answer is of one classifier throughout.

    Attributes:
        classifier: The classifier.
        name: Its name.
        confidence: What it was asked to promise of its answers.
        promises: What it promises.
        texts: The texts that it was asked for.
    """

    classifier: TextClassifier
    name: str
    confidence: Confidence
    promises: Promises
    texts: ServedTexts

    @classmethod
    def of(cls, classifier: TextClassifier, name: str, options: ServeOptions) -> "Served":
        """Prepare a classifier. Raises: as `Promises.of`."""
        confidence = options.confidence
        if confidence.held_out is not None:  # these are read once, not for each request with an error of its own
            confidence = replace(confidence, held_out=classifier.held_out_answers(confidence.held_out))
        promises = Promises.of(classifier, confidence)
        return cls(classifier, name, confidence, promises, ServedTexts(classifier, options.drift_share))

    def info(self, options: ServeOptions) -> InfoAnswer:
        """Describe the classifier and the limits of requests."""
        parts = self.classifier.parts
        return InfoAnswer(
            name=self.name,
            task=self.classifier.task,
            labels=list(self.classifier.labels),
            members=[member_name(member) for member in self.classifier.members],
            streams=self.classifier.can_stream,
            explains=parts.task.has_ladder,
            accuracy=parts.facts.held_out_accuracy,
            validation=dict(parts.facts.validation),
            abstains=self.promises.abstains,
            miscoverage=self.promises.miscoverage,
            limits={name: getattr(options, name) for name in _LIMITS},
            ulmkit=ulmkit.__version__,
        )

    def promises_with_error(self, max_error: float) -> Promises:
        """Choose what is promised to a request with an error of its own.

        Raises:
            RefusalError: If the classifier keeps no held-out answers.
            ConfigError: If no threshold reaches the error, or the task has not one label per text.
        """
        try:
            return Promises.of(self.classifier, replace(self.confidence, max_error=max_error))
        except FolderError:
            raise RefusalError(
                422,
                "max_error: expected a classifier that keeps held-out answers of its training, got one without; leave "
                "it out, or start the server with --abstain-above-error and --held-out",
            ) from None

    def answers(
        self, outputs: Outputs, texts: Sequence[Text], threshold: float = 0.5, promises: Promises | None = None
    ) -> list[Prediction]:
        """Turn what `predict_proba` says of texts into answers.

        Args:
            outputs: What it says.
            texts: The texts.
            threshold: Minimum probability of a label, where a text can have several.
            promises: What is promised to the request; None takes what is promised to any.

        Raises:
            ConfigError: Unless 0 <= threshold < 1.
        """
        labels = self.classifier.decide(outputs, texts, threshold=threshold)
        promised = (promises or self.promises).fields(outputs)
        return [
            Prediction(**{"label": label, "probabilities": self._named(output), **fields})
            for label, output, fields in zip(labels, outputs, promised, strict=True)
        ]

    def explain(self, text: Text, label: str | None, method: str) -> ExplainAnswer:
        """Predict for a text, and weigh its words for or against a label; None takes the predicted one.

        Raises:
            ConfigError: If the classifier does not predict one label per text, or there is no such label or method.
        """
        if not self.classifier.parts.task.has_ladder:
            raise ConfigError(
                f"explain: only for one label per text, got a classifier of task {self.classifier.task!r}"
            )
        (prediction,) = self.answers(self.classifier.predict_proba([text]), [text])
        labels = None if label is None else [label]
        (explanation,) = self.classifier.explain([text], labels=labels, method=method)
        words = []
        for word in explanation.words:
            start, end = word.span or (None, None)
            words.append(WeighedWord(word=word.word, start=start, end=end, weight=word.weight))
        return ExplainAnswer(
            **dict(prediction),
            explained_label=explanation.label,
            log_odds=explanation.log_odds,
            words=words,
            baseline=explanation.baseline,
        )

    def running(self, text: Text, points: int) -> RunningAnswer:
        """Predict for a text after each of its words, at most so many times.

        Raises:
            ConfigError: If the classifier cannot read in pieces.
        """
        (running,) = self.classifier.running_probabilities([text], points=points)
        # Tasks that read in pieces decide without the text.
        predictions = self.answers(running.outputs, [""] * len(running.read))
        answers = []
        for read, prediction in zip(running.read.tolist(), predictions, strict=True):
            span = running.words[read - 1].span if read else None
            answers.append(RunningPoint(**dict(prediction), read=read, end=None if span is None else span[1]))
        return RunningAnswer(words=len(running.words), points=answers)

    def _named(self, output: np.ndarray) -> dict[str, float] | list[dict[str, float]] | None:
        """Probabilities by label, with all their digits."""
        labels = self.classifier.labels
        values = np.asarray(output).tolist()
        if np.ndim(output) == 0:
            return None
        if np.ndim(output) == 1:
            return dict(zip(labels, values, strict=True))
        return [dict(zip(labels, row, strict=True)) for row in values]
