"""One label per text."""

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ulmkit.evaluation.labels.classification import evaluate_single
from ulmkit.tasks.task import HeadOptions, Outputs, Report, Task, named_probabilities
from ulmkit.text import LABEL_SEPARATOR, Document, EncodedCorpus, Text
from ulmkit.text.read.labels import join_whole_numbers, joined_names, list_names, parse_class, whole_name

if TYPE_CHECKING:
    from ulmkit.model.heads import HeadConfig, SingleLabelConfig


class SingleLabel(Task):
    """One label per text."""

    name = "single"
    summary = "one label per text"
    is_one_class = True
    has_errors_by_column = True
    has_ladder = True

    @property
    def head_type(self) -> "type[SingleLabelConfig]":
        """Config of the head."""
        from ulmkit.model.heads import SingleLabelConfig

        return SingleLabelConfig

    def parse(self, value: Any, place: str, class_names: Sequence[str] = ()) -> str | None:
        """Convert the value of a column into a class name."""
        return parse_class(value, place, class_names)

    def check(self, document: Document, place: str) -> Hashable | None:
        """Check that the label is a class name."""
        self._check_label(document.label, str, "one class name", place)
        return document.label

    def label_names(self, by_split: Mapping[str, set[str]], known: Sequence[str] | None) -> tuple[str, ...]:
        """Name the classes in the order of their ids; "1" and "1.0" are one class, see `join_whole_numbers`."""
        return super().label_names(join_whole_numbers(by_split, known), known)

    def name_warnings(self, label_names: Sequence[str]) -> list[str]:
        """Warn of class names that may not be what they seem, lists of several among them."""
        warnings = super().name_warnings(label_names)
        for separator in (LABEL_SEPARATOR, ",", ";"):
            if joined := joined_names(label_names, separator):
                warnings.append(
                    f"labels that look like lists are one class each: {list_names(joined)}; for several labels per "
                    f'text say task="multi" and write them as a{LABEL_SEPARATOR}b'
                )
        return warnings

    def encode(self, labels: Sequence[Hashable], label_names: Sequence[str]) -> np.ndarray:
        """Encode labels as (n + 1,) int32 class ids, -1 for unlabelled documents."""
        ids = {name: number for number, name in enumerate(label_names)}
        codes = [ids[label] if label in ids else ids[whole_name(str(label))] for label in labels]
        return np.array([*codes, -1], dtype=np.int32)

    def class_weights(self, corpus: EncodedCorpus, rows: np.ndarray, options: HeadOptions) -> tuple[float, ...] | None:
        """Weight of a document of each class; balanced ones are n / (C n_c) for a class with n_c of n documents."""
        if not options.is_balanced:
            return options.named_weights(corpus.label_names)
        classes = len(corpus.label_names)
        counts = np.maximum(np.bincount(corpus.labels(rows), minlength=classes), 1)
        return tuple((len(rows) / (classes * counts)).tolist())

    def head_config(self, corpus: EncodedCorpus, rows: np.ndarray, options: HeadOptions) -> "HeadConfig":
        """Configure the head."""
        return self.head_type(
            classes=len(corpus.label_names),
            label_smoothing=options.label_smoothing,
            class_weights=self.class_weights(corpus, rows, options),
            **options.sizes(),
        )

    def report(self, outputs: Outputs, corpus: EncodedCorpus, rows: np.ndarray, by: Sequence[str] = ()) -> Report:
        """Evaluate class probabilities (n, C); see `evaluate_single`."""
        return evaluate_single(
            np.asarray(outputs),
            corpus.labels(rows),
            corpus.label_names,
            majority=_majority(corpus),
            by={name: corpus.column(name, rows) for name in by},
        )

    def document_scores(self, outputs: Outputs, corpus: EncodedCorpus, rows: np.ndarray) -> tuple[str, np.ndarray]:
        """Score 1 for the right label, 0 for a wrong one."""
        return "accuracy", (np.asarray(outputs).argmax(axis=1) == corpus.labels(rows)).astype(float)

    def decide(
        self, outputs: Outputs, texts: Sequence[Text], label_names: Sequence[str], threshold: float = 0.5
    ) -> list[str]:
        """Choose the most probable label of each text."""
        return [label_names[int(row.argmax())] for row in outputs]

    def answer_fields(self, output: np.ndarray, label_names: Sequence[str]) -> dict[str, Any]:
        """Return the probability of the answer, and those of all labels."""
        return {
            "probability": round(float(np.max(output)), 6),
            "probabilities": named_probabilities(output, label_names),
        }


def _majority(corpus: EncodedCorpus) -> int | None:
    """Most frequent class of the training documents; None if there are none."""
    if "train" not in corpus.split_names:
        return None
    labels = corpus.labels(corpus.rows("train", labelled=True))
    return int(np.bincount(labels).argmax()) if len(labels) else None
