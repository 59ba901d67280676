"""Helpers that both models share: placing them on a device, and checking and encoding texts."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np

from ulmkit.errors import DataError
from ulmkit.hub import ClassifierParts, LanguageModelParts
from ulmkit.pipeline import RunOptions, place
from ulmkit.text import Text
from ulmkit.text.corpus.token_stream import reverse_document

Parts = TypeVar("Parts", LanguageModelParts, ClassifierParts)


def place_parts(parts: Parts, run: RunOptions | None) -> Parts:
    """Move a model to the device of `run` and set its precision and backend; does nothing for None."""
    if run is not None:
        parts.model.to(place(parts.model.encoder, run))
    return parts


def text_ids(parts: LanguageModelParts | ClassifierParts, text: Text) -> np.ndarray:
    """Encode a text as token ids, in the order in which the model reads them. Returns (T,) int64."""
    ids = parts.vocabulary.encode(parts.tokenizer.tokenize(text)).astype(np.int64)
    return reverse_document(ids, parts.vocabulary.bos_id) if parts.direction == "backward" else ids


def as_texts(texts: Iterable[Text | Sequence[str]], task: str = "none") -> list[Text]:
    """Check texts and return them as a list.

    Args:
        texts: Texts, each a str or a tuple of its fields.
        task: Task of the model that reads them: "pair" takes two fields; "tokens" a list of words, or a str that is
            split at white space.

    Returns:
        Each text as a str or a tuple of its fields; for task "tokens", a tuple of its words.

    Raises:
        DataError: If a single str is given, or one of them is no text; the message has its number from 0.
    """
    if isinstance(texts, str):
        raise DataError(f"texts: expected a list of texts, got one str ({texts[:40]!r}); put it in a list")
    return [_as_text(text, number, task) for number, text in enumerate(texts)]


def _as_text(text: object, number: int, task: str) -> Text:
    fields = tuple(text) if isinstance(text, (list, tuple)) else (text,)
    if task == "tokens":
        if not all(isinstance(word, str) for word in fields):
            raise DataError(f"text {number}: expected a str or a list of words, got {text!r:.60}")
        return tuple(text.split()) if isinstance(text, str) else fields
    if not fields or not all(isinstance(field, str) for field in fields):
        raise DataError(f"text {number}: expected a str or a tuple of str, got {text!r:.60}")
    if task == "pair" and len(fields) != 2:
        raise DataError(f"text {number}: expected a tuple of two texts for task 'pair', got {text!r:.60}")
    return text if isinstance(text, str) else fields
