"""Options that the commands of all recipes share, and how the commands end."""

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from ulmkit.config import check_threads
from ulmkit.errors import UlmkitError

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))  # recipes record their results as the benchmarks do
from measurements import machine, row, write_measurements

__all__ = ["given_command", "machine", "make_parser", "row", "run_main", "set_threads", "write_measurements"]

PLACES = {
    "--data": "PLACE",
    "--out": "FOLDER",
    "--corpus": "FOLDER",
    "--json": "FILE",
    "--plot": "FILE",
    "--language-model": "LM",
    "--backward-language-model": "LM",
}
"""Options that name files, and the words that replace their values where a command is recorded."""


def make_parser(description: str | None, threads: int | None = None) -> argparse.ArgumentParser:
    """Make a parser with --threads, --device, --precision and --json that shows the description as written.

    Args:
        description: The recipe's module docstring.
        threads: Default of --threads; None for torch's choice.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--threads", type=int, default=threads, help=f"threads of torch (default: {threads or 'all cores'})"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--precision", default="auto", help="precision of training: auto, fp32 or bf16")
    parser.add_argument("--json", metavar="FILE", help="write the results to this file")
    return parser


def set_threads(threads: int | None) -> None:
    """Set torch's number of threads; None keeps its choice."""
    if threads is not None:
        check_threads("threads", threads)
        torch.set_num_threads(threads)


def given_command(parser: argparse.ArgumentParser, arguments: Sequence[str] | None = None) -> str:
    """The command line as given, with words of `PLACES` instead of this machine's paths."""
    shown = list(sys.argv[1:] if arguments is None else arguments)
    for option, word in PLACES.items():
        for number, argument in enumerate(shown):
            if argument.startswith(f"{option}="):
                shown[number] = f"{option}={word}"
            elif number and shown[number - 1] == option:
                shown[number] = word
    return shlex.join(["python", f"recipes/{parser.prog}", *shown])


def run_main(main: Callable[[], None]) -> None:
    """Run a recipe; bad input ends it with one line and status 2, Ctrl-C with one line and status 130."""
    try:
        main()
    except KeyboardInterrupt as interrupt:
        print(f"\n{interrupt or 'stopped'}; the same command continues", file=sys.stderr)
        sys.exit(130)
    except UlmkitError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
