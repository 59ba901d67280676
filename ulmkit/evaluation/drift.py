"""Drift: whether new texts differ from held-out texts of the training, by what a model measures of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ulmkit.config import check_probability
from ulmkit.errors import DataError
from ulmkit.evaluation.metrics import Report
from ulmkit.tables import text_table

MEASURES = {
    "bits_per_character": "bits per character of the language model",
    "unknown_rate": "share of tokens that the vocabulary lacks",
    "unknown_words": "share of words that no linear model knows",
    "tokens_per_word": "tokens per word",
    "words": "words in a text",
    "confidence": "probability of the predicted label",
}
"""Measures of a text, a number each, and how reports describe them."""

CLASSES = "classes"
"""Name of the comparison of predicted labels."""

LEAST_TEXTS = 20
"""Texts that a period needs to be compared."""

_LEAST_EXPECTED = 5.0  # texts of a class; the chi-square test joins rarer ones
_UNLIKE = {  # direction away from the training
    "bits_per_character": 1.0,
    "unknown_rate": 1.0,
    "unknown_words": 1.0,
    "confidence": -1.0,
}


@dataclass(frozen=True)
class TextMeasures:
    """Measures of texts, those that the model has.

    Attributes:
        values: (n,) float64 of each measure, by its name in `MEASURES`.
        predicted: (n,) int64, the most probable class of each text; None without classes.

    Raises:
        DataError: If a measure is unknown or not finite, or lengths differ.
    """

    values: Mapping[str, np.ndarray]
    predicted: np.ndarray | None = None

    def __post_init__(self) -> None:
        columns = [*self.values.values(), *([] if self.predicted is None else [self.predicted])]
        if not self.values or len({column.shape for column in columns}) != 1:
            raise DataError(f"text measures: expected columns of one length, got {[len(each) for each in columns]}")
        for name, column in self.values.items():
            if name not in MEASURES or not np.isfinite(column).all():
                raise DataError(f"text measures: expected finite numbers of a known measure, got {name!r}")

    def __len__(self) -> int:
        return len(next(iter(self.values.values())))

    def select(self, rows: np.ndarray) -> TextMeasures:
        """Keep some texts, by their numbers or a mask."""
        predicted = None if self.predicted is None else self.predicted[rows]
        return TextMeasures({name: column[rows] for name, column in self.values.items()}, predicted)

    @staticmethod
    def join(parts: Sequence[TextMeasures]) -> TextMeasures:
        """Join measures of one model; at least one."""
        names = parts[0].values
        classes = [part.predicted for part in parts if part.predicted is not None]
        return TextMeasures(
            {name: np.concatenate([part.values[name] for part in parts]) for name in names},
            np.concatenate(classes) if len(classes) == len(parts) else None,
        )


@dataclass(frozen=True)
class Comparison:
    """One measure of new texts beside that of held-out texts.

    Attributes:
        measure: A name in `MEASURES`, or "classes".
        before: Median of the held-out texts; None for classes.
        after: Median of the new texts; None for classes.
        effect: From 0, no difference, to 1: the Kolmogorov-Smirnov distance, or half the sum of the differences of
            the class shares.
        greater: Probability that a new text's value is greater than a held-out one's, ties half; None for classes.
        p_value: Probability of a difference this large without drift.
        adjusted_p_value: The same, with all comparisons of the report taken into account (Holm).
    """

    measure: str
    before: float | None
    after: float | None
    effect: float
    greater: float | None
    p_value: float
    adjusted_p_value: float = 1.0


@dataclass(frozen=True)
class PeriodDrift:
    """Comparisons of the texts of one period.

    Attributes:
        name: The period, such as "2024-W05", or "all".
        texts: Number of its texts.
        comparisons: One for each measure; none for a period of too few texts.
        has_drifted: Whether a difference is both significant and large enough.
    """

    name: str
    texts: int
    comparisons: tuple[Comparison, ...]
    has_drifted: bool


@dataclass(frozen=True)
class UnlikeText:
    """A text that is unlike those of the training.

    Attributes:
        name: Its place in the data, or its number from 1.
        unlikeness: Share of held-out texts that are more like the training; see `unlikeness`.
        text: Its beginning.
    """

    name: str
    unlikeness: float
    text: str


@dataclass(frozen=True)
class DriftReport(Report):
    """Comparison of new texts with held-out texts of the training.

    Attributes:
        documents: Number of new texts.
        held_out_texts: Number of held-out texts.
        level: Probability of a false alarm, all comparisons together.
        min_effect: Smallest effect that counts.
        periods: All texts, or those of each period.
        class_shares: By label, its share of the held-out and of the new texts.
        unlike: Texts least like the training, the most unlike first.
    """

    documents: int
    held_out_texts: int
    level: float
    min_effect: float
    periods: tuple[PeriodDrift, ...]
    class_shares: Mapping[str, tuple[float, float]]
    unlike: tuple[UnlikeText, ...]

    @property
    def has_drifted(self) -> bool:
        """True if the texts of a period differ from those of the training."""
        return any(period.has_drifted for period in self.periods)

    @property
    def is_compared(self) -> bool:
        """True if there were enough texts to compare, in one period at least; without that, nothing has drifted."""
        return any(period.comparisons for period in self.periods)

    def to_dict(self) -> dict[str, object]:
        """The report as a JSON object."""
        return {"has_drifted": self.has_drifted, "is_compared": self.is_compared, **super().to_dict()}

    def validation_metrics(self) -> dict[str, float]:
        """The largest effect."""
        effects = [comparison.effect for period in self.periods for comparison in period.comparisons]
        return {"effect": max(effects, default=0.0)}

    def table(self) -> str:
        """The comparisons, class shares and unlike texts as plain text."""
        rows: list[tuple[object, ...]] = []
        for period in self.periods:
            if not period.comparisons:
                rows.append((period.name, period.texts, "too few to compare", "", "", "", "", ""))
            for each in period.comparisons:
                is_found = _is_drift(each, self.level, self.min_effect)
                medians = [each.before, each.after]
                cells = ["" if value is None else f"{value:.3f}" for value in medians]
                rows.append(
                    (
                        *(period.name, period.texts, each.measure, *cells, f"{each.effect:.3f}"),
                        *(f"{each.adjusted_p_value:.2g}", "drift" if is_found else ""),
                    )
                )
        header = ("period", "texts", "measure", "held out", "new", "effect", "p, adjusted", "")
        parts = [text_table(header, rows)]
        if self.class_shares:
            shares = [(name, f"{old:.1%}", f"{new:.1%}") for name, (old, new) in self.class_shares.items()]
            parts.append(text_table(("predicted label", "held out", "new"), shares))
        if self.unlike:
            texts = [(each.name, each.text, f"{each.unlikeness:.1%}") for each in self.unlike]
            parts.append(text_table(("least like the training", "text", "more unlike than"), texts, left_columns=2))
        return "\n\n".join(parts)


def compare_numbers(measure: str, held_out: np.ndarray, new: np.ndarray) -> Comparison:
    """Compare the distributions of a number by the two-sample Kolmogorov-Smirnov test.

    D = sup_x |F_new(x) - F_held_out(x)|;  greater = P(new > held out) + P(new = held out) / 2

    Source: Smirnov 1939, Bull. Moscow Univ. 2(2), 3; `greater` is the Mann-Whitney U statistic divided by its largest
        value: Mann & Whitney 1947, Ann. Math. Stat. 18, 50.
    """
    from scipy.stats import ks_2samp

    tested = ks_2samp(new, held_out, method="asymp")  # the exact p-value of hundreds of texts takes seconds
    return Comparison(
        measure,
        float(np.median(held_out)),
        float(np.median(new)),
        float(tested.statistic),
        float(_shares_below(held_out, new).mean()),
        float(tested.pvalue),
    )


def _shares_below(held_out: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Share of held-out values below each new one, ties half."""
    known = np.sort(held_out)
    below, up_to = np.searchsorted(known, new, side="left"), np.searchsorted(known, new, side="right")
    return np.asarray((below + up_to) / (2 * len(known)))


def compare_classes(held_out: np.ndarray, new: np.ndarray, classes: int) -> Comparison:
    """Compare class shares by Pearson's chi-square test; classes too rare for it are joined.

    effect = sum_c |p_c - q_c| / 2

    Args:
        held_out: (n,) int classes.
        new: (m,) int classes.
        classes: Number of classes.

    Source: Pearson 1900, Philosophical Magazine 50, 157.
    """
    from scipy.stats import chi2_contingency

    counts = np.stack([np.bincount(each, minlength=classes) for each in (held_out, new)]).astype(np.float64)
    shares = counts / counts.sum(axis=1, keepdims=True)
    expected = counts.sum(axis=0) * counts.sum(axis=1).min() / counts.sum()
    is_rare = expected < _LEAST_EXPECTED
    table = np.column_stack([counts[:, ~is_rare], counts[:, is_rare].sum(axis=1)])
    table = table[:, table.sum(axis=0) > 0]
    p_value = 1.0 if table.shape[1] < 2 else float(chi2_contingency(table, correction=False).pvalue)
    return Comparison(CLASSES, None, None, float(np.abs(shares[0] - shares[1]).sum() / 2), None, p_value)


def adjust(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for multiple comparisons: compared with a level, they give a false alarm at most that often.

    p~_(i) = max_{j <= i} min(1, (m - j + 1) p_(j)),  p_(1) <= ... <= p_(m)

    Source: Holm 1979, Scandinavian Journal of Statistics 6, 65, section 2.
    """
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    scaled = np.minimum(1.0, values[order] * np.arange(len(values), 0, -1))
    adjusted = np.empty_like(values)
    adjusted[order] = np.maximum.accumulate(scaled)
    return [float(value) for value in adjusted]


def unlikeness(held_out: TextMeasures, new: TextMeasures) -> np.ndarray:
    """Tell how unlike the training each new text is.

    For bits per character, unknown tokens and words, and lack of confidence, the share of held-out texts below the new
    one, ties half; the mean of those that the model has, and a half for a model without any.

    Returns:
        (n,) float64 from 0 to 1.
    """
    shares = []
    for name, sign in _UNLIKE.items():
        if name in held_out.values and name in new.values:
            shares.append(_shares_below(sign * held_out.values[name], sign * new.values[name]))
    return np.mean(shares, axis=0) if shares else np.full(len(new), 0.5)


def find_periods(
    held_out: TextMeasures,
    new: TextMeasures,
    periods: Sequence[str] | None,
    label_names: Sequence[str],
    *,
    level: float,
    min_effect: float,
) -> tuple[PeriodDrift, ...]:
    """Compare the texts of each period with the held-out ones.

    A difference counts if it is significant at the level, all comparisons of all periods together, and if its effect
    is large enough: with many texts each small difference is significant.

    Args:
        held_out: Measures of the held-out texts.
        new: Measures of the new texts.
        periods: The period of each new text; None takes all together.
        label_names: The classes.
        level: Probability of a false alarm.
        min_effect: Smallest effect that counts, 0 to 1.

    Raises:
        ConfigError: If a value is outside its range.
        DataError: If the two have no measure in common.
    """
    check_probability("level", level)
    check_probability("min_effect", min_effect)
    names = ["all"] * len(new) if periods is None else list(periods)
    shared = [name for name in MEASURES if name in held_out.values and name in new.values]
    if not shared:
        raise DataError("drift: expected a measure that held-out and new texts share, got none; train the model again")
    groups: dict[str, list[Comparison]] = {}
    counts: dict[str, int] = {}
    for name in sorted(set(names)):
        texts = new.select(np.array([each == name for each in names]))
        counts[name], groups[name] = len(texts), []
        if len(texts) < LEAST_TEXTS:
            continue
        groups[name] = [compare_numbers(each, held_out.values[each], texts.values[each]) for each in shared]
        if held_out.predicted is not None and texts.predicted is not None:
            groups[name].append(compare_classes(held_out.predicted, texts.predicted, len(label_names)))
    adjusted = iter(adjust([each.p_value for group in groups.values() for each in group]))
    drifts = []
    for name, group in groups.items():
        comparisons = tuple(replace(each, adjusted_p_value=next(adjusted)) for each in group)
        has_drifted = any(_is_drift(each, level, min_effect) for each in comparisons)
        drifts.append(PeriodDrift(name, counts[name], comparisons, has_drifted))
    return tuple(drifts)


def class_shares(
    held_out: TextMeasures, new: TextMeasures, label_names: Sequence[str]
) -> dict[str, tuple[float, float]]:
    """Share of each label among the held-out and among the new texts; {} without classes."""
    if held_out.predicted is None or new.predicted is None or not len(new):
        return {}
    shares = [np.bincount(each, minlength=len(label_names)) / len(each) for each in (held_out.predicted, new.predicted)]
    return {name: (float(old), float(recent)) for name, old, recent in zip(label_names, *shares, strict=True)}


def _is_drift(comparison: Comparison, level: float, min_effect: float) -> bool:
    return comparison.adjusted_p_value < level and comparison.effect >= min_effect
