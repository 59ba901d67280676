"""What the commands of all recipes have in common: options of the machine, and how they end."""

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from ulmkit.config import check_whole
from ulmkit.errors import UlmkitError

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))  # recipes record their results as the benchmarks do
from measurements import machine, row, write_measurements

__all__ = ["machine", "make_parser", "row", "run_main", "set_threads", "told_command", "write_measurements"]

PLACES = {"--data": "PLACE", "--out": "FOLDER", "--json": "FILE", "--plot": "FILE"}
"""Options that name files, and what stands for them where a command is told."""


def make_parser(description: str | None, threads: int | None = None) -> argparse.ArgumentParser:
    """A parser that shows the module's text as it stands, with --threads, --device, --precision and --json.

    Args: threads: how many if not given, None for all.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=threads, help=f"of torch ({threads or 'all cores'})")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--precision", default="auto", help="of training: auto, fp32 or bf16")
    parser.add_argument("--json", metavar="FILE", help="write the figures to this file")
    return parser


def set_threads(threads: int | None) -> None:
    """Have torch use so many threads, None for as many as it takes by itself."""
    if threads is not None:
        check_whole("threads", threads)
        torch.set_num_threads(threads)


def told_command(parser: argparse.ArgumentParser, arguments: Sequence[str] | None = None) -> str:
    """The command as it was given, but for where its files lie."""
    shown = list(sys.argv[1:] if arguments is None else arguments)
    for place, word in PLACES.items():
        for number, argument in enumerate(shown):
            if argument.startswith(f"{place}="):
                shown[number] = f"{place}={word}"
            elif number and shown[number - 1] == place:
                shown[number] = word
    return shlex.join(["python", f"recipes/{parser.prog}", *shown])


def run_main(main: Callable[[], None]) -> None:
    """Run a recipe: Ctrl-C and mistakes end it with one line, and with 130 and 2."""
    try:
        main()
    except KeyboardInterrupt as stopped:
        print(f"\n{stopped or 'stopped'}; the same command goes on", file=sys.stderr)
        sys.exit(130)
    except UlmkitError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
