"""Models with their vocabulary and tokenizer: the units that are trained, saved and loaded."""

from dataclasses import dataclass, field

from ulmkit.hub.facts import TrainingFacts
from ulmkit.hub.folder_config import Direction
from ulmkit.model.classifier import AWDLSTMClassifier
from ulmkit.model.language_model import AWDLSTMLanguageModel
from ulmkit.tasks import Task
from ulmkit.text import Tokenizer, Vocabulary
from ulmkit.training.log import LogRow


@dataclass(frozen=True)
class LanguageModelParts:
    """A language model with everything that it needs to read text.

    Attributes:
        model: The weights.
        vocabulary: The token of each id.
        tokenizer: Cuts text into the vocabulary's tokens.
        direction: Whether it reads text forward or backward.
        facts: How it was made.
        history: Rows of the training log; a loaded model has none.
    """

    model: AWDLSTMLanguageModel
    vocabulary: Vocabulary
    tokenizer: Tokenizer
    direction: Direction
    facts: TrainingFacts
    history: list[LogRow] = field(default_factory=list)


@dataclass(frozen=True)
class ClassifierParts:
    """A classifier with everything that it needs to read text.

    Attributes:
        task: What it predicts.
        model: The weights.
        vocabulary: The token of each id.
        tokenizer: Cuts text into the vocabulary's tokens.
        label_names: Labels in the order of the outputs; empty for a number.
        direction: Whether it reads text forward or backward.
        facts: How it was made.
        history: Rows of the training log; a loaded model has none.
    """

    task: Task
    model: AWDLSTMClassifier
    vocabulary: Vocabulary
    tokenizer: Tokenizer
    label_names: tuple[str, ...]
    direction: Direction
    facts: TrainingFacts
    history: list[LogRow] = field(default_factory=list)
