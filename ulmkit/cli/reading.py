"""Report of what was read from DATA, as the commands print it before they go to work."""

import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ulmkit.text import DocumentSource, EncodedCorpus


class ReadingReport:
    """Prints in a few lines what a corpus was made from, and keeps it for the JSON file.

    Args:
        show: Prints a line; standard error by default.

    Attributes:
        values: The report as JSON values; empty as long as there is no corpus.
    """

    def __init__(self, show: Callable[[str], None] | None = None) -> None:
        self._show = show or _print_error_line
        self.values: dict[str, Any] = {}

    def __call__(self, corpus: "EncodedCorpus") -> None:
        """Report on a corpus."""
        from ulmkit.text.corpus.reading_report import corpus_report, reading_to_json

        for line in corpus_report(corpus.facts):
            if line.is_brief:
                self._show(f"{line.name}: {line.text}")
        self.values = reading_to_json(corpus.facts)


def report_source(source: "DocumentSource") -> dict[str, Any]:
    """Print how documents are read where their names do not say it.

    Returns:
        Which files are read, and how they are understood, as JSON values.
    """
    from ulmkit.text.corpus.reading_report import is_surprising, source_report

    reading = source.reading()
    if is_surprising(reading):
        for line in source_report(reading):
            if line.is_brief:
                _print_error_line(f"{line.name}: {line.text}")
    return asdict(reading)


def _print_error_line(line: str) -> None:
    print(line, file=sys.stderr)
