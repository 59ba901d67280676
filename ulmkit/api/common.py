"""What both models have in common: their place, text to ids, and a budget from keywords."""

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import numpy as np

from ulmkit.errors import DataError
from ulmkit.hub import ClassifierParts, LanguageModelParts
from ulmkit.pipeline import RunOptions, place
from ulmkit.text import Text
from ulmkit.text.corpus.token_stream import reverse_document
from ulmkit.training import Budget

Parts = TypeVar("Parts", LanguageModelParts, ClassifierParts)


def one_budget(epochs: float | None, steps: int | None, minutes: float | None) -> Budget:
    """The budget; exactly one of the three is given."""
    return Budget(epochs=epochs, steps=steps, minutes=minutes)


def placed(parts: Parts, run: RunOptions | None) -> Parts:
    """The parts, their model moved to the device and set to the precision and backend of `run`, if given."""
    if run is not None:
        parts.model.to(place(parts.model.encoder, run))
    return parts


def text_ids(parts: LanguageModelParts | ClassifierParts, text: Text) -> np.ndarray:
    """The ids of a text in the order that the model reads them."""
    ids = parts.vocabulary.encode(parts.tokenizer.tokenize(text)).astype(np.int64)
    return reverse_document(ids, parts.vocabulary.bos_id) if parts.direction == "backward" else ids


def as_texts(texts: Iterable[Text | Sequence[str]], task: str = "none") -> list[Text]:
    """The texts as a list, each a str or a tuple of its fields; for task "tokens" a tuple of its words.

    Args: task: of the model that reads them; "pair" takes two fields, "tokens" a list of words, or a str, which is
        split at white space.
    Raises: DataError for a single text, whose characters would be taken for texts, and for what is no text, with its
        number from 0.
    """
    if isinstance(texts, str):
        raise DataError(f"texts: expected a list of texts, got one str ({texts[:40]!r}); put it in a list")
    return [_as_text(text, number, task) for number, text in enumerate(texts)]


def _as_text(text: Any, number: int, task: str) -> Text:
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
