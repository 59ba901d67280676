"""The training log: a row for every few steps and for every validation, as CSV, JSON lines and TensorBoard."""

import importlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ulmkit.errors import MissingPackageError
from ulmkit.files import TRAINING_LOG, csv_lines, json_safe
from ulmkit.safe_writes import atomic_write

JSONL_NAME = "training_log.jsonl"

LogRow = dict[str, Any]


class TrainingLog:
    """Log rows in memory and, with a folder, in training_log.csv and training_log.jsonl, flushed row by row.

    A row has `kind` ("train" or "validation"), `step`, `epoch`, `phase`, `seconds`, `tokens`. A train row also has
    `rates` (of each layer group), `momentum`, `threads`, `tokens_per_second`, `loss` and the task's metrics, as means
    since the previous row; a validation row has the metrics of `validate`, prefixed with `valid_`. Numbers that are not
    finite become None, an empty cell in the CSV.

    Args:
        folder: Folder for the files; None keeps rows in memory only.
        rows: Rows of earlier sessions; anything else in the files is dropped.
        tensorboard: Folder for TensorBoard event files; None writes none.

    Attributes:
        rows: All rows so far.

    Raises:
        MissingPackageError: If event files are requested and tensorboardX is not installed.
    """

    def __init__(self, folder: Path | None, rows: Sequence[LogRow] = (), tensorboard: Path | None = None) -> None:
        self.rows: list[LogRow] = [dict(row) for row in rows]
        self._folder = folder
        self._columns: list[str] = []
        self._board = None if tensorboard is None else _summary_writer(tensorboard, self.rows)
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            with atomic_write(folder / JSONL_NAME, streams=False) as file:
                file.writelines(json.dumps(row, allow_nan=False) + "\n" for row in self.rows)
            self._rewrite_csv()

    def add(self, row: Mapping[str, Any]) -> LogRow:
        """Append a row everywhere and return it as logged."""
        logged: LogRow = json_safe(row)
        self.rows.append(logged)
        if self._folder is not None:
            with open(self._folder / JSONL_NAME, "a", encoding="utf-8") as file:
                file.write(json.dumps(logged, allow_nan=False) + "\n")
            if set(logged) <= set(self._columns):
                with open(self._folder / TRAINING_LOG, "a", encoding="utf-8", newline="") as file:
                    file.write(csv_lines([logged], self._columns))
            else:
                self._rewrite_csv()
        if self._board is not None:
            for key, value in logged.items():
                if isinstance(value, int | float) and key != "step":
                    self._board.add_scalar(f"{logged['kind']}/{key}", value, logged["step"])
            self._board.flush()
        return logged

    def close(self) -> None:
        """Close the TensorBoard writer, if any."""
        if self._board is not None:
            self._board.close()

    def _rewrite_csv(self) -> None:
        """Write the whole CSV, at the start and whenever a row brings a new column."""
        assert self._folder is not None
        for row in self.rows:
            self._columns += [key for key in row if key not in self._columns]
        with atomic_write(self._folder / TRAINING_LOG, streams=False) as file:
            if self._columns:
                file.write(",".join(self._columns) + "\n" + csv_lines(self.rows, self._columns))


def _summary_writer(folder: Path, rows: Sequence[LogRow]) -> Any:
    """Open an event file; what an earlier session wrote there after the last of its rows is hidden by TensorBoard."""
    try:
        tensorboard = importlib.import_module("tensorboardX")  # writes the same files without TensorFlow's packages
    except ImportError as error:
        raise MissingPackageError(
            "tensorboardX: is not installed; to write event files, run: pip install 'ulmkit[tensorboard]'"
        ) from error
    return tensorboard.SummaryWriter(str(folder), purge_step=rows[-1]["step"] + 1 if rows else None)
