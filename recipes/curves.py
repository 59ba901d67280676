"""Validation perplexity over minutes of several runs of the recipes, in one plot.

    python recipes/curves.py RUN... --out FILE

RUN is a run's folder (the --out of ptb.py or wikitext2.py), also of one that still trains. Runs go by their folders'
names.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from recipe_command import run_main
from stages import read_curve

from ulmkit.errors import ConfigError
from ulmkit.report import plot_runs


def main(arguments: Sequence[str] | None = None) -> None:
    """The command. Raises: ConfigError for two runs of one name; FolderError for a folder without a run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="RUN", type=Path)
    parser.add_argument("--out", required=True, metavar="FILE", help=".png, .svg or .pdf")
    options = parser.parse_args(arguments)
    names = [run.resolve().name for run in options.runs]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"runs: expected folders of different names, got {name!r} twice; rename one")
    curves = {name: read_curve(run) for name, run in zip(names, options.runs, strict=True)}
    points = {name: [(row["minutes"], row["perplexity"]) for row in rows] for name, rows in curves.items()}
    plot_runs(points, options.out)


if __name__ == "__main__":
    run_main(main)
