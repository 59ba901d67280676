"""Plots validation perplexity over minutes of several runs, and prints when each run reached a perplexity.

    python recipes/curves.py RUN... --out FILE [--reach PERPLEXITY...]

RUN is the folder of a run (the --out of ptb.py or wikitext2.py), which may still be training; folders' names label the
curves. --reach: perplexities to look for (default: the best of the run with the highest best, which all have reached).
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from recipe_command import run_main
from stages import read_curve

from ulmkit.errors import ConfigError
from ulmkit.report import plot_runs
from ulmkit.tables import text_table


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command.

    Raises:
        ConfigError: If two folders have the same name.
        FolderError: If a folder holds no run.
    """
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
    """Print for each run the minutes until its first validation with at most each of the perplexities.

    Args:
        points: (minutes, perplexity) of each run.
        values: Perplexities to reach; None for the highest of the runs' best.
    """
    best = [min(perplexity for _, perplexity in run_points) for run_points in points.values() if run_points]
    values = values or ([max(best)] if best else [])
    rows = [
        (name, *(next((f"{minutes:.1f}" for minutes, reached in curve if reached <= value), None) for value in values))
        for name, curve in points.items()
    ]
    print(text_table(["minutes until", *(f"perplexity {value:.1f}" for value in values)], rows))


if __name__ == "__main__":
    run_main(main)
