"""Running the command line in this process, as its entry point does."""

import contextlib
import io
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TextIO
from unittest import mock

import pytest

from ulmkit.cli import main

REPORT = (
    "read",
    "skipped",
    "documents",
    "classes",
    "without a label",
    "without text",
    "labels that look alike",
    "column not read",
)


class Told(NamedTuple):
    """What a command wrote."""

    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line that a refused command says, after the report of what it read if it came that far."""
        *report, line = self.err.splitlines()
        assert all(text.partition(": ")[0] in REPORT for text in report), self.err
        assert line.startswith("ulmkit: ")
        assert self.out == ""
        return line


def table_row(output: str, name: str) -> list[str]:
    """The cells beside the name of a row in a command's tables."""
    (line,) = (line for line in output.splitlines() if line.startswith(f"{name}  "))
    return re.split(" {2,}", line)[1:]


def ulmkit(*arguments: object, status: int = 0) -> Told:
    """Run `ulmkit ARGUMENTS` and check its exit status."""
    out, err = io.StringIO(), io.StringIO()
    code = _call_main(arguments, out, err)
    assert code == status, f"exit status {code}\n{out.getvalue()}\n{err.getvalue()}"
    return Told(out.getvalue(), err.getvalue())


def ulmkit_on_console(*arguments: object, output: int | Path, encoding: str = "utf-8") -> tuple[int, bytes]:
    """Run `ulmkit ARGUMENTS` on a console of an encoding, as a process of its own would but without its seconds.

    Args:
        *arguments: Of the command.
        output: File or file descriptor of standard output; it is closed at the end, as the interpreter would.
        encoding: Encoding of standard output and error.

    Returns:
        The exit status, and what was written to standard error.

    Raises:
        OSError: If the command leaves output that cannot be written, which the interpreter would complain of.
    """
    told = io.BytesIO()
    err = io.TextIOWrapper(told, encoding=encoding, write_through=True)
    with open(output, "w", encoding=encoding) as out:
        status = _call_main(arguments, out, err)
    return status, told.getvalue()


def _call_main(arguments: Sequence[object], out: TextIO, err: TextIO) -> int:
    """Run `ulmkit ARGUMENTS` in this process; its exit status."""
    with (
        mock.patch.object(sys, "argv", ["ulmkit", *map(str, arguments)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as end,
    ):
        main()
    assert isinstance(end.value.code, int)
    return end.value.code


SMALL = (
    "--embedding-size", 32, "--hidden-size", 32, "--layers", 2, "--tokenizer", "whitespace", "--batch-size", 8,
    "--bptt", 16, "--rate", 0.04, "--clip", 1, "--ar", 0, "--tar", 0, "--dropout", 0.1, "--precision", "fp32",
)  # fmt: skip
"""Options of `pretrain` for a tiny model."""

TUNE = ("--batch-size", 8, "--bptt", 16, "--rate", 0.02, "--ar", 0, "--tar", 0, "--precision", "fp32")
"""Options of `finetune`."""

CLASSIFY = (
    "--batch-size", 16, "--rate", 0.02, "--factor", 1.3, "--dropout", 0.1, "--unfreezing", "full", "--schedule",
    "one_cycle", "--precision", "fp32", "--method", "finetune",
)  # fmt: skip
"""Options of `train`."""

TINY = ("--tokenizer", "bytes", "--embedding-size", 16, "--hidden-size", 16, "--layers", 1, "--no-baselines")
"""Options of `train` for a tiny classifier without a language model."""
