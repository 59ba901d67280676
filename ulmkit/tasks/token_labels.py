"""A label per word."""

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ulmkit.errors import DataError
from ulmkit.evaluation.labels.token_labels import evaluate_tokens
from ulmkit.tasks.task import HeadOptions, Outputs, Report, Task, TokenizedTexts
from ulmkit.text import Document, EncodedCorpus, Text, Tokenizer
from ulmkit.text.read.labels import clean_name, parse_classes, plain_value

if TYPE_CHECKING:
    from ulmkit.model.heads import HeadConfig, TokenLabelConfig


class TokenLabels(Task):
    """A label per word, such as parts of speech or named entities."""

    name = "tokens"
    summary = "a label per word"
    label_columns = ("labels", "ner_tags")
    per_word = True

    @property
    def head_type(self) -> "type[TokenLabelConfig]":
        """Config of the head."""
        from ulmkit.model.heads import TokenLabelConfig

        return TokenLabelConfig

    def parse(self, value: Any, place: str, class_names: Sequence[str] = ()) -> tuple[str, ...] | None:
        """Convert a list into class names, one per word."""
        value = plain_value(value)
        if value is None or (isinstance(value, str) and not clean_name(value)):
            return None
        return parse_classes(value, place, class_names)

    def check(self, document: Document, place: str) -> Hashable | None:
        """Check that the label is a tuple with a class name per word. Returns: True if there is one."""
        self._check_label(document.label, tuple, "a tuple of class names", place)
        if not isinstance(document.label, tuple):
            return None
        if document.tokens is None or len(document.tokens) != len(document.label):
            words = "no" if document.tokens is None else len(document.tokens)
            raise DataError(f"{place}: expected a word for each of {len(document.label)} labels, got {words} words")
        return True

    def encode(self, labels: Sequence[Hashable], label_names: Sequence[str]) -> None:
        """Return None: words have labels, documents have none of their own."""

    def head_config(self, corpus: EncodedCorpus, rows: np.ndarray, options: HeadOptions) -> "HeadConfig":
        """Configure the head."""
        self.class_weights(corpus, rows, options)  # raises if any are given
        return self.head_type(
            classes=len(corpus.label_names), label_smoothing=options.label_smoothing, **options.sizes()
        )

    def report(self, outputs: Outputs, corpus: EncodedCorpus, rows: np.ndarray, by: Sequence[str] = ()) -> Report:
        """Evaluate the probabilities of each word's labels; see `evaluate_tokens`."""
        return evaluate_tokens(_decisions(outputs), _targets(corpus, rows), corpus.label_names)

    def document_scores(self, outputs: Outputs, corpus: EncodedCorpus, rows: np.ndarray) -> tuple[str, np.ndarray]:
        """Score a document by its share of right labels; documents without labelled words are left out."""
        pairs = zip(_decisions(outputs), _targets(corpus, rows), strict=True)
        shares = [(predicted == target).mean() for predicted, target in pairs if len(target)]
        return "documents' mean token accuracy", np.array(shares)

    def decide(
        self, outputs: Outputs, texts: Sequence[Text], label_names: Sequence[str], threshold: float = 0.5
    ) -> list[list[tuple[str, str]]]:
        """Choose the most probable label of each word: a list of (word, label) per text."""
        named = [[label_names[label] for label in labels] for labels in _decisions(outputs)]
        return [list(zip(words, labels, strict=True)) for words, labels in zip(texts, named, strict=True)]

    def count_answers(self, answers: Sequence[Any], label_names: Sequence[str]) -> dict[str, int]:
        """Count the words that got each label."""
        return super().count_answers([label for words in answers for _, label in words], label_names)

    def as_text(self, value: Any, place: str) -> Text:
        """Check that a value is a list of words; a str is split at white space."""
        words = plain_value(value)
        if isinstance(words, str):
            return tuple(words.split())
        if not isinstance(words, (list, tuple)) or not all(isinstance(word, str) for word in words):
            raise DataError(f"{place}: expected a str or a list of words, got {value!r:.60}")
        return tuple(words)

    def tokenize(self, tokenizer: Tokenizer, texts: Sequence[Text]) -> TokenizedTexts:
        """Tokenize each word on its own, and find the last token of each."""
        tokens, words = tokenizer.tokenize_words(texts)
        return TokenizedTexts(tokens, words=words)


def _decisions(outputs: Outputs) -> list[np.ndarray]:
    """(words,) int most probable label of each word, for each document."""
    return [np.asarray(output).argmax(axis=-1) for output in outputs]


def _targets(corpus: EncodedCorpus, rows: np.ndarray) -> list[np.ndarray]:
    """(words,) int true label of each labelled word, for each document."""
    return [labels[labels >= 0] for labels in map(corpus.token_labels, rows)]
