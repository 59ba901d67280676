"""Results of a search over hyperparameters."""

import math
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ulmkit.config import to_dict
from ulmkit.evaluation.language.perplexity import Perplexity
from ulmkit.files import json_safe
from ulmkit.tables import text_table

Config = TypeVar("Config")


@dataclass(frozen=True)
class Search(Generic[Config]):
    """Results of a search over hyperparameters by perplexity.

    Attributes:
        rows: Each config tried with its perplexity, in the order tried; at least one.
    """

    rows: tuple[tuple[Config, Perplexity], ...]

    @property
    def best(self) -> Config:
        """Config of the lowest perplexity; the first one if several are equal."""
        return self._ordered()[0][0]

    @property
    def perplexity(self) -> float:
        """Lowest perplexity."""
        return self._ordered()[0][1].perplexity

    def to_dict(self) -> dict[str, Any]:
        """Best config and all rows as a JSON object."""
        rows = [{**to_dict(config), "perplexity": result.perplexity} for config, result in self.rows]
        return json_safe({"best": to_dict(self.best), "perplexity": self.perplexity, "rows": rows})

    def table(self) -> str:
        """All rows as a text table, best first; an infinite perplexity is shown as a dash."""
        rows = []
        for config, result in self._ordered():
            values = [f"{value:g}" if isinstance(value, float) else value for value in to_dict(config).values()]
            perplexity = result.perplexity if math.isfinite(result.perplexity) else None
            rows.append((*values, perplexity))
        return text_table((*to_dict(self.best), "perplexity"), rows)

    def _ordered(self) -> list[tuple[Config, Perplexity]]:
        return sorted(self.rows, key=lambda row: row[1].mean_nll)
