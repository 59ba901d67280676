"""The classifier that people hold."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ulmkit.api.classifier_stream import ClassifierStream
from ulmkit.api.common import as_texts, place_parts
from ulmkit.api.language_model import LanguageModel
from ulmkit.config import check_probability
from ulmkit.errors import ConfigError, DataError, FolderError
from ulmkit.evaluation import PairedComparison, compare_paired
from ulmkit.hub import ClassifierParts, Pair, load_model, resolve_model, save_classifier
from ulmkit.pipeline import (
    ALL,
    DataOptions,
    RunOptions,
    predict_backward,
    predict_outputs,
    predict_rows,
    select_evaluation_data,
)
from ulmkit.pipeline import train as train_parts
from ulmkit.tasks import Outputs, Report
from ulmkit.text import EncodedCorpus, Text
from ulmkit.text.read.documents import Data
from ulmkit.training import Budget


class TextClassifier:
    """A classifier with its vocabulary, tokenizer and labels; with a backward partner, the mean of both."""

    def __init__(self, parts: ClassifierParts, backward: ClassifierParts | None = None) -> None:
        if backward is not None and backward.label_names != parts.label_names:
            raise ConfigError(
                f"backward: expected the labels {', '.join(parts.label_names)}, got {', '.join(backward.label_names)}"
            )
        self.parts, self.backward = parts, backward

    def __repr__(self) -> str:
        pair = ", forward and backward" if self.backward else ""
        return f"TextClassifier({self.task}: {', '.join(self.labels) or self.parts.task.summary}{pair})"

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels in the order of the probabilities; none for a number."""
        return self.parts.label_names

    @property
    def task(self) -> str:
        """Name of the task: what it predicts, one of `ulmkit.tasks.TASKS`."""
        return self.parts.task.name

    @classmethod
    def load(cls, name: str | os.PathLike[str], run: RunOptions | None = None) -> "TextClassifier":
        """Load a model folder (of a classifier or a pair of them), or a model of the hub.

        Args: run: device, precision and backend to run with; None: the CPU and what is fastest there.
        Raises: FolderError if it is no classifier, or is incomplete, truncated or altered.
        """
        loaded = load_model(resolve_model(name))
        members = [loaded.forward, loaded.backward] if isinstance(loaded, Pair) else [loaded]
        parts = [place_parts(member, run) for member in members if isinstance(member, ClassifierParts)]
        if not parts:
            raise FolderError(f"{name}: expected a classifier, got a language model; train a classifier from it")
        return cls(*parts)

    @classmethod
    def train(
        cls,
        data: Data | EncodedCorpus,
        language_model: LanguageModel | None,
        *,
        epochs: float | None = None,
        steps: int | None = None,
        minutes: float | None = None,
        **options: Any,
    ) -> "TextClassifier":
        """Train a classifier from a language model. Options: see `pipeline.train`."""
        base = None if language_model is None else language_model.parts
        return cls(train_parts(data, base, budget=Budget(epochs=epochs, steps=steps, minutes=minutes), **options))

    def save(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write a complete model folder, whole or not at all. Save the members of a pair singly, then `save_pair`."""
        if self.backward is not None:
            raise ConfigError("save: expected one classifier, got a pair; save each, then ulmkit.hub.save_pair")
        save_classifier(folder, self.parts, overwrite=overwrite)

    def predict_proba(self, texts: Iterable[Text | Sequence[str]]) -> Outputs:
        """What the classifier gives to each text.

        Args: texts: each a str; for pairs a tuple of two; for token labels a list of words, or a str, which is split
            at white space.
        Returns: (n, C) probabilities in the order of `labels`; for a number (n,) numbers; for token labels, a
            (words, C) array for each text.
        Raises: DataError, with its number, for what is no text.
        """
        listed = as_texts(texts, self.parts.task)
        return self._mean([_predict_texts(parts, listed) for parts in (self.parts, self.backward) if parts is not None])

    def predict(self, texts: Iterable[Text | Sequence[str]], *, threshold: float = 0.5) -> list[Any]:
        """The label of each text; its labels ("multi", those of at least `threshold`); its number; or for token labels
        a (word, label) for each of its words. Args, errors: as `predict_proba`."""
        listed = as_texts(texts, self.parts.task)
        return self.decide(self.predict_proba(listed), listed, threshold=threshold)

    def decide(self, outputs: Outputs, texts: Iterable[Text | Sequence[str]], *, threshold: float = 0.5) -> list[Any]:
        """What `predict` says of `texts`, from what `predict_proba` gave for them."""
        check_probability("threshold", threshold)
        task = self.parts.task
        return task.decide(outputs, as_texts(texts, task), self.labels, threshold)

    def stream(self) -> ClassifierStream:
        """A text that comes in pieces; see ClassifierStream."""
        if self.backward is not None:
            raise ConfigError("stream: expected one forward classifier, got a pair, whose half begins at the end")
        return ClassifierStream(self.parts)

    def evaluate(
        self,
        data: Data | EncodedCorpus,
        *,
        split: str | None = None,
        by: Sequence[str] = (),
        data_options: DataOptions | None = None,
    ) -> Report:
        """All figures on labelled documents; see `ulmkit.evaluation`.

        Args:
            split: which part of the data, "all" for all of it; None: the test part, else the valid part, else all. Of
                the data that the classifier learnt from, its own split is taken, so that nothing is judged that it
                learnt from.
            by: columns by whose values errors are counted.
        Raises: DataError if that split cannot be drawn again; see `pipeline.select_evaluation_data`.
        """
        outputs, corpus, rows = self._outputs(data, split, data_options, by)
        return self.parts.task.report(outputs, corpus, rows, by)

    def to_int8(self) -> "TextClassifier":
        """The same classifier with the encoder's weights as bytes, for serving: a quarter of the size, and faster.

        See `compare` for what it costs in accuracy.
        """
        members = [
            None if parts is None else replace(parts, model=parts.model.to_int8())
            for parts in (self.parts, self.backward)
        ]
        assert members[0] is not None
        return TextClassifier(members[0], members[1])

    def compare(
        self,
        other: "TextClassifier",
        data: Data | EncodedCorpus,
        *,
        split: str | None = None,
        data_options: DataOptions | None = None,
    ) -> PairedComparison:
        """This classifier ("before") and another one made from it ("after") on the same labelled documents.

        Args: split: as `evaluate`, but that the valid part goes before the test part.
        """
        scored = []
        for classifier in (self, other):
            outputs, corpus, rows = classifier._outputs(data, split, data_options, order=("valid", "test"))
            measure, scores = self.parts.task.document_scores(outputs, corpus, rows)
            scored.append(scores)
        return compare_paired(scored[0], scored[1], measure, bounded=self.parts.task.has_bounded_scores)

    def _outputs(
        self,
        data: Data | EncodedCorpus,
        split: str | None,
        data_options: DataOptions | None,
        by: Sequence[str] = (),
        order: Sequence[str] = ("test", "valid"),
    ) -> tuple[Outputs, EncodedCorpus, np.ndarray]:
        """What it gives to labelled documents, and these as rows of their corpus."""
        found, corpus, rows = [], None, np.array([])
        options = (data_options or DataOptions()).keeping(by)
        for parts in (self.parts, self.backward):
            if parts is None:
                continue
            judged = select_evaluation_data(parts, data, split, options, task=self.task, order=order)
            corpus, rows = judged.corpus, judged.rows(labelled=True)
            options, split = judged.options, judged.split or ALL
            if not len(rows):
                raise DataError(f"evaluation: expected labelled documents in split {split!r}, got none")
            found.append(predict_rows(parts.model, corpus, rows, reverse=parts.direction == "backward"))
        assert corpus is not None
        return self._mean(found), corpus, rows

    def _mean(self, found: Sequence[Outputs]) -> Outputs:
        """The mean of what the members gave."""
        if len(found) == 1:
            return found[0]
        if isinstance(found[0], list):
            return [np.mean(both, axis=0) for both in zip(*found, strict=True)]
        mean: np.ndarray = np.mean([np.asarray(outputs) for outputs in found], axis=0)
        return mean


def _predict_texts(parts: ClassifierParts, texts: Sequence[Text]) -> Outputs:
    tokens, boundaries, words = parts.task.tokenize(parts.tokenizer, texts)
    documents = [parts.vocabulary.encode(each).astype(np.int64) for each in tokens]
    if parts.direction == "backward":
        return predict_backward(parts.model, documents, boundaries, words, bos_id=parts.vocabulary.bos_id)
    return predict_outputs(parts.model, documents, boundaries, words)
