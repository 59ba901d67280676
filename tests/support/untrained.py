"""Whole models with random weights, for tests of all but what they answer."""

from support import tiny
from ulmkit import LanguageModel, TextClassifier
from ulmkit.hub import ClassifierParts, LanguageModelParts, TrainingFacts
from ulmkit.hub.folder_config import Direction
from ulmkit.model.classifier import AWDLSTMClassifier
from ulmkit.model.heads import HeadConfig, SingleLabelConfig
from ulmkit.model.language_model import AWDLSTMLanguageModel
from ulmkit.tasks import TASKS
from ulmkit.text import Vocabulary, WhitespaceTokenizer


def untrained_language_model(direction: Direction = "forward") -> LanguageModel:
    """A language model of the words of `tiny.reviews`."""
    vocabulary = _words()
    model = AWDLSTMLanguageModel(tiny.SIZES, len(vocabulary)).eval()
    return LanguageModel(LanguageModelParts(model, vocabulary, WhitespaceTokenizer(), direction, TrainingFacts()))


def untrained_classifier(
    task: str = "single",
    head: HeadConfig | None = None,
    direction: Direction = "forward",
    labels: tuple[str, ...] = ("neg", "pos"),
) -> TextClassifier:
    """A classifier of the words of `tiny.reviews`."""
    vocabulary = _words()
    model = AWDLSTMClassifier(tiny.ENCODER, len(vocabulary), head or SingleLabelConfig(classes=len(labels))).eval()
    tokenizer = WhitespaceTokenizer()
    return TextClassifier(
        ClassifierParts(TASKS[task], model, vocabulary, tokenizer, labels, direction, TrainingFacts())
    )


def _words() -> Vocabulary:
    return Vocabulary(["<unk>", "<eos>", *sorted({word for text, _ in tiny.reviews() for word in text.split()})])
