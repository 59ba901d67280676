"""Helpers that both models share: placing them on a device, and checking and encoding texts."""

from collections.abc import Iterable, Sequence, Set
from typing import TypeVar

import numpy as np

from ulmkit.errors import ConfigError, DataError, TrainingError
from ulmkit.hub import ClassifierParts, LanguageModelParts
from ulmkit.pipeline import DataOptions, RunOptions, place
from ulmkit.tasks import Outputs, Task, as_text
from ulmkit.text import Text
from ulmkit.text.corpus.token_stream import reverse_document
from ulmkit.text.read.documents import is_table

Parts = TypeVar("Parts", bound=LanguageModelParts | ClassifierParts)


def place_parts(parts: Parts, run: RunOptions | None) -> Parts:
    """Move a model to the device of `run` and set its precision and backend; does nothing for None."""
    if run is not None:
        parts.model.to(place(parts.model.encoder, run))
    return parts


def text_ids(parts: LanguageModelParts | ClassifierParts, text: Text) -> np.ndarray:
    """Encode a text as token ids, in the order in which the model reads them. Returns (T,) int64."""
    ids = parts.vocabulary.encode(parts.tokenizer.tokenize(text)).astype(np.int64)
    return reverse_document(ids, parts.vocabulary.bos_id) if parts.direction == "backward" else ids


def refuse_selection(split: str | None, data_options: DataOptions | None) -> None:
    """Raise ConfigError for a split or options beside evaluation data, which are selected already."""
    if split is not None or data_options is not None:
        raise ConfigError("split, data_options: expected none with selected evaluation data; leave them out")


def check_finite_answers(outputs: Outputs) -> None:
    """Raise TrainingError if a number that a model answers with is NaN or infinite."""
    arrays = outputs if isinstance(outputs, list) else [outputs]
    if not all(np.isfinite(array).all() for array in arrays):
        raise TrainingError(
            "the model's answers are not finite: its training diverged, or its weights were altered; train it again"
        )


def as_texts(texts: Iterable[Text | Sequence[str]], task: Task | None = None) -> list[Text]:
    """Check texts and return them as a list.

    Args:
        texts: The texts as users give them: a list, an array, a column of a table or an iterator.
        task: The classifier's task; None for a language model.

    Returns:
        Each text as a str, or a tuple of its fields or words.

    Raises:
        DataError: If a table or a single str is given, or an item is not a text; the message gives its index.
    """
    if isinstance(texts, str):
        raise DataError(f"texts: expected a list of texts, got one str ({texts[:40]!r}); put it in a list")
    if is_table(texts):
        columns = ("table['text']",) if task is None or task.text_fields == 1 else ("table['first']", "table['second']")
        column = columns[0] if len(columns) == 1 else f"zip({', '.join(columns)})"
        raise DataError(f"texts: expected a list of texts, got {type(texts).__name__}; give its column: list({column})")
    if isinstance(texts, Set):
        raise DataError(
            f"texts: expected a list of texts, got a {type(texts).__name__}, which has no order; put them in a list"
        )
    if not isinstance(texts, Iterable) or isinstance(texts, bytes) or getattr(texts, "ndim", 1) == 0:
        raise DataError(f"texts: expected a list of texts, got {type(texts).__name__}; put the texts in a list")
    check = as_text if task is None else task.as_text
    return [check(text, f"text {number}") for number, text in enumerate(texts)]
