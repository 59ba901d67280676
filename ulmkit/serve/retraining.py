"""Training again, from the page: `ulmkit train` in a process of its own, on the checked labels and what was there."""

import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from ulmkit.errors import ConfigError, DataError
from ulmkit.hub import holds_language_model, read_config, read_facts, resolve_model
from ulmkit.serve.corrections import Corrections, write_rows
from ulmkit.serve.options import ServeOptions
from ulmkit.serve.refusals import RefusalError
from ulmkit.serve.schemas import TrainingAnswer
from ulmkit.tasks import find_task
from ulmkit.text import Document
from ulmkit.text.read.documents import read_documents

_LOG_BYTES = 4000


def check_start(options: ServeOptions) -> None:
    """Check that trainings can start from the model of the options, before people check labels for them.

    Raises:
        FolderError: If there is no such model.
        ConfigError: If it is a classifier of several models.
    """
    if options.retrain is None or options.retrain == "none":
        return
    folder = resolve_model(options.retrain)
    if not holds_language_model(folder) and read_config(folder)["kind"] != "classifier":
        raise ConfigError(
            f"retrain: expected a language model, a fine-tuned classifier or 'none', got {options.retrain!r}, a "
            "classifier of linear models or of several; give the language model that it was trained from, or 'none'"
        )


class Retraining:
    """Trainings of new classifiers, one at a time.

    Each leaves its data, its log and the classifier beside the file of the checked labels.

    Args:
        corrections: The checked labels.
        options: What to train from, on which further data, and for how long.
    """

    def __init__(self, corrections: Corrections, options: ServeOptions) -> None:
        self._corrections = corrections
        self._options = options
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._begun = 0.0
        self._folder: Path | None = None

    @property
    def folder(self) -> Path | None:
        """Folder of the newest classifier; None unless its training is done."""
        is_done = self._process is not None and self._process.poll() == 0
        return self._folder if is_done else None

    def start(self, labels: Sequence[str]) -> None:
        """Start a training.

        Args:
            labels: Labels of the served classifier, which the new one must have, too.

        Raises:
            RefusalError: If one runs, nothing was checked, or the new classifier would lack a label.
            DataError: If the further data cannot be read.
        """
        from ulmkit.pipeline.stage_folder import training_folder  # imports torch

        with self._lock:
            if self._process is not None and self._process.poll() is None:
                raise RefusalError(409, "training: one is running; wait for its end")
            if not len(self._corrections):
                raise RefusalError(422, "training: expected checked labels, got none; check some documents first")
            stem = self._corrections.file.with_suffix("")
            names = (f"{stem}-classifier-{number}" for number in itertools.count(1))
            # A training that was stopped has left checkpoints, beside which no other one begins.
            folder = next(
                Path(name) for name in names if not Path(name).exists() and not training_folder(name).exists()
            )
            data = Path(f"{stem}-training.csv")
            columns, occurring = self._write_data(data)
            missing = [label for label in labels if label not in occurring]
            if missing:  # the new classifier would lack them or, trained further from another one, forget them
                raise RefusalError(
                    422,
                    f"training: expected training texts of every label, got none of {', '.join(missing)}; check some "
                    "of them first, or start the server with more texts (--retrain-data)",
                )
            command = [sys.executable, "-m", "ulmkit", "train", str(self._options.retrain), str(data)]
            command += ["--out", str(folder)]
            if self._minutes is not None:
                command += ["--minutes", str(self._minutes)]
            if "split" in columns:
                command += ["--split-column", "split"]
            with open(self._log_file, "wb") as log:
                self._process = self._run(command, log)
            self._folder = folder
            self._begun = time.time()

    def state(self) -> TrainingAnswer:
        """Tell how far the training is."""
        with self._lock:
            answer = TrainingAnswer(state="ready", minutes=self._minutes, checked=len(self._corrections))
            if self._process is None:
                return answer
            status = self._process.poll()
            answer.state = "running" if status is None else "failed" if status else "done"
            end = time.time() if status is None else self._log_file.stat().st_mtime
            answer.seconds = max(0.0, end - self._begun)
            lines = self._log_file.read_bytes()[-_LOG_BYTES:].decode("utf-8", "replace").split("\n")
            answer.message = next((line.strip() for line in reversed(lines) if line.strip()), "")
            if answer.state == "done" and self._folder is not None:
                answer.folder = self._folder.name
                facts = read_facts(self._folder)
                answer.accuracy, answer.validation = facts.held_out_accuracy, dict(facts.validation)
            return answer

    def close(self) -> None:
        """Stop the training, if one runs; it leaves a checkpoint."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(self._options.timeout_seconds)
            except subprocess.TimeoutExpired:
                self._process.kill()

    @property
    def _minutes(self) -> float | None:
        """Minutes of a training; None for linear models, which no time limits."""
        return None if self._options.retrain == "none" else self._options.retrain_minutes

    @property
    def _log_file(self) -> Path:
        return Path(f"{self._corrections.file.with_suffix('')}-training.log")

    def _run(self, command: list[str], log: IO[bytes]) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)

    def _write_data(self, file: Path) -> tuple[tuple[str, ...], set[str]]:
        """Write the documents to train on; checked labels replace those that were there.

        Returns:
            The columns, and the labels that occur.
        """
        checked = self._corrections.labels
        seen: set[str] = set()
        rows: list[tuple[str, ...]] = []
        has_splits = False
        for document in self._further_documents():
            text = document.text
            if not isinstance(text, str):
                raise RefusalError(422, "training: expected one text per document in --retrain-data")
            label = checked.get(text, document.label)
            seen.add(text)
            has_splits = has_splits or document.split is not None
            rows.append((text, "" if label is None else str(label), document.split or "train"))
        rows += [(text, label, "train") for text, label in checked.items() if text not in seen]
        columns = ("text", "label", "split") if has_splits else ("text", "label")
        write_rows(file, columns, (row[: len(columns)] for row in rows))
        return columns, {label for _, label, split in rows if label and split == "train"}

    def _further_documents(self) -> list[Document]:
        data = self._options.retrain_data
        if data is None:
            return []
        split_column = self._options.retrain_split_column
        try:
            return list(read_documents(data, label_kind=find_task("single"), split_column=split_column))
        except OSError as error:
            raise DataError(f"retrain_data: cannot be read ({error})") from None
