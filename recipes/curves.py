"""Validation perplexity over minutes of several runs of the recipes, in one plot, and when each reached a value.

    python recipes/curves.py RUN... --out FILE [--reach PERPLEXITY...]

RUN is a run's folder (the --out of ptb.py or wikitext2.py), also of one that still trains. Runs go by their folders'
names. --reach: values to look for (the best of the run that came least far, which all have reached).
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from recipe_command import run_main
from stages import read_curve

from ulmkit.errors import ConfigError
from ulmkit.evaluation.metrics import text_table
from ulmkit.report import plot_runs


def main(arguments: Sequence[str] | None = None) -> None:
    """The command. Raises: ConfigError for two runs of one name; FolderError for a folder without a run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="RUN", type=Path)
    parser.add_argument("--out", required=True, metavar="FILE", help=".png, .svg or .pdf")
    parser.add_argument("--reach", nargs="+", type=float, metavar="PERPLEXITY")
    options = parser.parse_args(arguments)
    names = [run.resolve().name for run in options.runs]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"runs: expected folders of different names, got {name!r} twice; rename one")
    curves = {name: read_curve(run) for name, run in zip(names, options.runs, strict=True)}
    points = {name: [(row["minutes"], row["perplexity"]) for row in rows] for name, rows in curves.items()}
    plot_runs(points, options.out)
    print_minutes(points, options.reach)


def print_minutes(points: Mapping[str, Sequence[tuple[float, float]]], values: Sequence[float] | None) -> None:
    """A row for each run: minutes until its first validation with at most each of these perplexities.

    Args: points: (minutes, perplexity) of each run. values: None for the highest of the runs' best.
    """
    best = [min(perplexity for _, perplexity in found) for found in points.values() if found]
    values = values or ([max(best)] if best else [])
    rows = [
        [name, *(next((f"{minutes:.1f}" for minutes, reached in found if reached <= value), None) for value in values)]
        for name, found in points.items()
    ]
    print(text_table(["minutes until", *(f"perplexity {value:.1f}" for value in values)], rows))


if __name__ == "__main__":
    run_main(main)
