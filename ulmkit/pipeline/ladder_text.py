"""Text-only parts of a ladder: words, document vectors and the features of co-training, learnt without labels."""

from dataclasses import replace
from functools import cached_property

import numpy as np

from ulmkit.members.co_training import CoTraining
from ulmkit.members.fitting import DocumentVectors, DocumentWords
from ulmkit.members.word_vectors import WordVectors
from ulmkit.text import EncodedCorpus
from ulmkit.text.corpus.splits import TRAINING_SPLITS
from ulmkit.text.words import WordReader, should_join_tokens


class LadderText:
    """The text of a corpus, labelled or not, as the members of a ladder learn from it; shared by all draws of labels.

    Args:
        corpus: The documents.
        held_out: Documents outside the text to learn from that members may be judged on.
        transductive: Learn from the text of the test split, too.
        seed: Seed of the document vectors.
        word_vectors: Word vectors of a language model, if there are any.

    Attributes:
        corpus: The documents.
        splits: The splits that are learnt from.
        rows: Their documents.
        answers: (documents,) int64, the class of each document of the corpus; -1 for those without a label.
        classes: Number of classes.
    """

    def __init__(
        self,
        corpus: EncodedCorpus,
        held_out: np.ndarray,
        *,
        transductive: bool = False,
        seed: int = 0,
        word_vectors: WordVectors | None = None,
    ) -> None:
        self.corpus = corpus
        wanted = (*TRAINING_SPLITS, *(["test"] if transductive else []))
        self.splits = [name for name in wanted if name in corpus.split_names]
        self.rows = np.concatenate([corpus.rows(name) for name in self.splits])
        self.classes = len(corpus.label_names)
        self.answers = np.full(len(corpus), -1, dtype=np.int64)
        labelled = np.flatnonzero(corpus.table["labelled"])
        self.answers[labelled] = corpus.labels(labelled)
        self._held_out = held_out
        self._seed = seed
        self._word_vectors = word_vectors

    @cached_property
    def documents(self) -> DocumentWords:
        """The words of the documents to learn from and to be judged on; the others have none."""
        corpus = self.corpus
        rows = np.union1d(self.rows, self._held_out)
        documents = [corpus.document(row) for row in rows]
        joins_tokens = should_join_tokens(corpus.tokenizer, corpus.vocabulary, documents)
        reader = WordReader(corpus.tokenizer, corpus.vocabulary, joins_tokens=joins_tokens, is_open=True)
        read = reader.read_many(documents)
        lengths = np.zeros(len(corpus), dtype=np.int64)
        lengths[rows] = np.diff(read.offsets)
        sequence = replace(read, offsets=np.concatenate([[0], np.cumsum(lengths)]))
        return DocumentWords(sequence, reader.words, joins_tokens)

    @cached_property
    def vectors(self) -> DocumentVectors:
        """Vectors learnt from all of the text, and from that of the word vectors."""
        return DocumentVectors(self.documents, self.rows, self._seed, self._word_vectors)

    @cached_property
    def co_training(self) -> CoTraining:
        """Co-training on all of the text."""
        return CoTraining(self.vectors, self.rows, self.classes)
