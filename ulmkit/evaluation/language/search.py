"""What a search over hyperparameters found."""

import math
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ulmkit.config import to_dict
from ulmkit.evaluation.language.perplexity import Perplexity
from ulmkit.evaluation.metrics import json_safe, text_table

Config = TypeVar("Config")


@dataclass(frozen=True)
class Search(Generic[Config]):
    """Attributes: rows: every config tried with its perplexity, in the order tried; at least one."""

    rows: tuple[tuple[Config, Perplexity], ...]

    @property
    def best(self) -> Config:
        """The config of the lowest perplexity, the first of equals."""
        return self._ordered()[0][0]

    @property
    def perplexity(self) -> float:
        """The lowest."""
        return self._ordered()[0][1].perplexity

    def to_dict(self) -> dict[str, Any]:
        """The best config and all rows as a JSON object."""
        rows = [{**to_dict(config), "perplexity": result.perplexity} for config, result in self.rows]
        return json_safe({"best": to_dict(self.best), "perplexity": self.perplexity, "rows": rows})

    def table(self) -> str:
        """All rows as plain text, the best first; a dash stands for an infinite perplexity."""
        rows = []
        for config, result in self._ordered():
            values = [f"{value:g}" if isinstance(value, float) else value for value in to_dict(config).values()]
            rows.append((*values, result.perplexity if math.isfinite(result.perplexity) else None))
        return text_table((*to_dict(self.best), "perplexity"), rows)

    def _ordered(self) -> list[tuple[Config, Perplexity]]:
        return sorted(self.rows, key=lambda row: row[1].mean_nll)
