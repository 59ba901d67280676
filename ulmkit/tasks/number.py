"""A number per text."""

import math
import re
from collections.abc import Hashable, Mapping, Sequence
from decimal import Decimal
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from ulmkit.errors import DataError
from ulmkit.evaluation.labels.regression import evaluate_number
from ulmkit.tasks.task import HeadOptions, Outputs, Report, Task
from ulmkit.text import Document, EncodedCorpus, Text
from ulmkit.text.read.labels import check_classes, clean_name, plain_value

if TYPE_CHECKING:
    from ulmkit.evaluation.baselines.classifiers import Baseline
    from ulmkit.evaluation.baselines.ngrams import Tokenize
    from ulmkit.model.heads import HeadConfig, NumberConfig

_LARGEST = float(np.finfo(np.float32).max)


class Number(Task):
    """A number per text."""

    name = "number"
    summary = "a number per text"
    has_bounded_scores = False

    @property
    def head_type(self) -> "type[NumberConfig]":
        """Config of the head."""
        from ulmkit.model.heads import NumberConfig

        return NumberConfig

    def parse(self, value: Any, place: str, class_names: Sequence[str] = ()) -> float | None:
        """Convert the value of a column into a finite number."""
        value = plain_value(value)
        if value is None or (isinstance(value, str) and not clean_name(value)):
            return None
        is_number = isinstance(value, (int, float, Decimal)) or (isinstance(value, str) and "_" not in value)
        try:
            number = float(value) if is_number else None
        except ValueError:
            number = None
        except OverflowError:
            number = math.inf
        if number is None:
            advice = "; write a decimal point" if re.fullmatch(r"\s*[-+]?\d+,\d+\s*", str(value)) else ""
            raise DataError(f'{place}: expected a number as label (task="{self.name}"), got {value!r:.80}{advice}')
        if math.isnan(number):
            return None
        if abs(number) > _LARGEST:
            shown = repr(value) if isinstance(value, str) else f"{number:g}"
            raise DataError(
                f"{place}: expected a finite number as label, got {shown:.80}; float32 holds at most {_LARGEST:.3g}"
            )
        return number

    def check(self, document: Document, place: str) -> Hashable | None:
        """Check that the label is a finite number."""
        self._check_label(document.label, Real, "a number", place)
        return self.parse(document.label, place)

    def label_names(self, by_split: Mapping[str, set[str]], known: Sequence[str] | None) -> tuple[str, ...]:
        """Return no classes; without a model the train split needs labels."""
        if known is None:
            check_classes({"train": by_split.get("train", ())}, min_classes=1)
        return ()

    def encode(self, labels: Sequence[Hashable], label_names: Sequence[str]) -> np.ndarray:
        """Encode labels as (n + 1,) float32, NaN for unlabelled documents."""
        return np.array([*labels, np.nan], dtype=np.float32)

    def head_config(self, corpus: EncodedCorpus, rows: np.ndarray, options: HeadOptions) -> "HeadConfig":
        """Configure the head, which learns in units of the training targets' mean and standard deviation."""
        self.class_weights(corpus, rows, options)  # raises if any are given
        targets = corpus.labels(rows)
        return self.head_type(
            number_loss=options.number_loss,
            value_range=options.value_range,
            number_mean=float(targets.mean()),
            number_deviation=float(targets.std()) or 1.0,
            **options.sizes(),
        )

    def label_count(self, head: "HeadConfig") -> int:
        """Return 0: a number has no label names."""
        return 0

    def report(self, outputs: Outputs, corpus: EncodedCorpus, rows: np.ndarray, by: Sequence[str] = ()) -> Report:
        """Evaluate predicted numbers (n,); see `evaluate_number`."""
        return evaluate_number(np.asarray(outputs), corpus.labels(rows))

    def document_scores(self, outputs: Outputs, corpus: EncodedCorpus, rows: np.ndarray) -> tuple[str, np.ndarray]:
        """Score a prediction by minus its absolute error."""
        return "minus mean absolute error", -np.abs(np.asarray(outputs) - corpus.labels(rows))

    def decide(
        self, outputs: Outputs, texts: Sequence[Text], label_names: Sequence[str], threshold: float = 0.5
    ) -> list[float]:
        """Return the numbers."""
        return [float(number) for number in outputs]

    def baselines(self, classes: int, tokenize: "Tokenize | None" = None) -> "list[Baseline]":
        """Return TF-IDF with ridge regression."""
        from ulmkit.evaluation.baselines.classifiers import TfidfRidge

        return [TfidfRidge(tokenize=tokenize)]
