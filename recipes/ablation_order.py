"""Order of the rows of an ablation table, the paper's beside ours, and the spread of a row's runs."""

import statistics
from collections.abc import Mapping, Sequence


def ranks(values: Mapping[str, float]) -> dict[str, int]:
    """Ranks by name, 1 for the lowest value; equal values share the lower rank."""
    from scipy.stats import rankdata

    return dict(zip(values, rankdata(list(values.values()), method="min").astype(int).tolist(), strict=True))


def rank_correlation(first: Mapping[str, float], second: Mapping[str, float]) -> float | None:
    """Spearman's correlation of two orders of the same names; None for fewer than three names or equal values."""
    from scipy.stats import spearmanr

    if len(first) < 3 or len(set(first.values())) == 1 or len({second[name] for name in first}) == 1:
        return None
    return float(spearmanr(list(first.values()), [second[name] for name in first]).statistic)


def spread(values: Sequence[float], decimals: int = 1) -> str | None:
    """Mean of a row's runs with the lowest and the highest; None without runs."""
    if not values:
        return None
    mean, low, high = (f"{value:.{decimals}f}" for value in (statistics.fmean(values), min(values), max(values)))
    return f"{mean} ({low}-{high})"
