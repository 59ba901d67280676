"""Text-only parts of a ladder: words, characters, document vectors and co-training's features, without labels."""

import re
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property

import numpy as np

from ulmkit.members.co_training import CoTraining
from ulmkit.members.fitting import DocumentVectors, DocumentWords
from ulmkit.members.word_vectors import WordVectors
from ulmkit.text import EncodedCorpus
from ulmkit.text.corpus.splits import TRAINING_SPLITS
from ulmkit.text.words import Unit, WordReader, should_join_tokens

_MOST_CHARACTERS = 10_000_000  # of all text; with more, words occur often enough, and n-grams of characters take long
_FITTED_TEXT = 30_000  # words to learn from; vectors of so little fit each document too well to be judged on it
_LITTLE_TEXT = 1_000_000  # words of all text; up to it, vectors of other text help, and those of triples do not
_NAME_PARTS = re.compile(r"[-_./:\s]+|(?<=[a-z])(?=[A-Z])")  # what is between the words of `card_arrival`, `sci.med`
_LEAST_WORD_LENGTH = 2.0  # mean characters; where it is less, words are characters already


class LadderText:
    """The text of a corpus, labelled or not, as the members of a ladder learn from it; shared by all draws of labels.

    Args:
        corpus: The documents.
        held_out: Documents outside the text to learn from that members may be judged on.
        transductive: Learn from the text of the test split, too.
        rows: Documents to learn from; None takes all of those splits.
        seed: Seed of the document vectors.
        word_vectors: Word vectors of a language model, if there are any.

    Attributes:
        corpus: The documents.
        splits: The splits that are learned from.
        rows: Their documents.
        classes: Number of classes.
        names: (classes,) rows after those of the corpus, at which the name of each class is read as a document of it.
        answers: (documents + classes,) int64, the class of each document of the corpus and of each name; -1 for those
            without a label.
    """

    def __init__(
        self,
        corpus: EncodedCorpus,
        held_out: np.ndarray,
        *,
        transductive: bool = False,
        rows: np.ndarray | None = None,
        seed: int = 0,
        word_vectors: WordVectors | None = None,
    ) -> None:
        self.corpus = corpus
        wanted = (*TRAINING_SPLITS, *(["test"] if transductive else []))
        self.splits = [name for name in wanted if name in corpus.split_names]
        self.rows = np.concatenate([corpus.rows(name) for name in self.splits]) if rows is None else np.sort(rows)
        self.classes = len(corpus.label_names)
        self.names = len(corpus) + np.arange(self.classes)
        self.answers = np.full(len(corpus) + self.classes, -1, dtype=np.int64)
        labelled = np.flatnonzero(corpus.table["labelled"])
        self.answers[labelled] = corpus.labels(labelled)
        self.answers[self.names] = np.arange(self.classes)
        self._held_out = held_out
        self._seed = seed
        self._word_vectors = word_vectors

    def document(self, row: int) -> np.ndarray:
        """Token ids of a document of the corpus, or of the name of a class, with spaces between its words."""
        corpus = self.corpus
        if row < len(corpus):
            return corpus.document(row)
        name = _NAME_PARTS.sub(" ", corpus.label_names[row - len(corpus)])
        return corpus.vocabulary.encode(corpus.tokenizer.tokenize(name))

    @cached_property
    def documents(self) -> DocumentWords:
        """The words of the documents to learn from and to be judged on; the others have none."""
        corpus = self.corpus
        documents = (corpus.document(row) for row in self.rows)
        return self._read("words", should_join_tokens(corpus.tokenizer, corpus.vocabulary, documents))

    @cached_property
    def characters(self) -> DocumentWords | None:
        """The n-grams of characters in these words; None where there is so much text that words are enough."""
        words = self.documents
        times = np.bincount(words.sequence.ids, minlength=len(words.words))
        characters = int(times @ np.array([len(word) for word in words.words], dtype=np.int64))
        is_short = characters < _LEAST_WORD_LENGTH * times.sum()
        if not words.joins_tokens or is_short or characters > _MOST_CHARACTERS:
            return None
        return self._read("characters", words.joins_tokens)

    def _read(self, unit: Unit, joins_tokens: bool) -> DocumentWords:
        corpus = self.corpus
        rows = np.union1d(self.rows, self._held_out)
        reader = WordReader(corpus.tokenizer, corpus.vocabulary, joins_tokens=joins_tokens, unit=unit, is_open=True)
        rows = np.concatenate([rows, self.names])
        read = reader.read_many(map(self.document, rows))
        lengths = np.zeros(len(self.answers), dtype=np.int64)
        lengths[rows] = np.diff(read.offsets)
        sequence = replace(read, offsets=np.concatenate([[0], np.cumsum(lengths)]))
        return DocumentWords(sequence, reader.words, joins_tokens, unit)

    @cached_property
    def vectors(self) -> DocumentVectors:
        """Vectors of words, learned from all of the text: with word vectors if it is little, and of triples if not."""
        return self._word_view(self.rows)

    @cached_property
    def views(self) -> tuple[DocumentVectors, ...]:
        """Vectors of words, and of characters where they are used."""
        return (self.vectors,) if self.characters is None else (self.vectors, self._character_view(self.rows))

    @property
    def views_without(self) -> tuple[Callable[[np.ndarray], DocumentVectors] | None, ...]:
        """Functions that learn each view without some documents; None where the text is too long to need them."""
        is_enough = np.diff(self.documents.sequence.offsets)[self.rows].sum() > _FITTED_TEXT
        learners = (self._word_view, self._character_view)[: len(self.views)]
        return tuple(None if is_enough else self._without(learn) for learn in learners)

    def _without(self, learn: Callable[[np.ndarray], DocumentVectors]) -> Callable[[np.ndarray], DocumentVectors]:
        return lambda held_out: learn(np.setdiff1d(self.rows, held_out))

    def _word_view(self, rows: np.ndarray) -> DocumentVectors:
        if len(self.documents.sequence.ids) <= _LITTLE_TEXT:
            return DocumentVectors(self.documents, rows, self._seed, self._word_vectors)
        return DocumentVectors(self.documents, rows, self._seed, triples=True)

    def _character_view(self, rows: np.ndarray) -> DocumentVectors:
        assert self.characters is not None
        return DocumentVectors(self.characters, rows, self._seed)

    @cached_property
    def co_training(self) -> CoTraining:
        """Co-training on all of the text."""
        return CoTraining(self.views, self.rows, self.classes, self.names)
