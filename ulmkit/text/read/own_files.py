"""Files and folders that ulmkit wrote, which are passed over where they lie beside data."""

import csv
import json
from pathlib import Path

from ulmkit.errors import DataError
from ulmkit.files import TRAINING_LOG, marker_file
from ulmkit.text.read.layout import has_places
from ulmkit.text.read.text_files import data_suffix, read_lines

_FOLDERS = {
    "config.json": "a model that ulmkit wrote",
    "corpus.json": "a corpus that ulmkit prepared",
    "state.json": "a checkpoint of ulmkit",
    "quickstart.json": "results of ulmkit quickstart",
}
_TRAINING_FOLDER = ".training"
TRAINING_LOGS = (TRAINING_LOG, Path(TRAINING_LOG).with_suffix(".jsonl").name)
"""Names of the logs that a training writes."""

_RESULTS = ({"label", "probabilities"}, {"log_probability", "perplexity"})


def own_folder(path: Path) -> str | None:
    """Describe a folder that ulmkit wrote: a model, a corpus, checkpoints; None for any other."""
    if (marker := marker_file(path)) is not None:
        return _FOLDERS[marker]
    if path.name.endswith(_TRAINING_FOLDER):
        names = [entry.name for entry in path.iterdir()]
        if any(name in TRAINING_LOGS or name.startswith("checkpoint-") for name in names):
            return "a training of ulmkit that has not ended"
    return None


def own_file(path: Path) -> str | None:
    """Describe a file that ulmkit wrote: a log, predictions or scores; None for any other."""
    if path.name in TRAINING_LOGS:
        return "a training log of ulmkit"
    columns = _columns(path)
    if columns and columns[-1] == "text":
        if any(results <= set(columns) for results in _RESULTS):
            return "predictions or scores that ulmkit wrote"
        if has_places(columns) and "label" in columns:
            return "predictions that ulmkit wrote"
    return None


def _columns(path: Path) -> list[str]:
    """Return the names in the first row of a table; none if it is of another kind or cannot be read."""
    try:
        if data_suffix(path) == ".csv":
            return next(csv.reader(read_lines(path)), [])
        if data_suffix(path) == ".jsonl":
            row = json.loads(next(read_lines(path), "{}"))
            return list(row) if isinstance(row, dict) else []
    except (csv.Error, DataError, RecursionError, ValueError):  # its reader says so if it is read
        pass
    return []
