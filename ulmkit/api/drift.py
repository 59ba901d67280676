"""Comparison of new texts with the held-out texts of a model's training."""

from __future__ import annotations

import datetime
import heapq
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ulmkit.api.common import as_texts
from ulmkit.api.text_classifier import TextClassifier
from ulmkit.config import check_choice, check_whole
from ulmkit.errors import DataError, FolderError
from ulmkit.evaluation import DriftReport, TextMeasures, UnlikeText, class_shares, find_periods, unlikeness
from ulmkit.pipeline.text_measures import measure_documents
from ulmkit.tasks import Outputs
from ulmkit.text import Text
from ulmkit.text.corpus.chunks import encode_chunk

if TYPE_CHECKING:
    from ulmkit.api.language_model import LanguageModel

PERIODS = {"day": "%Y-%m-%d", "week": "%G-W%V", "month": "%Y-%m"}
"""Periods by name, and how each is written."""

_EXCERPT = 80
_EARLIEST = 86_400 * 365.25  # a smaller number is no time since 1970 but a year, a day or a counter


class DriftMonitor:
    """Compares new texts, which may come in parts, with the held-out texts of a model's training.

    Args:
        model: A language model, of a pair the forward member, or a classifier.
        period: "day", "week" or "month", to compare the texts of each on their own; needs times.
        level: Probability of a false alarm, all comparisons together.
        min_effect: Smallest effect that counts, see `ulmkit.evaluation.Comparison`.
        documents: Texts least like the training to name.

    Raises:
        FolderError: If the model folder keeps no measures of held-out texts.
        ConfigError: If there is no such period, or `documents` is below 0.
    """

    def __init__(
        self,
        model: LanguageModel | TextClassifier,
        *,
        period: str | None = None,
        level: float = 0.01,
        min_effect: float = 0.1,
        documents: int = 5,
    ) -> None:
        if period is not None:
            check_choice("period", period, PERIODS)
        check_whole("documents", documents, at_least=0)
        kept = model.parts.held_out
        if kept is None or kept.texts is None:
            raise FolderError(
                "drift: expected measures of held-out texts in the model folder, got none: it was made by an earlier "
                "version of ulmkit, or without validation texts; train or fine-tune the model again"
            )
        self._model = model
        self._classifier = model if isinstance(model, TextClassifier) else None
        self._held_out = kept.texts
        self._period = period
        self._level = level
        self._min_effect = min_effect
        self._most = documents
        self._parts: list[TextMeasures] = []
        self._periods: list[str] = []
        self._unlike: list[UnlikeText] = []

    def add(
        self,
        texts: Iterable[Text | Sequence[str]],
        *,
        times: Sequence[float | None] | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        """Measure texts.

        Args:
            texts: Texts, as the model takes them.
            times: Time of each in seconds since 1970, in UTC; for a period.
            names: What to call each in the report; its number from 1 if None.

        Raises:
            DataError: If an item is not a text, a period lacks a time, or there are more or fewer names than texts.
        """
        listed = as_texts(texts, None if self._classifier is None else self._classifier.parts.task)
        if names is not None and len(names) != len(listed):
            raise DataError(f"names: expected one for each of {len(listed)} texts, got {len(names)}")
        if not listed:
            return
        periods = self._period_names(times, len(listed))
        measures = measure_texts(self._model, listed)
        start = sum(map(len, self._parts)) + 1
        called = [str(start + number) for number in range(len(listed))] if names is None else names
        ranked = zip(called, unlikeness(self._held_out, measures).tolist(), listed, strict=True)
        unlike = [UnlikeText(name, share, _excerpt(text)) for name, share, text in ranked]
        self._unlike = heapq.nlargest(self._most, [*self._unlike, *unlike], key=lambda each: each.unlikeness)
        self._parts.append(measures)
        self._periods += periods

    def report(self) -> DriftReport:
        """Compare all texts so far. Raises: DataError without any."""
        if not self._parts:
            raise DataError("drift: expected at least one text, got none")
        new = TextMeasures.join(self._parts)
        labels = () if self._classifier is None else self._classifier.labels
        periods = find_periods(
            self._held_out,
            new,
            self._periods if self._period else None,
            labels,
            level=self._level,
            min_effect=self._min_effect,
        )
        return DriftReport(
            documents=len(new),
            held_out_texts=len(self._held_out),
            level=self._level,
            min_effect=self._min_effect,
            periods=periods,
            class_shares=class_shares(self._held_out, new, labels),
            unlike=tuple(self._unlike),
        )

    def _period_names(self, times: Sequence[float | None] | None, count: int) -> list[str]:
        if self._period is None:
            return []
        if times is None or len(times) != count:
            raise DataError(f"times: expected one for each of {count} texts to compare by {self._period}; give them")
        names = []
        for number, time in enumerate(times):
            if time is None or not time > _EARLIEST:
                raise DataError(f"text {number}: expected a date or seconds since 1970 as its time, got {time!r}")
            try:
                date = datetime.datetime.fromtimestamp(time, datetime.UTC)
            except (ValueError, OverflowError, OSError):
                raise DataError(f"text {number}: expected seconds since 1970 as its time, got {time!r}") from None
            names.append(date.strftime(PERIODS[self._period]))
        return names


def measure_texts(
    model: LanguageModel | TextClassifier, texts: Sequence[Text], outputs: Outputs | None = None
) -> TextMeasures:
    """Measure texts, to compare them with held-out texts of the training.

    Args:
        model: A language model, of a pair the forward member, or a classifier.
        texts: Checked texts, at least one; see `as_texts`.
        outputs: What the classifier's `predict_proba` says of them; None asks it.

    Returns:
        The measures that the model has.
    """
    parts, classifier = model.parts, model if isinstance(model, TextClassifier) else None
    per_word = classifier is not None and classifier.parts.task.per_word
    encoded = encode_chunk(parts.tokenizer, [list(text) if per_word else text for text in texts])
    ids = parts.vocabulary.encode(encoded.types)[encoded.ids].astype(np.int64)
    documents = np.split(ids, np.cumsum(encoded.lengths)[:-1])
    # A pair keeps the measures of its forward member, whose answers are not those of both.
    if classifier is None or not classifier.parts.task.is_one_class or classifier.backward is not None:
        outputs = None
    elif outputs is None:
        outputs = classifier.predict_proba(texts)
    unknown_words = None if classifier is None else classifier.unknown_words(documents)
    return measure_documents(parts, documents, encoded.words, encoded.characters, outputs, unknown_words)


def find_drift(
    model: LanguageModel | TextClassifier,
    texts: Iterable[Text | Sequence[str]],
    *,
    times: Sequence[float | None] | None = None,
    period: str | None = None,
    level: float = 0.01,
    min_effect: float = 0.1,
    documents: int = 5,
) -> DriftReport:
    """Compare new texts with the held-out texts of a model's training.

    Args:
        model: A language model or a classifier.
        texts: The new texts, as the model takes them.
        times: Time of each in seconds since 1970, in UTC; for a period.
        period: "day", "week" or "month", to compare the texts of each on their own.
        level: Probability of a false alarm, all comparisons together.
        min_effect: Smallest effect that counts, from 0 to 1.
        documents: Texts least like the training to name.

    Returns:
        The comparisons; `has_drifted` says whether one is both significant and large enough, `is_compared` whether
            there were enough texts for any.

    Raises:
        FolderError: If the model folder keeps no measures of held-out texts.
        DataError: If there are no texts, an item is not a text, or a period lacks times.
    """
    monitor = DriftMonitor(model, period=period, level=level, min_effect=min_effect, documents=documents)
    monitor.add(texts, times=times)
    return monitor.report()


def _excerpt(text: Text) -> str:
    joined = " ".join((text if isinstance(text, str) else " ".join(text))[: 4 * _EXCERPT].split())
    return joined if len(joined) <= _EXCERPT else joined[: _EXCERPT - 3] + "..."
