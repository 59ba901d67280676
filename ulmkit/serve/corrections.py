"""Labels that people have checked, in a CSV file that `ulmkit train` takes."""

import csv
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ulmkit.errors import DataError, UlmkitError
from ulmkit.files import expand_user
from ulmkit.safe_writes import atomic_write
from ulmkit.tasks import find_task
from ulmkit.text.characters import normalise
from ulmkit.text.read.documents import read_documents


class Corrections:
    """Checked labels by text, as it is read from files; a label that is given again replaces the former one.

    The file is written whole after each change, so that it is complete whenever the server ends.

    Args:
        file: CSV file with the columns text and label; made when there is a first label.

    Raises:
        DataError: If the file is there and has other columns.
    """

    def __init__(self, file: str) -> None:
        self.file = expand_user(file)
        self._lock = threading.Lock()
        self._labels: dict[str, str] = {}
        if self.file.exists():
            try:
                for document in read_documents(self.file, label_kind=find_task("single")):
                    if isinstance(document.text, str) and isinstance(document.label, str):
                        self._labels[document.text] = document.label
            except UlmkitError as error:
                raise DataError(f"corrections: expected a CSV file with the columns text and label ({error})") from None

    def __len__(self) -> int:
        return len(self._labels)

    @property
    def labels(self) -> Mapping[str, str]:
        """Checked labels by text, in the order in which they were given."""
        with self._lock:
            return dict(self._labels)

    def set(self, text: str, label: str | None) -> None:
        """Keep a label, or with None take it back."""
        text = normalise(text)
        with self._lock:
            labels = {each: known for each, known in self._labels.items() if each != text}
            if label is not None:
                labels[text] = label
            write_rows(self.file, ("text", "label"), labels.items())
            self._labels = labels  # only what the file has


def write_rows(file: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a CSV file, whole or not at all."""
    with atomic_write(file) as output:
        writer = csv.writer(output, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
