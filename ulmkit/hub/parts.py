"""Models with all that text needs to reach them: what is trained, saved and loaded."""

from dataclasses import dataclass, field
from typing import Any

from ulmkit.hub.folder_config import Direction
from ulmkit.model.classifier import AWDLSTMClassifier
from ulmkit.model.language_model import AWDLSTMLanguageModel
from ulmkit.text import Tokenizer, Vocabulary

Row = dict[str, Any]


@dataclass(frozen=True)
class LanguageModelParts:
    """A language model.

    direction: in which it reads. facts: JSON values about its training, see `ulmkit.hub.model_card` for the names that
    the card knows. history: rows of the training log; a loaded model has none.
    """

    model: AWDLSTMLanguageModel
    vocabulary: Vocabulary
    tokenizer: Tokenizer
    direction: Direction
    facts: dict[str, Any]
    history: list[Row] = field(default_factory=list)


@dataclass(frozen=True)
class ClassifierParts:
    """A classifier. label_names: in the order of its outputs, none for a number. The rest as LanguageModelParts."""

    model: AWDLSTMClassifier
    vocabulary: Vocabulary
    tokenizer: Tokenizer
    label_names: tuple[str, ...]
    direction: Direction
    facts: dict[str, Any]
    history: list[Row] = field(default_factory=list)
